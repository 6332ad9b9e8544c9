package central

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	headerClientRequestID = "X-Ms-Client-Request-Id"
	headerRequestID       = "X-Ms-Request-Id"
	mediaJSON             = "application/json"
)

// Client is the API over HTTP: the [Service] of a remote application. It follows no redirect and repeats nothing by
// itself, for the caller counts every attempt; only a compressed body that the server does not know how to read is sent
// again as it is.
type Client struct {
	base    *url.URL
	query   string
	timeout time.Duration
	rt      http.RoundTripper
	token   credential
	// fixed is the header every request starts from; its values are shared and never changed.
	fixed http.Header
	// plainHead is what every head of a plain call has between its first line and the token.
	plainHead string
	plainBase bool // the base needs no escaping
	maxBody   int64
	now       func() time.Time

	compressor compressor
	// unpacked is set by a server that takes no compressed body.
	unpacked atomic.Bool
	// suspect is set by a call that ran out of time: the idle connections of the same link are then given up.
	suspect atomic.Bool
}

var _ Service = (*Client)(nil)

// ClientOptions are the parts of a client that no configuration file can name; the zero value is usable.
type ClientOptions struct {
	// Token overrides Config.TokenFile and Config.TokenEnv.
	Token TokenSource
	// Transport overrides the client's own, for tests and for those who measure.
	Transport http.RoundTripper
	// MaxResponseBytes is the largest answer that is read; 0 means 4 MiB.
	MaxResponseBytes int64
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// UserAgent names the caller.
	UserAgent string
}

