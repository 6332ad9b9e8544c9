package buffer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/options"
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
			key := queueKey(ClassTelemetry, 0, 21)
			v, _, err := s.kv.get(key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.kv.update(func(w *writes) { w.set(key, damage(v)) }); err != nil {
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

// TestCompressedTables: tables of the time when the database compressed them are read, checked and recovered.
func TestCompressedTables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	free := func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil }
	s, err := Open(DefaultConfig(), Options{Dir: dir, FreeSpace: free})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.kv.close(false); err != nil {
		t.Fatal(err)
	}
	s.kv.opt.Compression = options.Snappy
	if err := s.kv.open(); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		r := Record{Class: ClassTelemetry, Device: "a", Value: fmt.Appendf(nil, `{"n":%d,"note":"the same again and again"}`, i)}
		if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Without the manifest nothing tells how they are compressed.
	bare := t.TempDir()
	tables, err := filepath.Glob(filepath.Join(dir, databaseDir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables: %v, %v", tables, err)
	}
	for _, f := range tables {
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(bare, filepath.Base(f)), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Recover(bare, t.TempDir(), nil, nil, nil); err != nil || got.Records != 50 || len(got.Damaged) > 0 {
		t.Errorf("recovered %+v: %v", got, err)
	}
	if s, err = Open(DefaultConfig(), Options{Dir: dir, FreeSpace: free}); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.SetAside != "" || st.Classes[ClassTelemetry].Count != 50 {
		t.Errorf("set aside %q, %d records", st.SetAside, st.Classes[ClassTelemetry].Count)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestGatherLoose: single records of a slow flow become chunks, and those that were dropped stay out of them.
func TestGatherLoose(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.MemoryBytes = 1
	s, err := Open(cfg, Options{Dir: t.TempDir(), FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil }})
	if err != nil {
		t.Fatal(err)
	}
	add := func(from, to int) {
		for i := from; i < to; i++ {
			r := Record{Class: ClassTelemetry, Device: "a", Value: fmt.Appendf(nil, `{"n":%d}`, i)}
			if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys := func() (n int) {
		if err := s.kv.scan([]byte{keyQueue}, nil, func(_, _ []byte) (bool, error) { n++; return true, nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	next := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		l, err := s.Next(ctx, LeaseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s.Commit(l)
		return string(l.Records[0].Value)
	}
	add(0, 3*chunkRecords+10)
	if err := s.AppendSync(t.Context(), &Batch{}); err != nil { // by now the committer is through with the last run
		t.Fatal(err)
	}
	if n := keys(); n > 3+10+1 {
		t.Errorf("%d keys for three chunks and ten records", n)
	}
	if n := s.Stats().Classes[ClassTelemetry].Count; n != 3*chunkRecords+10 {
		t.Errorf("%d records", n)
	}
	for i := range 3*chunkRecords + 10 {
		if got, want := next(), fmt.Sprintf(`{"n":%d}`, i); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if i == chunkRecords+5 {
			// A run that is being read is left alone.
			add(3*chunkRecords+10, 3*chunkRecords+20)
		}
	}
	if got := next(); got != fmt.Sprintf(`{"n":%d}`, 3*chunkRecords+10) {
		t.Errorf("got %s", got)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestGatherWithoutTheDropped: a record whose deletion is under way does not come back by a chunk.
func TestGatherWithoutTheDropped(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.MemoryBytes = 1
	s, err := Open(cfg, Options{Dir: t.TempDir(), FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		r := Record{Class: ClassTelemetry, Device: "a", Value: fmt.Appendf(nil, `{"n":%d}`, i)}
		if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.gatherRun(stretch{class: ClassTelemetry, key: 1, from: 1, to: 10}, []uint64{1, 5}); err != nil {
		t.Fatal(err)
	}
	var got []uint64
	err = s.scanLane(stretch{class: ClassTelemetry, from: 1, to: 10}, func(f *found) bool {
		if f.chunk != nil {
			got = append(got, f.seq)
		}
		return true
	})
	if err != nil || !slices.Equal(got, []uint64{2, 3, 4, 6, 7, 8, 9, 10}) {
		t.Errorf("in the chunk: %v, %v", got, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
