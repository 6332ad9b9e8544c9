package app

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// pressure slows ingest a little when the processor is the bottleneck.
//
// Without it an overloaded gateway takes in faster than it delivers although
// the uplink would take more: what does not fit in memory is written to disk
// once more and read back, which costs processor time that delivery lacks, and
// the backlog grows faster still. It never acts because of the uplink: while
// that is down, slow or limited to a rate the processor is idle, and the field
// is taken in at full speed.
//
// Overload is seen by how little the processors idle and by how late a short
// sleep ends. The delay it asks of each publish is bounded, so that every
// client is taken in at maxDelay's rate at the least; MQTT's own
// acknowledgements and TCP carry the pressure on.
type pressure struct {
	delay  atomic.Int64 // nanoseconds a publish
	total  atomic.Int64 // nanoseconds of all publishes
	passed atomic.Uint32
	look   chan struct{} // capacity 1: it is time for a look at the backlog
}

func newPressure() *pressure { return &pressure{look: make(chan struct{}, 1)} }

const (
	pressureTick = 10 * time.Millisecond
	// pressureEvery is how many publishes lie between two looks at a backlog
	// too small to matter.
	pressureEvery = 512
	// pressureLate is a mean lateness above which the processor counts as
	// overloaded; an idle one is late by a tenth of it.
	pressureLate = time.Millisecond
	// pressureIdle is a share of idle time below which it does, a mean over a
	// few times pressureWindow.
	pressureIdle   = 0.15
	pressureWindow = 50 * time.Millisecond
	// pressureBytes is a backlog that is worth no thought, and the one that is
	// aimed at: a fraction of what the store keeps in memory.
	pressureBytes = 512 << 10
	// pressureTicks is in how many ticks a larger backlog is to be gone, if it
	// is not beyond pressureMemory: then most of it is on disk already, and it
	// is enough that it does not grow.
	pressureTicks  = 200
	pressureMemory = 8 << 20
	pressureStep   = 20 * time.Microsecond
	maxDelay       = 5 * time.Millisecond
	// pressureBunch is how many publishes wait as one, on average: a client
	// that is let go on for a few publishes has them read, stored and
	// acknowledged together.
	pressureBunch = 8
)

// wait holds a publish back for as long as is asked at the moment.
func (p *pressure) wait() {
	if p.passed.Add(1)%pressureEvery == 0 {
		select {
		case p.look <- struct{}{}:
		default:
		}
	}
	if d := p.delay.Load(); d > 0 && rand.Uint32N(pressureBunch) == 0 {
		d *= pressureBunch
		p.total.Add(d)
		time.Sleep(time.Duration(d)) //nolint:forbidigo // back-pressure of at most maxDelay a publish on the client's own goroutine
	}
}

// processors tells how long the processors together had nothing to do, and how
// long they were there, since some time in the past.
type processors func() (idle, all time.Duration, ok bool)

// run watches until ctx ends. delivers tells whether records go up at all,
// backlog how many bytes wait.
func (p *pressure) run(ctx context.Context, delivers func() bool, backlog func() int64, cpus processors) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.look:
		}
		if err := p.watch(ctx, delivers, backlog, cpus); err != nil {
			return err
		}
	}
}

// watch sets the delay for as long as the backlog is worth a thought.
func (p *pressure) watch(ctx context.Context, delivers func() bool, backlog func() int64, cpus processors) error {
	last := backlog()
	if last < pressureBytes {
		return nil
	}
	defer p.delay.Store(0)
	load, delay := newLoad(cpus), time.Duration(0)
	timer := time.NewTimer(pressureTick)
	defer timer.Stop()
	for last >= pressureBytes || delay > 0 {
		begin := time.Now()
		timer.Reset(pressureTick)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		load.observe(begin, time.Now())
		size := backlog()
		delay = nextDelay(delay, load.over() && delivers(), size, size-last)
		last = size
		p.delay.Store(int64(delay))
	}
	return nil
}

// load is how much there is to do for the processors.
type load struct {
	cpus      processors
	late      time.Duration // mean lateness of a short sleep
	share     float64       // mean share of idle time
	measured  time.Time
	idle, all time.Duration
}

func newLoad(cpus processors) *load {
	l := &load{cpus: cpus, share: pressureIdle, measured: time.Now()}
	l.idle, l.all, _ = cpus()
	return l
}

// observe is told when a sleep of a tick began and ended.
func (l *load) observe(begin, end time.Time) {
	l.late += (max(0, end.Sub(begin)-pressureTick) - l.late) / 16
	if end.Sub(l.measured) < pressureWindow {
		return
	}
	l.measured = end
	idle, all, ok := l.cpus()
	if !ok || all <= l.all {
		return // the lateness alone has to tell
	}
	l.share += (float64(idle-l.idle)/float64(all-l.all) - l.share) / 4
	l.idle, l.all = idle, all
}

// over reports more than the processors can do.
func (l *load) over() bool { return l.share < pressureIdle || l.late > pressureLate }

// nextDelay grows the delay while an overloaded gateway does not get rid of
// its backlog in time, and takes it back as soon as it does.
func nextDelay(delay time.Duration, overloaded bool, backlog, growth int64) time.Duration {
	wanted := (pressureBytes - backlog) / pressureTicks
	if backlog > pressureMemory {
		wanted = 0
	}
	switch {
	case !overloaded || backlog < pressureBytes:
		delay = delay * 7 / 8
	case growth > wanted:
		delay = min(max(delay*3/2, pressureStep), maxDelay)
	default:
		delay = delay * 15 / 16
	}
	if delay < pressureStep/2 {
		return 0
	}
	return delay
}
