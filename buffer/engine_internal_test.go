package buffer

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// TestRest: an idle database has no compactors; a flood wakes them before level 0 stalls it, and after a drain and a
// start it rests again.
func TestRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *Store {
		s, err := Open(DefaultConfig(), Options{Dir: dir, FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if !s.kv.atRest.Load() || s.kv.db.Opts().NumCompactors != 0 {
		t.Error("an empty database is not at rest")
	}
	value := make([]byte, 100<<10)
	_, _ = rand.Read(value)
	for range 300 {
		r := Record{Class: ClassTelemetry, Device: "a", Value: bytes.Clone(value)}
		if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	if s.kv.atRest.Load() || s.kv.db.Opts().NumCompactors != compactors {
		t.Errorf("at rest with %d tables", s.kv.db.Levels()[0].NumTables)
	}
	for range 300 {
		l, err := s.Next(t.Context(), LeaseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s.Commit(l)
	}
	if err := s.kv.compactNewest(); err != nil {
		t.Fatal(err)
	}
	if !s.kv.atRest.Load() {
		t.Error("not at rest after the newest tables were compacted")
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = open()
	if n := s.Stats().Classes[ClassTelemetry].Count; n != 0 || !s.kv.atRest.Load() {
		t.Errorf("%d records, at rest %v", n, s.kv.atRest.Load())
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
