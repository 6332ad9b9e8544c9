package central

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// direct is an HTTP/1.1 transport to one server that makes a call on the caller's own goroutine: one write, one read.
// The general transport hands each request to a writing and each answer to a reading goroutine, which costs more than
// the rest of a small call together. What direct cannot do (HTTP/2, a proxy) goes to the general transport.
//
// Calls with a body go through call, which builds no http.Request and, when the answer is plain, no http.Response either;
// the others through RoundTrip.
//
// It never repeats a request by itself. A connection that was idle for a while is looked at before it is used, so that
// one which the server closed meanwhile costs no call.
type direct struct {
	address string // host:port
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	tls     *tls.Config // nil: in the clear
	general http.RoundTripper
	// lookAfter is how long a connection may be idle and be used without a look at it.
	lookAfter time.Duration
	// patience is how long the quick way of a call waits; see quick.
	patience time.Duration
	// generalOnly is set once the server chose HTTP/2.
	generalOnly atomic.Bool

	mu   sync.Mutex
	idle []*directConn // the last used at the end
}

const (
	// lookAfter is far below the time after which any server closes an idle connection.
	lookAfter = 500 * time.Millisecond
	// patience is far longer than most calls and still a short time to notice that a connection has ended.
	patience = 2 * time.Second
	// drainBytes is how much of an unread answer is worth reading to keep its connection.
	drainBytes = 16 << 10
)

// RoundTrip implements http.RoundTripper.
func (d *direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if d.generalOnly.Load() {
		return d.general.RoundTrip(req)
	}
	ctx := req.Context()
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(d.address)
	}
	c := d.reuse(time.Now(), (*directConn).forget)
	if c == nil {
		var err error
		if c, err = d.open(ctx); err != nil {
			return nil, err
		}
	}
	if c == nil {
		return d.general.RoundTrip(req)
	}
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c.Conn})
	}
	resp, err := d.exchange(ctx, c, req)
	if err != nil {
		_ = c.Close()
		return nil, explainDeadline(ctx, err)
	}
	return resp, nil
}

// exchange writes the request and reads the answer's header.
func (d *direct) exchange(ctx context.Context, c *directConn, req *http.Request) (*http.Response, error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("prepare the connection: %w", err)
	}
	stop := context.AfterFunc(ctx, c.interrupt)
	var resp *http.Response
	keep := true
	err := c.send(req)
	if err == nil {
		resp, err = c.receive(req)
	} else if resp = c.lastWords(req, deadline); resp != nil {
		keep, err = false, nil
	}
	if err != nil {
		stop()
		return nil, err
	}
	resp.Body = &directBody{from: resp.Body, d: d, c: c, ctx: ctx, stop: stop, keep: keep && !resp.Close}
	if resp.ContentLength == 0 || resp.StatusCode == http.StatusNoContent {
		// Nothing follows: the connection is free before the caller has looked at the answer.
		return resp, resp.Body.Close()
	}
	return resp, nil
}

// directBody gives the connection back when the answer was read.
type directBody struct {
	from io.ReadCloser
	d    *direct
	c    *directConn
	ctx  context.Context //nolint:containedctx // the body lives as long as the call that the context is of
	stop func() bool
	keep bool
	done bool
}

func (b *directBody) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.keep = false
		err = explainDeadline(b.ctx, err)
	}
	return n, err //nolint:wrapcheck // io.EOF must stay as it is
}

// Close may be called more than once. It has no error: an answer was had.
func (b *directBody) Close() error {
	if b.done {
		return nil
	}
	b.done = true
	if b.keep {
		n, err := io.CopyN(io.Discard, b.from, drainBytes)
		b.keep = n < drainBytes && errors.Is(err, io.EOF)
	}
	_ = b.from.Close()
	if b.stop() && b.keep {
		b.d.put(b.c)
		return nil
	}
	_ = b.c.Close()
	return nil
}

// reuse takes an idle connection that is fit; nil says that there is none.
func (d *direct) reuse(now time.Time, fit func(*directConn) bool) *directConn {
	for {
		c := d.take()
		if c == nil {
			return nil
		}
		if idle := now.Sub(c.used); fit(c) && (idle < d.lookAfter || idle < idleTimeout && c.alive()) {
			return c
		}
		_ = c.Close()
	}
}

// open makes a connection. Without an error, a nil connection says that the server speaks HTTP/2.
func (d *direct) open(ctx context.Context) (*directConn, error) {
	conn, err := d.dial(ctx, "tcp", d.address)
	if err != nil {
		return nil, err
	}
	if d.tls != nil {
		secure := tls.Client(conn, d.tls)
		handshake, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		if err := secure.HandshakeContext(handshake); err != nil {
			_ = conn.Close()
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: conn.RemoteAddr(), Err: fmt.Errorf("TLS: %w", err)}
		}
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			d.generalOnly.Store(true)
			_ = secure.Close()
			return nil, nil //nolint:nilnil // see the comment above
		}
		conn = secure
	}
	c := &directConn{Conn: conn, raw: rawConn(conn)}
	c.turn.step = c.turn.write
	c.limit.R = conn
	c.in = bufio.NewReaderSize(&c.limit, readBufferBytes)
	return c, nil
}

func (d *direct) take() *directConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.idle)
	if n == 0 {
		return nil
	}
	c := d.idle[n-1]
	d.idle[n-1] = nil
	d.idle = d.idle[:n-1]
	return c
}

// put keeps a connection for the next call. The ones that wait longest are closed when there are too many, or when they
// waited too long.
//
// One that holds something unread is given up: it would be taken for the next call's answer.
func (d *direct) put(c *directConn) {
	if c.in.Buffered() > 0 {
		_ = c.Close()
		return
	}
	c.used = time.Now()
	d.mu.Lock()
	d.idle = append(d.idle, c)
	old := 0
	for old < len(d.idle) && (len(d.idle)-old > maxIdle || c.used.Sub(d.idle[old].used) > idleTimeout) {
		old++
	}
	var stale []*directConn
	if old > 0 {
		stale = append(stale, d.idle[:old]...)
		d.idle = append(d.idle[:0], d.idle[old:]...)
	}
	d.mu.Unlock()
	for _, c := range stale {
		_ = c.Close()
	}
}

// CloseIdleConnections gives up the connections that carry no call.
func (d *direct) CloseIdleConnections() {
	d.mu.Lock()
	idle := d.idle
	d.idle = nil
	d.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
	if g, ok := d.general.(interface{ CloseIdleConnections() }); ok {
		g.CloseIdleConnections()
	}
}

// explainDeadline says that the call ran out of time where the connection only says that its deadline passed.
func explainDeadline(ctx context.Context, err error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}
