package buffer

import (
	"math/bits"
	"time"
)

// Devices with work stand in one of 64 rings, by the classes that they have to offer (bits 0 to 3) and, with live
// lanes, by whether they have live records or a backlog (bits 4 and 5). So a call of Next finds its device without
// looking at those that have nothing for it.
const (
	ringLive = 1 << numClasses
	ringBack = 1 << (numClasses + 1)
	numRings = 1 << (numClasses + 2)
)

// matching[set] is the set of rings that have something for the classes of set.
var matching = func() (m [AllClasses + 1]uint64) {
	for set := range m {
		for r := range numRings {
			if set&r&int(AllClasses) != 0 {
				m[set] |= 1 << r
			}
		}
	}
	return m
}()

// withLive and withBack are the rings whose devices have such records.
var withLive, withBack = func() (l, b uint64) {
	for r := range numRings {
		if r&ringLive != 0 {
			l |= 1 << r
		}
		if r&ringBack != 0 {
			b |= 1 << r
		}
	}
	return l, b
}()

// offer computes the ring of a device, 0 when it has nothing to lease now.
func (s *Store) offer(d *device) uint8 {
	if d.busy || s.settling() {
		return 0
	}
	var set, flags uint8
	barrier := d.barrier > 0
	held := 0
	now := time.Time{}
	for _, l := range d.front {
		if s.paused.Has(l.Class) {
			continue
		}
		held++
		if l.Class == ClassDevice {
			barrier = true
		}
		if l.waiting {
			if now.IsZero() {
				now = time.Now()
			}
			if l.notBefore.After(now) {
				continue
			}
		}
		set |= 1 << l.Class
	}
	if d.inflight >= s.perDevice {
		return 0
	}
	room := d.inflight+held < s.perDevice
	for _, l := range d.lanes {
		if !l.work() {
			continue
		}
		if l.class == ClassDevice {
			barrier = true
		}
		if !room {
			continue
		}
		set |= 1 << l.class
		if s.liveFrom > 0 && l.class >= ClassProperty {
			if l.live {
				flags |= ringLive
			} else {
				flags |= ringBack
			}
		}
	}
	if barrier {
		if d.barrier > 0 {
			return 0
		}
		set, flags = set&(1<<ClassDevice), 0
	}
	set &^= uint8(s.paused)
	if set == 0 {
		return 0
	}
	return set | flags
}

// update puts a device in the ring where it belongs. front keeps its turn: it goes first.
func (s *Store) update(d *device, front bool) {
	r := s.offer(d)
	if d.ring != nil {
		if d.ring.index == r && !front {
			return
		}
		s.unlink(d)
	}
	if r == 0 {
		return
	}
	ring := &s.rings[r]
	if front && d.ticket != 0 {
		ring.pushFront(d)
	} else {
		s.ticket++
		d.ticket = s.ticket
		ring.pushBack(d)
	}
	s.nonEmpty |= 1 << r
	s.wakeOne(ClassSet(r) & AllClasses)
}

func (s *Store) unlink(d *device) {
	r := d.ring
	r.remove(d)
	if r.head == nil {
		s.nonEmpty &^= 1 << r.index
	}
}

// first finds the device whose turn it is: devices and commands before the rest, then the one that waits longest.
func (s *Store) first(o *LeaseOptions) (best *device, live bool) {
	m := s.nonEmpty & matching[o.Classes&AllClasses]
	if m == 0 {
		return nil, false
	}
	if p := m & matching[o.Classes&Of(ClassDevice, ClassCommand)]; p != 0 {
		m = p
	} else if o.LiveFirst {
		l, b := m&withLive, m&withBack
		live = l != 0
		if l != 0 && b != 0 {
			live = s.liveTurn < o.LiveWeight
			if live {
				s.liveTurn++
			} else {
				s.liveTurn = 0
			}
		}
		if live {
			m = l
		} else if b != 0 {
			m = b
		}
	}
	for ; m != 0; m &= m - 1 {
		d := s.rings[bits.TrailingZeros64(m)].head
		if best == nil || d.ticket < best.ticket {
			best = d
		}
	}
	return best, live
}

// waiter is a call of Next that found nothing.
type waiter struct {
	classes    ClassSet
	ch         chan struct{}
	prev, next *waiter
	listed     bool
}

// wakeOne wakes the waiter that came last and can use one of the classes: its stack is still warm.
func (s *Store) wakeOne(classes ClassSet) {
	for w := s.waiters; w != nil; w = w.next {
		if w.classes&classes != 0 {
			s.unwait(w)
			w.ch <- struct{}{}
			return
		}
	}
}

func (s *Store) wait(w *waiter) {
	w.listed, w.prev, w.next = true, nil, s.waiters
	if s.waiters != nil {
		s.waiters.prev = w
	}
	s.waiters = w
}

func (s *Store) unwait(w *waiter) {
	if !w.listed {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		s.waiters = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.listed, w.prev, w.next = false, nil, nil
}

func (s *Store) wakeAll() {
	for s.waiters != nil {
		s.wakeOne(AllClasses)
	}
}

// delays is a heap of leases that wait for their time, earliest first.
type delays []*Lease

func (h delays) Len() int           { return len(h) }
func (h delays) Less(i, j int) bool { return h[i].notBefore.Before(h[j].notBefore) }
func (h delays) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = i, j
}

func (h *delays) Push(x any) {
	l := x.(*Lease)
	l.heap = len(*h)
	*h = append(*h, l)
}

func (h *delays) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.heap = -1
	return l
}
