package buffer

import (
	"cmp"
	"slices"
	"time"

	"iotc-gateway/buffer/clock"
)

// ageReads is how many lanes Oldest may look up on disk.
const ageReads = 32

// front is the first record of a lane, or where it is looked for.
type front struct {
	seq   uint64
	stamp clock.Stamp
	cold  bool // the record is on disk, in where
	where stretch
}

// Oldest tells for each class how long its oldest record waits, 0 where none does. It looks at the front of each lane;
// where that is on disk only, as after a restart, it reads a few records, so it belongs on no hot path.
func (s *Store) Oldest() (ages [numClasses]time.Duration) {
	var fronts [numClasses][]front
	s.mu.Lock()
	closed := s.closing
	for _, d := range s.devices {
		for _, l := range d.front {
			for _, it := range l.items {
				fronts[l.Class] = append(fronts[l.Class], front{seq: it.Seq, stamp: it.Stamp})
			}
		}
		for _, l := range d.lanes {
			l.trim()
			switch {
			case l.head < len(l.win):
				it := l.win[l.head]
				fronts[l.class] = append(fronts[l.class], front{seq: it.Seq, stamp: it.Stamp})
			case l.pos <= l.last:
				fronts[l.class] = append(fronts[l.class], front{seq: l.pos, cold: true, where: l.cold(l.pos)})
			}
		}
	}
	counts := s.cur.count
	s.mu.Unlock()
	if closed {
		return ages
	}
	now := s.clk.Stamp()
	for c := range numClasses {
		if counts[c] == 0 {
			continue
		}
		if stamp, ok := s.eldest(c, fronts[c]); ok {
			ages[c] = max(0, s.clk.AgeAt(stamp, now))
		}
	}
	return ages
}

// eldest finds the lowest sequence. Lanes on disk are asked in the order of where they may begin, until none can begin
// before what was found.
func (s *Store) eldest(c Class, fronts []front) (stamp clock.Stamp, ok bool) {
	slices.SortFunc(fronts, func(a, b front) int { return cmp.Compare(a.seq, b.seq) })
	best, reads := ^uint64(0), 0
	for _, f := range fronts {
		if f.seq >= best || reads == ageReads {
			break
		}
		if !f.cold {
			return f.stamp, true
		}
		reads++
		_ = s.scanLane(f.where, func(f *found) bool {
			var r Record
			if f.seq < best && !f.bad && decodeRecord(f.body, &r) == nil {
				best, stamp, ok = f.seq, r.Stamp, true
			}
			return false
		})
	}
	return stamp, ok
}
