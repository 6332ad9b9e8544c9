package buffer

import (
	"encoding/binary"
	"time"
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
func (s *Store) write(p *plan, w *writes) {
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
		w.set(deviceKey(d.no), []byte(d.name))
	}
	s.writeRecords(p, w)
	s.writeMoved(p, w)
	for i := range p.ops {
		s.writeOp(&p.ops[i], w)
	}
	for _, g := range p.gone {
		key := p.take(func(b []byte) []byte { return appendQueueKey(b, g.kind, g.class, g.dev, g.seq) })
		if g.kind == keyGroup {
			w.forget(key)
		} else {
			w.delete(key)
		}
	}
	for _, g := range p.dead {
		w.delete(numberKey(keyDead, g.seq))
	}
	s.writeSettled(p, w)
	for _, c := range p.cursors {
		w.set(cursorKey(c.class, c.dev), binary.BigEndian.AppendUint64(nil, c.seq))
	}
	if s.clk.Dirty() || time.Since(s.bootsAt) > bootsEvery {
		s.bootsAt = time.Now()
		w.set(keyBoots, s.clk.Snapshot())
	}
	w.keep(keyTotals, p.take(p.totals.append), false)
}

// writeSettled writes what is settled of blocks, which nobody reads while the store is open, and of chunks.
func (s *Store) writeSettled(p *plan, w *writes) {
	for _, b := range p.freed {
		remove := w.forget
		if b.of != nil {
			remove = w.delete
		}
		remove(b.key())
		if b.saved {
			remove(numberKey(keyBits, b.first))
		}
	}
	for i, b := range p.marked {
		key := numberKey(keyBits, b.first)
		if b.of == nil {
			w.keep(key, p.marks[i], !b.saved)
		} else {
			w.set(key, p.marks[i])
		}
	}
}

// take appends to the plan's buffer, which is large enough not to move, and returns the piece.
func (p *plan) take(fn func(b []byte) []byte) []byte {
	n := len(p.buf)
	p.buf = fn(p.buf)
	return p.buf[n:len(p.buf):len(p.buf)]
}

func (s *Store) writeRecords(p *plan, w *writes) {
	for i := range p.recs {
		x := &p.recs[i]
		if x.it != nil || x.packed {
			continue
		}
		key := p.take(func(b []byte) []byte { return appendQueueKey(b, keyQueue, x.rec.Class, x.dev.no, x.rec.Seq) })
		w.set(key, p.take(func(b []byte) []byte { return appendRecord(b, x.rec) }))
	}
	p.writeChunks(w)
	if p.block == nil {
		return
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
	w.keep(numberKey(keyBlock, p.block.first), value, true)
}
