package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// ServeSink is the child process: a sink and, at an address of its own, the control of it. It writes one line of JSON
// with both addresses to out and runs until in ends, so that it never outlives the process that started it.
func ServeSink(token string, in io.Reader, out io.Writer) error {
	sink := NewSink(token)
	address, err := sink.Up()
	if err != nil {
		return err
	}
	defer sink.Down()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open the control of the sink: %w", err)
	}
	server := &http.Server{Handler: sink.controls(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	err = json.NewEncoder(out).Encode(sinkAddresses{API: "http://" + address + "/api", Control: "http://" + listener.Addr().String()})
	if err != nil {
		return fmt.Errorf("tell the addresses: %w", err)
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

type sinkAddresses struct {
	API     string `json:"api"`
	Control string `json:"control"`
}

func (s *Sink) controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /up", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := s.Up(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /down", func(http.ResponseWriter, *http.Request) { s.Down() })
	mux.HandleFunc("POST /reset", func(http.ResponseWriter, *http.Request) { s.Reset() })
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var faults Faults
		if err := json.NewDecoder(r.Body).Decode(&faults); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.faults.Store(&faults)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Stats()) })
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.arrivals.Ledger()) })
	return mux
}

// SinkControl steers a sink in another process.
type SinkControl struct {
	API  string // base URL for the gateway
	base string

	client *http.Client
}

func (c *SinkControl) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode for the sink: %w", err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("ask the sink: %w", err)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the sink: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("the sink answers %s to %s: %s", response.Status, path, text)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("read the sink's %s: %w", path, err)
	}
	return nil
}

// Up makes the application reachable.
func (c *SinkControl) Up(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/up", nil, nil)
}

// Down makes it unreachable: connections are refused.
func (c *SinkControl) Down(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/down", nil, nil)
}

// Reset forgets everything counted and ends the faults.
func (c *SinkControl) Reset(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/reset", nil, nil)
}

// Faults replaces the faults.
func (c *SinkControl) Faults(ctx context.Context, f Faults) error {
	return c.do(ctx, http.MethodPost, "/faults", f, nil)
}

// Stats reads the counters.
func (c *SinkControl) Stats(ctx context.Context) (SinkStats, error) {
	var stats SinkStats
	err := c.do(ctx, http.MethodGet, "/stats", nil, &stats)
	return stats, err
}

// Ledger reads the whole account.
func (c *SinkControl) Ledger(ctx context.Context) (Ledger, error) {
	var ledger Ledger
	err := c.do(ctx, http.MethodGet, "/ledger", nil, &ledger)
	return ledger, err
}
