package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

func outageScenario(ctx context.Context, r *run) error {
	messages := r.messages(1_000_000, 20_000)
	const diskLimit = 16 << 20
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	if err := r.sink.Down(ctx); err != nil {
		return err
	}
	g, err := r.serve(ctx, Settings{MemoryLimit: "80MiB"})
	if err != nil {
		return err
	}
	fleet := r.fleet(g, FleetConfig{Clients: devices, Window: window, Variants: 1})
	if err := fleet.Connect(ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := fleet.Publish(ctx, messages); err != nil {
		return err
	}
	accepted := float64(messages) / time.Since(start).Seconds()
	stored, err := diskUsage(g.data())
	if err != nil {
		return err
	}
	r.say("%d stored at %.0f/s, %.0f MiB on disk", messages, accepted, mebibytes(stored))

	// The gateway is stopped and started with the backlog, as an operator might during the outage.
	fleet.Close()
	stopped, err := g.stop()
	if err != nil {
		return err
	}
	first := r.fleet(g, FleetConfig{Clients: 1, Window: 1, Variants: 1, Prefix: "first"})
	started, err := g.startPublishing(ctx, first)
	if err != nil {
		return err
	}
	if err := r.sink.Up(ctx); err != nil {
		return err
	}
	back := time.Now()
	stats, err := r.drained(ctx, g, messages+1)
	if err != nil {
		return err
	}
	drained := float64(stats.Readings) / stats.Last.Sub(stats.First).Seconds()
	r.say("drained at %.0f/s", drained)
	// A minute is what the store may take to give the space back.
	var (
		disk       int64
		spaceAfter time.Duration
	)
	for emptied := time.Now(); ; {
		if disk, err = diskUsage(g.data()); err != nil {
			return err
		}
		spaceAfter = time.Since(emptied)
		if disk <= diskLimit || spaceAfter > time.Minute {
			break
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	if err := g.alive(); err != nil {
		return err
	}
	g.unwatch()
	if err := r.judgeAndKeep(ctx, fleet, first); err != nil {
		return err
	}
	fleet.Close()
	g.kill()
	bare, err := r.bare(ctx, min(messages, 100_000))
	if err != nil {
		return err
	}
	r.outcome.faultless = true
	r.outcome.add("stored", "", float64(messages))
	r.outcome.add("stored at", "/s", accepted)
	r.outcome.add("disk with the backlog", "MiB", mebibytes(stored))
	r.outcome.aim("stop on SIGTERM with the backlog", "ms", milliseconds(stopped), "<=", 10_000)
	r.outcome.aim("start with the backlog to first acknowledged publish", "ms", milliseconds(started), "<", 3000)
	r.outcome.add("application back to first arrival", "ms", milliseconds(max(0, stats.First.Sub(back))))
	r.outcome.add("drained at", "/s", drained)
	r.outcome.aim("drained, of the bare client", "", drained/bare.PerSecond(), ">=", 0.6)
	r.outcome.aim("resident memory, peak", "MiB", mebibytes(g.peakRSS), "<=", 120)
	r.outcome.add("anonymous memory, peak", "MiB", mebibytes(g.peakAno))
	r.outcome.aim("disk after the drain", "MiB", mebibytes(disk), "<=", mebibytes(diskLimit))
	r.outcome.add("space given back after", "ms", milliseconds(spaceAfter))
	return nil
}

func killScenario(ctx context.Context, r *run) error {
	kills := 10
	if r.opts.Quick {
		kills = 2
	}
	if err := r.killUnderLoad(ctx, kills); err != nil {
		return fmt.Errorf("under load: %w", err)
	}
	if err := r.killWithBacklog(ctx, kills); err != nil {
		return fmt.Errorf("with a backlog: %w", err)
	}
	r.outcome.add("kills under load, and with a backlog", "", float64(kills))
	return nil
}

// killUnderLoad kills while publishes are accepted and delivered.
func (r *run) killUnderLoad(ctx context.Context, kills int) error {
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	g, err := r.serve(ctx, Settings{})
	if err != nil {
		return err
	}
	fleet := r.fleet(g, FleetConfig{Clients: devices, Window: window, Variants: 1, Reconnect: true})
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() { ended <- fleet.PublishUntil(ctx, &stop) }()
	trouble := func() error {
		var longest time.Duration
		low, high := r.quickly(200*time.Millisecond), r.quickly(700*time.Millisecond)
		for range kills {
			if err := pause(ctx, between(low, high)); err != nil {
				return err
			}
			g.kill()
			start := time.Now()
			if err := g.start(ctx); err != nil {
				return err
			}
			longest = max(longest, time.Since(start))
		}
		r.outcome.add("under load, longest restart", "ms", milliseconds(longest))
		return pause(ctx, low) // so that the last start is met by a load as well
	}()
	stop.Store(true)
	if trouble != nil {
		fleet.abandon()
		return errors.Join(trouble, <-ended)
	}
	if err := <-ended; err != nil {
		return err
	}
	if _, err := r.drained(ctx, g, fleet.Published()); err != nil {
		return err
	}
	v, err := r.judge(ctx, fleet)
	if err != nil {
		return err
	}
	r.say("%d killed under load: %d published, %d lost, %d duplicated, %d resent twice", kills, v.Published, v.Lost, v.Duplicated, v.ResentTwice)
	r.outcome.judged(v)
	fleet.Close()
	g.kill()
	return nil
}

// killWithBacklog kills by turns while a backlog is being stored with the application gone, and while it is drained.
func (r *run) killWithBacklog(ctx context.Context, kills int) error {
	part := r.messages(10_000, 3_000)
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	if err := r.sink.Down(ctx); err != nil {
		return err
	}
	g, err := r.serve(ctx, Settings{})
	if err != nil {
		return err
	}
	fleet := r.fleet(g, FleetConfig{Clients: devices, Window: window, Variants: 1, Reconnect: true})
	var longest time.Duration
	for i := range kills {
		if err := fleet.Publish(ctx, part); err != nil {
			return err
		}
		if i%2 == 1 {
			if err := r.sink.Up(ctx); err != nil {
				return err
			}
			if err := pause(ctx, between(100*time.Millisecond, 600*time.Millisecond)); err != nil {
				return err
			}
		}
		g.kill()
		if err := r.sink.Down(ctx); err != nil {
			return err
		}
		start := time.Now()
		if err := g.start(ctx); err != nil {
			return err
		}
		longest = max(longest, time.Since(start))
	}
	if err := r.sink.Up(ctx); err != nil {
		return err
	}
	if _, err := r.drained(ctx, g, fleet.Published()); err != nil {
		return err
	}
	v, err := r.judge(ctx, fleet)
	if err != nil {
		return err
	}
	r.say("%d killed with a backlog: %d published, %d lost, %d duplicated, %d resent twice", kills, v.Published, v.Lost, v.Duplicated, v.ResentTwice)
	r.outcome.add("with a backlog, longest restart", "ms", milliseconds(longest))
	r.outcome.judged(v)
	fleet.Close()
	g.kill()
	return nil
}

func between(low, high time.Duration) time.Duration { return low + rand.N(high-low) }

func flakyScenario(ctx context.Context, r *run) error {
	phase := r.lasting(10*time.Second, 3*time.Second)
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	g, err := r.serve(ctx, Settings{})
	if err != nil {
		return err
	}
	fleet := r.fleet(g, FleetConfig{Clients: devices, Window: window, Variants: 1})
	if err := r.warmUp(ctx, g, fleet); err != nil {
		return err
	}
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() { ended <- fleet.PublishUntil(ctx, &stop) }()
	// rate is what arrives in a phase; half is when that first came to half of a goal, 0 when it did not.
	rate := func(faults Faults, goal float64) (perSecond float64, half time.Duration, err error) {
		if err := r.sink.Faults(ctx, faults); err != nil {
			return 0, 0, err
		}
		first, err := r.sink.Stats(ctx)
		if err != nil {
			return 0, 0, err
		}
		start := time.Now()
		last, at := first.Readings, start
		for time.Since(start) < phase {
			if err := pause(ctx, min(500*time.Millisecond, phase)); err != nil {
				return 0, 0, err
			}
			stats, err := r.sink.Stats(ctx)
			if err != nil {
				return 0, 0, err
			}
			now := time.Now()
			if half == 0 && float64(stats.Readings-last)/now.Sub(at).Seconds() >= goal/2 {
				half = now.Sub(start)
			}
			last, at = stats.Readings, now
		}
		return float64(last-first.Readings) / at.Sub(start).Seconds(), half, nil
	}
	var (
		rates    [3]float64
		recovery time.Duration
	)
	trouble := func() error {
		for i, faults := range []Faults{{}, {Error500: 0.10, Throttled429: 0.20, Dropped: 0.05}, {}} {
			if rates[i], recovery, err = rate(faults, rates[0]); err != nil {
				return err
			}
			r.say("phase %d of 3: %.0f/s", i+1, rates[i])
		}
		return g.alive()
	}()
	stop.Store(true)
	if trouble != nil {
		fleet.abandon()
		return errors.Join(trouble, <-ended)
	}
	if err := <-ended; err != nil {
		return err
	}
	if _, err := r.drained(ctx, g, fleet.Published()); err != nil {
		return err
	}
	if err := r.judgeAndKeep(ctx, fleet); err != nil {
		return err
	}
	fleet.Close()
	if _, err := g.stop(); err != nil {
		return err
	}
	r.outcome.add("without faults", "/s", rates[0])
	r.outcome.add("with faults", "/s", rates[1])
	r.outcome.add("after the faults", "/s", rates[2])
	r.outcome.aim("after, of without", "", rates[2]/rates[0], ">=", 0.5)
	if recovery > 0 {
		r.outcome.add("end of the faults to half the rate without", "ms", milliseconds(recovery))
	}
	return nil
}
