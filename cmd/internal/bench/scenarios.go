package bench

import (
	"context"
	"errors"
	"time"
)

// The load of most scenarios: so many devices, each with so many unacknowledged publishes.
const (
	devices = 50
	window  = 20
)

func scenarios() []scenario {
	return []scenario{
		{"start", "from the start of the process to the first acknowledged publish, empty store", startScenario, false},
		{"idle", "no traffic, gateway.report off", idleScenario, false},
		{"accepts", "50 devices with 20 and one with 100 and with 1 in flight, 200 B, application unreachable", acceptsScenario, false},
		{"steady", "50 devices, QoS 1, 20 in flight each, 200 B, durable, one call a publish", steadyScenario, false},
		{"steady-coalesce", "the same with coalesce: 1s, up to 5 readings a call", coalesceScenario, false},
		{"slow-sink", "50 devices, the application takes 20 ms to answer", slowScenario, false},
		{"flaky", "the application answers 10 % with 500, 20 % with 429 and drops 5 % after taking them", flakyScenario, false},
		{"kill", "kill -9 of the gateway under load and with a backlog", killScenario, false},
		{"outage", "the application is gone while publishes are stored, then drained", outageScenario, false},
		{"matrix", "each link cut, slowed, stalled and garbled, the application failing, the gateway stopped and killed, the disk full", matrixScenario, true},
		{"soak", "all of these in random order for 20 minutes", soakScenario, true},
		{"crowd", "5,000 clients that do nothing", crowdScenario, true},
		{"siege", "2,000 connections that say nothing, half a packet or garbage, and a normal client", siegeScenario, true},
		{"fuzz", "mutilated packets on 16 connections for 10 minutes, and normal clients", fuzzScenario, true},
	}
}

// warmUp publishes a little and lets it through, so that devices are registered and connections open.
func (r *run) warmUp(ctx context.Context, g *gateway, f *Fleet) error {
	if err := f.Connect(ctx); err != nil {
		return err
	}
	if err := f.Publish(ctx, f.cfg.Clients*f.cfg.Window); err != nil {
		return err
	}
	_, err := r.drained(ctx, g, f.Published())
	f.Latency.Reset()
	return err
}

// What 1,000 publishes may cost, and what they cost a bare broker, both in milliseconds of the machine that the targets
// were set on. Their ratio holds on others as well.
const (
	wantedCPU     = 45.0
	bareBrokerCPU = 55.0
)

// flow is what a gateway did with a load that went through it.
type flow struct {
	accepted  float64 // publishes acknowledged a second
	delivered float64 // readings taken by the application a second, from the first publish to the last arrival
	cpu       float64 // milliseconds of the gateway's CPU for 1,000 readings
	written   float64 // bytes written to disk for each payload byte accepted
	count     int     // readings
	calls     int64   // that carried them
	opened    int64   // connections to the application, over the life of the gateway
}

// through publishes through a warmed-up gateway and waits until everything has come out.
func (r *run) through(ctx context.Context, g *gateway, f *Fleet, publish func() error) (flow, error) {
	published := f.Published()
	sinkBefore, err := r.sink.Stats(ctx)
	if err != nil {
		return flow{}, err
	}
	before, err := g.usage()
	if err != nil {
		return flow{}, err
	}
	start := time.Now()
	if err := publish(); err != nil {
		return flow{}, err
	}
	accepting := time.Since(start)
	count := f.Published() - published
	stats, err := r.drained(ctx, g, f.Published())
	if err != nil {
		return flow{}, err
	}
	after, err := g.usage()
	if err != nil {
		return flow{}, err
	}
	result := flow{
		accepted:  float64(count) / accepting.Seconds(),
		delivered: float64(stats.Readings-sinkBefore.Readings) / stats.Last.Sub(start).Seconds(),
		cpu:       milliseconds(after.CPU-before.CPU) / float64(count) * 1000,
		written:   float64(after.WriteBytes-before.WriteBytes) / float64(count*payloadSize),
		count:     count,
		opened:    stats.Connections,
		calls:     stats.Calls - sinkBefore.Calls,
	}
	r.say("accepted %.0f/s, delivered %.0f/s, %.1f CPU ms per 1,000", result.accepted, result.delivered, result.cpu)
	return result, nil
}

