package buffer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func openInternal(t *testing.T, dir string, memory int64) *Store {
	t.Helper()
	cfg := DefaultConfig()
	cfg.MemoryBytes = memory
	s, err := Open(cfg, Options{Dir: dir, FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s
}

func (s *Store) addTest(t *testing.T, device string, n int) {
	t.Helper()
	r := Record{Class: ClassTelemetry, Device: device, Value: fmt.Appendf(nil, `{"n":%d}`, n)}
	if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) takeTest(t *testing.T, o LeaseOptions, want ...int) *Lease {
	t.Helper()
	l, err := s.Next(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Records) != len(want) {
		t.Fatalf("%d records leased, want %v", len(l.Records), want)
	}
	for i, n := range want {
		if string(l.Records[i].Value) != fmt.Sprintf(`{"n":%d}`, n) {
			t.Fatalf("leased %s, want %v", l.Records[i].Value, want)
		}
	}
	return l
}

// flushTest waits until what was settled is in the journal.
func (s *Store) flushTest(t *testing.T) {
	t.Helper()
	for {
		s.mu.Lock()
		s.flushNow, s.bitsAt = true, time.Time{}
		left := len(s.gone) + len(s.dirty) + len(s.goneGroups)
		s.mu.Unlock()
		if err := s.AppendSync(t.Context(), &Batch{}); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			return
		}
	}
}

// checkpointTest brings the journal into the database; nothing else may be under way.
func (s *Store) checkpointTest(t *testing.T) {
	t.Helper()
	s.kv.mu.Lock()
	defer s.kv.mu.Unlock()
	if err := s.kv.checkpoint(s.kv.journal.generation); err != nil {
		t.Fatal(err)
	}
}

// inDatabase counts the keys of a kind that the database has.
func (s *Store) inDatabase(t *testing.T, kind byte) (n int) {
	t.Helper()
	if err := s.kv.scan([]byte{kind}, nil, func(_, _ []byte) (bool, error) { n++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// killed copies what a kill leaves of a store on which nothing is under way, and opens that.
func (s *Store) killed(t *testing.T) *Store {
	t.Helper()
	names := func() (list []string) {
		entries, err := os.ReadDir(s.kv.opt.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	for { // a memtable may become a table meanwhile
		dir, before := t.TempDir(), names()
		err := os.CopyFS(filepath.Join(dir, databaseDir), os.DirFS(s.kv.opt.Dir))
		if slices.Equal(before, names()) {
			if err != nil {
				t.Fatal(err)
			}
			return openInternal(t, dir, s.budget)
		}
	}
}

// TestSteadyFlowStaysInTheJournal: what is settled before the journal is full never reaches the database.
func TestSteadyFlowStaysInTheJournal(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	for i := range 100 {
		s.addTest(t, "a", i)
		s.Commit(s.takeTest(t, LeaseOptions{}, i))
	}
	s.flushTest(t)
	if n := len(s.kv.kept.writes); n != 1 { // the totals
		t.Errorf("%d keys are kept: %v", n, s.kv.kept.until(1<<62))
	}
	s.checkpointTest(t)
	if n := s.inDatabase(t, keyBlock) + s.inDatabase(t, keyBits); n != 0 {
		t.Errorf("%d keys of blocks in the database", n)
	}
	if c := s.killed(t); c.Stats().Classes[ClassTelemetry].Count != 0 {
		t.Errorf("%+v", c.Stats().Classes[ClassTelemetry])
	}
}

// TestBlockAcrossCheckpoints: what the database got of a block leaves it again.
func TestBlockAcrossCheckpoints(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	batch := &Batch{}
	for i := range 3 {
		batch.Records = append(batch.Records, Record{Class: ClassTelemetry, Device: "a", Value: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	if err := s.AppendSync(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	s.checkpointTest(t)
	if n := s.inDatabase(t, keyBlock); n != 1 {
		t.Fatalf("%d blocks in the database", n)
	}
	s.Commit(s.takeTest(t, LeaseOptions{}, 0))
	s.flushTest(t)
	s.checkpointTest(t)
	if n := s.inDatabase(t, keyBits); n != 1 {
		t.Fatalf("%d bits in the database", n)
	}
	s.Commit(s.takeTest(t, LeaseOptions{}, 1))
	s.flushTest(t)
	s.killed(t).takeTest(t, LeaseOptions{}, 2)
	s.Commit(s.takeTest(t, LeaseOptions{}, 2))
	s.flushTest(t)
	if c := s.killed(t); c.Stats().Classes[ClassTelemetry].Count != 0 {
		t.Errorf("%+v", c.Stats().Classes[ClassTelemetry])
	}
	s.checkpointTest(t)
	if n := s.inDatabase(t, keyBlock) + s.inDatabase(t, keyBits); n != 0 || len(s.kv.kept.stored) != 1 {
		t.Errorf("%d keys of blocks are left, %v", n, s.kv.kept.stored)
	}
}

// TestSplitAcrossCheckpoints: a composition that the database knows is gone for good when it was split and sent one by
// one, so that a start does not take the rest of it for settled.
func TestSplitAcrossCheckpoints(t *testing.T) {
	t.Parallel()
	for checkpoints := range 4 {
		s := openInternal(t, t.TempDir(), 0)
		o := LeaseOptions{CoalesceWindow: time.Hour, Max: 3}
		batch := &Batch{}
		for i := range 3 {
			batch.Records = append(batch.Records, Record{Class: ClassTelemetry, Device: "a", Value: fmt.Appendf(nil, `{"n":%d}`, i)})
		}
		if err := s.AppendSync(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		l := s.takeTest(t, o, 0, 1, 2)
		if checkpoints&1 != 0 {
			s.checkpointTest(t)
		}
		s.Split(l)
		first := s.takeTest(t, o, 0)
		if checkpoints&2 != 0 {
			s.checkpointTest(t)
		}
		s.Commit(first)
		s.flushTest(t)
		s.flushTest(t)
		for range 2 {
			c := s.killed(t)
			c.takeTest(t, o, 1)
			s.checkpointTest(t)
		}
	}
}

// TestJournalFault: when the journal cannot be written nothing is acknowledged, and with the next one it goes on.
func TestJournalFault(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	s.addTest(t, "a", 0)
	segment := s.kv.journal.active()
	broken, err := os.Open(segment.path) // for reading
	if err != nil {
		t.Fatal(err)
	}
	s.kv.mu.Lock()
	whole := segment.f
	segment.f = broken
	s.kv.mu.Unlock()
	_ = whole.Close()
	r := Record{Class: ClassTelemetry, Device: "a", Value: []byte(`{"n":1}`)}
	if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err == nil {
		t.Fatal("acknowledged without a journal")
	}
	s.addTest(t, "a", 2)
	c := s.killed(t)
	c.Commit(c.takeTest(t, LeaseOptions{}, 0))
	c.takeTest(t, LeaseOptions{}, 2)
	if n := c.Stats().Classes[ClassTelemetry].Count; n != 1 {
		t.Errorf("%d records left", n)
	}
	s.Commit(s.takeTest(t, LeaseOptions{}, 0))
	s.Commit(s.takeTest(t, LeaseOptions{}, 2))
}

// TestDatabaseFault: what the database did not take, it gets from the journal when it is opened again.
func TestDatabaseFault(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	s.addTest(t, "a", 0)
	s.kv.mu.Lock()
	err := s.kv.journal.active().append(appendWrite(nil, []byte("s-missed"), []byte("x")))
	s.kv.behind.Store(true)
	s.kv.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	r := Record{Class: ClassTelemetry, Device: "a", Value: []byte(`{"n":1}`)}
	if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err == nil {
		t.Fatal("acknowledged while the database is behind")
	}
	s.addTest(t, "a", 2)
	if v, ok, err := s.kv.get([]byte("s-missed")); err != nil || !ok || string(v) != "x" {
		t.Errorf("%q %v %v", v, ok, err)
	}
	s.Commit(s.takeTest(t, LeaseOptions{}, 0))
	s.Commit(s.takeTest(t, LeaseOptions{}, 2))
	if n := s.Stats().Classes[ClassTelemetry].Count; n != 0 {
		t.Errorf("%d records left", n)
	}
}

// TestManyTransactionsInOneJournal: a journal that is full begins anew, however much goes through it, and does not grow.
func TestManyTransactionsInOneJournal(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 1<<20)
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	for i := range 100 {
		for j := range value {
			value[j] = byte(i*j>>7 ^ j)
		}
		r := Record{Class: ClassTelemetry, Device: fmt.Sprint("d", i%7), Value: bytes.Clone(value)}
		if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, segment := range s.kv.journal.segments {
		info, err := os.Stat(segment.path)
		if err != nil || info.Size() > segmentSize {
			t.Errorf("%v, %v", info.Size(), err)
		}
	}
	c := s.killed(t)
	if n := c.Stats().Classes[ClassTelemetry].Count; n != 100 {
		t.Errorf("%d records after a kill", n)
	}
	for range 100 {
		l, err := c.Next(t.Context(), LeaseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c.Commit(l)
	}
}
