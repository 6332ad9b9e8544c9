package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Settings of the hostile scenarios: room for that many clients, all of which come from this machine.
const crowdLimits = "max_clients: 6000, max_connections: 9000, max_connections_per_address: 0, connection_rate: 0"

// crowdScenario measures what a client that does nothing costs.
func crowdScenario(ctx context.Context, r *run) error {
	clients := r.messages(5_000, 500)
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	g, err := r.serve(ctx, Settings{Limits: crowdLimits})
	if err != nil {
		return err
	}
	// What the first clients cause once is not counted.
	first := r.fleet(g, FleetConfig{Clients: 50, Window: 1, Prefix: "first"})
	if err := r.warmUp(ctx, g, first); err != nil {
		return err
	}
	before, err := g.settled(ctx)
	if err != nil {
		return err
	}
	crowd := r.fleet(g, FleetConfig{Clients: clients, Window: 1, Prefix: "idle"})
	if err := crowd.Connect(ctx); err != nil {
		return err
	}
	after, err := g.settled(ctx)
	if err != nil {
		return err
	}
	r.outcome.add("clients", "", float64(clients))
	r.outcome.aim("resident memory of an idle client", "KiB", float64(after.RSS-before.RSS)/float64(clients)/1024, "<", 30)
	crowd.Close()
	return nil
}

// settled waits until the resident memory no longer moves, and reads it.
func (g *gateway) settled(ctx context.Context) (Usage, error) {
	var last Usage
	for range 10 {
		if err := pause(ctx, 2*time.Second); err != nil {
			return last, err
		}
		now, err := g.usage()
		if err != nil {
			return now, err
		}
		if d := now.RSS - last.RSS; d < 1<<20 && d > -1<<20 {
			return now, nil
		}
		last = now
	}
	return last, nil
}

// siegeRounds is how often calm and siege take turns.
const siegeRounds = 6

// siegeScenario holds connections that say nothing, half a packet or garbage, and measures how long a normal client waits
// for its CONNACK meanwhile.
func siegeScenario(ctx context.Context, r *run) error {
	attackers := r.messages(2_000, 200)
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	g, err := r.serve(ctx, Settings{})
	if err != nil {
		return err
	}
	fleet := r.fleet(g, FleetConfig{Clients: 5, Window: 1, Prefix: "normal"})
	if err := r.warmUp(ctx, g, fleet); err != nil {
		return err
	}
	lasting := r.lasting(30*time.Second, 3*time.Second)
	// Calm and siege in turns, so that what else the machine does falls on both: a p99 is made by a few dozen of the samples.
	var calm, besieged Histogram
	var dropped atomic.Int64
	for range siegeRounds {
		if err := acceptLatency(ctx, g.mqtt, lasting/siegeRounds, &calm); err != nil {
			return err
		}
		siege := newSiege(g.mqtt, attackers)
		if err := pause(ctx, time.Second); err != nil {
			siege.end()
			return err
		}
		err := acceptLatency(ctx, g.mqtt, lasting/siegeRounds, &besieged)
		dropped.Add(siege.end())
		if err != nil {
			return err
		}
	}
	if err := fleet.Publish(ctx, 50); err != nil {
		return err
	}
	if _, err := r.drained(ctx, g, fleet.Published()); err != nil {
		return err
	}
	r.outcome.add("hostile connections at a time", "", float64(attackers))
	r.outcome.add("of them closed by the gateway", "", float64(dropped.Load()))
	r.outcome.add("clients connected, calm", "", float64(calm.Count()))
	r.outcome.add("clients connected, besieged", "", float64(besieged.Count()))
	r.outcome.add("CONNACK after, p50, calm", "ms", milliseconds(calm.Percentile(50)))
	r.outcome.add("CONNACK after, p50, besieged", "ms", milliseconds(besieged.Percentile(50)))
	r.outcome.add("CONNACK after, p99, calm", "ms", milliseconds(calm.Percentile(99)))
	r.outcome.add("CONNACK after, p99, besieged", "ms", milliseconds(besieged.Percentile(99)))
	r.outcome.aim("times as long", "", float64(besieged.Percentile(99))/float64(calm.Percentile(99)), "<=", 1.5)
	return r.judgeAndKeep(ctx, fleet)
}

