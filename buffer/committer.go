package buffer

import (
	"encoding/binary"
	"slices"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
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
	dead       []gone // dead letters to delete
	nextDL     uint64
	spread     []*block // written off
	spreadGone []tally
	moved      []moved // what was left in them
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

// run is the committer: the only goroutine that writes to the database.
func (s *Store) run() {
	defer close(s.stopped)
	p := &plan{}
	for {
		s.makeRoom()
		if s.plan(p) {
			s.commit(p)
			continue
		}
		select {
		case <-s.kick:
		case <-s.stop:
			s.mu.Lock()
			s.flushNow = true
			s.mu.Unlock()
			for s.plan(p) {
				s.commit(p)
				if !s.kv.ready() {
					break
				}
				s.mu.Lock()
				s.flushNow = len(s.gone) > 0
				s.mu.Unlock()
			}
			return
		}
	}
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
		marks: p.marks[:0], tallies: p.tallies[:0], cursors: p.cursors[:0], newDev: p.newDev[:0],
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
			} else {
				l.coldTxn = s.txn + 1
			}
			p.recs = append(p.recs, x)
		}
	}
	if p.hot == 0 {
		return
	}
	items := make([]item, p.hot)
	if p.hot > 1 {
		p.block = &block{items: items, live: p.hot, bits: make([]uint64, (p.hot+63)/64), born: time.Now()}
	}
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
		if p.block != nil && n == 0 {
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
		l = &lane{dev: d, class: c, first: seq, pos: seq, last: seq - 1, live: s.liveFrom > 0 && seq >= s.liveFrom}
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
		if g.kind != keyQueue || int(g.dev) >= len(s.byNo) || s.byNo[g.dev] == nil {
			continue
		}
		for _, l := range s.byNo[g.dev].lanes {
			if l.class == g.class && l.deleted >= cursorEvery {
				if seq := l.dev.oldest(g.class); seq > 0 {
					l.deleted = 0
					p.cursors = append(p.cursors, cursor{g.class, g.dev, seq})
				}
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

// commit writes a plan and tells everyone.
func (s *Store) commit(p *plan) {
	var err error
	wrote := false
	if p.txn != 0 {
		s.planDropDead(p)
		s.foot(p)
		if s.sinceCheck += int64(cap(p.buf)); s.sinceCheck > checkBytes {
			s.sinceCheck = 0
			s.checkSpace()
		}
		err = s.kv.update(func(txn *badger.Txn) error { return s.write(p, txn) })
		wrote = err == nil
		if err != nil {
			wrote = s.visible(p)
			s.log.Error("transaction failed", zap.Error(err), zap.Bool("visible", wrote), zap.Int("records", len(p.recs)))
		}
	}
	s.mu.Lock()
	if p.txn != 0 {
		if wrote {
			s.publish(p)
		} else {
			s.rollback(p)
		}
		if err != nil {
			s.stats.commitErrors++
		} else {
			s.stats.commits++
			s.unsynced = true
		}
	}
	if p.txn == 0 {
		err = s.unplanned(p)
	}
	s.settleOps(p, err)
	s.mu.Unlock()
	for i := range p.ops {
		o := &p.ops[i]
		if o.done == nil {
			continue
		}
		if o.err != nil {
			o.done(o.err)
		} else {
			o.done(err)
		}
	}
	if err != nil && p.txn != 0 {
		s.afterFailure(err)
	}
}

// foot computes the totals as they will be after the transaction.
func (s *Store) foot(p *plan) {
	t := s.disk
	t.txn = p.txn
	for i := range p.recs {
		r := p.recs[i].rec
		t.count[r.Class]++
		t.bytes[r.Class] += r.size()
		t.next = max(t.next, r.Seq+1)
	}
	for _, g := range p.gone {
		if g.kind == keyQueue {
			t.count[g.class]--
			t.bytes[g.class] -= g.size
		}
	}
	for _, g := range p.dead {
		t.dlCount--
		t.dlBytes -= g.size
	}
	lower := func(y *tally) {
		for c := range t.count {
			t.count[c] -= y.count[c]
			t.bytes[c] -= y.bytes[c]
		}
	}
	for _, b := range p.freed {
		lower(&b.gone)
	}
	for i := range p.tallies {
		lower(&p.tallies[i])
	}
	for i := range p.spreadGone {
		lower(&p.spreadGone[i])
	}
	for i := range p.ops {
		s.footDead(&p.ops[i], &t)
	}
	t.nextDL = max(t.nextDL, p.nextDL)
	p.totals = t
}

// write puts a plan into a transaction.
func (s *Store) write(p *plan, txn *badger.Txn) error {
	need := 128
	for i := range p.recs {
		need += int(p.recs[i].rec.size()) + 64
	}
	need += need/64 + 1024 // a block that does not compress
	need += len(p.gone)*queueKeyLen + (len(p.freed)+len(p.marked))*18
	if cap(p.buf) < need {
		p.buf = make([]byte, 0, need)
	}
	for _, d := range p.newDev {
		if err := txn.Set(deviceKey(d.no), []byte(d.name)); err != nil {
			return err
		}
	}
	if err := s.writeRecords(p, txn); err != nil {
		return err
	}
	if err := s.writeMoved(p, txn); err != nil {
		return err
	}
	for i := range p.ops {
		if err := s.writeOp(&p.ops[i], txn); err != nil {
			return err
		}
	}
	for _, g := range p.gone {
		key := p.take(func(b []byte) []byte { return appendQueueKey(b, g.kind, g.class, g.dev, g.seq) })
		if err := txn.Delete(key); err != nil {
			return err
		}
	}
	for _, g := range p.dead {
		if err := txn.Delete(numberKey(keyDead, g.seq)); err != nil {
			return err
		}
	}
	for _, b := range p.freed {
		if err := txn.Delete(numberKey(keyBlock, b.first)); err != nil {
			return err
		}
		if b.saved {
			if err := txn.Delete(numberKey(keyBits, b.first)); err != nil {
				return err
			}
		}
	}
	for i, b := range p.marked {
		if err := txn.Set(numberKey(keyBits, b.first), p.marks[i]); err != nil {
			return err
		}
	}
	for _, c := range p.cursors {
		if err := txn.Set(cursorKey(c.class, c.dev), binary.BigEndian.AppendUint64(nil, c.seq)); err != nil {
			return err
		}
	}
	if s.clk.Dirty() || time.Since(s.bootsAt) > bootsEvery {
		s.bootsAt = time.Now()
		if err := txn.Set(keyBoots, s.clk.Snapshot()); err != nil {
			return err
		}
	}
	return txn.Set(keyTotals, p.take(p.totals.append))
}

// take appends to the plan's buffer, which is large enough not to move, and returns the piece.
func (p *plan) take(fn func(b []byte) []byte) []byte {
	n := len(p.buf)
	p.buf = fn(p.buf)
	return p.buf[n:len(p.buf):len(p.buf)]
}

func (s *Store) writeRecords(p *plan, txn *badger.Txn) error {
	for i := range p.recs {
		x := &p.recs[i]
		if x.it != nil && p.block != nil {
			continue
		}
		key := p.take(func(b []byte) []byte { return appendQueueKey(b, keyQueue, x.rec.Class, x.dev.no, x.rec.Seq) })
		if err := txn.Set(key, p.take(func(b []byte) []byte { return appendRecord(b, x.rec) })); err != nil {
			return err
		}
	}
	if p.block == nil {
		return nil
	}
	p.body = p.body[:0]
	for i := range p.recs {
		x := &p.recs[i]
		if x.it == nil {
			continue
		}
		p.entry = appendRecord(p.entry[:0], x.rec)
		p.body = appendBlockEntry(p.body, x.rec.Class, x.dev.no, x.rec.Seq, p.entry)
	}
	value := p.take(func(b []byte) []byte { return appendBlock(b, p.body) })
	return txn.Set(numberKey(keyBlock, p.block.first), value)
}

// publish makes a stored plan known: from here on its records can be leased.
func (s *Store) publish(p *plan) {
	s.disk = p.totals
	for i := range p.recs {
		x := &p.recs[i]
		l, r := x.lane, x.rec
		s.cur.add(r.Class, r.size())
		s.pend.bytes[r.Class] -= r.size()
		s.pend.count[r.Class]--
		x.dev.pend--
		s.stats.stored[r.Class]++
		l.last = r.Seq
		if x.it != nil {
			l.hot--
			l.push(x.it)
			l.pos = r.Seq + 1
			s.hot += x.it.weight()
		}
		s.index(x)
		s.update(x.dev, false)
	}
	s.rate.add(p.recs)
	if p.block != nil {
		s.blocks = append(s.blocks, p.block)
	}
	s.deleted += int64(len(p.gone))
	for _, b := range p.freed {
		s.deleted += int64(len(b.items))
		b.gone = tally{}
	}
	for i, b := range p.marked {
		b.saved = true
		b.gone.sum(&p.tallies[i], -1)
	}
	s.spreadDone(p, true)
	for _, g := range p.gone {
		if g.kind == keyQueue {
			s.unskip(g)
		}
	}
}

// rollback undoes what the plan took.
func (s *Store) rollback(p *plan) {
	for i := range p.recs {
		x := &p.recs[i]
		s.pend.bytes[x.rec.Class] -= x.rec.size()
		s.pend.count[x.rec.Class]--
		x.dev.pend--
		if x.it != nil {
			x.lane.hot--
		}
	}
	for _, d := range p.newDev {
		d.saved = false
	}
	s.spreadDone(p, false)
	s.gone = append(append([]gone(nil), p.gone...), s.gone[s.goneHead:]...)
	s.goneHead = 0
	for _, b := range p.freed {
		b.dirty = true
		s.dirty = append(s.dirty, b)
	}
	for _, b := range p.marked {
		if !b.dirty {
			b.dirty = true
			s.dirty = append(s.dirty, b)
		}
	}
	s.arm()
}

// unplanned releases what ops that could not be planned had reserved: the disk became full meanwhile.
func (s *Store) unplanned(p *plan) (err error) {
	for i := range p.ops {
		o := &p.ops[i]
		if o.err == nil {
			err = ErrDiskFull
		}
		if o.batch == nil {
			continue
		}
		for j := range o.batch.Records {
			r := &o.batch.Records[j]
			s.pend.bytes[r.Class] -= r.size()
			s.pend.count[r.Class]--
			o.device(j).pend--
		}
	}
	return err
}

// settleOps releases the reservations that are the same for stored and failed batches.
func (s *Store) settleOps(p *plan, err error) {
	for i := range p.ops {
		o := &p.ops[i]
		if o.err != nil {
			continue
		}
		s.pendBytes -= o.bytes
		s.dlPend -= o.dlBytes
		if o.batch != nil {
			s.uncoverPuts(o.batch.Puts)
		}
		if o.lease != nil {
			s.settleLeaseOp(o, err)
		}
	}
	s.dlBytes, s.dlCount = s.disk.dlBytes, s.disk.dlCount
}

// visible asks the database whether a transaction that was reported failed is there all the same.
func (s *Store) visible(p *plan) bool {
	v, ok, err := s.kv.get(keyTotals)
	if err != nil || !ok {
		return false
	}
	var t totals
	return t.decode(v) == nil && t.txn == p.txn
}
