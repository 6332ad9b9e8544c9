package central_test

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iotc-gateway/bridge/central"
)

// rawServer answers each request of each connection with what answer returns; "" closes the connection.
func rawServer(t *testing.T, answer func(conn, request int) string) (url string, conns *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conns = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := int(conns.Add(1))
			go func() {
				defer func() { _ = c.Close() }()
				in := bufio.NewReader(c)
				for i := 1; ; i++ {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_ = req.Body.Close()
					text := answer(n, i)
					if text == "" {
						return
					}
					if _, err := c.Write([]byte(text)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/api", conns
}

func rawClient(t *testing.T, url string, timeout time.Duration) *central.Client {
	t.Helper()
	cfg := central.DefaultConfig()
	cfg.URL, cfg.Timeout = url, timeout
	c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken("token")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func send(t *testing.T, c *central.Client) error {
	t.Helper()
	return c.SendTelemetry(t.Context(), "dev", []byte(`{"a":1}`), "id")
}

const noContent = "HTTP/1.1 204 No Content\r\n\r\n"

func TestDirectKeepsItsConnection(t *testing.T) {
	t.Parallel()
	bodies := []string{
		noContent, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
	}
	url, conns := rawServer(t, func(_, request int) string { return bodies[request%len(bodies)] })
	c := rawClient(t, url, 5*time.Second)
	for i := range 12 {
		if err := send(t, c); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for calls one after the other, want 1", n)
	}
}

func TestDirectGivesUpConnectionsThatTheServerCloses(t *testing.T) {
	t.Parallel()
	url, conns := rawServer(t, func(int, int) string { return "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n" })
	c := rawClient(t, url, 5*time.Second)
	for i := range 3 {
		if err := send(t, c); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if n := conns.Load(); n != 3 {
		t.Errorf("%d connections, want one a call", n)
	}
}

func TestDirectTellsWhatMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	dropped, _ := rawServer(t, func(int, int) string { return "" })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + l.Addr().String()
	_ = l.Close()
	silent, _ := rawServer(t, func(int, int) string { <-t.Context().Done(); return "" })
	for _, tc := range []struct {
		name, url      string
		maybe, timeout bool
	}{
		{"refused", refused, false, false},
		{"dropped", dropped, true, false},
		{"silent", silent, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			timeout := 10 * time.Second
			if tc.timeout {
				timeout = 200 * time.Millisecond
			}
			err := send(t, rawClient(t, tc.url, timeout))
			e, ok := errors.AsType[*central.TransportError](err)
			if !ok || e.MaybeSent != tc.maybe || e.Timeout() != tc.timeout {
				t.Errorf("error %v (%+v), want a transport error with MaybeSent %v, timeout %v", err, e, tc.maybe, tc.timeout)
			}
		})
	}
}

func TestDirectBoundsTheHeaderOfAnAnswer(t *testing.T) {
	t.Parallel()
	url, _ := rawServer(t, func(int, int) string {
		return "HTTP/1.1 204 No Content\r\nX-Long: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"
	})
	if err := send(t, rawClient(t, url, 5*time.Second)); !errors.Is(err, central.ErrNotAnAnswer) {
		t.Errorf("error %v, want ErrNotAnAnswer", err)
	}
}

func TestDirectStopsWhenTheCallerDoes(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	url, _ := rawServer(t, func(int, int) string { <-block; return "" })
	defer close(block)
	c := rawClient(t, url, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := c.SendTelemetry(ctx, "dev", []byte(`{}`), "id"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// A connection that the server closed while it was idle costs no call, in the clear and with TLS.
func TestDirectLooksAtIdleConnections(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*httptest.Server){"clear": (*httptest.Server).Start, "TLS": (*httptest.Server).StartTLS} {
		var conns atomic.Int64
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
		srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns.Add(1)
			}
		}
		start(srv)
		t.Cleanup(srv.Close)
		cfg := central.DefaultConfig()
		cfg.URL = srv.URL
		if cert := srv.Certificate(); cert != nil {
			cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
			write(t, cfg.CAFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
		}
		c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken("token")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.CloseIdleConnections)
		central.LookAtIdleConnections(c)
		for i := range 4 {
			if err := send(t, c); err != nil {
				t.Errorf("%s: call %d: %v", name, i, err)
			}
			if i == 1 {
				srv.CloseClientConnections()
			}
		}
		if n := conns.Load(); n != 2 {
			t.Errorf("%s: %d connections, want one and another after the server closed it", name, n)
		}
	}
}

// A server may refuse a body without reading it.
func TestDirectHearsAnEarlyRefusal(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = c.Write([]byte("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
		}
	}()
	c := rawClient(t, "http://"+l.Addr().String(), 5*time.Second)
	body := `{"a":"` + strings.Repeat("x", 16<<20) + `"}`
	if err := c.SendTelemetry(t.Context(), "dev", []byte(body), "id"); central.StatusOf(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("error %v, want the answer 413", err)
	}
}

// What would break out of a header is not sent.
func TestDirectRefusesARequestIDOfTwoLines(t *testing.T) {
	t.Parallel()
	url, conns := rawServer(t, func(int, int) string { return noContent })
	err := rawClient(t, url, 5*time.Second).SendTelemetry(t.Context(), "dev", []byte(`{}`), "a\r\nX-Evil: b")
	if err == nil || central.MaybeSent(err) || conns.Load() != 0 {
		t.Errorf("error %v after %d connections", err, conns.Load())
	}
}

func BenchmarkSendTelemetry(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	body := []byte(`{"temperature":21.5,"humidity":45.2,"timestamp":"2026-11-22T10:00:00Z"}`)
	for name, transport := range map[string]http.RoundTripper{"direct": nil, "general": http.DefaultTransport} {
		b.Run(name, func(b *testing.B) {
			cfg := central.DefaultConfig()
			cfg.URL = server.URL
			c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken("token"), Transport: transport})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.SendTelemetry(b.Context(), "dev", body, "id"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
