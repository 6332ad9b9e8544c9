package buffer

import (
	"errors"
	"time"
)

// Stats is a snapshot of what the store holds and did. Counters run since Open.
type Stats struct {
	Classes [numClasses]ClassStats // indexed by Class

	DeadLetters        int64
	DeadLetterBytes    int64
	DeadLettersExpired uint64
	DeadLettersEvicted uint64 // to make room for a record that the uplink refused

	Devices      int // known to the queue
	Leased       int64
	MemoryBytes  int64 // records in memory
	PendingBytes int64 // waiting for the committer

	LimitBytes int64   // what records may take
	DiskBytes  int64   // what the files take
	FreeBytes  int64   // on the file system
	HoursLeft  float64 // until the store is full at the present rate; negative: the backlog is not growing

	Commits      uint64
	CommitErrors uint64
	ReadErrors   uint64
	Retried      uint64
	Split        uint64
	Loads        uint64 // reads of a lane from disk
	Loaded       uint64 // records read from disk
	Flattens     uint64

	Refused map[string]uint64 // batches, by reason

	DiskFull  bool
	Waiting   bool   // for space to open the store: nobody knows yet what it holds
	Failed    string // why writes are refused, "" when they are not
	SetAside  string // directory of a store that could not be opened, "" when it could
	Torn      int64  // bytes of an unfinished write that were cut off at Open
	Recovered int64  // records that were in memory when the last process ended without Close
	Drained   bool   // nothing waits
}

// ClassStats is one class of records.
type ClassStats struct {
	Count, Bytes int64
	Leased       int64
	Stored       uint64
	StoredBytes  uint64 // with what a record costs beside its value
	Delivered    uint64
	Dropped      map[string]uint64 // by reason: expired, overflow, newest, thinned, superseded, dead_lettered, purged, unreadable
	BytesPerHour float64           // stored, at the present rate
}

// counters are Stats while they are being counted, under the store's lock.
type counters struct {
	stored, delivered [numClasses]uint64
	storedBytes       [numClasses]uint64
	drops             [numClasses][numDrops]uint64
	refused           [numRefusals]uint64
	commits           uint64
	commitErrors      uint64
	readErrors        uint64
	retried           uint64
	split             uint64
	loads, loaded     uint64
	flattens          uint64
	dlExpired         uint64
	dlEvicted         uint64
}

// The refusals as metrics name them.
var refusals = [...]struct {
	err  error
	name string
}{
	{ErrFull, "full"},
	{ErrDiskFull, "disk_full"},
	{ErrDeadLettersFull, "dead_letters_full"},
	{ErrTooLarge, "too_large"},
	{ErrTooManyDevices, "too_many_devices"},
	{ErrInvalid, "invalid"},
	{ErrFailed, "failed"},
	{ErrClosed, "closed"},
}

const numRefusals = len(refusals)

func refusal(err error) int {
	for i := range refusals {
		if errors.Is(err, refusals[i].err) {
			return i
		}
	}
	return 0
}

// Stats takes a snapshot. It scans nothing.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.stats
	st := Stats{
		DeadLetters: s.dlCount, DeadLetterBytes: s.dlBytes, DeadLettersExpired: c.dlExpired, DeadLettersEvicted: c.dlEvicted,
		Devices: len(s.devices), MemoryBytes: s.hot, PendingBytes: s.pendBytes,
		LimitBytes: s.limit, DiskBytes: s.diskBytes, FreeBytes: s.freeBytes,
		Commits: c.commits, CommitErrors: c.commitErrors, ReadErrors: c.readErrors, Retried: c.retried, Split: c.split,
		Loads: c.loads, Loaded: c.loaded, Flattens: c.flattens,
		Refused: map[string]uint64{}, DiskFull: s.diskFull, Waiting: s.waiting, SetAside: s.setAside, Torn: s.torn, Recovered: s.recovered,
		Drained: true,
	}
	if s.failed != nil {
		st.Failed = s.failed.Error()
	}
	for i, n := range c.refused {
		st.Refused[refusals[i].name] = n
	}
	var bytes int64
	var growth float64
	for k := range numClasses {
		cs := &st.Classes[k]
		*cs = ClassStats{
			Count: s.cur.count[k], Bytes: s.cur.bytes[k], Leased: s.leasedOf[k], Stored: c.stored[k], StoredBytes: c.storedBytes[k],
			Delivered: c.delivered[k], Dropped: map[string]uint64{}, BytesPerHour: s.rate.in[k] * 3600,
		}
		for i, n := range c.drops[k] {
			cs.Dropped[dropNames[i]] = n
		}
		st.Drained = st.Drained && cs.Count == 0
		st.Leased += cs.Leased
		bytes += cs.Bytes
		growth += s.rate.in[k] - s.rate.out[k]
	}
	st.HoursLeft = -1
	if growth > 0 {
		st.HoursLeft = float64(max(0, s.limit-bytes)) / growth / 3600
	}
	return st
}

// rates are moving averages of the bytes per second that came and went.
type rates struct {
	last        time.Time
	sumIn, seen [numClasses]int64
	in, out     [numClasses]float64
	started     bool
}

func (r *rates) add(recs []planned) {
	for i := range recs {
		r.sumIn[recs[i].rec.Class] += recs[i].rec.size()
	}
}

// tick brings the averages up to date; held are the bytes of each class that are stored now. They follow a change
// within a minute.
func (r *rates) tick(now time.Time, held [numClasses]int64) {
	dt := now.Sub(r.last).Seconds()
	if !r.started || dt <= 0 {
		r.started, r.last, r.seen = true, now, held
		r.sumIn = [numClasses]int64{}
		return
	}
	w := min(1, dt/60)
	for c := range r.in {
		in := float64(r.sumIn[c])
		out := in - float64(held[c]-r.seen[c])
		r.in[c] += w * (in/dt - r.in[c])
		r.out[c] += w * (out/dt - r.out[c])
	}
	r.last, r.seen, r.sumIn = now, held, [numClasses]int64{}
}
