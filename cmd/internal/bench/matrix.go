package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"
)

// site is a gateway whose both links go over wires.
type site struct {
	r      *run
	g      *gateway
	field  *Wire // devices to gateway
	uplink *Wire // gateway to application
}

func (r *run) newSite(ctx context.Context, s Settings) (*site, error) {
	if err := r.freshSink(ctx); err != nil {
		return nil, err
	}
	api, err := url.Parse(r.sink.API)
	if err != nil {
		return nil, fmt.Errorf("address of the sink: %w", err)
	}
	uplink, err := NewWire(api.Host)
	if err != nil {
		return nil, err
	}
	api.Host = uplink.Address()
	s.URL = api.String()
	g, err := r.serve(ctx, s)
	if err != nil {
		uplink.Close()
		return nil, err
	}
	field, err := NewWire(g.mqtt)
	if err != nil {
		uplink.Close()
		return nil, err
	}
	return &site{r: r, g: g, field: field, uplink: uplink}, nil
}

func (s *site) close() {
	s.field.Close()
	s.uplink.Close()
}

// trouble is one thing that goes wrong at a site, for a while.
type trouble struct {
	name string
	// run makes it go wrong, waits for about the given time, and makes it right
	// again, also when it fails.
	run func(ctx context.Context, s *site, lasting time.Duration) error
}

// troubles are the cells of the matrix: each link cut, slowed, stalled and
// garbled, the application failing in its ways, the gateway stopped and killed.
func troubles() []trouble {
	return []trouble{
		{"field cut", cutting(func(s *site) *Wire { return s.field })},
		{"field stalled", ailing(func(s *site) *Wire { return s.field }, Ill{Stalled: true})},
		{"field slowed", ailing(func(s *site) *Wire { return s.field }, Ill{Delay: 40 * time.Millisecond, PerPiece: 1 << 10})},
		{"uplink refused", ailing(func(s *site) *Wire { return s.uplink }, Ill{Refused: true})},
		{"uplink cut", cutting(func(s *site) *Wire { return s.uplink })},
		{"uplink cut within answers", ailing(func(s *site) *Wire { return s.uplink }, Ill{CutAfter: 300, PerPiece: 100})},
		{"uplink stalled", ailing(func(s *site) *Wire { return s.uplink }, Ill{Stalled: true})},
		{"uplink slowed", ailing(func(s *site) *Wire { return s.uplink }, Ill{Delay: 40 * time.Millisecond, PerPiece: 1 << 10})},
		{"uplink garbled", ailing(func(s *site) *Wire { return s.uplink }, Ill{Garbled: true})},
		{"application failing", faulty(Faults{Error500: 0.3, Throttled429: 0.3, Dropped: 0.2})},
		{"gateway stopped", restarting(func(g *gateway) error { _, err := g.stop(); return err })},
		{"gateway killed", restarting(func(g *gateway) error { g.kill(); return nil })},
		{"disk full", fillDisk},
	}
}

func ailing(wire func(*site) *Wire, ill Ill) func(context.Context, *site, time.Duration) error {
	return func(ctx context.Context, s *site, lasting time.Duration) error {
		w := wire(s)
		if err := w.Set(ill); err != nil {
			return err
		}
		return errors.Join(pause(ctx, lasting), w.Set(Ill{}))
	}
}

// cutting resets all connections again and again, at short and uneven times.
func cutting(wire func(*site) *Wire) func(context.Context, *site, time.Duration) error {
	return func(ctx context.Context, s *site, lasting time.Duration) error {
		for end := time.Now().Add(lasting); time.Now().Before(end); {
			if err := pause(ctx, between(20*time.Millisecond, 300*time.Millisecond)); err != nil {
				return err
			}
			wire(s).Cut()
		}
		return nil
	}
}

func faulty(f Faults) func(context.Context, *site, time.Duration) error {
	return func(ctx context.Context, s *site, lasting time.Duration) error {
		if err := s.r.sink.Faults(ctx, f); err != nil {
			return err
		}
		return errors.Join(pause(ctx, lasting), s.r.sink.Faults(ctx, Faults{}))
	}
}

func restarting(end func(*gateway) error) func(context.Context, *site, time.Duration) error {
	return func(ctx context.Context, s *site, lasting time.Duration) error {
		if err := pause(ctx, lasting/2); err != nil {
			return err
		}
		return errors.Join(end(s.g), s.g.start(ctx))
	}
}

// errLargeDisk says that a trouble was passed over.
var errLargeDisk = errors.New("passed over: the file system is too large to be filled; use --data-dir on one of 200 MiB to 1 GiB, such as a tmpfs")

