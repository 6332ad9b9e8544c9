package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// FleetConfig describes a load.
type FleetConfig struct {
	Address   string // host:port of the broker; empty for the gateway's own
	Clients   int
	Window    int    // unacknowledged publishes a client
	Version   byte   // 4 (MQTT 3.1.1) or 5
	Size      int    // bytes of a payload
	Variants  int    // see Payload
	Prefix    string // of the client ids, which are the device ids
	Clean     bool   // forget the session with the connection
	Reconnect bool   // a lost connection is made again and the rest sent again, else it is an error

	Interval time.Duration // between two publishes of a client; 0 is as fast as the window allows
}

// Fleet is a number of devices that publish QoS 1 telemetry at full speed, each bounded by its window. Its methods
// are for one goroutine, except Acked.
type Fleet struct {
	cfg     FleetConfig
	clients []*client

	Latency Histogram // from the write of a publish to its PUBACK

	acked           atomic.Int64
	refused         atomic.Int64
	resent          atomic.Int64
	ackDisorder     atomic.Int64
	strayAcks       atomic.Int64
	lostConnections atomic.Int64
	abandoned       atomic.Bool
}

// NewFleet makes the devices; nothing is dialled yet.
func NewFleet(cfg FleetConfig) *Fleet {
	f := &Fleet{cfg: cfg}
	for i := range cfg.Clients {
		name := fmt.Sprintf("%s-%04d", cfg.Prefix, i)
		f.clients = append(f.clients, &client{fleet: f, number: i, name: name, topic: "devices/" + name + "/telemetry"})
	}
	return f
}

// Connect connects every device, a few at a time.
func (f *Fleet) Connect(ctx context.Context) error {
	return f.each(8, func(c *client) error {
		if c.conn != nil {
			return nil
		}
		return c.reconnect(ctx)
	})
}

// Publish sends total messages, split evenly, and returns when every one is answered.
func (f *Fleet) Publish(ctx context.Context, total int) error {
	var never atomic.Bool
	next := 0
	quotas := make(map[*client]int, len(f.clients))
	for i, c := range f.clients {
		upto := total * (i + 1) / len(f.clients)
		quotas[c] = upto - next
		next = upto
	}
	return f.each(len(f.clients), func(c *client) error { return c.publish(ctx, quotas[c], &never) })
}

// PublishUntil publishes until stop is set, and returns when everything sent is answered.
func (f *Fleet) PublishUntil(ctx context.Context, stop *atomic.Bool) error {
	return f.each(len(f.clients), func(c *client) error { return c.publish(ctx, -1, stop) })
}

// PublishFor publishes for a time.
func (f *Fleet) PublishFor(ctx context.Context, d time.Duration) error {
	var stop atomic.Bool
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	return f.PublishUntil(ctx, &stop)
}

func (f *Fleet) each(parallel int, do func(*client) error) error {
	var (
		group sync.WaitGroup
		mu    sync.Mutex // guards all
		all   []error
		seats = make(chan struct{}, max(parallel, 1))
	)
	for _, c := range f.clients {
		seats <- struct{}{}
		group.Go(func() {
			defer func() { <-seats }()
			if err := do(c); err != nil {
				mu.Lock()
				all = append(all, err)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if len(all) > 3 {
		all = append(all[:3], fmt.Errorf("and %d more", len(all)-3))
	}
	return errors.Join(all...)
}

// Acked is the number of publishes acknowledged so far.
func (f *Fleet) Acked() int { return int(f.acked.Load()) }

// Published is the number of publishes sent at least once. Call it while nothing publishes.
func (f *Fleet) Published() int {
	total := 0
	for _, c := range f.clients {
		total += c.ledger.Next
	}
	return total
}

// judgeFleets compares what these fleets published with what the sink holds. Call it while nothing publishes.
func judgeFleets(l Ledger, fleets []*Fleet) Verdict {
	published := make(map[string]*Published)
	disorder := 0
	for _, f := range fleets {
		disorder += int(f.ackDisorder.Load() + f.strayAcks.Load())
		for _, c := range f.clients {
			published[c.name] = &c.ledger
		}
	}
	v := Judge(published, l.Devices)
	v.IDsReused = l.IDsReused
	v.AckDisorder = disorder
	return v
}

// abandon makes whatever still publishes give up soon.
func (f *Fleet) abandon() { f.abandoned.Store(true) }

// Close drops every connection without a DISCONNECT.
func (f *Fleet) Close() {
	for _, c := range f.clients {
		if c.conn != nil {
			_ = c.conn.Close()
			c.conn = nil
		}
	}
}
