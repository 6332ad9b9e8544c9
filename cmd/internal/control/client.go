package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
)

// ErrNotRunning says that no gateway answers on the control socket.
var ErrNotRunning = errors.New("the gateway does not run")

// maxLine is the longest line of a stream: a publication with everything that
// became of it.
const maxLine = 64 << 20

// Client calls the API.
type Client struct {
	http    *http.Client
	running bool
}

// Dial reaches the gateway that runs on a data directory. Where none does, the
// error is [ErrNotRunning].
func Dial(ctx context.Context, dataDir string) (*Client, error) {
	path := SocketPath(dataDir)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		short, done, err := shorten(path)
		if err != nil {
			return nil, err
		}
		defer done()
		var d net.Dialer
		return d.DialContext(ctx, "unix", short)
	}
	conn, err := dial(ctx, "", "")
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNotRunning
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w: the control socket belongs to the user that the gateway runs as; try sudo", err)
	case err != nil:
		return nil, fmt.Errorf("reach the gateway: %w", err)
	}
	_ = conn.Close()
	return &Client{running: true, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
}

// InProcess calls a handler of this very process.
func InProcess(handler http.Handler) *Client {
	return &Client{http: &http.Client{Transport: inProcess{handler}}}
}

// Running reports whether a running gateway answers.
func (c *Client) Running() bool { return c.running }

// Error is a refusal of the API.
type Error struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Call makes one call. in is sent as JSON unless it is nil, the answer is read
// into out unless that is nil.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(text)
	}
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

// Lines makes a call whose answer is JSON lines and hands them to fn one by
// one, as they come, until fn returns an error or there are no more. A line is
// valid only during the call.
func (c *Client) Lines(ctx context.Context, method, path string, in io.Reader, fn func(line []byte) error) error {
	resp, err := c.do(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if err := fn(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return ctx.Err()
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reach the gateway: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var refusal struct {
		Error Error `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&refusal); err != nil || refusal.Error.Message == "" {
		return nil, fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	refusal.Error.Status = resp.StatusCode
	return nil, &refusal.Error
}

// inProcess runs a handler in place of a connection. The answer streams, so
// that a long list is not held in memory.
type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	r, w := io.Pipe()
	answer := &pipedAnswer{header: make(http.Header), body: w, begun: make(chan int, 1)}
	if req.Body == nil {
		req.Body = http.NoBody
	}
	go func() {
		t.handler.ServeHTTP(answer, req)
		answer.WriteHeader(http.StatusOK)
		_ = w.Close()
	}()
	select {
	case status := <-answer.begun:
		return &http.Response{
			Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: answer.header, Body: r, ContentLength: -1, Request: req,
		}, nil
	case <-req.Context().Done():
		_ = r.Close()
		return nil, req.Context().Err()
	}
}

type pipedAnswer struct {
	header http.Header
	body   *io.PipeWriter
	begun  chan int
	status int
}

func (a *pipedAnswer) Header() http.Header { return a.header }

func (a *pipedAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
		a.begun <- status
	}
}

func (a *pipedAnswer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// Flush implements http.Flusher: what is written is there at once.
func (*pipedAnswer) Flush() {}