func steadyScenario(ctx context.Context, r *run) error {
	messages := r.messages(100_000, 10_000)
	r.outcome.faultless = true
	var (
		result flow
		fleet  *Fleet
		g      *gateway
	)
	var broker flow
	bare, err := r.beside(ctx, messages, func() (err error) {
		broker, err = r.besideBroker(ctx, messages, func() (err error) {
			g, fleet, result, err = r.steadily(ctx, Settings{}, 1, messages)
			return err
		})
		return err
	})
	if err != nil {
		return err
	}
	r.outcome.add("bare client", "/s", bare.PerSecond())
	r.outcome.add("bare client, CPU per 1,000", "ms", bare.PerThousand())
	r.outcome.add("bare broker, of the bare client", "", broker.delivered/bare.PerSecond())
	r.outcome.add("bare broker, CPU per 1,000", "ms", broker.cpu)
	r.outcome.add("delivered", "/s", result.delivered)
	r.outcome.aim("delivered, of the bare client", "", result.delivered/bare.PerSecond(), ">=", 0.60)
	r.outcome.add("accepted", "/s", result.accepted)
	r.outcome.aim("CPU per 1,000", "ms", result.cpu, "<=", wantedCPU)
	r.outcome.aim("CPU, of the bare broker's", "", result.cpu/broker.cpu, "<=", wantedCPU/bareBrokerCPU)
	r.outcome.aim("bytes written per accepted byte", "", result.written, "<", 3)
	r.outcome.add("acknowledged after, p50", "ms", milliseconds(fleet.Latency.Percentile(50)))
	r.outcome.add("acknowledged after, p99", "ms", milliseconds(fleet.Latency.Percentile(99)))
	r.outcome.add("resident memory, peak", "MiB", mebibytes(g.peakRSS))
	r.outcome.add("anonymous memory, peak", "MiB", mebibytes(g.peakAno))
	r.outcome.add("connections opened to the application", "", float64(result.opened))
	return nil
}

// steadily runs one gateway from start to stop under the usual load and keeps its account.
func (r *run) steadily(ctx context.Context, s Settings, variants, messages int) (*gateway, *Fleet, flow, error) {
	if err := r.freshSink(ctx); err != nil {
		return nil, nil, flow{}, err
	}
	g, err := r.serve(ctx, s)
	if err != nil {
		return nil, nil, flow{}, err
	}
	fleet := r.fleet(g, FleetConfig{Clients: devices, Window: window, Variants: variants})
	if err := r.warmUp(ctx, g, fleet); err != nil {
		return nil, nil, flow{}, err
	}
	result, err := r.through(ctx, g, fleet, func() error {
		if r.opts.Duration > 0 {
			return fleet.PublishFor(ctx, r.opts.Duration)
		}
		return fleet.Publish(ctx, messages)
	})
	if err != nil {
		return nil, nil, flow{}, err
	}
	if err := r.judgeAndKeep(ctx, fleet); err != nil {
		return nil, nil, flow{}, err
	}
	fleet.Close()
	_, err = g.stop()
	return g, fleet, result, err
}

func coalesceScenario(ctx context.Context, r *run) error {
	messages := r.messages(100_000, 10_000)
	r.outcome.faultless = true
	_, _, single, err := r.steadily(ctx, Settings{}, 1, messages/2)
	if err != nil {
		return err
	}
	_, _, joined, err := r.steadily(ctx, Settings{Coalesce: time.Second}, 5, messages)
	if err != nil {
		return err
	}
	r.outcome.add("delivered without coalesce", "/s", single.delivered)
	r.outcome.add("delivered", "/s", joined.delivered)
	r.outcome.aim("times as many as without", "", joined.delivered/single.delivered, ">=", 2)
	r.outcome.add("readings a call", "", float64(joined.count)/float64(max(joined.calls, 1)))
	r.outcome.add("CPU per 1,000", "ms", joined.cpu)
	return nil
}

