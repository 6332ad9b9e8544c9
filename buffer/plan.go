package buffer

import (
	"encoding/binary"
	"slices"
	"time"
)

// How much goes into one transaction: at least one batch, then as long as these are not exceeded.
const (
	txnRecords = 500
	txnBytes   = 256 << 10
	txnOps     = 2000
)

// planned is a record of the transaction under way.
type planned struct {
	rec  *Record
	dev  *device
	lane *lane
	it   *item // it stays in memory
	// packed records go into a chunk of the plan; next is the one behind it there.
	packed bool
	chunk  int
	next   int
}

// plan is one transaction: made under the lock, written without it, made known under the lock again.
type plan struct {
	txn        uint64
	ops        []op
	recs       []planned
	hot        int
	block      *block
	gone       []gone
	freed      []*block // all of their records are settled
	marked     []*block // some are
	marks      [][]byte // the bits of marked
	tallies    []tally  // what the totals of marked are to be lowered by
	cursors    []cursor
	newDev     []*device
	chunks     []packing
	dead       []gone // dead letters to delete
	nextDL     uint64
	spread     []*block // written off
	spreadGone []tally
	moved      []movedRecord // what was left in them
	totals     totals
	buf        []byte
	body       []byte
	entry      []byte
}

type cursor struct {
	class Class
	dev   uint32
	seq   uint64
}

// plan takes what is to be written from the queue. It reports false when there is nothing to do.
func (s *Store) plan(p *plan) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.reset()
	records, bytes := 0, int64(0)
	for s.pendHead < len(s.pending) && len(p.ops) < txnOps {
		o := &s.pending[s.pendHead]
		n := 0
		if o.batch != nil {
			n = len(o.batch.Records) + len(o.batch.DeadLetters) + len(o.batch.Puts)
		}
		if len(p.ops) > 0 && (records+n > txnRecords || bytes+o.bytes > txnBytes) {
			break
		}
		records, bytes = records+n, bytes+o.bytes
		p.ops = append(p.ops, *o)
		*o = op{}
		s.pendHead++
	}
	if s.pendHead == len(s.pending) {
		s.pending, s.pendHead = s.pending[:0], 0
		if cap(s.pending) > 8192 {
			s.pending = nil
		}
	}
	if len(p.ops) == 0 && !s.flushNow && len(s.gone) < maxGone {
		return false
	}
	s.began, s.before = time.Now(), max(len(p.ops), s.before-(s.before+3)/4)
	if !s.writable() {
		return len(p.ops) > 0
	}
	s.planRecords(p)
	s.sparse(p)
	p.nextDL = s.nextDL
	s.planGone(p)
	if p.deletes() || slices.ContainsFunc(p.ops, func(o op) bool { return o.err == nil }) {
		s.txn++
		p.txn = s.txn
	}
	return len(p.ops) > 0 || p.txn != 0
}

func (p *plan) deletes() bool { return len(p.gone)+len(p.freed)+len(p.marked)+len(p.spread) > 0 }

func (p *plan) reset() {
	clear(p.ops)
	clear(p.recs)
	clear(p.freed)
	clear(p.marked)
	clear(p.newDev)
	clear(p.spread)
	clear(p.moved)
	*p = plan{
		ops: p.ops[:0], recs: p.recs[:0], gone: p.gone[:0], freed: p.freed[:0], marked: p.marked[:0],
		marks: p.marks[:0], tallies: p.tallies[:0], cursors: p.cursors[:0], newDev: p.newDev[:0], chunks: p.chunks[:0],
		dead:   p.dead[:0],
		spread: p.spread[:0], spreadGone: p.spreadGone[:0], moved: p.moved[:0], buf: p.buf[:0], body: p.body[:0], entry: p.entry[:0],
	}
	if cap(p.buf) > 2<<20 {
		p.buf = nil
	}
}

// planRecords decides for every record whether it stays in memory: it does when nothing of its lane waits on disk
// before it and the budget allows.
func (s *Store) planRecords(p *plan) {
	budget := s.budget - s.hot
	for i := range p.ops {
		o := &p.ops[i]
		if o.kind == opDead || o.batch != nil && len(o.batch.DeadLetters) > 0 {
			s.planDead(o)
		}
		if o.batch == nil {
			continue
		}
		for j := range o.batch.Records {
			r, d := &o.batch.Records[j], o.device(j)
			l := s.laneFor(d, r.Class, r.Seq)
			if !d.saved {
				d.saved = true
				p.newDev = append(p.newDev, d)
			}
			x := planned{rec: r, dev: d, lane: l}
			cost := 224 + int64(len(r.Value)) + int64(len(r.Meta))
			if l.coldTxn != s.txn+1 && l.contiguous() && cost <= budget {
				budget -= cost
				p.hot++
				l.hot++
				x.it = hotMark
				p.recs = append(p.recs, x)
				continue
			}
			if l.coldTxn != s.txn+1 {
				l.coldTxn, l.packing = s.txn+1, -1
			}
			p.recs = append(p.recs, x)
			p.pack(len(p.recs) - 1)
		}
	}
	if p.hot == 0 {
		return
	}
	items := make([]item, p.hot)
	p.block = &block{items: items, n: p.hot, live: p.hot, bits: make([]uint64, (p.hot+63)/64), born: time.Now()}
	n := 0
	for i := range p.recs {
		x := &p.recs[i]
		if x.it == nil {
			continue
		}
		it := &items[n]
		it.Record, it.dev, it.lane, it.blk, it.idx = *x.rec, x.dev, x.lane, p.block, uint16(n)
		it.Device = x.dev.name
		x.it = it
		if n == 0 {
			p.block.first = it.Seq
		}
		n++
	}
}

