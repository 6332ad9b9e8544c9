package buffer_test

import (
	"testing"
	"time"

	"iotc-gateway/buffer"
	"iotc-gateway/buffer/clock"
)

// steady is a clock that a test moves.
type steady struct {
	*clock.Clock
	up int64
}

func (s *steady) Stamp() clock.Stamp {
	return clock.Stamp{Boot: 1, Up: s.up, Wall: 1e18 + s.up, Synced: true}
}

func (s *steady) AgeAt(a, now clock.Stamp) time.Duration { return time.Duration(now.Up - a.Up) }

func TestOldest(t *testing.T) {
	t.Parallel()
	c := &steady{Clock: clock.New(clock.Options{})}
	b := setup(t, func(b *bundle) { b.opt.Clock = c })
	want := func(when string, telemetry, property time.Duration) {
		t.Helper()
		ages := b.Oldest()
		if ages[buffer.ClassTelemetry] != telemetry || ages[buffer.ClassProperty] != property || ages[buffer.ClassDevice] != 0 {
			t.Errorf("%s: the oldest wait for %v, want telemetry %v and property %v", when, ages, telemetry, property)
		}
	}
	want("empty", 0, 0)
	b.add(buffer.Record{Class: buffer.ClassTelemetry, Device: "a", Value: []byte(`{"n":1}`)})
	c.up += int64(time.Minute)
	b.add(
		buffer.Record{Class: buffer.ClassTelemetry, Device: "b", Value: []byte(`{"n":1}`)},
		buffer.Record{Class: buffer.ClassProperty, Device: "b", Name: "p", Value: []byte(`1`)},
	)
	c.up += int64(time.Second)
	want("in memory", time.Minute+time.Second, time.Second)

	b.reopen()
	want("on disk only", time.Minute+time.Second, time.Second)

	l, err := b.Next(t.Context(), buffer.LeaseOptions{Classes: buffer.Of(buffer.ClassTelemetry)})
	if err != nil {
		t.Fatal(err)
	}
	b.Retry(l, time.Hour)
	want("handed back", time.Minute+time.Second, time.Second)

	b.Wake()
	for range 3 {
		l, err := b.Next(t.Context(), buffer.LeaseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b.Commit(l)
	}
	want("drained", 0, 0)
}