func slowScenario(ctx context.Context, r *run) error {
	const latency = 20 * time.Millisecond
	slow := func(s Settings, messages int) (perSecond float64, v Verdict, err error) {
		if err := r.freshSink(ctx); err != nil {
			return 0, v, err
		}
		g, err := r.serve(ctx, s)
		if err != nil {
			return 0, v, err
		}
		defer g.kill()
		fleet := r.fleet(g, FleetConfig{Clients: devices, Window: window, Variants: 1})
		if err := r.warmUp(ctx, g, fleet); err != nil {
			return 0, v, err
		}
		if err := r.sink.Faults(ctx, Faults{Latency: latency}); err != nil {
			return 0, v, err
		}
		result, err := r.through(ctx, g, fleet, func() error { return fleet.Publish(ctx, messages) })
		if err != nil {
			return 0, v, err
		}
		v, err = r.judge(ctx, fleet)
		fleet.Close()
		return result.delivered, v, err
	}
	r.outcome.faultless = true
	strict, verdict, err := slow(Settings{Concurrency: 64}, r.messages(25_000, 5_000))
	if err != nil {
		return err
	}
	r.outcome.judged(verdict)
	ideal := devices / latency.Seconds()
	r.outcome.add("strict order", "/s", strict)
	r.outcome.aim("strict order, of devices / 20 ms", "", strict/ideal, ">=", 0.9)
	wide, verdict, err := slow(Settings{Concurrency: 512, InFlight: 8}, r.messages(90_000, 20_000))
	if err != nil {
		return err
	}
	r.outcome.aim("8 in flight per device", "/s", wide, ">=", 9000)
	r.outcome.add("8 in flight, overtaken (allowed)", "", float64(verdict.OutOfOrder))
	verdict.OutOfOrder = 0
	r.outcome.judged(verdict)
	return nil
}

func acceptsScenario(ctx context.Context, r *run) error {
	one, many, alone := r.messages(60_000, 10_000), r.messages(100_000, 10_000), r.messages(2_000, 500)
	type rates struct{ one, many float64 }
	accepts := func(f *Fleet, messages int) (float64, error) {
		if err := f.Connect(ctx); err != nil {
			return 0, err
		}
		defer f.Close()
		if err := f.Publish(ctx, f.cfg.Clients*f.cfg.Window); err != nil {
			return 0, err
		}
		f.Latency.Reset()
		start := time.Now()
		err := f.Publish(ctx, messages)
		if f.Acked() != f.Published() && err == nil {
			err = errors.New("a publish was refused")
		}
		return float64(messages) / time.Since(start).Seconds(), err
	}
	both := func(g *gateway) (result rates, err error) {
		result.one, err = accepts(r.fleet(g, FleetConfig{Clients: 1, Window: 100, Variants: 1, Prefix: "one"}), one)
		if err != nil {
			return result, err
		}
		result.many, err = accepts(r.fleet(g, FleetConfig{Clients: devices, Window: window, Variants: 1, Prefix: "many"}), many)
		r.say("accepted %.0f/s from one client, %.0f/s from %d", result.one, result.many, devices)
		return result, err
	}
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	if err := r.sink.Down(ctx); err != nil {
		return err
	}
	durable, err := r.serve(ctx, Settings{Sync: "always"})
	if err != nil {
		return err
	}
	// One publish at a time, between two measurements of what a sync costs.
	var syncs Histogram
	if err := probeSyncs(durable.dir, alone/2, &syncs); err != nil {
		return err
	}
	lone := r.fleet(durable, FleetConfig{Clients: 1, Window: 1, Variants: 1, Prefix: "lone"})
	if _, err := accepts(lone, alone); err != nil {
		return err
	}
	if err := probeSyncs(durable.dir, alone/2, &syncs); err != nil {
		return err
	}
	synced, err := both(durable)
	if err != nil {
		return err
	}
	durable.kill()
	loose, err := r.serve(ctx, Settings{Sync: "never"})
	if err != nil {
		return err
	}
	never, err := both(loose)
	if err != nil {
		return err
	}
	loose.kill()
	p50, sync := milliseconds(lone.Latency.Percentile(50)), milliseconds(syncs.Percentile(50))
	r.outcome.add("one client, 100 in flight", "/s", synced.one)
	r.outcome.aim("one client, of sync: never", "", synced.one/never.one, ">=", 0.5)
	r.outcome.add("50 clients, 20 in flight", "/s", synced.many)
	r.outcome.aim("50 clients, of sync: never", "", synced.many/never.many, ">=", 0.55)
	r.outcome.add("one in flight, acknowledged after, p50", "ms", p50)
	r.outcome.add("one in flight, acknowledged after, p99", "ms", milliseconds(lone.Latency.Percentile(99)))
	r.outcome.add("one fdatasync, p50", "ms", sync)
	r.outcome.aim("one in flight, p50 above one fdatasync", "ms", p50-sync, "<=", 0.4)
	return nil
}