// hotMark stands for an item that is not made yet.
var hotMark = &item{}

// laneFor is the lane that a new record joins.
func (s *Store) laneFor(d *device, c Class, seq uint64) *lane {
	l := d.tail(c)
	if l == nil {
		l = &lane{dev: d, class: c, first: seq, pos: seq, key: seq, last: seq - 1, live: s.liveFrom > 0 && seq >= s.liveFrom}
		d.lanes = append(d.lanes, l)
		return l
	}
	if s.liveFrom > 0 && seq >= s.liveFrom && c >= ClassProperty && (!l.live || l.first < s.liveFrom) {
		return s.splitLane(l, seq)
	}
	return l
}

// planGone adds the deletions that ride along.
func (s *Store) planGone(p *plan) {
	now := time.Now()
	bits := s.flushNow || now.Sub(s.bitsAt) >= bitsEvery
	keep := s.dirty[:0]
	room := maxGone
	for _, b := range s.dirty {
		switch {
		case b.dead:
			continue
		case b.moving:
			keep = append(keep, b)
			continue
		case room <= 0:
			keep = append(keep, b)
			continue
		case b.live == 0:
			p.freed = append(p.freed, b)
			if b.of != nil {
				b.of.deleted++
			}
		case bits:
			p.marked = append(p.marked, b)
			p.marks = append(p.marks, encodeBits(b.bits))
			p.tallies = append(p.tallies, b.gone)
			b.dirty = false
		default:
			keep = append(keep, b)
			continue
		}
		room--
	}
	clear(s.dirty[len(keep):])
	s.dirty = keep
	if bits {
		s.bitsAt = now
	}
	n := min(len(s.gone)-s.goneHead, room)
	p.gone = append(p.gone, s.gone[s.goneHead:s.goneHead+n]...)
	if s.goneHead += n; s.goneHead == len(s.gone) {
		s.gone, s.goneHead = s.gone[:0], 0
		if cap(s.gone) > 1<<16 {
			s.gone = nil
		}
	} else if s.goneHead > len(s.gone)/2 {
		s.gone, s.goneHead = s.gone[:copy(s.gone, s.gone[s.goneHead:])], 0
	}
	s.flushNow = len(s.gone) >= maxGone
	s.flushArmed = false
	if len(s.gone) > 0 || len(s.dirty) > 0 {
		s.arm()
	}
	if bits && len(s.gone) == 0 && len(s.dirty) == 0 {
		p.gone = append(p.gone, s.goneGroups...)
		s.goneGroups = s.goneGroups[:0]
	}
	if len(s.goneGroups) > 0 {
		s.arm()
	}
	s.planCursors(p)
}

// cursorEvery is how many deletions at the front of a lane make it worth to remember where the lane begins: without
// the cursor an opening store would have to walk over them.
const cursorEvery = 20000

func (s *Store) planCursors(p *plan) {
	for _, g := range p.gone {
		if g.kind == keyQueue {
			s.planCursor(p, g.class, g.dev)
		}
	}
	for _, b := range p.freed {
		if b.of != nil {
			s.planCursor(p, b.of.class, b.of.dev.no)
		}
	}
}

func (s *Store) planCursor(p *plan, c Class, dev uint32) {
	if int(dev) >= len(s.byNo) || s.byNo[dev] == nil {
		return
	}
	for _, l := range s.byNo[dev].lanes {
		if l.class == c && l.deleted >= cursorEvery {
			if seq := l.dev.oldest(c); seq > 0 {
				l.deleted = 0
				p.cursors = append(p.cursors, cursor{c, dev, seq})
			}
		}
	}
}

// bootsEvery is how stale the uptime of this boot may be on disk, when something is written at all.
const bootsEvery = time.Minute

func encodeBits(bits []uint64) []byte {
	b := make([]byte, 0, 1+8*len(bits))
	b = append(b, codecVersion)
	for _, w := range bits {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}
