package buffer

import (
	"container/heap"
	"context"
	"crypto/sha1" //nolint:gosec // a version 5 UUID is defined on SHA-1 (RFC 9562 §5.5)
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"
)

// LeaseOptions say what a worker wants. The callers of one store use the same PerDevice: the last one seen holds.
type LeaseOptions struct {
	Classes   ClassSet // zero means all
	PerDevice int      // leases of one device at the same time; 1 (also for zero) keeps strict order

	// Max bounds the records of one lease, 100 when zero. A lease has more than one only when they are joined.
	Max int
	// CoalesceWindow joins telemetry of one device whose times are at most so far apart; 0 joins nothing.
	CoalesceWindow time.Duration
	// CoalesceOK says whether b may join a; nil allows all. It must not block.
	CoalesceOK func(a []Record, b Record) bool

	// LiveFirst leases LiveWeight (4 when zero) records that were stored since MarkLive for each older one.
	LiveFirst  bool
	LiveWeight int
}

func (o *LeaseOptions) fill() {
	if o.Classes == 0 {
		o.Classes = AllClasses
	}
	if o.PerDevice < 1 {
		o.PerDevice = 1
	}
	if o.Max < 1 {
		o.Max = 100
	}
	if o.LiveWeight < 1 {
		o.LiveWeight = 4
	}
}

// Lease is one call to make: a record, or several that go as one. It is settled exactly once by Commit, Retry, Release,
// Split or DeadLetter; what comes after the first of them is ignored.
type Lease struct {
	Device    string
	Class     Class
	Records   []Record
	RequestID string // the same on every attempt, also after a restart
	Attempt   int    // 1 the first time
	Composed  bool   // several records, or one that was stored as a group of its own

	dev       *device
	lane      *lane
	items     []*item
	oneItem   [1]*item
	oneRecord [1]Record
	state     uint8
	waiting   bool // notBefore is set
	notBefore time.Time
	heap      int
}

const (
	leaseFree uint8 = iota // waits in the front of its device
	leaseOut
	leaseDone
)

// Next returns the next lease, blocking until there is one. Many workers may call it. The devices take turns.
func (s *Store) Next(ctx context.Context, o LeaseOptions) (*Lease, error) {
	o.fill()
	var w *waiter
	for {
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		if o.PerDevice != s.perDevice {
			s.perDevice = o.PerDevice
			s.updateAll()
		}
		l, read, group := s.take(&o)
		if l == nil && read == nil && group == nil {
			if w == nil {
				w = &waiter{classes: o.Classes, ch: make(chan struct{}, 1)}
			}
			s.wait(w)
		}
		s.mu.Unlock()
		switch {
		case l != nil:
			s.dress(l)
			return l, nil
		case read != nil:
			s.load(read)
		case group != nil:
			s.compose(group, &o)
		default:
			select {
			case <-w.ch:
			case <-ctx.Done():
				s.leave(w)
				return nil, ctx.Err()
			}
		}
	}
}

// leave takes a waiter off the list; a wake-up that came for it goes to another.
func (s *Store) leave(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.listed {
		s.unwait(w)
		return
	}
	if s.nonEmpty != 0 {
		s.wakeOne(AllClasses)
	}
}

// take finds work under the lock: a lease to hand out, a lane to read, or records to join.
func (s *Store) take(o *LeaseOptions) (*Lease, *lane, *Lease) {
	for {
		turn := s.liveTurn
		d, live := s.first(o)
		if d == nil {
			return nil, nil, nil
		}
		if l := s.takeFront(d, o.Classes); l != nil {
			if s.expired(l) {
				s.dropLease(l, dropExpired)
				continue
			}
			return l, nil, nil
		}
		l := s.choose(d, o.Classes, live)
		if l == nil {
			s.unlink(d)
			s.update(d, false)
			continue
		}
		if l.empty() {
			s.liveTurn = turn // nothing was handed out
			d.busy = true
			s.unlink(d)
			return nil, l, nil
		}
		join := o.CoalesceWindow > 0 && l.class == ClassTelemetry
		if join && s.composing >= maxComposing {
			return nil, nil, nil
		}
		it := l.win[l.head]
		if s.tooOld(&it.Record) {
			s.popItem(l)
			s.drop(it, dropExpired)
			s.update(d, false)
			continue
		}
		lease := s.lease(l, s.popItem(l))
		s.unlink(d)
		if join {
			s.gather(lease, o)
			s.composing++
			d.busy = true
			return nil, nil, lease
		}
		s.out(lease)
		return lease, nil, nil
	}
}

