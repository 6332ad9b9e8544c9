package central

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// directConn is one connection. It belongs to one call at a time.
type directConn struct {
	net.Conn
	limit io.LimitedReader // below in: bounds the header of an answer
	in    *bufio.Reader
	out   []byte
	used  time.Time

	// The quick way of a call; see sendAndWait.
	raw   syscall.RawConn // nil: there is none
	until time.Time       // the read deadline, as long as nobody else has set one
	turn  turn

	// A context that call was given ends what the connection does, until another call needs another one.
	watched context.Context //nolint:containedctx // of the call, or of the last one
	unwatch func() bool     // nil: none is watched
}

// turn is what one call of sendAndWait does.
type turn struct {
	step    func(fd uintptr) bool // write, made once
	request []byte
	sent    int
	asked   bool
	err     error
}

// quick prepares the quick way for a call that ends at deadline, and tells whether there is one. It waits for patience at
// the most. What is not there by then is waited for in the usual way, by reading, which also finds an end of the
// connection that came before the request and is no news to the runtime. One deadline of the connection serves all calls
// that begin in the first half of it.
func (c *directConn) quick(patience time.Duration, now, deadline time.Time) bool {
	if c.raw == nil {
		return false
	}
	if c.until.Sub(now) < patience/2 {
		until := now.Add(patience)
		if c.Conn.SetReadDeadline(until) != nil {
			return false
		}
		c.until = until
	}
	return c.until.Before(deadline)
}

// SetDeadline sets a deadline that the quick way knows nothing of.
func (c *directConn) SetDeadline(t time.Time) error {
	c.until = time.Time{}
	return c.Conn.SetDeadline(t) //nolint:wrapcheck // the caller says what for
}

// SetReadDeadline is like SetDeadline.
func (c *directConn) SetReadDeadline(t time.Time) error {
	c.until = time.Time{}
	return c.Conn.SetReadDeadline(t) //nolint:wrapcheck // the caller says what for
}

// interrupt ends what the connection does. It is for other goroutines.
func (c *directConn) interrupt() { _ = c.Conn.SetDeadline(time.Unix(1, 0)) }

// watch lets the end of ctx end what the connection does. It reports false for a connection that the end of the context
// before has made unusable. The callers of a client share a context, so that mostly there is nothing to do.
func (c *directConn) watch(ctx context.Context) bool {
	if c.unwatch != nil && c.watched == ctx {
		return true
	}
	if !c.forget() {
		return false
	}
	c.watched = ctx
	c.unwatch = context.AfterFunc(ctx, c.interrupt)
	return true
}

// forget ends the watch. It reports false when the context has ended, for then the deadline may be set at any moment.
func (c *directConn) forget() bool {
	if c.unwatch == nil {
		return true
	}
	ok := c.unwatch()
	c.watched, c.unwatch = nil, nil
	return ok
}

// Close also ends the watch.
func (c *directConn) Close() error {
	c.forget()
	return c.Conn.Close() //nolint:wrapcheck // nobody looks at it
}

// send writes head and body in one piece.
func (c *directConn) send(req *http.Request) error {
	b := c.out[:0]
	b = append(b, req.Method...)
	b = append(b, ' ')
	b = append(b, req.URL.RequestURI()...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, req.Host...)
	for name, values := range req.Header {
		for _, v := range values {
			b = append(b, "\r\n"...)
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, v...)
		}
	}
	if req.Body != nil || req.Method != http.MethodGet {
		b = fmt.Appendf(b, "\r\nContent-Length: %d", req.ContentLength)
	}
	b = append(b, "\r\n\r\n"...)
	if req.Body != nil {
		head := len(b)
		b = append(b, make([]byte, req.ContentLength)...)
		if _, err := io.ReadFull(req.Body, b[head:]); err != nil {
			return fmt.Errorf("read the request's body: %w", err)
		}
		_ = req.Body.Close()
	}
	if cap(b) <= writeBufferBytes {
		c.out = b
	}
	if _, err := c.Write(b); err != nil {
		return fmt.Errorf("send the request: %w", err)
	}
	return nil
}

// lastWords looks for a refusal after the request could not be sent whole: a server that finds a body too large answers
// and closes without reading it. Without its answer the body would be sent again and again.
func (c *directConn) lastWords(req *http.Request, deadline time.Time) *http.Response {
	soon := time.Now().Add(time.Second)
	if !deadline.IsZero() && deadline.Before(soon) {
		soon = deadline
	}
	if err := c.SetReadDeadline(soon); err != nil {
		return nil
	}
	resp, err := c.receive(req)
	if err != nil {
		return nil
	}
	if resp.StatusCode < http.StatusBadRequest {
		// Success cannot be had for half a request.
		_ = resp.Body.Close()
		return nil
	}
	return resp
}

// receive reads the head of the final answer.
func (c *directConn) receive(req *http.Request) (*http.Response, error) {
	const interim = 5
	c.limit.N = maxHeaderBytes
	for range interim {
		resp, err := http.ReadResponse(c.in, req)
		if err != nil {
			if c.limit.N <= 0 {
				return nil, fmt.Errorf("%w: its header is larger than %d bytes", ErrNotAnAnswer, maxHeaderBytes)
			}
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		if resp.StatusCode >= http.StatusOK {
			c.limit.N = 1 << 62 // whoever reads the body has a limit of its own
			return resp, nil
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	return nil, fmt.Errorf("%w: no final status", ErrNotAnAnswer)
}

// alive looks whether the server closed the connection or said something unasked.
func (c *directConn) alive() bool {
	if c.in.Buffered() > 0 || c.SetReadDeadline(time.Time{}) != nil {
		return false
	}
	conn := c.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		// The notice that TLS is closed, too, is something unasked.
		conn = secure.NetConn()
	}
	return quiet(conn)
}
