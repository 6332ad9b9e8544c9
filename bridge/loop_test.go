package bridge_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/mapping"
)

// run starts a loop and returns the function that stops it and waits.
func run(t *testing.T, q bridge.Queue, u bridge.Uplink, change func(*bridge.Config, *bridge.Options)) (*bridge.Loop, func()) {
	t.Helper()
	cfg, opts := bridge.DefaultConfig(), bridge.Options{Queue: q, Uplink: u, Log: zap.NewNop()}
	if change != nil {
		change(&cfg, &opts)
	}
	loop, err := bridge.New(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := loop.Run(ctx, 5*time.Second); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	return loop, func() { cancel(); <-done }
}

func TestLoopDeliversInOrderPerDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		for d := range 10 {
			q.add(fmt.Sprintf("dev%d", d), mapping.KindTelemetry, 20)
		}
		loop, stop := run(t, q, scriptedUplink{deliver: func(context.Context, *bridge.Lease) bridge.Verdict {
			time.Sleep(time.Millisecond)
			return bridge.Verdict{}
		}}, nil)
		time.Sleep(time.Minute)
		stop()
		next := map[string]int{}
		for _, id := range q.done {
			var device, seq int
			if _, err := fmt.Sscanf(id, "dev%d-%d", &device, &seq); err != nil {
				t.Fatal(err)
			}
			key := fmt.Sprint(device)
			if seq != next[key] {
				t.Fatalf("device %d: record %d came when %d was due", device, seq, next[key])
			}
			next[key]++
		}
		if done, dead := q.counts(); done != 200 || dead != 0 {
			t.Fatalf("delivered %d, dead %d, want 200 and 0", done, dead)
		}
		if st := loop.Status(); st.State != bridge.Online {
			t.Fatalf("state is %s, want online", st.State)
		}
	})
}

func TestUnreachableUplinkIsProbedAndNotFlooded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		for d := range 100 {
			q.add(fmt.Sprintf("dev%d", d), mapping.KindTelemetry, 10)
		}
		var up atomic.Bool
		var calls, probes atomic.Int64
		answer := func() bridge.Verdict {
			if up.Load() {
				return bridge.Verdict{}
			}
			return bridge.Verdict{Action: bridge.Retry, Reason: "network", Message: "connection refused", Unreachable: true}
		}
		loop, stop := run(t, q, scriptedUplink{
			deliver: func(context.Context, *bridge.Lease) bridge.Verdict {
				if !up.Load() {
					calls.Add(1)
				}
				return answer()
			},
			probe: func(context.Context) bridge.Verdict { probes.Add(1); return answer() },
		}, nil)
		time.Sleep(time.Hour)
		if st := loop.Status(); st.State != bridge.Offline || st.Reason != "connection refused" || st.NextProbe.IsZero() {
			t.Errorf("status is %+v, want offline with the reason and a next probe", st)
		}
		if n := calls.Load(); n > 32 {
			t.Errorf("%d records were tried on a dead link, want at most one a worker", n)
		}
		// An hour of waits of 5 s in the mean.
		if n := probes.Load(); n < 400 || n > 1200 {
			t.Errorf("%d probes in an hour, want about 720", n)
		}
		up.Store(true)
		time.Sleep(time.Minute)
		stop()
		if done, dead := q.counts(); done != 1000 || dead != 0 {
			t.Errorf("delivered %d, dead %d after the link came back, want 1000 and 0", done, dead)
		}
	})
}

func TestNetworkChangeMakesTheProbeImmediate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		q.add("dev", mapping.KindTelemetry, 1)
		var up atomic.Bool
		answer := func() bridge.Verdict {
			if up.Load() {
				return bridge.Verdict{}
			}
			return bridge.Verdict{Action: bridge.Retry, Reason: "network", Unreachable: true}
		}
		events := make(chan struct{}, 1)
		_, stop := run(t, q, scriptedUplink{
			deliver: func(context.Context, *bridge.Lease) bridge.Verdict { return answer() },
			probe:   func(context.Context) bridge.Verdict { return answer() },
		}, func(_ *bridge.Config, o *bridge.Options) { o.LinkEvents = events })
		time.Sleep(10 * time.Minute)
		up.Store(true)
		events <- struct{}{}
		synctest.Wait()
		if done, _ := q.counts(); done != 1 {
			t.Error("the record was not delivered at once when the link came back")
		}
		stop()
	})
}

func TestDayOfServerErrorsDeadLettersNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		for d := range 5 {
			q.add(fmt.Sprintf("dev%d", d), mapping.KindTelemetry, 3)
		}
		var up atomic.Bool
		_, stop := run(t, q, scriptedUplink{deliver: func(context.Context, *bridge.Lease) bridge.Verdict {
			if up.Load() {
				return bridge.Verdict{}
			}
			return bridge.Verdict{Action: bridge.Retry, Reason: "status_500", Status: 500}
		}}, nil)
		time.Sleep(24 * time.Hour)
		up.Store(true)
		time.Sleep(time.Minute)
		stop()
		if done, dead := q.counts(); done != 15 || dead != 0 {
			t.Errorf("delivered %d, dead %d, want 15 and 0", done, dead)
		}
		if q.wakes == 0 {
			t.Error("the first success after the outage did not wake the waiting devices")
		}
	})
}

