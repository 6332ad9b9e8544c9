package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// runLimit bounds one run of one scenario, on top of the duration that was asked for, should a gateway neither answer nor end.
const runLimit = 30 * time.Minute

// afterDrain is how long the bench listens after the last reading for one that comes twice.
const afterDrain = 300 * time.Millisecond

// run is one run of one scenario: what it uses and what it finds.
type run struct {
	opts    Options
	root    string
	sink    *sinkProcess
	name    string
	outcome outcome

	gateways []*gateway
	profiled int // of them
	fleets   []*Fleet
}

// end kills and closes everything that is left.
func (r *run) end() {
	for _, f := range r.fleets {
		f.Close()
	}
	for _, g := range r.gateways {
		g.kill()
		if !r.opts.Keep {
			_ = os.RemoveAll(g.dir)
		}
	}
}

func (r *run) say(format string, args ...any) {
	r.opts.Progress("  " + r.name + ": " + fmt.Sprintf(format, args...))
}

// tellLogs shows what the gateways themselves had to say, for whoever looks for the reason of a broken promise.
func (r *run) tellLogs() {
	for _, g := range r.gateways {
		if lines := g.lastLines(20); lines != "" {
			r.say("the last words of a gateway:\n%s", lines)
		}
	}
}

// messages is the number that was asked for, else the scenario's own.
func (r *run) messages(full, quick int) int {
	if r.opts.Quick {
		full = quick
	}
	return cmp.Or(r.opts.Messages, full)
}

// quickly shortens a time that nothing is measured in.
func (r *run) quickly(d time.Duration) time.Duration {
	if r.opts.Quick {
		return d / 4
	}
	return d
}

// lasting is the same for a time.
func (r *run) lasting(full, quick time.Duration) time.Duration {
	if r.opts.Quick {
		full = quick
	}
	return cmp.Or(r.opts.Duration, full)
}

// freshSink forgets what came before and makes the application reachable.
func (r *run) freshSink(ctx context.Context) error {
	if err := r.sink.Reset(ctx); err != nil {
		return err
	}
	return r.sink.Up(ctx)
}

// prepare makes a gateway that is not running yet.
func (r *run) prepare(s Settings) (*gateway, error) {
	s.URL = cmp.Or(s.URL, r.sink.API)
	s.Concurrency = cmp.Or(s.Concurrency, 32)
	g, err := newGateway(r.opts.Executable, r.root, r.sink.token, s)
	if err != nil {
		return nil, err
	}
	r.gateways = append(r.gateways, g)
	if r.opts.Profiles != "" {
		r.profiled++
		g.profile = filepath.Join(r.opts.Profiles, fmt.Sprintf("%s-%d", r.name, r.profiled))
	}
	return g, nil
}

// serveBare starts a bare broker in the place of a gateway.
func (r *run) serveBare(ctx context.Context) (*gateway, error) {
	g, err := newGateway(r.opts.Yardstick, r.root, r.sink.token, Settings{})
	if err != nil {
		return nil, err
	}
	r.gateways = append(r.gateways, g)
	g.bare = []string{"bench", "bare-broker", "--listen", g.mqtt, "--api", r.sink.API}
	g.secrets = []string{tokenVariable + "=" + r.sink.token}
	return g, g.start(ctx)
}

// serve makes a gateway and starts it.
func (r *run) serve(ctx context.Context, s Settings) (*gateway, error) {
	g, err := r.prepare(s)
	if err != nil {
		return nil, err
	}
	return g, g.start(ctx)
}

// payloadSize is the size of every payload.
const payloadSize = 200

func (r *run) fleet(g *gateway, cfg FleetConfig) *Fleet {
	cfg.Address, cfg.Version, cfg.Size = cmp.Or(cfg.Address, g.mqtt), r.opts.Version, payloadSize
	cfg.Prefix = cmp.Or(cfg.Prefix, "device")
	f := NewFleet(cfg)
	r.fleets = append(r.fleets, f)
	return f
}

// drained waits until that many readings have come to the sink, or nothing comes any more.
func (r *run) drained(ctx context.Context, g *gateway, want int) (SinkStats, error) {
	moved, before := time.Now(), int64(-1)
	tell := time.Now()
	for {
		stats, err := r.sink.Stats(ctx)
		if err != nil {
			return stats, err
		}
		if stats.Readings >= int64(want) {
			if err := pause(ctx, r.quickly(afterDrain)); err != nil {
				return stats, err
			}
			return r.sink.Stats(ctx)
		}
		if stats.Readings != before {
			moved, before = time.Now(), stats.Readings
		}
		if time.Since(moved) > r.opts.Stall {
			r.say("given up: %d of %d came, nothing for %s", stats.Readings, want, r.opts.Stall)
			return stats, nil
		}
		if err := g.alive(); err != nil {
			return stats, err
		}
		if time.Since(tell) > 5*time.Second {
			tell = time.Now()
			r.say("%d of %d delivered", stats.Readings, want)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return stats, err
		}
	}
}

