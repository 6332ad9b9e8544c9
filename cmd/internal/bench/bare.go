package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// BareConfig describes what the bare client posts.
type BareConfig struct {
	API         string // base URL of the sink
	Token       string
	Connections int
	Messages    int
	Size        int // of a payload, before the time is added
}

// BareResult is what it reached.
type BareResult struct {
	Messages int           `json:"messages"`
	Elapsed  time.Duration `json:"elapsed"`
	CPU      time.Duration `json:"cpu"`
}

// PerSecond is the rate.
func (r BareResult) PerSecond() float64 { return float64(r.Messages) / r.Elapsed.Seconds() }

// PerThousand is the CPU time of 1,000 calls in milliseconds.
func (r BareResult) PerThousand() float64 { return milliseconds(r.CPU) / float64(r.Messages) * 1000 }

// RunBare posts the bodies that a gateway would post, with the headers it would send, and does nothing else: a
// net/http client with one kept connection for each of its goroutines. It is the yardstick for delivery, and runs in a
// process of its own so that neither the load generator's memory nor its collector weigh on it.
func RunBare(ctx context.Context, cfg BareConfig) (BareResult, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: cfg.Connections, MaxConnsPerHost: cfg.Connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	var (
		group  sync.WaitGroup
		taken  atomic.Int64
		failed atomic.Pointer[error]
	)
	before, _ := readUsage(os.Getpid())
	start := time.Now()
	for worker := range cfg.Connections {
		group.Go(func() {
			device := fmt.Sprintf("bare-%04d", worker)
			url := cfg.API + "/devices/" + device + "/telemetry?api-version=2022-07-31"
			var body []byte
			for seq := 0; taken.Add(1) <= int64(cfg.Messages) && failed.Load() == nil; seq++ {
				body = bareBody(body[:0], worker, seq, cfg.Size)
				id := fmt.Sprintf("%08x-0000-5000-8000-%012x", worker, seq)
				if err := barePost(ctx, client, url, cfg.Token, id, body); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	if err := failed.Load(); err != nil {
		return BareResult{}, *err
	}
	after, _ := readUsage(os.Getpid())
	return BareResult{Messages: cfg.Messages, Elapsed: elapsed, CPU: after.CPU - before.CPU}, nil
}

// bareBody is a payload as a gateway sends it on: with the time of receipt.
func bareBody(b []byte, device, seq, size int) []byte {
	b = Payload(b, device, seq, 1, size)
	return append(b[:len(b)-1], `,"timestamp":"2026-01-02T03:04:05.678Z"}`...)
}

func barePost(ctx context.Context, client *http.Client, url, token, id string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Ms-Client-Request-Id", id)
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("post: answered %s", response.Status)
	}
	return nil
}
