package clock_test

import (
	"testing"
	"time"

	"iotc-gateway/buffer/clock"
)

// board is a machine whose wall clock may be wrong.
type board struct {
	boot string
	up   time.Duration
	wall time.Time
	sync clock.Sync
}

func (b *board) start(policy clock.Policy) *clock.Clock {
	return clock.New(clock.Options{Policy: policy, Source: clock.Source{
		BootID: func() string { return b.boot },
		Up:     func() int64 { return int64(b.up) },
		Wall:   func() time.Time { return b.wall },
		Sync:   func() clock.Sync { return b.sync },
	}})
}

func (b *board) pass(d time.Duration) { b.up += d; b.wall = b.wall.Add(d) }

var (
	wrong = time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC)
	right = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func TestCorrectAfterSynchronisation(t *testing.T) {
	t.Parallel()
	b := &board{boot: "one", up: time.Minute, wall: wrong, sync: clock.Unsynchronised}
	c := b.start(clock.Auto)
	s := c.Stamp()
	if s.Synced {
		t.Fatal("trusted")
	}
	if got, st := c.Correct(s, s.Wall); st != clock.Unanchored || got != s.Wall {
		t.Fatal(st)
	}
	b.pass(time.Hour)
	b.wall, b.sync = right, clock.Synchronised
	if !c.Observe() || !c.Dirty() {
		t.Fatal("not noticed")
	}
	got, st := c.Correct(s, s.Wall)
	if want := right.Add(-time.Hour).UnixNano(); st != clock.Corrected || got != want {
		t.Fatal(st, time.Duration(got-want))
	}
	if age := c.Age(s); age != time.Hour {
		t.Fatal(age)
	}
	now := c.Stamp()
	if _, st := c.Correct(now, now.Wall); st != clock.Exact {
		t.Fatal(st)
	}
}

func TestAgesAcrossBoots(t *testing.T) {
	t.Parallel()
	for _, anchored := range []bool{false, true} {
		sync := clock.Unsynchronised
		if anchored {
			sync = clock.Synchronised
		}
		b := &board{boot: "one", up: time.Minute, wall: right, sync: sync}
		c := b.start(clock.Auto)
		s := c.Stamp()
		b.pass(10 * time.Minute)
		c.Observe()
		table := c.Snapshot()
		// An hour without power.
		b.boot, b.up, b.wall = "two", 0, right.Add(70*time.Minute)
		c = b.start(clock.Auto)
		if err := c.Restore(table); err != nil {
			t.Fatal(err)
		}
		if c.Boot() != s.Boot+1 {
			t.Fatal(c.Boot())
		}
		b.pass(5 * time.Minute)
		want := 15 * time.Minute
		if anchored {
			want = 75 * time.Minute
		}
		if age := c.Age(s); age != want {
			t.Fatalf("anchored %v: %v, want %v", anchored, age, want)
		}
		// The same boot again, after a restart of the program.
		table = c.Snapshot()
		c = b.start(clock.Auto)
		if err := c.Restore(table); err != nil || c.Boot() != s.Boot+1 {
			t.Fatal(err, c.Boot())
		}
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		policy clock.Policy
		sync   clock.Sync
		wall   time.Time
		want   bool
	}{
		{clock.Auto, clock.Unknown, right, true},
		{clock.Auto, clock.Unknown, wrong, false},
		{clock.Auto, clock.Unknown, right.Add(-time.Hour), false}, // behind the last one persisted
		{clock.Auto, clock.Unsynchronised, right, false},
		{clock.Trusted, clock.Unsynchronised, wrong, true},
		{clock.Wait, clock.Unknown, right, false},
		{clock.Wait, clock.Synchronised, right, true},
	} {
		before := &board{boot: "one", up: time.Minute, wall: right.Add(-time.Minute), sync: clock.Synchronised}
		table := before.start(clock.Auto).Snapshot()
		b := &board{boot: "two", up: time.Second, wall: x.wall, sync: x.sync}
		c := b.start(x.policy)
		if err := c.Restore(table); err != nil {
			t.Fatal(err)
		}
		if c.Synced() != x.want {
			t.Errorf("%+v: %v", x, c.Synced())
		}
	}
	if clock.Policy("sometimes").Validate() == nil {
		t.Error("accepted")
	}
}

func TestSystemClock(t *testing.T) {
	t.Parallel()
	c := clock.New(clock.Options{})
	s := c.Stamp()
	if s.Boot != 1 || s.Up <= 0 || s.Wall <= 0 || c.Age(s) < 0 || c.Age(s) > time.Minute {
		t.Fatalf("%+v", s)
	}
}

func FuzzRestore(f *testing.F) {
	b := &board{boot: "one", up: time.Minute, wall: right, sync: clock.Synchronised}
	f.Add(b.start(clock.Auto).Snapshot())
	f.Add([]byte{1, 0, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, table []byte) {
		c := b.start(clock.Auto)
		if c.Restore(table) != nil {
			return
		}
		if err := b.start(clock.Auto).Restore(c.Snapshot()); err != nil {
			t.Fatal(err)
		}
		c.Age(clock.Stamp{Boot: 1, Up: 1})
	})
}