// takeFront takes a lease that was handed back or prepared, if one is due.
func (s *Store) takeFront(d *device, classes ClassSet) *Lease {
	now := time.Time{}
	for i, l := range d.front {
		if s.paused.Has(l.Class) {
			continue
		}
		due := true
		if l.waiting {
			if now.IsZero() {
				now = time.Now()
			}
			due = !l.notBefore.After(now)
		}
		if due && classes.Has(l.Class) && (l.Class == ClassDevice || !d.deviceWaits(s)) {
			d.front = append(d.front[:i], d.front[i+1:]...)
			s.unlink(d)
			s.undelay(l)
			if l.prepared() {
				if s.composing--; s.nonEmpty != 0 {
					s.wakeOne(AllClasses) // somebody may go on composing
				}
			}
			s.out(l)
			return l
		}
		if s.perDevice == 1 {
			return nil
		}
	}
	return nil
}

// prepared reports a composed lease that was never handed out.
func (l *Lease) prepared() bool { return l.Composed && l.Attempt == 0 }

// deviceWaits reports that a record of the device class waits, which the others must not overtake.
func (d *device) deviceWaits(s *Store) bool {
	if d.barrier > 0 {
		return true
	}
	for _, l := range d.front {
		if l.Class == ClassDevice && !s.paused.Has(ClassDevice) {
			return true
		}
	}
	for _, l := range d.lanes {
		if l.class == ClassDevice && l.work() {
			return true
		}
	}
	return false
}

// choose picks the lane that comes next: the device's own class, commands, then by sequence.
func (s *Store) choose(d *device, classes ClassSet, live bool) (best *lane) {
	held := 0
	for _, l := range d.front {
		if !s.paused.Has(l.Class) {
			held++
		}
	}
	if d.inflight+held >= s.perDevice {
		return nil
	}
	classes &^= s.paused
	if d.deviceWaits(s) {
		classes &= Of(ClassDevice)
	}
	var bestRank int
	var bestSeq uint64
	for _, l := range d.lanes {
		if !classes.Has(l.class) || !l.work() {
			continue
		}
		rank := int(min(l.class, ClassProperty)) * 2
		if l.class >= ClassProperty && live && !l.live {
			rank++
		}
		seq := l.headSeq()
		if best == nil || rank < bestRank || rank == bestRank && seq < bestSeq {
			best, bestRank, bestSeq = l, rank, seq
		}
	}
	return best
}

// popItem takes the first record out of a window.
func (s *Store) popItem(l *lane) *item {
	it := l.pop()
	s.hot -= it.weight()
	it.state = itemLeased
	s.unindex(it)
	return it
}

// unpopItem puts a record back where popItem took it from.
func (s *Store) unpopItem(l *lane, it *item) {
	it.state = itemQueued
	l.unpop(it)
	s.hot += it.weight()
}

func (s *Store) lease(l *lane, it *item) *Lease {
	lease := &Lease{Device: l.dev.name, Class: l.class, dev: l.dev, lane: l, heap: -1}
	lease.oneItem[0] = it
	lease.items = lease.oneItem[:1]
	lease.Attempt = int(it.attempt)
	return lease
}

// out hands a lease out. The device is not in a ring.
func (s *Store) out(l *Lease) {
	d := l.dev
	d.inflight++
	if l.Class == ClassDevice {
		d.barrier++
	}
	l.state = leaseOut
	l.Attempt++
	s.leasedOf[l.Class] += int64(len(l.items))
	s.update(d, false)
}

// dress fills what a worker reads of a lease; nothing of it needs the lock.
func (s *Store) dress(l *Lease) {
	if l.Records != nil {
		return
	}
	if len(l.items) == 1 {
		l.oneRecord[0] = l.items[0].Record
		l.Records = l.oneRecord[:1]
	} else {
		l.Records = make([]Record, len(l.items))
		for i, it := range l.items {
			l.Records[i] = it.Record
		}
	}
	l.RequestID = s.requestID(l.items[0].Seq, len(l.items))
}

// requestID is the version 5 UUID of the store's id and the sequence, with the count when records are joined.
func (s *Store) requestID(seq uint64, count int) string {
	var b [32]byte
	copy(b[:], s.id[:])
	binary.BigEndian.PutUint64(b[16:], seq)
	n := 24
	if count > 1 {
		binary.BigEndian.PutUint32(b[24:], uint32(count))
		n = 28
	}
	sum := sha1.Sum(b[:n]) //nolint:gosec // see the import
	sum[6] = sum[6]&0x0f | 0x50
	sum[8] = sum[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], sum[0:4])
	hex.Encode(out[9:13], sum[4:6])
	hex.Encode(out[14:18], sum[6:8])
	hex.Encode(out[19:23], sum[8:10])
	hex.Encode(out[24:36], sum[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// RequestID is the id of a record that goes alone.
func (s *Store) RequestID(seq uint64) string { return s.requestID(seq, 1) }

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
