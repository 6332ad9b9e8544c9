package buffer

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

// TestHousekeeperLeavesARestartAlone: after a failed write the committer closes and opens the database. A look by the
// housekeeper in between must not take it for one that was never opened, read it into the store once more, and set it
// aside for the contradictions that it then finds.
func TestHousekeeperLeavesARestartAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(DefaultConfig(), Options{Dir: dir, FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil }})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		batch := &Batch{Records: []Record{
			{Class: ClassTelemetry, Device: "a", Value: []byte(`{}`)}, {Class: ClassProperty, Device: "b", Name: "p", Value: []byte(`1`)},
		}}
		if err := s.AppendSync(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	s.kv.mu.Lock()
	err = s.kv.closeLocked() // the first half of a restart
	s.kv.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if s.kv.ready() {
		t.Error("the housekeeper opened a database that the committer is about to open")
	}
	if err := s.kv.open(); err != nil {
		t.Fatal(err)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, asidePrefix+"*")); len(aside) > 0 || s.Stats().SetAside != "" {
		t.Errorf("set aside: %v", aside)
	}
	for range 4 { // of the three reports of the property, the last holds
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		l, err := s.Next(ctx, LeaseOptions{})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		s.Commit(l)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