func startScenario(ctx context.Context, r *run) error {
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	g, err := r.prepare(Settings{})
	if err != nil {
		return err
	}
	fleet := r.fleet(g, FleetConfig{Clients: 1, Window: 1, Variants: 1})
	took, err := g.startPublishing(ctx, fleet)
	if err != nil {
		return err
	}
	if _, err := r.drained(ctx, g, 1); err != nil {
		return err
	}
	usage, err := g.usage()
	if err != nil {
		return err
	}
	if err := r.judgeAndKeep(ctx, fleet); err != nil {
		return err
	}
	stopped, err := g.stop()
	if err != nil {
		return err
	}
	r.outcome.aim("start to first acknowledged publish", "ms", milliseconds(took), "<", 1000)
	r.outcome.add("CPU of the start", "ms", milliseconds(usage.CPU))
	r.outcome.aim("stop on SIGTERM", "ms", milliseconds(stopped), "<=", 10_000)
	return nil
}

func idleScenario(ctx context.Context, r *run) error {
	watching := r.lasting(20*time.Second, 3*time.Second)
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	g, err := r.serve(ctx, Settings{})
	if err != nil {
		return err
	}
	for _, step := range []struct {
		name    string
		clients int
		memory  float64
	}{{"no clients", 0, 40}, {"1,000 clients", 1000, 70}} {
		fleet := r.fleet(g, FleetConfig{Clients: step.clients, Window: 1, Variants: 1, Prefix: "idle"})
		if err := fleet.Connect(ctx); err != nil {
			return err
		}
		// What the start and the connecting set off is not idleness.
		if err := pause(ctx, min(watching, 5*time.Second)); err != nil {
			return err
		}
		before, err := g.usage()
		if err != nil {
			return err
		}
		start := time.Now()
		if err := pause(ctx, watching); err != nil {
			return err
		}
		after, err := g.usage()
		if err != nil {
			return err
		}
		r.outcome.aim(step.name+", resident memory", "MiB", mebibytes(after.RSS), "<", step.memory)
		r.outcome.add(step.name+", anonymous memory", "MiB", mebibytes(after.Anonymous))
		r.outcome.aim(step.name+", of one core", "%", 100*float64(after.CPU-before.CPU)/float64(time.Since(start)), "<", 1)
		r.outcome.aim(step.name+", written to disk", "B", float64(after.WriteBytes-before.WriteBytes), "<=", 0)
	}
	return nil
}
