package buffer

import (
	"go.uber.org/zap"
)

// run is the committer: the only goroutine that writes to the database.
func (s *Store) run() {
	defer close(s.stopped)
	p := &plan{}
	for {
		s.linger()
		s.makeRoom()
		s.gatherLoose()
		s.writeOutDue()
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
		wrote, err = s.kv.update(func(w *writes) { s.write(p, w) })
		s.pager.touch(s.kv.taken.Swap(0)) // what stays in the journal makes no tables
		if err != nil {
			s.log.Error("transaction failed", zap.Error(err), zap.Bool("stored", wrote), zap.Int("records", len(p.recs)))
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
		s.stats.storedBytes[r.Class] += uint64(r.size())
		l.last = r.Seq
		if x.it != nil {
			l.hot--
			l.push(x.it)
			l.pos, l.key = r.Seq+1, r.Seq+1
			s.hot += x.it.weight()
		} else {
			s.follow(p, x)
		}
		s.index(x)
		s.update(x.dev, false)
	}
	s.rate.add(p.recs)
	if p.block != nil {
		s.blocks = append(s.blocks, p.block)
	}
	for _, b := range p.freed {
		b.gone = tally{}
		if b.of != nil {
			delete(s.chunks, b.first)
		}
	}
	for i, b := range p.marked {
		b.saved = true
		b.gone.sum(&p.tallies[i], -1)
		s.spent(b)
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
