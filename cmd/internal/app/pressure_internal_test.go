package app

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPressureActsOnlyWhenOverloadedAndFallingBehind(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name            string
		delay           time.Duration
		overloaded      bool
		backlog, growth int64
		want            func(before, after time.Duration) bool
	}{
		{"idle processor", 0, false, 1 << 30, 1 << 20, func(_, a time.Duration) bool { return a == 0 }},
		{"small backlog", 0, true, pressureBytes - 1, 1000, func(_, a time.Duration) bool { return a == 0 }},
		{"falling behind", time.Millisecond, true, 1 << 22, 1000, func(b, a time.Duration) bool { return a > b }},
		{"at the bound", maxDelay, true, 1 << 30, 1 << 20, func(_, a time.Duration) bool { return a == maxDelay }},
		{"catching up too slowly", time.Millisecond, true, 1 << 22, -1000, func(b, a time.Duration) bool { return a > b }},
		{"catching up", time.Millisecond, true, 1 << 22, -(1 << 22) / 100, func(b, a time.Duration) bool { return a < b && a > 0 }},
		{"far behind, but not further", time.Millisecond, true, 1 << 30, -1, func(b, a time.Duration) bool { return a < b && a > 0 }},
		{"no longer overloaded", time.Millisecond, false, 1 << 22, 1000, func(b, a time.Duration) bool { return a < b }},
	} {
		if after := nextDelay(tc.delay, tc.overloaded, tc.backlog, tc.growth); !tc.want(tc.delay, after) {
			t.Errorf("%s: the delay went from %s to %s", tc.name, tc.delay, after)
		}
	}
}

// publishes lets publications pass until ctx ends.
func publishes(ctx context.Context, p *pressure) {
	for ctx.Err() == nil {
		for range pressureEvery {
			p.wait()
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// cpusWith is a processor that idles for a share of the time.
func cpusWith(share float64) processors {
	begin := time.Now()
	return func() (idle, all time.Duration, ok bool) {
		all = time.Since(begin)
		return time.Duration(share * float64(all)), all, true
	}
}

func TestPressureOfAGrowingBacklog(t *testing.T) {
	t.Parallel()
	yes, no := func() bool { return true }, func() bool { return false }
	for _, tc := range []struct {
		name     string
		idle     float64
		delivers func() bool
		acts     bool
	}{
		{"an idle processor", 0.9, yes, false},
		{"one that waits for a slow uplink now and then", 0.2, yes, false},
		{"a processor that is busy with something else than delivery", 0, no, false},
		{"a busy processor", 0.05, yes, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPressure()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var devices sync.WaitGroup
				defer devices.Wait()
				devices.Go(func() { publishes(ctx, p) })
				size := int64(pressureBytes)
				most := int64(0)
				backlog := func() int64 {
					size += 1 << 10
					most = max(most, p.delay.Load())
					return size
				}
				_ = p.run(ctx, tc.delivers, backlog, cpusWith(tc.idle))
				if acted := most > 0; acted != tc.acts {
					t.Errorf("the backlog grew: a delay of up to %s", time.Duration(most))
				}
				if most > int64(maxDelay) || p.delay.Load() != 0 {
					t.Errorf("up to %s, %s at the end", time.Duration(most), time.Duration(p.delay.Load()))
				}
			})
		})
	}
}

// Where nobody tells of the processors' idle time, or a quota holds the process
// to a part of it, the lateness of a sleep tells.
func TestLoadWithoutIdleTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, cpus := range []processors{
			func() (idle, all time.Duration, ok bool) { return 0, 0, false }, cpusWith(1),
		} {
			l := newLoad(cpus)
			for range 100 {
				begin := time.Now()
				<-time.After(pressureTick)
				l.observe(begin, time.Now())
			}
			if l.over() {
				t.Error("overloaded though every sleep ends in time")
			}
			for range 100 {
				begin := time.Now()
				<-time.After(pressureTick + 3*pressureLate)
				l.observe(begin, time.Now())
			}
			if !l.over() {
				t.Error("not overloaded though every sleep ends late")
			}
		}
	})
}

// A gateway at rest is not woken up by its own watchfulness, and a small backlog
// is looked at and left alone.
func TestPressureLooksOnlyWhenThereIsTraffic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPressure()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		looks := 0
		done := make(chan error)
		go func() {
			done <- p.run(ctx, func() bool { return true }, func() int64 { looks++; return 0 }, cpusWith(0))
		}()
		<-time.After(time.Hour)
		if looks != 0 {
			t.Errorf("%d looks at rest", looks)
		}
		for range 10 {
			for range pressureEvery {
				p.wait()
			}
			synctest.Wait()
		}
		if looks != 10 {
			t.Errorf("%d looks at 10 times %d publishes", looks, pressureEvery)
		}
		cancel()
		<-done
	})
}
