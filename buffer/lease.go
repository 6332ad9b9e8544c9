package buffer

import (
	"context"
	"math/bits"
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
	// Members appends what stands for the members of a record: records that share one are not joined. nil joins all. It
	// must not block.
	Members func(r *Record, members []uint64) []uint64

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
	restored  bool // composed before the store was opened
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
			return s.takePrepared(o.Classes), nil, nil
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
			s.storing++
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

// takePrepared finds a lease that was handed back or prepared, whatever device's turn it is: until one of them is taken
// no others are composed.
func (s *Store) takePrepared(classes ClassSet) *Lease {
	if s.composing == s.storing {
		return nil
	}
	for m := s.nonEmpty & matching[classes&AllClasses]; m != 0; m &= m - 1 {
		for d := s.rings[bits.TrailingZeros64(m)].head; d != nil; {
			next := d.next
			if l := s.takeFront(d, classes); l != nil {
				if !s.expired(l) {
					return l
				}
				s.dropLease(l, dropExpired)
			}
			d = next
		}
	}
	return nil
}

// prepared reports a composed lease that was never handed out. Those of the time before a start do not count.
func (l *Lease) prepared() bool { return l.Composed && l.Attempt == 0 && !l.restored }

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
