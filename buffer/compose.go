package buffer

import (
	"encoding/binary"
	"slices"
	"time"
)

// maxComposing bounds the groups that are being stored or wait to be handed out.
const maxComposing = 64

// gather takes the records that may go with the first one of a lease: the next ones of the same lane, as long as
// nothing of the device belongs between them.
func (s *Store) gather(lease *Lease, o *LeaseOptions) {
	l := lease.lane
	bound := ^uint64(0)
	for _, other := range l.dev.lanes {
		if other != l && other.class >= ClassProperty && other.work() && !s.paused.Has(other.class) {
			bound = min(bound, other.headSeq())
		}
	}
	if o.LiveFirst {
		bound = ^uint64(0)
	}
	least, most := lease.items[0].Time, lease.items[0].Time
	size := lease.items[0].size()
	for len(lease.items) < o.Max && !l.empty() {
		it := l.win[l.head]
		least, most = min(least, it.Time), max(most, it.Time)
		size += it.size()
		if it.Seq > bound || time.Duration(most-least) > o.CoalesceWindow || size > txnBytes || it.attempt > 0 {
			return
		}
		lease.items = append(lease.items, s.popItem(l))
	}
}

// compose asks the rule which of the gathered records go together, and has the group stored. When it is on disk it
// becomes a lease of its device. So a retry carries the same records under the same id, also after a crash. A record
// that found no company is stored as a group of one for the same reason.
func (s *Store) compose(g *Lease, o *LeaseOptions) {
	k := o.company(g.items)
	s.mu.Lock()
	for i := len(g.items) - 1; i >= k; i-- {
		s.unpopItem(g.lane, g.items[i])
	}
	g.items = g.items[:k]
	g.Composed = true
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.pending = append(s.pending, op{kind: opCompose, lease: g})
	s.mu.Unlock()
	s.poke()
}

// company is how many of the items, from the first on, have no member in common.
func (o *LeaseOptions) company(items []*item) int {
	if o.Members == nil || len(items) < 2 {
		return len(items)
	}
	var few [64]uint64
	members := o.Members(&items[0].Record, few[:0])
	for k := 1; k < len(items); k++ {
		before := len(members)
		members = o.Members(&items[k].Record, members)
		for _, m := range members[before:] {
			if slices.Contains(members[:before], m) {
				return k
			}
		}
	}
	return len(items)
}

// Split dissolves a lease of several records: they come again one by one, before anything else of their device.
func (s *Store) Split(l *Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(l.items) < 2 || !l.Composed || l.state != leaseOut || s.closed {
		if s.back(l) {
			l.Attempt--
			s.toFront(l)
			s.update(l.dev, false)
		}
		return
	}
	l.state = leaseDone
	s.pending = append(s.pending, op{kind: opSplit, lease: l})
	s.poke()
}

func groupKey(c Class, dev uint32, seq uint64) []byte {
	return appendQueueKey(make([]byte, 0, queueKeyLen), keyGroup, c, dev, seq)
}

func encodeGroup(items []*item) []byte {
	b := []byte{codecVersion}
	for _, it := range items {
		b = binary.AppendUvarint(b, it.Seq)
	}
	return b
}

func decodeGroup(b []byte) (seqs []uint64, err error) {
	d := decoder{b: b}
	if d.byte() != codecVersion {
		return nil, errCodec
	}
	for len(d.b) > 0 {
		seqs = append(seqs, d.uvarint())
	}
	if d.bad || len(seqs) == 0 {
		return nil, errCodec
	}
	return seqs, nil
}

// ungroup forgets the stored composition of a settled lease, once the deletion of its records is on disk: a group of
// which records are missing is one that was settled.
func (s *Store) ungroup(l *Lease) {
	if l.Composed {
		s.goneGroups = append(s.goneGroups, gone{keyGroup, l.Class, l.dev.no, l.items[0].Seq, 0})
	}
}

// writeOp adds to the transaction what an entry of the queue wants beside records.
func (s *Store) writeOp(o *op, w *writes) {
	if o.err != nil {
		return // it was refused already; there is nothing to write, and the others go on
	}
	switch o.kind {
	case opCompose:
		l := o.lease
		w.keep(groupKey(l.Class, l.dev.no, l.items[0].Seq), encodeGroup(l.items), true)
		return
	case opSplit:
		l := o.lease
		for _, it := range l.items {
			w.keep(groupKey(l.Class, l.dev.no, it.Seq), encodeGroup([]*item{it}), false)
		}
		return
	case opDead, opBatch:
	}
	s.writeDead(o, w)
	if o.batch == nil {
		return
	}
	for i := range o.batch.Puts {
		kv := &o.batch.Puts[i]
		key := spaceKey(kv.Space, kv.Key)
		if kv.Value == nil {
			w.delete(key)
		} else {
			w.set(key, kv.Value)
		}
	}
}

// settleLeaseOp goes on with a lease after its transaction.
func (s *Store) settleLeaseOp(o *op, err error) {
	l := o.lease
	d := l.dev
	switch o.kind {
	case opCompose:
		d.busy = false
		s.storing--
		if err == nil {
			s.toFront(l)
		} else {
			s.composing--
			for _, v := range slices.Backward(l.items) {
				s.unpopItem(l.lane, v)
			}
		}
		s.update(d, true)
		return
	case opSplit:
		l.state = leaseOut
		s.back(l)
		if err != nil {
			l.Attempt--
			s.toFront(l)
			s.delay(l, time.Second)
			break
		}
		s.stats.split++
		for _, it := range l.items {
			one := &Lease{Device: l.Device, Class: l.Class, Composed: true, Attempt: l.Attempt, dev: d, lane: l.lane, heap: -1}
			one.oneItem[0] = it
			one.items = one.oneItem[:1]
			s.toFront(one)
		}
	case opDead:
		l.state = leaseOut
		if err == nil {
			s.back(l)
			for _, it := range l.items {
				s.drop(it, dropDeadLetter)
			}
			s.ungroup(l)
		} else if s.back(l) {
			s.toFront(l)
			s.delay(l, time.Second)
		}
	case opBatch:
	}
	s.update(d, false)
}
