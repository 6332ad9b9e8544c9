package app

import (
	"context"
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
		{"catching up", time.Millisecond, true, 1 << 22, -1000, func(b, a time.Duration) bool { return a < b && a > 0 }},
		{"no longer overloaded", time.Millisecond, false, 1 << 22, 1000, func(b, a time.Duration) bool { return a < b }},
	} {
		if after := nextDelay(tc.delay, tc.overloaded, tc.backlog, tc.growth); !tc.want(tc.delay, after) {
			t.Errorf("%s: the delay went from %s to %s", tc.name, tc.delay, after)
		}
	}
}

func TestPressureDoesNothingOnAnIdleProcessor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p pressure
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		size := int64(0)
		_ = p.run(ctx, func() bool { return true }, func() int64 { size += 1 << 20; return size })
		if d := p.delay.Load(); d != 0 {
			t.Errorf("a growing backlog alone asked for a delay of %s", time.Duration(d))
		}
	})
}
