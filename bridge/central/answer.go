package central

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Limits of what is kept of an answer.
const (
	maxErrorBodyBytes = 64 << 10
	maxMessageBytes   = 1 << 10
	maxRetryAfter     = 24 * time.Hour
)

// readAnswer reads the body of an accepted answer. A page instead of JSON is no acceptance: a captive portal answers 200
// to everything, and whoever took that for delivered would lose data.
func (c *Client) readAnswer(resp *http.Response) ([]byte, error) {
	if resp.ContentLength == 0 {
		return nil, nil
	}
	if err := c.checkAnswer(resp.StatusCode, resp.Header.Get("Content-Type"), resp.ContentLength); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(body)) > c.maxBody {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrNotAnAnswer, c.maxBody)
	}
	return body, nil
}

// checkAnswer looks at the media type and the length of the body, which is -1 where it is not known, before it is read.
func (c *Client) checkAnswer(status int, kind string, length int64) error {
	switch {
	case length == 0:
		return nil
	case kind != "" && !isJSON(kind):
		return fmt.Errorf("%w: status %d with the media type %q", ErrNotAnAnswer, status, cut(clean(kind), 100))
	case length > c.maxBody:
		return fmt.Errorf("%w: it has %d bytes, more than %d", ErrNotAnAnswer, length, c.maxBody)
	}
	return nil
}

// answerError makes an Error of an answer that is no success; the body may be of any kind or missing.
func (c *Client) answerError(resp *http.Response, auth *authorization) error {
	e := &Error{
		Status:     resp.StatusCode,
		RequestID:  cut(clean(resp.Header.Get(headerRequestID)), maxNameBytes),
		RetryAfter: c.retryAfter(resp.Header),
		Allow:      cut(clean(resp.Header.Get("Allow")), maxNameBytes),
	}
	// A body that breaks off tells what it told.
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBodyBytes))
	var envelope struct {
		Error struct {
			Code      string `json:"code"`
			Message   string `json:"message"`
			RequestID string `json:"requestId"`
			Time      string `json:"time"`
		} `json:"error"`
	}
	if err := json.Unmarshal(raw, &envelope); err == nil {
		e.Code = cut(clean(envelope.Error.Code), maxNameBytes)
		e.Message = envelope.Error.Message
		if envelope.Error.RequestID != "" {
			e.RequestID = cut(clean(envelope.Error.RequestID), maxNameBytes)
		}
		// Some servers write the time in a format of their own; it is for people only.
		e.Time, _ = time.Parse(time.RFC3339, envelope.Error.Time)
	} else if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		e.Message = string(raw)
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		e.Code = CodeRedirect
		e.Message = "The server redirects to " + resp.Header.Get("Location") + ", which is not followed."
	}
	if e.Message == "" {
		e.Message = http.StatusText(resp.StatusCode)
	}
	// A server may quote the token it refused, in whatever member.
	for _, s := range []*string{&e.Message, &e.Code, &e.RequestID, &e.Allow} {
		*s = cut(clean(redactToken(*s, auth.token)), maxMessageBytes)
	}
	return e
}

// retryAfter reads seconds or a date; a date counts from the server's own clock where it told it, for ours may be wrong.
func (c *Client) retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		wait = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		now := c.now()
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// maybeSent decides in doubt for yes.
func maybeSent(err error, trace *sentTrace) bool {
	if trace != nil {
		return trace.sent.Load()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "socks connect") {
		return false
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return false
	}
	_, ok := errors.AsType[x509.HostnameError](err)
	return !ok
}

// isJSON tells whether a media type is JSON: application/json or with the suffix +json (RFC 6839).
func isJSON(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == mediaJSON || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
}

// clean makes one printable line of a text that came from elsewhere.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s))
}

// cut shortens a text to limit bytes at a character's border.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
