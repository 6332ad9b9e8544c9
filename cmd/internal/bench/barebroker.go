package bench

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"iotc-gateway/cmd/internal/bench/barebroker"
)

// BareBrokerConfig describes a gateway without anything that makes it one.
type BareBrokerConfig struct {
	Listen  string // host:port
	API     string // base URL of the sink
	Token   string
	Posters int
}

// bareBacklog is how many publishes may wait for a poster before the clients are held back: more than any run has, since
// that is what costs this broker least. It then takes what comes in large pieces and acknowledges at its own speed, as the
// gateway does.
const bareBacklog = 1 << 18

// RunBareBroker serves the broker library as it comes and posts every publish with net/http, until ctx ends. It stores
// nothing, so what it has acknowledged is lost with it, and it keeps no order among the publishes of a device. It is the
// second yardstick: what the least that could be called a gateway costs on the machine at hand.
func RunBareBroker(ctx context.Context, cfg BareBrokerConfig) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	transport := &http.Transport{MaxIdleConnsPerHost: cfg.Posters, MaxConnsPerHost: cfg.Posters}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	type publish struct {
		topic   string
		payload []byte
	}
	publishes := make(chan publish, bareBacklog)
	var (
		posters sync.WaitGroup
		failed  atomic.Pointer[error]
	)
	for worker := range cfg.Posters {
		posters.Go(func() {
			var body []byte
			for seq := 0; ; seq++ {
				var p publish
				select {
				case p = <-publishes:
				case <-ctx.Done():
					return
				}
				body = append(body[:0], p.payload[:len(p.payload)-1]...)
				body = append(body, `,"timestamp":"`...)
				body = append(time.Now().UTC().AppendFormat(body, time.RFC3339Nano), `"}`...)
				id := fmt.Sprintf("%08x-0000-5000-8000-%012x", worker, seq)
				err := barePost(ctx, client, cfg.API+"/"+p.topic+"?api-version=2022-07-31", cfg.Token, id, body)
				if err != nil && ctx.Err() == nil {
					failed.Store(&err)
					stop()
				}
			}
		})
	}
	err := barebroker.Serve(ctx, cfg.Listen, func(topic string, payload []byte) {
		if len(payload) == 0 {
			return // no JSON object, as the load's are
		}
		select {
		case publishes <- publish{topic, payload}:
		case <-ctx.Done():
		}
	})
	stop()
	posters.Wait()
	if cause := failed.Load(); cause != nil {
		return *cause
	}
	return err
}