// NewClient checks the configuration and makes a client. It connects to nothing and needs no token yet: while there is
// none, every call fails with ErrNoToken and asks the source again.
func NewClient(cfg Config, opts ClientOptions) (*Client, error) {
	var faults []error
	cfg.Validate(func(path, message string) { faults = append(faults, fmt.Errorf("%s: %s", path, message)) })
	if cfg.URL == "" {
		faults = append(faults, errors.New("url: must not be empty"))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("configure the uplink: %w", errors.Join(faults...))
	}
	base, err := parseBase(cfg.URL, cfg.Insecure)
	if err != nil {
		return nil, fmt.Errorf("configure the uplink: %w", err)
	}
	c := &Client{
		base:    base,
		query:   "api-version=" + url.QueryEscape(cfg.APIVersion),
		timeout: cfg.Timeout,
		rt:      opts.Transport,
		fixed:   http.Header{"Accept": {mediaJSON}},
		maxBody: opts.MaxResponseBytes,
		now:     opts.Now,
	}
	c.compressor.over = cfg.CompressOver
	if c.rt == nil {
		if c.rt, err = newTransport(cfg, base); err != nil {
			return nil, fmt.Errorf("configure the uplink: %w", err)
		}
	}
	if c.maxBody <= 0 {
		c.maxBody = 4 << 20
	}
	if c.now == nil {
		c.now = time.Now
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "iotc-gateway"
	}
	c.fixed.Set("User-Agent", opts.UserAgent)
	for name, value := range cfg.Headers {
		c.fixed[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
	}
	c.plainHead = plainHead(base.Host, c.fixed)
	c.plainBase = base.EscapedPath() == base.Path
	switch {
	case opts.Token != nil:
		c.token.source = opts.Token
	case cfg.TokenFile != "":
		c.token.source = TokenFile(cfg.TokenFile)
	case cfg.TokenEnv != "":
		c.token.source = TokenEnv(cfg.TokenEnv)
	default:
		c.token.source = func() (string, error) { return "", errors.New("neither token_file nor token_env is set") }
	}
	return c, nil
}

// ReloadToken asks the token source again. When that fails, the token from before stays in use.
func (c *Client) ReloadToken() error {
	_, err := c.token.reload()
	return err
}

// CloseIdleConnections gives up the connections that carry no call, as after a change of network.
func (c *Client) CloseIdleConnections() {
	if t, ok := c.rt.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// request is one call: path and query are already escaped.
type request struct {
	op        string
	method    string
	path      string // below the base, beginning with "/"
	query     string // beside the api-version, beginning with "&"
	body      []byte // nil sends none
	packed    bool   // the body is compressed
	requestID string
	trace     bool // find out for certain whether it was sent
}

// do sends one request and hands an accepted answer to read, which may be nil. Every error it returns is an *Error or a
// *TransportError.
func (c *Client) do(ctx context.Context, r *request, read func(status int, body []byte) error) error {
	auth, err := c.token.get()
	if err != nil {
		return &TransportError{Op: r.op, Err: err}
	}
	if r.requestID != "" && checkToken(r.requestID) != nil {
		return &TransportError{Op: r.op, Err: errors.New("the request id is no printable ASCII on one line")}
	}
	if plain := r.body; plain != nil && !c.unpacked.Load() {
		if r.body, r.packed = c.compressor.compress(plain); r.packed {
			err := c.exchange(ctx, r, auth, read)
			if StatusOf(err) != http.StatusUnsupportedMediaType {
				return err
			}
			c.unpacked.Store(true)
			r.body, r.packed = plain, false
		}
	}
	return c.exchange(ctx, r, auth, read)
}

// exchange sends the request once.
func (c *Client) exchange(ctx context.Context, r *request, auth *authorization, read func(status int, body []byte) error) error {
	if d, ok := c.rt.(*direct); ok && c.isPlain(r) && !d.generalOnly.Load() {
		answer, resp, err := d.call(ctx, c.timeout, r.body, r.method, " ", c.base.Path, r.path, "?", c.query, r.query,
			c.plainHead, auth.value[0], plainRequestID(r.requestID), r.requestID)
		switch {
		case errors.Is(err, errGeneral):
		case err != nil:
			return c.lost(r.op, err, maybeSent(err, nil))
		case resp == nil:
			c.answered()
			if err := c.checkAnswer(answer.status, answer.kind, int64(len(answer.body))); err != nil {
				return c.lost(r.op, err, true)
			}
			return c.take(r.op, answer.status, answer.body, read)
		default:
			return c.settle(r, resp, auth, read)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent *sentTrace
	if r.trace {
		sent = new(sentTrace)
		ctx = httptrace.WithClientTrace(ctx, sent.hooks())
	}
	resp, err := c.rt.RoundTrip(c.httpRequest(ctx, r, auth))
	if err != nil {
		return c.lost(r.op, err, maybeSent(err, sent))
	}
	return c.settle(r, resp, auth, read)
}

// answered notes that the link carries answers.
func (c *Client) answered() {
	if c.suspect.Load() {
		c.suspect.Store(false)
	}
}

// settle reads an answer to its end.
func (c *Client) settle(r *request, resp *http.Response, auth *authorization, read func(status int, body []byte) error) error {
	defer resp.Body.Close()
	c.answered()
	if resp.StatusCode < http.StatusOK {
		// Interim answers were passed over, so this is no status of HTTP at all.
		return c.lost(r.op, fmt.Errorf("%w: status %d", ErrNotAnAnswer, resp.StatusCode), true)
	}
	switch resp.StatusCode {
	case http.StatusNoContent:
		return c.take(r.op, resp.StatusCode, nil, read)
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		body, err := c.readAnswer(resp)
		if err != nil {
			return c.lost(r.op, err, true)
		}
		return c.take(r.op, resp.StatusCode, body, read)
	case http.StatusUnauthorized:
		// The token may have been replaced since it was read: the next call uses what is there now. A source that fails
		// leaves the old token, and the answer tells more than its error.
		_, _ = c.token.reload()
	}
	return c.answerError(resp, auth)
}

// httpRequest builds the request without parsing anything.
func (c *Client) httpRequest(ctx context.Context, r *request, auth *authorization) *http.Request {
	h := make(http.Header, len(c.fixed)+3)
	maps.Copy(h, c.fixed)
	h["Authorization"] = auth.value
	if r.requestID != "" {
		h[headerClientRequestID] = []string{r.requestID}
	}
	u := &url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: c.base.Path + r.path, RawQuery: c.query + r.query}
	if strings.IndexByte(r.path, '%') >= 0 {
		u.RawPath = u.Path
		if plain, err := url.PathUnescape(u.Path); err == nil {
			u.Path = plain
		}
	}
	req := http.Request{
		Method: r.method, URL: u, Host: c.base.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if r.body != nil {
		h["Content-Type"] = jsonContentType
		if r.packed {
			h[headerEncoding] = gzipEncoding
		}
		req.ContentLength = int64(len(r.body))
		body := r.body
		req.Body = newBody(body)
		req.GetBody = func() (io.ReadCloser, error) { return newBody(body), nil }
	}
	return req.WithContext(ctx)
}

var (
	jsonContentType = []string{mediaJSON}
	gzipEncoding    = []string{encodingGzip}
)

// newBody is a request's body. It is of a type that the general transport knows to be in memory, so that it sends it in
// one packet with the header.
func newBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// sentTrace learns from the transport whether a request reached a connection. The transport begins anew (GetConn) only
// when it knows that nothing of the attempt before was processed, since no write is marked as repeatable.
type sentTrace struct{ sent atomic.Bool }

func (t *sentTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { t.sent.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { t.sent.Store(true) },
	}
}

// lost makes the error of a call without an answer. After a timeout the idle connections are given up once: they led over
// the same link, and each would cost the next call a timeout of its own.
func (c *Client) lost(op string, err error, maybe bool) error {
	e := &TransportError{Op: op, MaybeSent: maybe, Err: err}
	if errors.Is(err, context.DeadlineExceeded) && c.suspect.CompareAndSwap(false, true) {
		c.CloseIdleConnections()
	}
	return e
}

// take hands an accepted answer to who wants it. The server took the call even if what it said cannot be read.
func (c *Client) take(op string, status int, body []byte, read func(status int, body []byte) error) error {
	if read == nil {
		return nil
	}
	if err := read(status, body); err != nil {
		return &TransportError{Op: op, MaybeSent: true, Err: err}
	}
	return nil
}