// matrixScenario goes through every trouble while devices publish, each with
// devices of its own and an exact account after it.
func matrixScenario(ctx context.Context, r *run) error {
	lasting := r.lasting(5*time.Second, 1500*time.Millisecond)
	s, err := r.newSite(ctx, Settings{MinFree: "16MiB"})
	if err != nil {
		return err
	}
	defer s.close()
	var (
		fleets  []*Fleet
		sum     Verdict
		longest time.Duration
	)
	for i, t := range troubles() {
		fleet := r.fleet(s.g, FleetConfig{
			Address: s.field.Address(), Clients: 10, Window: 10, Variants: 1, Interval: 5 * time.Millisecond, Reconnect: true, Prefix: fmt.Sprintf("row%02d", i),
		})
		fleets = append(fleets, fleet)
		recovery, err := s.suffer(ctx, t, fleet, fleets, lasting)
		if errors.Is(err, errLargeDisk) {
			r.say("%s: %v", t.name, err)
			err = nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		ledger, err := r.sink.Ledger(ctx)
		if err != nil {
			return err
		}
		sum = judgeFleets(ledger, fleets)
		r.say("%s: %d published so far, %d lost, %d duplicated, %d out of order, delivered %s after it ended",
			t.name, sum.Published, sum.Lost, sum.Duplicated, sum.OutOfOrder, recovery.Round(time.Millisecond))
		if sum.Broken() {
			r.outcome.judged(sum)
			return nil
		}
		longest = max(longest, recovery)
		fleet.Close()
	}
	r.outcome.judged(sum)
	r.outcome.add("troubles", "", float64(len(fleets)))
	r.outcome.add("longest until all was delivered after a trouble", "ms", milliseconds(longest))
	return nil
}

// suffer lets one trouble happen while a fleet publishes, and returns how long
// after it ended everything had been delivered.
func (s *site) suffer(ctx context.Context, t trouble, fleet *Fleet, fleets []*Fleet, lasting time.Duration) (time.Duration, error) {
	if err := fleet.Connect(ctx); err != nil {
		return 0, err
	}
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() { ended <- fleet.PublishUntil(ctx, &stop) }()
	err := pause(ctx, 200*time.Millisecond)
	if err == nil {
		err = t.run(ctx, s, lasting)
	}
	over := time.Now()
	if err == nil {
		err = pause(ctx, 200*time.Millisecond)
	}
	stop.Store(true)
	if err != nil && !errors.Is(err, errLargeDisk) {
		fleet.abandon()
		return 0, errors.Join(err, <-ended)
	}
	if e := <-ended; e != nil {
		return 0, e
	}
	want := 0
	for _, f := range fleets {
		want += f.Published()
	}
	if _, e := s.r.drained(ctx, s.g, want); e != nil {
		return 0, e
	}
	return time.Since(over), err
}

// soakScenario lets trouble after trouble happen in random order to a gateway
// that many devices publish to, for 20 minutes, and ends with the exact account.
func soakScenario(ctx context.Context, r *run) error {
	lasting := r.lasting(20*time.Minute, 20*time.Second)
	s, err := r.newSite(ctx, Settings{MinFree: "16MiB", MemoryLimit: "96MiB"})
	if err != nil {
		return err
	}
	defer s.close()
	fleet := r.fleet(s.g, FleetConfig{
		Address: s.field.Address(), Clients: devices, Window: window, Variants: 1, Interval: 50 * time.Millisecond, Reconnect: true, Prefix: "soak",
	})
	if err := fleet.Connect(ctx); err != nil {
		return err
	}
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() { ended <- fleet.PublishUntil(ctx, &stop) }()
	all, count := troubles(), 0
	var failure error
	for end := time.Now().Add(lasting); failure == nil && time.Now().Before(end); {
		t := all[rand.N(len(all))]
		err := t.run(ctx, s, between(time.Second, 6*time.Second))
		if errors.Is(err, errLargeDisk) {
			continue
		}
		count++
		r.say("%d: %s; %d acknowledged, %s left", count, t.name, fleet.Acked(), time.Until(end).Round(time.Second))
		failure = errors.Join(err, pause(ctx, between(500*time.Millisecond, 4*time.Second)))
	}
	stop.Store(true)
	if failure != nil {
		fleet.abandon()
		return errors.Join(failure, <-ended)
	}
	if err := <-ended; err != nil {
		return err
	}
	if _, err := r.drained(ctx, s.g, fleet.Published()); err != nil {
		return err
	}
	s.g.unwatch()
	if err := r.judgeAndKeep(ctx, fleet); err != nil {
		return err
	}
	r.outcome.add("troubles", "", float64(count))
	r.outcome.add("connections lost", "", float64(fleet.lostConnections.Load()))
	r.outcome.aim("resident memory, peak", "MiB", mebibytes(s.g.peakRSS), "<=", 120)
	return nil
}
