package central_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"iotc-gateway/bridge/central"
)

// accept serves each connection of a listener of its own.
func accept(t *testing.T, serve func(c *net.TCPConn, in *bufio.Reader)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c.(*net.TCPConn), bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/api"
}

// take reads a request to its end.
func take(in *bufio.Reader) error {
	req, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	return req.Body.Close()
}

// An answer that comes after the quick way has given up, or in pieces around that time, is taken all the same, and by the
// same connection.
func TestQuickAnswersThatComeLate(t *testing.T) {
	t.Parallel()
	const patience = 20 * time.Millisecond
	url, conns := rawServer(t, func(_, request int) string {
		<-time.After([]time.Duration{0, patience, 3 * patience}[request%3])
		return noContent
	})
	c := rawClient(t, url, time.Minute)
	central.WaitQuickly(c, patience)
	for i := range 9 {
		if err := send(t, c); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	pieces := accept(t, func(c *net.TCPConn, in *bufio.Reader) {
		for take(in) == nil {
			for _, piece := range []string{"HTTP/1.1 200 OK\r\nContent-", "Length: 2\r\n", "\r\n{", "}"} {
				_, _ = c.Write([]byte(piece))
				<-time.After(patience / 2)
			}
		}
	})
	c = rawClient(t, pieces, time.Minute)
	central.WaitQuickly(c, patience)
	for i := range 3 {
		if err := send(t, c); err != nil {
			t.Errorf("in pieces, call %d: %v", i, err)
		}
	}
}

// A call without an answer ends with its own time, however short the quick way is.
func TestQuickCallsEndInTime(t *testing.T) {
	t.Parallel()
	silent, _ := rawServer(t, func(int, int) string { <-t.Context().Done(); return "" })
	for _, patience := range []time.Duration{time.Millisecond, 50 * time.Millisecond, time.Hour} {
		c := rawClient(t, silent, 200*time.Millisecond)
		central.WaitQuickly(c, patience)
		begin := time.Now()
		err := send(t, c)
		e, ok := errors.AsType[*central.TransportError](err)
		if !ok || !e.Timeout() || !e.MaybeSent {
			t.Errorf("%s: error %v, want a timeout of a call that may have been sent", patience, err)
		}
		if took := time.Since(begin); took < 200*time.Millisecond || took > 5*time.Second {
			t.Errorf("%s: the call took %s", patience, took)
		}
	}
}

// A server that ended its side before the request, and reads on, is found out without waiting for the call's time.
func TestQuickCallsNoticeAHalfClosedConnection(t *testing.T) {
	t.Parallel()
	half := make(chan struct{}, 1)
	url := accept(t, func(c *net.TCPConn, in *bufio.Reader) {
		if take(in) != nil {
			return
		}
		_, _ = c.Write([]byte(noContent))
		_ = c.CloseWrite()
		half <- struct{}{}
		for take(in) == nil {
			continue
		}
	})
	c := rawClient(t, url, time.Minute)
	central.WaitQuickly(c, 50*time.Millisecond)
	if err := send(t, c); err != nil {
		t.Fatal(err)
	}
	<-half
	begin := time.Now()
	err := send(t, c)
	if took := time.Since(begin); err == nil || !central.MaybeSent(err) || took > 10*time.Second {
		t.Errorf("error %v after %s, want one that leaves open whether it was sent, at once", err, took)
	}
}

// A request that the socket does not take at once is sent to its end, and the next one is whole again.
func TestQuickRequestsLargerThanTheSocketTakes(t *testing.T) {
	t.Parallel()
	sizes := make(chan int64, 8)
	url := accept(t, func(c *net.TCPConn, in *bufio.Reader) {
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			<-time.After(10 * time.Millisecond)
			_ = req.Body.Close() // reads it
			sizes <- req.ContentLength
			_, _ = c.Write([]byte(noContent))
		}
	})
	c := rawClient(t, url, time.Minute)
	for _, size := range []int{10, 8 << 20, 10} {
		body := `{"a":"` + strings.Repeat("x", size) + `"}`
		if err := c.SendTelemetry(t.Context(), "dev", []byte(body), "id"); err != nil {
			t.Fatal(err)
		}
		if got := <-sizes; got != int64(len(body)) {
			t.Errorf("the server read %d bytes of %d", got, len(body))
		}
	}
}

// Two callers with contexts of their own take turns at one connection: the end of the first does not touch the second.
func TestQuickCallsOfDifferentContexts(t *testing.T) {
	t.Parallel()
	url, _ := rawServer(t, func(int, int) string { return noContent })
	c := rawClient(t, url, time.Minute)
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := c.SendTelemetry(ctx, "dev", []byte(`{"a":1}`), "id"); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		cancel()
		if err := c.SendTelemetry(ctx, "dev", []byte(`{"a":1}`), "id"); err == nil {
			t.Fatalf("call %d: made though its context had ended", i)
		}
		if err := send(t, c); err != nil {
			t.Fatalf("call %d after another's end: %v", i, err)
		}
	}
}
