package buffer

import (
	"context"
	"testing"
	"time"
)

// When a kill came before the deletions of a device's first life, its name stands for two numbers with records. They
// become one queue, in order.
func TestTwoNumbersOfOneDevice(t *testing.T) {
	t.Parallel()
	for _, kept := range []uint32{0, 1} {
		opt := Options{Dir: t.TempDir(), FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil }}
		cfg := DefaultConfig()
		cfg.MemoryBytes = 1 // records have keys of their own
		s, err := Open(cfg, opt)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := s.AppendSync(t.Context(), &Batch{Records: []Record{{Class: ClassTelemetry, Device: "a", Value: []byte(`{}`)}}}); err != nil {
				t.Fatal(err)
			}
		}
		// The second record is moved to another number, the third with it or not.
		_, err = s.kv.update(func(w *writes) {
			for seq := uint64(2); seq <= 2+uint64(kept); seq++ {
				v, ok, err := s.kv.get(queueKey(ClassTelemetry, 0, seq))
				if err != nil || !ok {
					t.Errorf("record %d: %v %v", seq, ok, err)
				}
				w.set(queueKey(ClassTelemetry, 1, seq), v)
				w.delete(queueKey(ClassTelemetry, 0, seq))
			}
			w.set(deviceKey(1), []byte("a"))
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time, what was joined is found joined
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(DefaultConfig(), opt); err != nil {
				t.Fatal(err)
			}
			if no := s.devices["a"].no; no != kept {
				t.Errorf("the device has number %d, want %d: that of the most records", no, kept)
			}
		}
		for want := uint64(1); want <= 3; want++ {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			l, err := s.Next(ctx, LeaseOptions{})
			cancel()
			if err != nil || l.Records[0].Seq != want || l.Device != "a" {
				t.Fatalf("%v %v, want record %d", l, err, want)
			}
			s.Commit(l)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
