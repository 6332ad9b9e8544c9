package buffer

import "time"

// gone is something on disk that a coming transaction will delete.
type gone struct {
	kind  byte // keyQueue, keyGroup
	class Class
	dev   uint32
	seq   uint64
	size  int64
}

const (
	// flushAfter is how long a settled record may still be on disk when no transaction comes along.
	flushAfter = 250 * time.Millisecond
	// bitsEvery is how often the settled records of blocks that still have others are written.
	bitsEvery = 100 * time.Millisecond
	// maxGone is how many deletions ride in one transaction.
	maxGone = 2000
	// heldGone is how many deletions may wait in memory on a disk that is too full even for them.
	heldGone = 1 << 20
)

// settle removes a record: its deletion is noted for the next transaction. The caller accounts for the reason.
func (s *Store) settle(it *item) {
	if it.state == itemSettled {
		return
	}
	it.state = itemSettled
	size := it.size()
	s.cur.count[it.Class]--
	s.cur.bytes[it.Class] -= size
	if b := it.blk; b != nil {
		if b.of != nil {
			b.inMemory--
		}
		s.settleIn(b, int(it.idx), it.Class, size)
	} else {
		s.gone = append(s.gone, gone{keyQueue, it.Class, it.dev.no, it.Seq, size})
		it.lane.deleted++
	}
	it.Value, it.Meta = nil, nil
	s.arm()
}

// settleIn notes that a record of a block or chunk is settled.
func (s *Store) settleIn(b *block, i int, c Class, size int64) {
	b.bits[i/64] |= 1 << (i % 64)
	b.live--
	b.gone.add(c, size)
	s.soil(b)
}

// soil has the next transactions write what is settled of a block.
func (s *Store) soil(b *block) {
	if !b.dirty {
		b.dirty = true
		s.dirty = append(s.dirty, b)
	}
}

// arm sees to it that settled records leave the disk soon.
func (s *Store) arm() {
	if len(s.gone)-s.goneHead >= maxGone/2 && !s.flushNow {
		s.flushNow = true
		s.poke()
	}
	if !s.flushArmed {
		s.flushArmed = true
		s.flushTimer.Reset(flushAfter)
	}
}

func (s *Store) flushDue() {
	s.mu.Lock()
	s.flushNow = true
	s.mu.Unlock()
	s.poke()
}

// settling reports that so many deletions wait for the disk that leasing has to stop.
func (s *Store) settling() bool { return len(s.gone)-s.goneHead >= heldGone }

func (s *Store) poke() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// The reasons for which a record leaves the queue without having been delivered.
const (
	dropExpired = iota
	dropOverflow
	dropNewest
	dropThinned
	dropSuperseded
	dropDeadLetter
	dropPurged
	dropUnreadable
	numDrops
)

// dropNames are the reasons as metrics and listings name them.
var dropNames = [numDrops]string{
	"expired", "overflow", "newest", "thinned", "superseded", "dead_lettered", "purged", "unreadable",
}

// drop removes a record for a reason.
func (s *Store) drop(it *item, reason int) {
	s.stats.drops[it.Class][reason]++
	s.settle(it)
}

func (s *Store) dropLease(l *Lease, reason int) {
	if !s.back(l) {
		return
	}
	for _, it := range l.items {
		s.drop(it, reason)
	}
	s.ungroup(l)
	s.update(l.dev, false)
}

// tooOld reports whether a record is past the age of its class.
func (s *Store) tooOld(r *Record) bool {
	age := s.maxAge[r.Class]
	if age == 0 {
		return false
	}
	now := s.clk.Stamp()
	if r.Stamp.Boot == now.Boot {
		return now.Up-r.Stamp.Up > int64(age)
	}
	return s.clk.AgeAt(r.Stamp, now) > age
}

func (s *Store) expired(l *Lease) bool {
	for _, it := range l.items {
		if !s.tooOld(&it.Record) {
			return false
		}
	}
	return true
}
