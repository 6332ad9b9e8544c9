package buffer

import (
	"container/heap"
	"strings"
)

// room is what a class may hold now: its own bound, and what the others and their reserves leave of the store.
func (s *Store) room(c Class) int64 {
	limit := s.limit
	for k := range numClasses {
		if k != c {
			limit -= max(s.cur.bytes[k]+s.pend.bytes[k], s.reserve[k])
		}
	}
	if m := s.cfg.Classes.Of(c).MaxBytes; m > 0 {
		limit = min(limit, m)
	}
	return max(0, limit)
}

// admitClass applies the overflow rule of a class to a batch.
func (s *Store) admitClass(o *op, c Class) error {
	need, room := o.size[c], s.room(c)
	if s.cur.bytes[c]+s.pend.bytes[c]+need <= room {
		return nil
	}
	switch s.cfg.Classes.Of(c).Overflow {
	case DropNewest:
		o.keepOnly(func(r *Record) bool { return r.Class != c }, func(r *Record) {
			s.stats.drops[c][dropNewest]++
			o.bytes -= r.size()
		})
		o.size[c] = 0
		return nil
	case DropOldest, ThinOut:
		// What is stored makes way, as far as it is not being sent; what waits for the committer cannot.
		if s.pend.bytes[c]+need <= room && s.cur.count[c] > s.leasedOf[c] {
			return nil
		}
	case Refuse:
	}
	return ErrFull
}

func (o *op) keepOnly(keep func(r *Record) bool, dropped func(r *Record)) {
	rs := o.batch.Records[:0]
	for i := range o.batch.Records {
		if r := &o.batch.Records[i]; keep(r) {
			rs = append(rs, *r)
		} else {
			dropped(r)
		}
	}
	o.batch.Records = rs
}

// makeRoom drops what the overflow rules say, before the committer stores more.
func (s *Store) makeRoom() {
	for c := range numClasses {
		rule := s.cfg.Classes.Of(c).Overflow
		if rule != DropOldest && rule != ThinOut {
			continue
		}
		s.mu.Lock()
		room := s.room(c)
		excess := s.cur.bytes[c] + s.pend.bytes[c] - room
		s.mu.Unlock()
		if excess > 0 {
			s.evict(c, excess+room/256, rule == ThinOut)
		}
	}
	s.mu.Lock()
	full := s.dlBytes > s.cfg.DeadLetters.MaxBytes
	s.mu.Unlock()
	if full {
		s.trimDead(true)
	}
}

// oldest is a heap of lanes by the sequence at which they begin, as far as it is known.
type oldest struct {
	lanes []*lane
	thin  bool
}

func (h *oldest) key(l *lane) uint64 {
	if h.thin {
		return max(l.headSeq(), l.thinned)
	}
	return l.headSeq()
}
func (h *oldest) Len() int { return len(h.lanes) }
func (h *oldest) Less(i, j int) bool {
	a, b := h.lanes[i], h.lanes[j]
	if h.thin && a.pass != b.pass {
		return a.pass < b.pass
	}
	return h.key(a) < h.key(b)
}
func (h *oldest) Swap(i, j int) { h.lanes[i], h.lanes[j] = h.lanes[j], h.lanes[i] }
func (h *oldest) Push(x any)    { h.lanes = append(h.lanes, x.(*lane)) }
func (h *oldest) Pop() any {
	l := h.lanes[len(h.lanes)-1]
	h.lanes = h.lanes[:len(h.lanes)-1]
	return l
}

// lanesOf lists the lanes of a class that have something and that nobody is reading.
func (s *Store) lanesOf(c Class, thin bool) *oldest {
	h := &oldest{thin: thin}
	for _, d := range s.devices {
		if d.busy {
			continue
		}
		for _, l := range d.lanes {
			if l.class == c && l.work() {
				h.lanes = append(h.lanes, l)
			}
		}
	}
	heap.Init(h)
	return h
}

