package buffer

import (
	"encoding/binary"
	"time"

	badger "github.com/dgraph-io/badger/v4"
)

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
	need += need/64 + 1024 + 64*len(p.chunks) // what does not compress
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
		if err := txn.Delete(b.key()); err != nil {
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
		if x.it != nil && p.block != nil || x.packed {
			continue
		}
		key := p.take(func(b []byte) []byte { return appendQueueKey(b, keyQueue, x.rec.Class, x.dev.no, x.rec.Seq) })
		if err := txn.Set(key, p.take(func(b []byte) []byte { return appendRecord(b, x.rec) })); err != nil {
			return err
		}
	}
	if err := p.writeChunks(txn); err != nil || p.block == nil {
		return err
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
