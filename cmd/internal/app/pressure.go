package app

import (
	"context"
	"sync/atomic"
	"time"
)

// pressure slows ingest a little when the processor is the bottleneck.
//
// Without it an overloaded gateway takes in faster than it delivers although
// the uplink would take more: what does not fit in memory is read back from
// disk, which costs processor time that delivery lacks, and the backlog grows
// faster still. It never acts because of the uplink: while that is down, slow
// or limited to a rate the processor is idle, and the field is taken in at
// full speed.
//
// Overload is seen by how late a short sleep ends. The delay it asks of each
// publish is bounded, so that every client is taken in at maxDelay's rate at
// the least; MQTT's own acknowledgements and TCP carry the pressure on.
type pressure struct {
	delay atomic.Int64 // nanoseconds a publish
	total atomic.Int64 // nanoseconds of all publishes
}

const (
	pressureTick = 10 * time.Millisecond
	// pressureRest is how often a backlog too small to matter is looked at.
	pressureRest = 500 * time.Millisecond
	// pressureLate is a mean lateness above which the processor counts as
	// overloaded; an idle one is late by a tenth of it.
	pressureLate = time.Millisecond
	// pressureBytes is a backlog that is worth no thought.
	pressureBytes = 1 << 20
	pressureStep  = 200 * time.Microsecond
	maxDelay      = 5 * time.Millisecond
)

// wait holds a publish back for as long as is asked at the moment.
func (p *pressure) wait() {
	if d := p.delay.Load(); d > 0 {
		p.total.Add(d)
		time.Sleep(time.Duration(d)) //nolint:forbidigo // back-pressure of at most maxDelay on the client's own goroutine
	}
}

// run watches until ctx ends. delivers tells whether records go up at all,
// backlog how many bytes wait.
func (p *pressure) run(ctx context.Context, delivers func() bool, backlog func() int64) error {
	late, last, delay := time.Duration(0), backlog(), time.Duration(0)
	timer := time.NewTimer(pressureTick)
	defer timer.Stop()
	for {
		begin, tick := time.Now(), pressureTick
		if last < pressureBytes && delay == 0 {
			tick = pressureRest
		}
		timer.Reset(tick)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		late += (max(0, time.Since(begin)-tick) - late) / 16
		now := backlog()
		delay = nextDelay(delay, late > pressureLate && delivers(), now, now-last)
		last = now
		p.delay.Store(int64(delay))
	}
}

// nextDelay grows the delay while an overloaded gateway falls behind, and
// takes it back as soon as it does not.
func nextDelay(delay time.Duration, overloaded bool, backlog, growth int64) time.Duration {
	switch {
	case !overloaded || backlog < pressureBytes:
		delay = delay * 3 / 4
	case growth > 0:
		delay = min(delay+pressureStep, maxDelay)
	default:
		delay = delay * 15 / 16
	}
	if delay < pressureStep/8 {
		return 0
	}
	return delay
}
