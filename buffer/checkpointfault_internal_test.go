package buffer

import (
	"os"
	"testing"
)

// TestBeginFault: when the next segment cannot begin on a full disk, the transaction is refused and nothing is lost: neither
// what was kept before nor what comes when there is space.
func TestBeginFault(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	s.addTest(t, "a", 0)
	s.addTest(t, "b", 1)
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.kv.mu.Lock()
	idle := s.kv.journal.segments[(s.kv.journal.generation+1)%2]
	whole := idle.f
	idle.f, idle.size = full, 0
	for _, segment := range s.kv.journal.segments {
		segment.limit = 1
	}
	s.kv.mu.Unlock()
	r := Record{Class: ClassTelemetry, Device: "a", Value: []byte(`{"n":2}`)}
	if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err == nil {
		t.Fatal("acknowledged without a journal")
	}
	s.kv.mu.Lock()
	idle.f = whole // there is space again
	s.kv.mu.Unlock()
	_ = full.Close()
	s.addTest(t, "a", 3)
	for _, c := range []*Store{s.killed(t), s} {
		seen := map[string]bool{}
		for range 3 {
			l, err := c.Next(t.Context(), LeaseOptions{})
			if err != nil {
				t.Fatal(err)
			}
			seen[string(l.Records[0].Value)] = true
			c.Commit(l)
		}
		if !seen[`{"n":0}`] || !seen[`{"n":1}`] || !seen[`{"n":3}`] {
			t.Errorf("delivered %v", seen)
		}
		if n := c.Stats().Classes[ClassTelemetry].Count; n != 0 {
			t.Errorf("%d records left", n)
		}
	}
}

// TestCompactionHasTheDeletions: what was settled leaves the database before it is compacted to give space back, although
// only the journal knows of it.
func TestCompactionHasTheDeletions(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	s.addTest(t, "a", 0)
	s.checkpointTest(t)
	s.Commit(s.takeTest(t, LeaseOptions{}, 0))
	s.flushTest(t)
	if n := s.inDatabase(t, keyBlock); n != 1 {
		t.Fatalf("%d blocks in the database", n)
	}
	if err := s.kv.compactNewest(); err != nil {
		t.Fatal(err)
	}
	if n := s.inDatabase(t, keyBlock); n != 0 {
		t.Errorf("%d blocks are left", n)
	}
	s.addTest(t, "a", 1)
	s.killed(t).takeTest(t, LeaseOptions{}, 1)
}