// judge takes the account of the run's fleets and adds it to the outcome.
func (r *run) judge(ctx context.Context, fleets ...*Fleet) (Verdict, error) {
	ledger, err := r.sink.Ledger(ctx)
	if err != nil {
		return Verdict{}, err
	}
	stats, err := r.sink.Stats(ctx)
	if err != nil {
		return Verdict{}, err
	}
	if stats.Refused > 0 {
		r.say("%d calls had a wrong token, no api-version or an unknown path", stats.Refused)
	}
	v := judgeFleets(ledger, fleets)
	v.Unexpected += int(stats.Unreadable) // nothing without a sequence number was published
	return v, nil
}

// judgeAndKeep is judge for a run in which nothing is excused.
func (r *run) judgeAndKeep(ctx context.Context, fleets ...*Fleet) error {
	v, err := r.judge(ctx, fleets...)
	if err != nil {
		return err
	}
	r.outcome.judged(v)
	return nil
}

// bare runs the bare client against the sink, in a process of its own, and leaves the sink reset.
func (r *run) bare(ctx context.Context, messages int) (BareResult, error) {
	var result BareResult
	if err := r.freshSink(ctx); err != nil {
		return result, err
	}
	args := []string{"bench", "bare", "--api", r.sink.API, "--messages", strconv.Itoa(messages)}
	cmd := exec.CommandContext(ctx, r.opts.Yardstick, args...) //nolint:gosec // it is this program
	cmd.Env = environment(tokenVariable + "=" + r.sink.token)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	child, err := startProcess(cmd)
	if err != nil {
		return result, err
	}
	select {
	case <-child.done:
	case <-ctx.Done():
		child.kill()
		return result, ctx.Err()
	case <-time.After(10 * time.Minute):
		child.kill()
		return result, errors.New("the bare client did not end")
	}
	if child.err != nil {
		return result, fmt.Errorf("bare client: %w: %s", child.err, problems.String())
	}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		return result, fmt.Errorf("bare client: %w", err)
	}
	return result, r.sink.Reset(ctx)
}

// beside measures the bare client before and after something else, so that a machine that speeds up or slows down
// meanwhile favours neither. It returns both halves together.
func (r *run) beside(ctx context.Context, messages int, between func() error) (BareResult, error) {
	before, err := r.bare(ctx, messages/2)
	if err != nil {
		return BareResult{}, err
	}
	if err := between(); err != nil {
		return BareResult{}, err
	}
	after, err := r.bare(ctx, messages/2)
	if err != nil {
		return BareResult{}, err
	}
	both := BareResult{Messages: before.Messages + after.Messages, Elapsed: before.Elapsed + after.Elapsed, CPU: before.CPU + after.CPU}
	r.say("bare client %.0f/s, %.1f CPU ms per 1,000", both.PerSecond(), both.PerThousand())
	return both, nil
}

// besideBroker is the same with a bare broker under the usual load. It returns the means of both halves.
func (r *run) besideBroker(ctx context.Context, messages int, between func() error) (flow, error) {
	before, err := r.bareBroker(ctx, messages/2)
	if err != nil {
		return flow{}, err
	}
	if err := between(); err != nil {
		return flow{}, err
	}
	after, err := r.bareBroker(ctx, messages/2)
	if err != nil {
		return flow{}, err
	}
	both := flow{delivered: 2 / (1/before.delivered + 1/after.delivered), cpu: (before.cpu + after.cpu) / 2}
	r.say("bare broker %.0f/s, %.1f CPU ms per 1,000", both.delivered, both.cpu)
	return both, nil
}

// bareBroker puts the usual load on a bare broker. What becomes of it is not judged: it promises nothing.
func (r *run) bareBroker(ctx context.Context, messages int) (flow, error) {
	if err := r.freshSink(ctx); err != nil {
		return flow{}, err
	}
	g, err := r.serveBare(ctx)
	if err != nil {
		return flow{}, err
	}
	defer g.kill()
	fleet := r.fleet(g, FleetConfig{Clients: devices, Window: window, Variants: 1})
	if err := r.warmUp(ctx, g, fleet); err != nil {
		return flow{}, err
	}
	result, err := r.through(ctx, g, fleet, func() error { return fleet.Publish(ctx, messages) })
	fleet.Close()
	return result, err
}