// evict drops about so many bytes of the oldest records of a class that are not leased. It runs on the committer and
// may read the disk.
func (s *Store) evict(c Class, bytes int64, thin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.lanesOf(c, thin)
	goal := s.cur.bytes[c] - bytes
	before, vain := s.cur.bytes[c], 0
	for s.cur.bytes[c] > goal && h.Len() > 0 {
		l := h.lanes[0]
		if s.cur.bytes[c] < before {
			before, vain = s.cur.bytes[c], 0
		} else if vain++; vain > 4*h.Len()+16 && thin {
			// Every lane is down to what thinning always keeps.
			thin = false
			h = s.lanesOf(c, false)
			continue
		}
		switch {
		case l.dev.busy || !l.work():
			heap.Pop(h)
			continue
		case thin:
			s.thinLane(l)
		case l.empty():
			s.loadLocked(l)
		default:
			bound := ^uint64(0)
			for _, i := range []int{1, 2} {
				if i < h.Len() {
					bound = min(bound, h.key(h.lanes[i]))
				}
			}
			for s.cur.bytes[c] > goal && !l.empty() && l.win[l.head].Seq <= bound {
				s.drop(s.popItem(l), dropOverflow)
			}
		}
		s.update(l.dev, false)
		if l.work() {
			heap.Fix(h, 0)
		} else {
			heap.Pop(h)
		}
	}
}

// loadLocked is load for a caller that holds the lock and gets it back.
func (s *Store) loadLocked(l *lane) {
	l.dev.busy = true
	if l.dev.ring != nil {
		s.unlink(l.dev)
	}
	s.mu.Unlock()
	s.load(l)
	s.mu.Lock()
}

// thinLane thins out the next stretch of a lane: of every n records one stays. When the end is reached the next pass
// begins at the front.
func (s *Store) thinLane(l *lane) {
	n := max(2, s.cfg.Classes.Of(l.class).ThinKeep)
	keep := func() bool { l.thinCount++; return l.thinCount%n == 1%n }
	did := 0
	for _, it := range l.win[l.head:] {
		if it.state != itemQueued || it.Seq < l.thinned {
			continue
		}
		l.thinned = it.Seq + 1
		if !keep() {
			s.hot -= it.weight()
			s.unindex(it)
			s.drop(it, dropThinned)
		}
		if did++; did == readRecords {
			break
		}
	}
	l.trim()
	if did > 0 {
		return
	}
	if l.pos <= l.last && l.thinned <= l.last {
		s.thinCold(l, keep)
		return
	}
	l.thinned, l.pass, l.thinCount = 0, l.pass+1, 0
}

// thinCold does the same for what is on disk only.
func (s *Store) thinCold(l *lane, keep func() bool) {
	x := l.cold(max(l.pos, l.thinned))
	l.dev.busy = true
	if l.dev.ring != nil {
		s.unlink(l.dev)
	}
	s.mu.Unlock()
	type stored struct {
		found
		size int64
		name string
	}
	list := make([]stored, 0, readRecords)
	err := s.scanLane(x, func(f *found) bool {
		var r Record
		if !f.bad && decodeRecord(f.body, &r) == nil {
			list = append(list, stored{*f, r.size(), strings.Clone(r.Name)})
		}
		return len(list) < readRecords
	})
	s.mu.Lock()
	l.dev.busy = false
	l.thinned = x.to + 1
	if len(list) == readRecords {
		l.thinned = list[len(list)-1].seq + 1
	}
	if err != nil {
		s.stats.readErrors++
		return
	}
	for i := range list {
		f := &list[i]
		if !s.isGone(l, &f.found) && !keep() {
			s.unindex(&item{Record: Record{Seq: f.seq, Class: l.class, Name: f.name}, dev: l.dev, lane: l})
			s.dropFound(l, &f.found, f.size, dropThinned)
		}
	}
}

// expireSome drops records at the front of the lanes of a class that are past its age, a bounded number a call.
func (s *Store) expireSome(c Class) {
	if s.maxAge[c] == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur.count[c] == 0 {
		return
	}
	h := s.lanesOf(c, false)
	for dropped := 0; dropped < 10000 && h.Len() > 0 && !s.closing; {
		l := h.lanes[0]
		switch {
		case l.dev.busy || !l.work():
			heap.Pop(h)
			continue
		case l.empty():
			s.loadLocked(l)
			if l.empty() && l.dev.busy {
				return // the disk cannot be read now
			}
		case !s.tooOld(&l.win[l.head].Record):
			return
		default:
			s.drop(s.popItem(l), dropExpired)
			dropped++
		}
		s.update(l.dev, false)
		if l.work() {
			heap.Fix(h, 0)
		} else {
			heap.Pop(h)
		}
	}
}
