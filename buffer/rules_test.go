package buffer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"iotc-gateway/buffer"
	"iotc-gateway/buffer/clock"
)

// slow is a clock that a test moves.
type slow struct {
	*clock.Clock
	up atomic.Int64
}

func newSlow() *slow {
	s := &slow{}
	s.up.Store(int64(time.Hour))
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.Clock = clock.New(clock.Options{Policy: clock.Trusted, Source: clock.Source{
		BootID: func() string { return "boot" },
		Up:     s.up.Load,
		Wall:   func() time.Time { return epoch.Add(time.Duration(s.up.Load())) },
	}})
	return s
}

func (s *slow) advance(d time.Duration) { s.up.Add(int64(d)) }

func property(device, name string, n int) buffer.Record {
	return buffer.Record{Class: buffer.ClassProperty, Device: device, Name: name, Value: fmt.Append(nil, n)}
}

func (b *bundle) none(o buffer.LeaseOptions) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if l, err := b.Next(ctx, o); err == nil {
		b.t.Fatalf("leased %s %s %s", l.Device, l.Class, l.Records[0].Value)
	}
}

// values drains the store and returns what came, in order.
func (b *bundle) values(o buffer.LeaseOptions) (got []string) {
	b.t.Helper()
	for !b.Stats().Drained {
		l := b.next(o)
		for _, r := range l.Records {
			got = append(got, string(r.Value))
		}
		b.Commit(l)
	}
	return got
}

func TestKeepLast(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{1, 8 << 20} {
		b := setup(t, func(b *bundle) { b.cfg.MemoryBytes = memory })
		b.add(property("a", "x", 1), property("a", "y", 1), property("b", "x", 1))
		l := b.next(buffer.LeaseOptions{}) // a x 1 is being sent and must not be superseded
		b.add(property("a", "x", 2))
		b.add(property("a", "x", 3), property("a", "y", 2))
		b.Retry(l, 0)
		if got := fmt.Sprint(b.values(buffer.LeaseOptions{})); got != "[1 1 3 2]" && got != "[1 3 1 2]" && got != "[1 3 2 1]" {
			t.Fatalf("memory %d: %v", memory, got)
		}
		if n := b.Stats().Classes[buffer.ClassProperty].Dropped["superseded"]; n != 2 {
			t.Fatalf("superseded %d", n)
		}
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	c := newSlow()
	b := setup(t, func(b *bundle) { b.opt.Clock = c })
	b.add(buffer.Record{Class: buffer.ClassCommand, Device: "a", Name: "go", Value: []byte("old")})
	c.advance(50 * time.Second)
	b.add(buffer.Record{Class: buffer.ClassCommand, Device: "a", Name: "go", Value: []byte("new")})
	c.advance(30 * time.Second)
	l := b.next(buffer.LeaseOptions{})
	if string(l.Records[0].Value) != "new" {
		t.Fatalf("%s", l.Records[0].Value)
	}
	b.Retry(l, 0)
	c.advance(time.Minute)
	b.none(buffer.LeaseOptions{})
	if st := b.Stats(); !st.Drained || st.Classes[buffer.ClassCommand].Dropped["expired"] != 2 {
		t.Fatalf("%+v", st)
	}
}

func TestOverflow(t *testing.T) {
	t.Parallel()
	fill := func(b *bundle, n int) (refused int) {
		for i := range n {
			r := telemetry(fmt.Sprint("d", i%5), i)
			r.Meta = bytes.Repeat([]byte{'x'}, 1000)
			if err := b.AppendSync(b.t.Context(), &buffer.Batch{Records: []buffer.Record{r}}); errors.Is(err, buffer.ErrFull) {
				refused++
			} else if err != nil {
				b.t.Fatal(err)
			}
		}
		return refused
	}
	for _, rule := range []buffer.Overflow{buffer.DropOldest, buffer.DropNewest, buffer.ThinOut, buffer.Refuse} {
		for _, memory := range []int64{1, 8 << 20} {
			t.Run(fmt.Sprint(rule, memory), func(t *testing.T) {
				t.Parallel()
				b := setup(t, func(b *bundle) {
					b.cfg.MemoryBytes = memory
					b.cfg.Classes.Telemetry.Overflow = rule
					b.cfg.Classes.Telemetry.MaxBytes = 100 << 10
				})
				refused := fill(b, 300)
				b.add(property("d1", "p", 1)) // telemetry does not push it out, nor keep it out
				st := b.Stats().Classes[buffer.ClassTelemetry]
				if st.Bytes > 104<<10 {
					t.Errorf("%d bytes", st.Bytes)
				}
				dropped := st.Dropped["overflow"] + st.Dropped["newest"] + st.Dropped["thinned"]
				if int(st.Count)+int(dropped)+refused != 300 || st.Count < 40 {
					t.Fatalf("%d stored, %d dropped, %d refused", st.Count, dropped, refused)
				}
				if (refused > 0) != (rule == buffer.Refuse) {
					t.Fatalf("%d refused", refused)
				}
				last := map[string]int64{}
				count := 0
				for !b.Stats().Drained {
					l := b.next(buffer.LeaseOptions{})
					b.Commit(l)
					if l.Class != buffer.ClassTelemetry {
						continue
					}
					count++
					n := l.Records[0].Time
					if n <= last[l.Device] {
						t.Fatalf("%s: %d after %d", l.Device, n, last[l.Device])
					}
					last[l.Device] = n
				}
				if count != int(st.Count) {
					t.Fatalf("%d counted, %d found", st.Count, count)
				}
				if (rule == buffer.DropOldest || rule == buffer.ThinOut) && last["d4"] != 300*int64(time.Second) {
					t.Fatalf("the newest is gone: %v", last)
				}
			})
		}
	}
}

func TestBarrierAndPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.add(telemetry("a", 1), property("a", "p", 2), buffer.Record{Class: buffer.ClassDevice, Device: "a", Value: []byte("create")})
	o := buffer.LeaseOptions{PerDevice: 8}
	create := b.next(o)
	if create.Class != buffer.ClassDevice {
		t.Fatal(create.Class)
	}
	b.none(o)
	b.Release(create)
	b.none(buffer.LeaseOptions{PerDevice: 8, Classes: buffer.Of(buffer.ClassTelemetry)})
	create = b.next(o)
	b.Commit(create)
	b.Pause(buffer.Of(buffer.ClassTelemetry))
	l := b.next(o)
	if l.Class != buffer.ClassProperty {
		t.Fatal(l.Class)
	}
	b.none(o)
	b.Pause(0)
	l2 := b.next(o)
	if l2.Class != buffer.ClassTelemetry {
		t.Fatal(l2.Class)
	}
	b.Retry(l, time.Hour)
	b.Pause(buffer.Of(buffer.ClassProperty))
	b.Commit(l2)
	b.add(telemetry("a", 3))
	b.Commit(b.next(buffer.LeaseOptions{PerDevice: 1})) // the paused retry does not hold it up
	b.Pause(0)
	b.none(buffer.LeaseOptions{})
	b.Wake()
	b.Commit(b.next(buffer.LeaseOptions{}))
}

