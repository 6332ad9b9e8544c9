package central

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errGeneral says that a call has to take the general transport.
var errGeneral = errors.New("the server speaks HTTP/2")

// call sends a request with a JSON body and reads the answer. The head is given in pieces and without the fields that
// describe the body. A plain answer is returned as such, with a body of its own; for any other there is an
// http.Response, whose body must be closed.
//
// The call ends with the context or after the timeout, whichever comes first. The context's type must be comparable, as
// those of the standard library are.
func (d *direct) call(ctx context.Context, timeout time.Duration, body []byte, head ...string) (plainAnswer, *http.Response, error) {
	now := time.Now()
	deadline := now.Add(timeout)
	if own, ok := ctx.Deadline(); ok && own.Before(deadline) {
		deadline = own
	}
	c := d.reuse(now, func(c *directConn) bool { return c.watch(ctx) })
	if c == nil {
		dialing, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		var err error
		if c, err = d.open(dialing); err != nil {
			return plainAnswer{}, nil, err
		}
		if c == nil {
			return plainAnswer{}, nil, errGeneral
		}
		c.watch(ctx)
		now = time.Now()
	}
	answer, resp, err := d.converse(ctx, c, now, deadline, c.compose(body, head))
	if err != nil {
		_ = c.Close()
		return plainAnswer{}, nil, explainDeadline(ctx, err)
	}
	return answer, resp, nil
}

// converse writes a request and reads its answer.
func (d *direct) converse(ctx context.Context, c *directConn, now, deadline time.Time, request []byte) (plainAnswer, *http.Response, error) {
	if err := ctx.Err(); err != nil {
		return plainAnswer{}, nil, err
	}
	answer, ok, sent, err := c.quickly(request, d.patience, now, deadline)
	if !ok && err == nil {
		answer, ok, err = c.slowly(ctx, request[sent:], deadline)
	}
	if ok {
		d.put(c)
		return answer, nil, nil
	}
	keep := true
	var resp *http.Response
	if err == nil {
		resp, err = c.receive(nil)
	} else if _, unsent := errors.AsType[*sendError](err); unsent {
		if resp = c.lastWords(nil, deadline); resp != nil {
			keep, err = false, nil
		}
	}
	if err != nil {
		return plainAnswer{}, nil, err
	}
	resp.Body = &directBody{from: resp.Body, d: d, c: c, ctx: ctx, stop: c.forget, keep: keep && !resp.Close}
	return plainAnswer{}, resp, nil
}

// quickly tries to take a plain answer by the quick way. Where it does not say ok, slowly goes on with what was not sent.
func (c *directConn) quickly(request []byte, patience time.Duration, now, deadline time.Time) (a plainAnswer, ok bool, sent int, err error) {
	if !c.quick(patience, now, deadline) {
		return a, false, 0, nil
	}
	sent, ready, err := c.sendAndWait(request)
	if err != nil || !ready {
		return a, false, sent, err
	}
	a, ok, err = c.plain()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil // it came at the last moment, and is read by the slow way
	}
	return a, ok, sent, err
}

// slowly sends what is left of a request and takes the answer if it is plain.
func (c *directConn) slowly(ctx context.Context, rest []byte, deadline time.Time) (a plainAnswer, ok bool, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return a, false, fmt.Errorf("prepare the connection: %w", err)
	}
	// The context may have ended before the deadline was set, which then undid what its end had set. From here on its
	// end comes later.
	if err := ctx.Err(); err != nil {
		return a, false, err
	}
	if len(rest) > 0 {
		if _, err := c.Write(rest); err != nil {
			return a, false, &sendError{err}
		}
	}
	return c.plain()
}

// sendError says that a request could not be sent whole.
type sendError struct{ err error }

func (e *sendError) Error() string { return "send the request: " + e.err.Error() }

func (e *sendError) Unwrap() error { return e.err }

// compose puts head and body into one piece. It is good until the next call.
func (c *directConn) compose(body []byte, head []string) []byte {
	b := c.out[:0]
	for _, piece := range head {
		b = append(b, piece...)
	}
	b = append(b, "\r\nContent-Type: "+mediaJSON+"\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	b = append(b, body...)
	if cap(b) <= writeBufferBytes {
		c.out = b
	}
	return b
}

// plain waits for the answer and takes it when it is plain; else it is left where it is.
func (c *directConn) plain() (plainAnswer, bool, error) {
	c.limit.N = maxHeaderBytes
	if _, err := c.in.Peek(1); err != nil {
		return plainAnswer{}, false, fmt.Errorf("read the answer: %w", err)
	}
	b, err := c.in.Peek(c.in.Buffered())
	if err != nil {
		return plainAnswer{}, false, fmt.Errorf("read the answer: %w", err)
	}
	a, n, ok := parsePlain(b)
	if !ok {
		return plainAnswer{}, false, nil
	}
	a.body = slices.Clone(a.body)
	_, err = c.in.Discard(n)
	return a, err == nil, err
}

// plainHead is what every head has between the target and the token.
func plainHead(host string, fixed http.Header) string {
	var b strings.Builder
	b.WriteString(" HTTP/1.1\r\nHost: " + host)
	for _, name := range slices.Sorted(maps.Keys(fixed)) {
		for _, value := range fixed[name] {
			b.WriteString("\r\n" + name + ": " + value)
		}
	}
	b.WriteString("\r\nAuthorization: ")
	return b.String()
}

// plainRequestID is what stands before the request id in a head.
func plainRequestID(id string) string {
	if id == "" {
		return ""
	}
	return "\r\n" + headerClientRequestID + ": "
}

// isPlain tells whether a call can go without an http.Request: it has a body as it is, its target needs no escaping, and nobody
// follows it.
func (c *Client) isPlain(r *request) bool {
	return r.body != nil && !r.packed && !r.trace && c.plainBase && strings.IndexByte(r.path, '%') < 0
}
