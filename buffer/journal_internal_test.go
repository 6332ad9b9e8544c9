package buffer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// noise does not compress.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestLargeBlocksGoToTheDatabase: whatever sizes the journal holds side by side fit into the transactions of the database.
func TestLargeBlocksGoToTheDatabase(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	for _, n := range []int{250 << 10, 490 << 10, 255 << 10, 495 << 10} {
		r := Record{Class: ClassTelemetry, Device: "a", Value: noise(n)}
		if err := s.AppendSync(t.Context(), &Batch{Records: []Record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	c := s.killed(t)
	if st := c.Stats(); st.SetAside != "" || st.Classes[ClassTelemetry].Count != 4 {
		t.Errorf("after a kill: %+v, set aside %q", st.Classes[ClassTelemetry], st.SetAside)
	}
	s.checkpointTest(t)
}

// TestKillAmidRenewal: the newer segment never goes before the older one, for what that one has alone is the past.
func TestKillAmidRenewal(t *testing.T) {
	t.Parallel()
	for turns := range 2 {
		s := openInternal(t, t.TempDir(), 1)
		for range turns {
			s.checkpointTest(t)
		}
		s.addTest(t, "a", 0)
		s.kv.mu.Lock()
		if err := s.kv.turn(); err != nil {
			t.Fatal(err)
		}
		s.kv.mu.Unlock()
		s.addTest(t, "b", 1)
		s.Commit(s.takeTest(t, LeaseOptions{}, 0))
		s.flushTest(t)
		next := s.next
		s.kv.mu.Lock()
		for kept := range s.kv.journal.segments {
			// The renewal of the other one comes first or fails.
			segment := s.kv.journal.segments[kept]
			path := segment.path
			segment.path = filepath.Join(path, "nowhere")
			s.kv.tainted = true
			if err := s.kv.readyJournal(); err == nil {
				t.Fatal("renewed what cannot be")
			}
			segment.path = path
			c := s.killed(t)
			if n := c.Stats().Classes[ClassTelemetry].Count; n != 1 || c.next != next {
				t.Errorf("%d turns, without %d: %d records, the next is %d, not %d", turns, kept, n, c.next, next)
			}
		}
		err := s.kv.readyJournal()
		s.kv.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		s.addTest(t, "a", 2)
	}
}

// TestDatabaseFaultAmidCheckpoint: what the database took of a checkpoint that failed leaves it when it is forgotten.
func TestDatabaseFaultAmidCheckpoint(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	s.addTest(t, "a", 0)
	s.kv.mu.Lock()
	if err := s.kv.turn(); err != nil {
		t.Fatal(err)
	}
	dir := s.kv.opt.Dir
	s.kv.opt.Dir = filepath.Join(dir, "nowhere") // the sync fails
	if err := s.kv.turn(); err == nil {
		t.Fatal("a checkpoint without a sync")
	}
	s.kv.opt.Dir = dir
	s.kv.mu.Unlock()
	s.Commit(s.takeTest(t, LeaseOptions{}, 0))
	s.flushTest(t)
	for range 3 {
		s.checkpointTest(t)
	}
	if n := s.inDatabase(t, keyBlock); n != 0 {
		t.Errorf("%d blocks are left", n)
	}
	if n := s.killed(t).Stats().Classes[ClassTelemetry].Count; n != 0 {
		t.Errorf("%d records are left", n)
	}
}

// TestReplayRemembersWhatIsStored: what the database got by a replay leaves it again.
func TestReplayRemembersWhatIsStored(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	key := []byte("c-group")
	_, err := s.kv.update(func(w *writes) { w.keep(key, []byte("old"), true) })
	if err != nil {
		t.Fatal(err)
	}
	s.kv.behind.Store(true)
	if err := s.kv.restart(); err != nil {
		t.Fatal(err)
	}
	for _, fn := range []func(w *writes){
		func(w *writes) { w.keep(key, []byte("new"), true) },
		func(w *writes) { w.forget(key) },
	} {
		if _, err := s.kv.update(fn); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		s.checkpointTest(t)
	}
	if v, ok, err := s.kv.get(key); ok || err != nil {
		t.Errorf("%q is left, %v", v, err)
	}
}

// TestFirstOpeningAgain: a journal that could not begin when the store was opened begins at the next attempt, with new
// files, and nothing is written to it before.
func TestFirstOpeningAgain(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	s.addTest(t, "a", 0)
	dir := filepath.Join(t.TempDir(), databaseDir)
	if err := os.CopyFS(dir, os.DirFS(s.kv.opt.Dir)); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(dir, journalFiles[(s.kv.journal.generation+1)%2])
	if err := errors.Join(os.Remove(next), os.Symlink("/dev/full", next)); err != nil {
		t.Fatal(err)
	}
	e := &engine{opt: badgerOptions(dir, zap.NewNop()), journaled: true, sync: true}
	if err := e.open(); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("opened without a journal: %v", err)
	}
	if err := e.open(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.update(func(w *writes) { w.keep([]byte("s-key"), []byte("x"), true) }); err != nil {
		t.Fatal(err)
	}
	found, err := loadJournal(dir)
	if _, stored := found.writes["s-key"]; err != nil || !stored {
		t.Errorf("%+v, %v", found, err)
	}
	if err := e.close(false); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsReadBehind: a database that misses what was published is not asked: a reader would take the records that
// it does not find for the end of their lane.
func TestNothingIsReadBehind(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 1)
	s.addTest(t, "a", 0)
	s.kv.behind.Store(true)
	if _, _, err := s.kv.get(keyFormat); !errors.Is(err, ErrUnavailable) {
		t.Errorf("read from a database that is behind: %v", err)
	}
	if err := s.kv.restart(); err != nil {
		t.Fatal(err)
	}
	s.takeTest(t, LeaseOptions{}, 0)
}

// TestFailureEndsWithTheOpening: whoever opened the database again after a failure, appends are taken again.
func TestFailureEndsWithTheOpening(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	s.mu.Lock()
	s.failed = errors.New("as if the database did not open") // and then compactNewest opened it
	s.mu.Unlock()
	s.reopen()
	s.addTest(t, "a", 0)
}

// TestTornIsToldOnce: what an opening cut off is not reported again by the next one.
func TestTornIsToldOnce(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	s.addTest(t, "a", 0)
	segment := s.kv.journal.active()
	end := segment.end
	s.addTest(t, "a", 1)
	if err := os.Truncate(segment.path, end+segmentHead+5); err != nil {
		t.Fatal(err)
	}
	c := s.killed(t)
	if n := c.Stats().Torn; n == 0 {
		t.Error("nothing is torn")
	}
	if n := c.killed(t).Stats().Torn; n != 0 {
		t.Errorf("%d bytes are torn once more", n)
	}
}

// TestSegmentWithoutDirectWrites: where the file system opens a file for direct writes and refuses them, the segment does
// without.
func TestSegmentWithoutDirectWrites(t *testing.T) {
	t.Parallel()
	s := setupSegment(t)
	if !s.direct {
		t.Skip("the file system knows no direct writes")
	}
	s.buf = alignedBytes(2 * segmentBlock)[1:] // from where no device can copy
	if err := s.append([]byte("x")); !errors.Is(err, unix.EINVAL) {
		t.Skip("the file system takes any memory", err)
	}
	if err := s.begin(2, tallied{}); err != nil || s.direct {
		t.Fatalf("direct %v, %v", s.direct, err)
	}
	s.fill(t, "a", 20)
	if found, err := readSegment(s.read(t)); err != nil || len(found.writes) != 20 || found.generation != 2 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestKeptAcrossSegments: what changes in every segment is kept until the segment that has it last is used again.
func TestKeptAcrossSegments(t *testing.T) {
	t.Parallel()
	s := openInternal(t, t.TempDir(), 0)
	keys := func(n int) []byte { return fmt.Append(nil, "s-", n) }
	for n := range 6 {
		_, err := s.kv.update(func(w *writes) {
			w.keep([]byte("s-always"), fmt.Append(nil, n), false)
			w.keep(keys(n), fmt.Append(nil, n), true)
		})
		if err != nil {
			t.Fatal(err)
		}
		s.kv.mu.Lock()
		err = s.kv.turn()
		s.kv.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := s.kv.get([]byte("s-always")); ok {
			t.Error("the database has what every segment has")
		}
		if _, ok, _ := s.kv.get(keys(n)); ok {
			t.Error("the database has what a segment has that is not used again yet")
		}
		c := s.killed(t)
		for m := range n + 1 {
			if v, ok, err := c.kv.get(keys(m)); !ok || string(v) != fmt.Sprint(m) {
				t.Errorf("after %d turns: %q %v %v", n, v, ok, err)
			}
		}
		if v, ok, err := c.kv.get([]byte("s-always")); !ok || string(v) != fmt.Sprint(n) {
			t.Errorf("after %d turns: %q %v %v", n, v, ok, err)
		}
	}
}

// TestSegmentAmongOlderEntries: an entry of the time before that lies where the next one would be is not read, nor taken
// for a sign of damage. That takes an end on the border of a block, for the rest of a block is cleared.
func TestSegmentAmongOlderEntries(t *testing.T) {
	t.Parallel()
	s := setupSegment(t)
	size := segmentBlock - segmentHead
	value := func(key string) []byte { // with that the entry ends with the block
		for n := size; ; n-- {
			if body := appendWrite(nil, []byte(key), make([]byte, n)); len(body) == size {
				return body
			}
		}
	}
	if err := s.append(value("old")); err != nil {
		t.Fatal(err)
	}
	s.fill(t, "older", 4)
	if err := s.begin(3, tallied{}); err != nil {
		t.Fatal(err)
	}
	if err := s.append(value("new")); err != nil {
		t.Fatal(err)
	}
	if s.end != 2*segmentBlock {
		t.Fatalf("the end is at %d", s.end)
	}
	found, err := readSegment(s.read(t))
	if err != nil || !slices.Equal(keysOf(found), []string{"new"}) || found.torn != 0 {
		t.Errorf("%v, %d bytes torn, %v", keysOf(found), found.torn, err)
	}
}
