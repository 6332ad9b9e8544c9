package buffer

import (
	"errors"
	"time"

	"go.uber.org/zap"
)

// readRecords is the most that one read transaction takes from a lane: longer ones would pin deleted records.
const readRecords = 256

// quantum is how much a lane may read now: a share of the free memory, and always a little, so that no lane starves.
func (s *Store) quantum() (records int, bytes int64) {
	free := max(0, s.budget-s.hot)
	return int(min(readRecords, max(4, free/16/400))), max(16<<10, free/8)
}

// load reads the next records of a lane whose window is empty. The device is busy meanwhile, so nobody else touches
// the lane; fresh records may be added behind what is read.
func (s *Store) load(l *lane) {
	s.mu.Lock()
	x := l.cold(l.pos)
	records, bytes := s.quantum()
	s.mu.Unlock()

	got := loading{items: make([]item, 0, min(uint64(records), x.to-x.from+1))}
	got.found = make([]found, 0, cap(got.items))
	next, key, exhausted := x.from, x.key, true
	moved := int64(0)
	err := s.scanLane(x, func(f *found) bool {
		if f.chunk != nil {
			key = f.chunk.first
		} else {
			key = f.seq
		}
		if len(got.items) == cap(got.items) || bytes <= 0 {
			// It begins here the next time.
			next, exhausted = f.seq, false
			return false
		}
		bytes -= int64(len(f.body)) + 224
		moved += int64(len(f.body))
		got.add(l, f)
		return true
	})

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if !errors.Is(err, ErrUnavailable) {
			s.log.Error("read queue", zap.String("class", l.class.String()), zap.Error(err))
		}
		s.stats.readErrors++
		time.AfterFunc(time.Second, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			l.dev.busy = false
			s.update(l.dev, false)
		})
		return
	}
	for i := range got.items {
		s.admitLoaded(l, &got.items[i], &got.found[i])
	}
	for i := range got.bad {
		s.dropUnreadable(l, &got.bad[i])
	}
	if exhausted {
		next, key = x.to+1, x.to+1
	}
	l.pos, l.key = next, key
	for seq := range l.skip {
		if seq < next {
			delete(l.skip, seq)
		}
	}
	s.pager.touch(moved)
	s.stats.loads++
	s.stats.loaded += uint64(len(got.items))
	l.dev.busy = false
	s.update(l.dev, true)
}

// loading is what a read of a lane brings. The values lie together: they are read, and mostly settled, together.
type loading struct {
	items []item
	found []found // of each item; without its body
	bad   []found
	slab  []byte
}

// slabBytes is how much of the values lies together.
const slabBytes = 16 << 10

func (g *loading) add(l *lane, f *found) {
	it := item{dev: l.dev, lane: l}
	if f.bad || decodeRecord(g.keep(f.body), &it.Record) != nil {
		g.bad = append(g.bad, *f)
		return
	}
	it.Seq, it.Class, it.Device = f.seq, l.class, l.dev.name
	g.items = append(g.items, it)
	g.found = append(g.found, found{seq: f.seq, chunk: f.chunk, idx: f.idx})
}

func (g *loading) keep(body []byte) []byte {
	n := len(g.slab)
	if cap(g.slab)-n < len(body) {
		g.slab, n = make([]byte, 0, max(len(body), min(slabBytes, len(body)*(cap(g.items)-len(g.items))))), 0
	}
	g.slab = append(g.slab, body...)
	return g.slab[n:len(g.slab):len(g.slab)]
}

// admitLoaded puts a record that was read into the window.
func (s *Store) admitLoaded(l *lane, it *item, f *found) {
	if s.isGone(l, f) {
		delete(l.skip, it.Seq)
		return
	}
	if f.chunk != nil {
		it.blk, it.idx = s.chunkOf(l, f.chunk), uint16(f.idx)
		it.blk.inMemory++
	}
	if s.indexLoaded(it) {
		l.push(it)
		s.hot += it.weight()
	}
}

// isGone reports that a record that was found on disk is on its way out, or in a lease of the time before a restart.
func (s *Store) isGone(l *lane, f *found) bool {
	if _, gone := l.skip[f.seq]; gone || f.chunk == nil {
		return gone
	}
	b := s.chunks[f.chunk.first]
	return b != nil && b.has(f.idx)
}

// forget gives back the memory of a device that is not getting on, when others need it. What can be read again from
// disk is read again later.
func (s *Store) forget(d *device) {
	if d.busy || s.hot < s.budget/2 {
		return
	}
	for _, l := range d.lanes {
		if l.hot > 0 || l.empty() {
			continue
		}
		again := true
		for _, it := range l.win[l.head:] {
			again = again && (it.blk == nil || it.blk.of != nil)
		}
		if !again {
			continue
		}
		l.pos, l.key = l.win[l.head].Seq, l.win[l.head].key()
		for _, it := range l.win[l.head:] {
			if it.state == itemSettled {
				// Its deletion may not be on disk yet.
				if it.blk == nil {
					l.mark(it.Seq)
				}
				continue
			}
			s.hot -= it.weight()
			s.cold(it)
			if it.blk != nil {
				it.blk.inMemory--
				s.spent(it.blk)
			}
		}
		l.win, l.head = nil, 0
	}
}

// mark has the reader skip a record whose deletion is under way.
func (l *lane) mark(seq uint64) {
	if l.skip == nil {
		l.skip = make(map[uint64]struct{})
	}
	l.skip[seq] = struct{}{}
}

// unskip forgets a mark when the deletion is on disk and nobody is reading.
func (s *Store) unskip(g gone) {
	if int(g.dev) >= len(s.byNo) || s.byNo[g.dev] == nil || s.byNo[g.dev].busy {
		return
	}
	for _, l := range s.byNo[g.dev].lanes {
		if len(l.skip) > 0 && l.class == g.class {
			delete(l.skip, g.seq)
		}
	}
}