func TestPoisonedDeviceIsGivenUpAloneAndDelaysNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		q.add("poisoned", mapping.KindTelemetry, 1)
		_, stop := run(t, q, scriptedUplink{deliver: func(_ context.Context, l *bridge.Lease) bridge.Verdict {
			if l.Device == "poisoned" {
				return bridge.Verdict{Action: bridge.Retry, Reason: "status_500", Status: 500, Message: "boom"}
			}
			return bridge.Verdict{}
		}}, nil)
		start := time.Now()
		for i := range 120 {
			time.Sleep(10 * time.Second)
			q.add("well", mapping.KindTelemetry, 1)
			synctest.Wait()
			if done, _ := q.counts(); done != i+1 {
				t.Fatalf("after %d records of the well device %d were delivered", i+1, done)
			}
			if _, dead := q.counts(); dead == 1 && time.Since(start) < 10*time.Minute {
				t.Fatalf("given up after %s, want at least 10 minutes", time.Since(start))
			}
		}
		stop()
		if len(q.dead) != 1 || q.dead[0].reason != "retries_exhausted" || q.dead[0].status != 500 {
			t.Errorf("dead letters are %+v, want the poisoned record with retries_exhausted", q.dead)
		}
	})
}

func TestSoleDeviceIsRetriedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		q.add("only", mapping.KindTelemetry, 1)
		_, stop := run(t, q, scriptedUplink{deliver: func(context.Context, *bridge.Lease) bridge.Verdict {
			return bridge.Verdict{Action: bridge.Retry, Reason: "status_503", Status: 503}
		}}, nil)
		time.Sleep(48 * time.Hour)
		stop()
		if _, dead := q.counts(); dead != 0 {
			t.Error("a sole device's record was given up")
		}
	})
}

func TestRefusedTokenPausesAndDropsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		for d := range 50 {
			q.add(fmt.Sprintf("dev%d", d), mapping.KindTelemetry, 2)
		}
		var allowed atomic.Bool
		var calls, probes atomic.Int64
		answer := func() bridge.Verdict {
			if allowed.Load() {
				return bridge.Verdict{}
			}
			return bridge.Verdict{Action: bridge.PauseUplink, Reason: "status_401", Status: 401, Message: "token expired"}
		}
		loop, stop := run(t, q, scriptedUplink{
			deliver: func(context.Context, *bridge.Lease) bridge.Verdict { calls.Add(1); return answer() },
			probe:   func(context.Context) bridge.Verdict { probes.Add(1); return answer() },
		}, nil)
		time.Sleep(time.Hour)
		if st := loop.Status(); st.State != bridge.Unauthorised {
			t.Errorf("state is %s, want unauthorised", st.State)
		}
		if c, p := calls.Load(), probes.Load(); c > 32 || p > 120 {
			t.Errorf("%d calls and %d probes in an hour with a refused token, want at most 32 and a few dozen", c, p)
		}
		allowed.Store(true)
		loop.Nudge()
		time.Sleep(time.Second)
		stop()
		if done, dead := q.counts(); done != 100 || dead != 0 {
			t.Errorf("delivered %d, dead %d with the new token, want 100 and 0", done, dead)
		}
	})
}

func TestRefusedKindPausesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		q.add("a", mapping.KindProperty, 1)
		q.add("b", mapping.KindTelemetry, 10)
		var granted atomic.Bool
		loop, stop := run(t, q, scriptedUplink{deliver: func(_ context.Context, l *bridge.Lease) bridge.Verdict {
			if l.Kind == mapping.KindProperty && !granted.Load() {
				return bridge.Verdict{Action: bridge.PauseKind, Reason: "status_403", Status: 403}
			}
			return bridge.Verdict{}
		}}, nil)
		time.Sleep(time.Minute)
		if done, _ := q.counts(); done != 10 {
			t.Errorf("%d telemetry records delivered beside the paused kind, want 10", done)
		}
		if st := loop.Status(); len(st.PausedKinds) != 1 || st.PausedKinds[0] != "property" {
			t.Errorf("paused kinds are %v, want property", st.PausedKinds)
		}
		granted.Store(true)
		time.Sleep(10 * time.Minute)
		stop()
		if done, dead := q.counts(); done != 11 || dead != 0 {
			t.Errorf("delivered %d, dead %d, want 11 and 0", done, dead)
		}
	})
}

func TestStopSettlesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		q.add("quick", mapping.KindTelemetry, 1)
		q.add("stuck", mapping.KindTelemetry, 1)
		_, stop := run(t, q, scriptedUplink{deliver: func(ctx context.Context, l *bridge.Lease) bridge.Verdict {
			if l.Device == "quick" {
				time.Sleep(2 * time.Second)
				return bridge.Verdict{}
			}
			<-ctx.Done()
			return bridge.Verdict{Action: bridge.Retry, Reason: "timeout", Unreachable: true}
		}}, nil)
		time.Sleep(time.Second)
		start := time.Now()
		stop()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("stop took %s, want the grace of 5s", took)
		}
		if done, dead := q.counts(); done != 1 || dead != 0 {
			t.Errorf("delivered %d, dead %d, want the quick one delivered and the stuck one kept", done, dead)
		}
	})
}