func TestLiveFirst(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{1, 8 << 20} {
		b := setup(t, func(b *bundle) { b.cfg.MemoryBytes = memory })
		for i := range 6 {
			b.add(telemetry("a", i))
		}
		b.MarkLive()
		for i := range 4 {
			b.add(telemetry("a", 10+i))
		}
		o := buffer.LeaseOptions{LiveFirst: true, LiveWeight: 2}
		want := `[{"n":10} {"n":11} {"n":0} {"n":12} {"n":13} {"n":1} {"n":2} {"n":3} {"n":4} {"n":5}]`
		if got := fmt.Sprint(b.values(o)); got != want {
			t.Fatalf("memory %d: %v", memory, got)
		}
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(1 << 20)
	b := setup(t, func(b *bundle) {
		b.cfg.MaxBytes = 0 // half of what the disk has, once it has something
		b.opt.FreeSpace = func(string) (int64, int64, error) { return free.Load(), 1 << 40, nil }
	})
	put := func() error {
		return b.AppendSync(t.Context(), &buffer.Batch{Records: []buffer.Record{telemetry("a", 1)}})
	}
	until := func(want error) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !errors.Is(put(), want); {
			if time.Now().After(end) {
				t.Fatalf("want %v: %v", want, put())
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	if err := put(); !errors.Is(err, buffer.ErrDiskFull) { // opened without space: nothing crashes
		t.Fatal(err)
	}
	select {
	case <-b.Ready():
		t.Fatal("ready without space")
	default:
	}
	if st := b.Stats(); !st.Waiting || b.ID() != "" {
		t.Fatalf("%+v, id %s", st, b.ID())
	}
	free.Store(1 << 40)
	until(nil)
	<-b.Ready()
	if st := b.Stats(); st.Waiting || st.LimitBytes < 128<<20 || b.ID() == "" {
		t.Fatalf("%+v, id %s", st, b.ID())
	}
	free.Store(100 << 20) // below the floor, but deletions go on
	until(buffer.ErrDiskFull)
	b.values(buffer.LeaseOptions{})
	if st := b.Stats(); !st.DiskFull || st.Refused["disk_full"] == 0 {
		t.Fatalf("%+v", st)
	}
	free.Store(1 << 20) // not even deletions
	until(buffer.ErrDiskFull)
	free.Store(1 << 30)
	until(nil)
}

func TestDeadLettersBounds(t *testing.T) {
	t.Parallel()
	c := newSlow()
	b := setup(t, func(b *bundle) { b.cfg.DeadLetters.MaxBytes = 10 << 10; b.opt.Clock = c })
	letter := buffer.DeadLetter{Reason: "undecodable", Topic: "t", Payload: bytes.Repeat([]byte{1}, 1000)}
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = b.AppendSync(t.Context(), &buffer.Batch{DeadLetters: []buffer.DeadLetter{letter}})
	}
	if !errors.Is(err, buffer.ErrDeadLettersFull) || n < 8 || n > 11 {
		t.Fatal(n, err)
	}
	// A record that the uplink refuses finds room all the same.
	b.add(telemetry("a", 1))
	b.DeadLetter(b.next(buffer.LeaseOptions{}), "rejected", "no", 422)
	var out bytes.Buffer
	if err := b.ExportDeadLetters(t.Context(), &out); err != nil || !bytes.Contains(out.Bytes(), []byte(`"payload":"\u0001`)) {
		t.Fatal(err, out.String())
	}
	count, err := b.PurgeDeadLetters(t.Context())
	if err != nil || count < 8 || b.Stats().DeadLetters != 0 || b.Stats().DeadLetterBytes != 0 {
		t.Fatal(count, err, b.Stats())
	}
}

func TestPerDevice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 10 {
		b.add(telemetry("a", i))
	}
	o := buffer.LeaseOptions{PerDevice: 3}
	l := []*buffer.Lease{b.next(o), b.next(o), b.next(o)}
	b.none(o)
	b.Retry(l[0], time.Hour)
	b.none(o) // a lease that waits keeps its place
	b.Commit(l[1])
	l4 := b.next(o)
	if string(l4.Records[0].Value) != `{"n":3}` {
		t.Fatalf("%s", l4.Records[0].Value)
	}
}

func TestTooManyDevices(t *testing.T) {
	t.Parallel()
	b := setup(t, func(b *bundle) { b.cfg.MaxDevices = 3 })
	b.add(telemetry("a", 1), telemetry("b", 1), telemetry("c", 1))
	err := b.AppendSync(t.Context(), &buffer.Batch{Records: []buffer.Record{telemetry("d", 1)}})
	if !errors.Is(err, buffer.ErrTooManyDevices) {
		t.Fatal(err)
	}
	b.values(buffer.LeaseOptions{})
	b.add(telemetry("d", 1), telemetry("e", 2))
	b.reopen()
	if got := len(b.values(buffer.LeaseOptions{})); got != 2 {
		t.Fatal(got)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	c := buffer.DefaultConfig()
	c.Validate(func(path, message string) { t.Errorf("%s: %s", path, message) })
	c.Sync, c.MaxBytes, c.MaxDevices, c.Classes.Device.Overflow, c.Classes.Command.KeepLast = "often", 1, 0, "panic", true
	var paths []string
	c.Validate(func(path, _ string) { paths = append(paths, path) })
	if got := fmt.Sprint(paths); got != "[sync max_bytes max_devices classes.device.overflow classes.command.keep_last]" {
		t.Fatal(got)
	}
}

// A property that was thinned out is gone; a newer report of it must not count it as superseded as well.
func TestThinnedPropertiesAreNotSuperseded(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{1, 8 << 20} {
		b := setup(t, func(b *bundle) {
			b.cfg.MemoryBytes = memory
			c := &b.cfg.Classes.Property
			c.KeepLast, c.Overflow, c.MaxBytes = true, buffer.ThinOut, 100<<10
		})
		const rounds, names = 3, 200
		for round := range rounds {
			for n := range names {
				r := property("d1", fmt.Sprint("p", n), round)
				r.Meta = bytes.Repeat([]byte{'x'}, 1000)
				b.add(r)
			}
		}
		st := b.Stats().Classes[buffer.ClassProperty]
		if gone := st.Dropped["thinned"] + st.Dropped["superseded"]; st.Dropped["thinned"] == 0 || int(st.Count)+int(gone) != rounds*names {
			t.Errorf("memory %d: %d wait and %d are gone of %d: %v", memory, st.Count, gone, rounds*names, st.Dropped)
		}
		found := 0
		for !b.Stats().Drained {
			b.Commit(b.next(buffer.LeaseOptions{}))
			found++
		}
		if found != int(st.Count) {
			t.Errorf("memory %d: %d counted, %d found", memory, st.Count, found)
		}
	}
}
