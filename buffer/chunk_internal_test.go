package buffer

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"
)

// TestUnreadableChunk: what cannot be read is counted and passed over; what comes behind it is delivered.
func TestUnreadableChunk(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(v []byte) []byte{
		"head":      func([]byte) []byte { return []byte{chunkVersion} },
		"entries":   func(v []byte) []byte { return v[:len(v)-3] },
		"of before": func(v []byte) []byte { return append([]byte{9}, v[1:]...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			cfg.MemoryBytes = 1
			s, err := Open(cfg, Options{Dir: t.TempDir(), FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil }})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				b := &Batch{}
				for j := range 20 {
					b.Records = append(b.Records, Record{Class: ClassTelemetry, Device: "a", Value: fmt.Appendf(nil, `{"n":%d}`, 100*i+j)})
				}
				if err := s.AppendSync(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			// The second chunk.
			err = s.kv.update(func(txn *badger.Txn) error {
				key := queueKey(ClassTelemetry, 0, 21)
				e, err := txn.Get(key)
				if err != nil {
					return err
				}
				v, err := e.ValueCopy(nil)
				if err != nil {
					return err
				}
				return txn.Set(key, damage(v))
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for !slices.Contains(got, `{"n":219}`) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				l, err := s.Next(ctx, LeaseOptions{})
				cancel()
				if err != nil {
					t.Fatal(err, got)
				}
				got = append(got, string(l.Records[0].Value))
				s.Commit(l)
			}
			if len(got) < 40 || got[19] != `{"n":19}` || got[len(got)-20] != `{"n":200}` {
				t.Errorf("delivered %v", got)
			}
			st := s.Stats().Classes[ClassTelemetry]
			if dropped := int(st.Dropped["unreadable"]); name == "entries" && dropped+len(got) != 60 || dropped == 0 {
				t.Errorf("%d unreadable, %d delivered", dropped, len(got))
			}
			if name == "entries" && st.Count != 0 {
				t.Errorf("%d records counted", st.Count)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(s.chunks) > 0 {
				t.Errorf("%d chunks are remembered", len(s.chunks))
			}
		})
	}
}
