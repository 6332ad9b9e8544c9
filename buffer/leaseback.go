package buffer

import (
	"container/heap"
	"slices"
	"time"
)

// back ends a lease; it reports false when it was settled before.
func (s *Store) back(l *Lease) bool {
	if l.state != leaseOut || s.closed {
		return false
	}
	l.state = leaseDone
	l.dev.inflight--
	if l.Class == ClassDevice {
		l.dev.barrier--
	}
	s.leasedOf[l.Class] -= int64(len(l.items))
	return true
}

// Commit removes the records of a lease: the uplink has them. The deletion is on disk within 250 ms.
func (s *Store) Commit(l *Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.back(l) {
		return
	}
	for _, it := range l.items {
		s.settle(it)
	}
	s.ungroup(l)
	s.stats.delivered[l.Class] += uint64(len(l.items))
	s.update(l.dev, false)
}

// Retry puts a lease back: the same records come again under the same request id, not before the delay is over, and
// with PerDevice 1 nothing else of the device comes before them. Other devices do not wait.
func (s *Store) Retry(l *Lease, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.back(l) {
		return
	}
	s.stats.retried++
	for _, it := range l.items {
		if it.attempt < 1<<15 {
			it.attempt++
		}
	}
	s.toFront(l)
	if after > 0 {
		s.delay(l, after)
	}
	s.forget(l.dev)
	s.update(l.dev, false)
}

// Release puts a lease back as if it had never been handed out: the uplink was not tried.
func (s *Store) Release(l *Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.back(l) {
		return
	}
	l.Attempt--
	switch {
	case l.Composed || l.Attempt > 0 || !l.dev.has(l.lane) || l.lane.headSeq() < l.items[0].Seq:
		if l.prepared() {
			s.composing++
		}
		s.toFront(l)
	default:
		s.unpopItem(l.lane, l.items[0])
	}
	s.update(l.dev, false)
}

func (d *device) has(lane *lane) bool {
	return slices.Contains(d.lanes, lane)
}

// toFront files a lease among those that go before the lanes, by sequence.
func (s *Store) toFront(l *Lease) {
	l.state = leaseFree
	d := l.dev
	i := len(d.front)
	for i > 0 && d.front[i-1].items[0].Seq > l.items[0].Seq {
		i--
	}
	d.front = append(d.front, nil)
	copy(d.front[i+1:], d.front[i:])
	d.front[i] = l
}

// delay keeps a lease back. One timer serves all of them.
func (s *Store) delay(l *Lease, after time.Duration) {
	l.waiting, l.notBefore = true, time.Now().Add(after)
	heap.Push(&s.delayed, l)
	if s.delayed[0] == l {
		s.delayTimer.Reset(after)
	}
}

func (s *Store) undelay(l *Lease) {
	l.waiting = false
	if l.heap >= 0 && l.heap < len(s.delayed) && s.delayed[l.heap] == l {
		heap.Remove(&s.delayed, l.heap)
	}
}

// due makes the leases available whose time has come.
func (s *Store) due() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	now := time.Now()
	for len(s.delayed) > 0 {
		l := s.delayed[0]
		if wait := l.notBefore.Sub(now); wait > 0 {
			s.delayTimer.Reset(wait)
			return
		}
		s.undelay(l)
		s.update(l.dev, false)
	}
}

// Wake ends every retry delay: the link is back.
func (s *Store) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.delayed) > 0 {
		l := s.delayed[len(s.delayed)-1]
		s.undelay(l)
		s.update(l.dev, false)
	}
}

// Pause sets the classes that are not leased until the next call; a zero set pauses none. Records of a paused class do
// not hold up the others of their device, except that nothing overtakes the device class.
func (s *Store) Pause(classes ClassSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused != classes {
		s.paused = classes
		s.updateAll()
	}
}

func (s *Store) updateAll() {
	for _, d := range s.devices {
		s.update(d, false)
	}
}
