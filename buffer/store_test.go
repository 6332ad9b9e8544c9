package buffer_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"iotc-gateway/buffer"
)

// TestMain keeps the state machine short enough for every run; give -rapid.checks for a long one.
func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if !set {
		_ = flag.Set("rapid.checks", "4")
	}
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	os.Exit(m.Run())
}

type bundle struct {
	t   testing.TB
	dir string
	cfg buffer.Config
	opt buffer.Options
	*buffer.Store
}

func setup(t testing.TB, change ...func(*bundle)) *bundle {
	t.Helper()
	b := &bundle{t: t, dir: t.TempDir(), cfg: buffer.DefaultConfig()}
	b.cfg.MaxBytes = 256 << 20
	b.opt = buffer.Options{
		FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil },
	}
	for _, f := range change {
		f(b)
	}
	b.opt.Dir = b.dir
	b.open()
	t.Cleanup(func() { b.close() })
	return b
}

func (b *bundle) open() {
	b.t.Helper()
	s, err := buffer.Open(b.cfg, b.opt)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Store = s
}

func (b *bundle) close() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		b.t.Error(err)
	}
}

func (b *bundle) reopen() {
	b.t.Helper()
	b.close()
	b.open()
}

func (b *bundle) add(records ...buffer.Record) {
	b.t.Helper()
	if err := b.AppendSync(b.t.Context(), &buffer.Batch{Records: records}); err != nil {
		b.t.Fatal(err)
	}
}

func telemetry(device string, n int) buffer.Record {
	return buffer.Record{
		Class: buffer.ClassTelemetry, Device: device, Value: fmt.Appendf(nil, `{"n":%d}`, n), Time: int64(n+1) * int64(time.Second),
	}
}

func (b *bundle) next(o buffer.LeaseOptions) *buffer.Lease {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := b.Next(ctx, o)
	if err != nil {
		b.t.Fatalf("next: %v", err)
	}
	return l
}

func TestOrderAndReopen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 300 {
		b.add(telemetry("a", i), telemetry("b", i))
	}
	ids := map[string]bool{}
	got := map[string]int{}
	for i := range 600 {
		if i == 200 {
			b.reopen()
		}
		l := b.next(buffer.LeaseOptions{})
		if want := fmt.Sprintf(`{"n":%d}`, got[l.Device]); string(l.Records[0].Value) != want {
			t.Fatalf("%s: got %s want %s", l.Device, l.Records[0].Value, want)
		}
		got[l.Device]++
		if ids[l.RequestID] {
			t.Fatalf("request id twice")
		}
		ids[l.RequestID] = true
		b.Commit(l)
	}
	if st := b.Stats(); !st.Drained || st.Classes[buffer.ClassTelemetry].Count != 0 {
		t.Fatalf("%+v", st)
	}
	b.reopen()
	if st := b.Stats(); !st.Drained {
		t.Fatalf("%+v", st)
	}
}

func TestFlood(t *testing.T) {
	t.Parallel()
	b := setup(t, func(b *bundle) { b.cfg.MemoryBytes = 64 << 10 })
	const devices, each = 50, 400
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	got := map[string]int{}
	total := 0
	for range 16 {
		wg.Go(func() {
			for {
				l, err := b.Next(ctx, buffer.LeaseOptions{})
				if err != nil {
					return
				}
				mu.Lock()
				if want := fmt.Sprintf(`{"n":%d}`, got[l.Device]); string(l.Records[0].Value) != want {
					t.Errorf("%s: got %s want %s", l.Device, l.Records[0].Value, want)
				}
				got[l.Device]++
				total++
				end := total == devices*each
				mu.Unlock()
				b.Commit(l)
				if end {
					cancel()
				}
			}
		})
	}
	var acked sync.WaitGroup
	for i := range each {
		for d := range devices {
			acked.Add(1)
			b.Append(&buffer.Batch{Records: []buffer.Record{telemetry(fmt.Sprint("dev", d), i)}}, func(err error) {
				if err != nil {
					t.Error(err)
				}
				acked.Done()
			})
		}
	}
	acked.Wait()
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Errorf("stuck at %d: %+v", total, b.Stats())
		cancel()
	}
	wg.Wait()
}

func TestRetry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.add(telemetry("a", 0), telemetry("a", 1), telemetry("b", 0))
	l := b.next(buffer.LeaseOptions{})
	id := l.RequestID
	b.Retry(l, time.Hour)
	l2 := b.next(buffer.LeaseOptions{})
	if l2.Device == l.Device {
		t.Fatal("overtaken")
	}
	b.Commit(l2)
	b.Wake()
	l3 := b.next(buffer.LeaseOptions{})
	if l3.RequestID != id || l3.Attempt != 2 {
		t.Fatalf("%+v", l3)
	}
	b.DeadLetter(l3, "rejected", "no", 400)
	l4 := b.next(buffer.LeaseOptions{})
	b.Commit(l4)
	list, err := b.DeadLetters(0, 10)
	if err != nil || len(list) != 1 || list[0].Status != 400 {
		t.Fatalf("%v %v", list, err)
	}
	if err := b.RetryDeadLetter(t.Context(), list[0].ID); err != nil {
		t.Fatal(err)
	}
	l5 := b.next(buffer.LeaseOptions{})
	if string(l5.Records[0].Value) != `{"n":0}` {
		t.Fatal("value")
	}
	b.Commit(l5)
	if st := b.Stats(); st.DeadLetters != 0 || !st.Drained {
		t.Fatalf("%+v", st)
	}
}

func TestSpace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	sp := b.Space("x")
	sp.Put("a/1", []byte("one"))
	sp.Put("a/2", []byte("two"))
	if v, ok := sp.Get("a/1"); !ok || string(v) != "one" {
		t.Fatal(string(v), ok)
	}
	if err := sp.PutSync(t.Context(), "b", []byte("b")); err != nil {
		t.Fatal(err)
	}
	sp.Delete("a/1")
	for range 2 {
		var keys []string
		if err := sp.Scan("", func(k string, v []byte) error { keys = append(keys, k+"="+string(v)); return nil }); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(keys) != "[a/2=two b=b]" {
			t.Fatal(keys)
		}
		b.reopen()
		sp = b.Space("x")
	}
}

func TestCoalesce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 10 {
		b.add(telemetry("a", i))
	}
	o := buffer.LeaseOptions{CoalesceWindow: 4 * time.Second}
	l := b.next(o)
	if len(l.Records) != 5 || !l.Composed {
		t.Fatalf("%+v", l)
	}
	b.reopen()
	l2 := b.next(buffer.LeaseOptions{})
	if l2.RequestID != l.RequestID || len(l2.Records) != 5 {
		t.Fatalf("%+v", l2)
	}
	b.Split(l2)
	for i := range 5 {
		l := b.next(o)
		if len(l.Records) != 1 || l.Records[0].Seq != l2.Records[i].Seq {
			t.Fatalf("%+v", l)
		}
		b.Commit(l)
	}
	l = b.next(o)
	if len(l.Records) != 5 {
		t.Fatalf("%+v", l)
	}
	b.Commit(l)
	b.reopen()
	if st := b.Stats(); !st.Drained {
		t.Fatalf("%+v", st)
	}
}