// acceptLatency connects one client after the other for a while, from the first byte of TCP to CONNACK.
func acceptLatency(ctx context.Context, address string, lasting time.Duration, h *Histogram) error {
	end := time.Now().Add(lasting)
	for i := 0; time.Now().Before(end); i++ {
		f := NewFleet(FleetConfig{Address: address, Clients: 1, Window: 1, Version: 4, Prefix: fmt.Sprintf("visitor-%d", i%50), Clean: true})
		start := time.Now()
		if err := f.Connect(ctx); err != nil {
			return err
		}
		h.Record(time.Since(start))
		f.Close()
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// siege is a number of hostile connections; each that is closed is made anew.
type siege struct {
	cancel context.CancelFunc
	group  sync.WaitGroup
	closed atomic.Int64
}

func newSiege(address string, attackers int) *siege {
	ctx, cancel := context.WithCancel(context.Background())
	s := &siege{cancel: cancel}
	for i := range attackers {
		s.group.Go(func() { s.attack(ctx, address, i) })
	}
	return s
}

// attack connects from an address of its own among a few hundred, as a network full of scanners would.
func (s *siege) attack(ctx context.Context, address string, i int) {
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/250), byte(1+i%250))}}
	for round := 0; ctx.Err() == nil; round++ {
		// What is measured is connections that stand, not how fast they can be made: whoever is closed comes back later.
		if pause(ctx, time.Duration(rng.IntN(1000*(1+9*min(round, 1))))*time.Millisecond) != nil {
			return
		}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		switch i % 3 {
		case 0: // says nothing
		case 1: // half a CONNECT
			packet := appendConnect(nil, 4, "half-a-packet", true, 60)
			_, _ = conn.Write(packet[:len(packet)/2])
		default:
			_, _ = conn.Write(garbage(rng))
		}
		if _, err := io.Copy(io.Discard, conn); err == nil || ctx.Err() == nil {
			s.closed.Add(1)
		}
		stop()
		_ = conn.Close()
	}
}

// end ends the siege and reports how many of its connections the gateway had closed.
func (s *siege) end() int64 {
	s.cancel()
	s.group.Wait()
	return s.closed.Load()
}

// goroutines asks the gateway's own metrics how many it has.
func (g *gateway) goroutines(ctx context.Context) (int64, error) {
	text, err := g.metrics(ctx)
	if err != nil {
		return 0, err
	}
	return parseField(text, "go_goroutines"), nil
}

// metrics reads the gateway's metrics page.
func (g *gateway) metrics(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.console+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	return text, nil
}

// emptied waits until the gateway's queue is empty: what the fuzzers published counts as arrived too, so the sink cannot
// tell.
func (g *gateway) emptied(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		text, err := g.metrics(ctx)
		if err != nil {
			return err
		}
		if parseField(text, `iotc_gateway_queue_records{class="telemetry"}`) == 0 {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("wait for an empty queue: %w", err)
		}
	}
}

// errOpen says that the gateway left a connection open that it has to close.
var errOpen = errors.New("the gateway left a connection open")

// closes measures after what time the gateway closes a connection that sends a byte of the packet every interval.
func closes(ctx context.Context, address string, packet []byte, interval time.Duration) (time.Duration, error) {
	const patience = 30 * time.Second
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, fmt.Errorf("dial broker: %w", err)
	}
	defer func() { _ = conn.Close() }()
	start := time.Now()
	_ = conn.SetReadDeadline(start.Add(patience))
	done := make(chan struct{})
	defer close(done)
	go func() {
		for i := range packet {
			select {
			case <-done:
				return
			case <-time.After(interval):
			}
			if _, err := conn.Write(packet[i : i+1]); err != nil {
				return
			}
		}
	}()
	_, _ = io.Copy(io.Discard, conn)
	took := time.Since(start)
	if took >= patience {
		return took, errOpen
	}
	return took, nil
}
