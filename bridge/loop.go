package bridge

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Options are what a Loop needs besides its configuration.
type Options struct {
	Queue  Queue
	Uplink Uplink
	Log    *zap.Logger
	// LinkEvents delivers a value whenever the host's network changed, which
	// makes the next probe immediate. Nil is allowed.
	LinkEvents <-chan struct{}
	// OnState is told of each change of the uplink's state. It must return at
	// once and must not call the loop.
	OnState func(Status)
	// OnSettled is told what became of each lease. It must return at once.
	OnSettled func(*Lease, Verdict)
}

// Loop empties a queue into an uplink. See the package comment for what it
// promises.
type Loop struct {
	cfg      Config
	queue    Queue
	uplink   Uplink
	log      *zap.Logger
	events   <-chan struct{}
	settled  func(*Lease, Verdict)
	link     *link
	troubles *troubles
	counters counters
	nudge    chan struct{}
	slots    chan struct{} // one token for each call that may be under way
	throttle throttledLog
	lastBeat atomic.Int64 // Unix nanoseconds; see Turning
}

// New makes a loop; Run starts it.
func New(cfg Config, opts Options) (*Loop, error) {
	if opts.Queue == nil || opts.Uplink == nil || opts.Log == nil {
		return nil, fmt.Errorf("bridge: a queue, an uplink and a logger are needed")
	}
	var faults []string
	cfg.Validate(func(path, message string) { faults = append(faults, path+": "+message) })
	if len(faults) > 0 {
		return nil, fmt.Errorf("bridge: %s", faults[0])
	}
	if opts.OnSettled == nil {
		opts.OnSettled = func(*Lease, Verdict) {}
	}
	return &Loop{
		cfg:      cfg,
		queue:    opts.Queue,
		uplink:   opts.Uplink,
		log:      opts.Log,
		events:   opts.LinkEvents,
		settled:  opts.OnSettled,
		link:     newLink(opts.OnState),
		troubles: newTroubles(),
		nudge:    make(chan struct{}, 1),
		slots:    make(chan struct{}, cfg.Concurrency),
	}, nil
}

// Status returns the uplink's state.
func (l *Loop) Status() Status {
	st, _, _ := l.link.snapshot()
	return st
}

// Nudge makes a waiting probe immediate, as after a new token was read.
func (l *Loop) Nudge() {
	select {
	case l.nudge <- struct{}{}:
	default:
	}
	l.link.resumeKinds()
}

// Run delivers until ctx ends. Calls that are under way then get the grace to
// finish: their answers are settled before Run returns.
func (l *Loop) Run(ctx context.Context, grace time.Duration) error {
	calls, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	context.AfterFunc(ctx, func() { time.AfterFunc(grace, abort) })

	var wg sync.WaitGroup
	wg.Go(func() { l.probe(ctx) })
	for ctx.Err() == nil {
		kinds, changed, err := l.link.wait(ctx)
		if err != nil {
			break
		}
		// The workers of one epoch share what may be delivered. When that
		// changes they finish their call and make room for the next epoch's.
		epoch, end := context.WithCancel(ctx)
		wg.Go(func() {
			defer end()
			select {
			case <-changed:
			case <-ctx.Done():
			}
		})
		l.startWorkers(epoch, calls, &wg, kinds, changed)
		<-epoch.Done()
	}
	wg.Wait()
	return nil
}

func (l *Loop) startWorkers(epoch, calls context.Context, wg *sync.WaitGroup, kinds Kinds, changed <-chan struct{}) {
	for range l.cfg.Concurrency {
		select {
		case l.slots <- struct{}{}:
		case <-epoch.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-l.slots }()
			for epoch.Err() == nil && !closed(changed) {
				lease, err := l.queue.Next(epoch, kinds)
				if err != nil {
					return
				}
				l.deliver(calls, lease)
			}
		})
	}
}

// closed looks at the channel itself, since the epoch ends a moment later than
// the link closes and a refused record would be tried again in between.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// deliver tries one lease once and settles it.
func (l *Loop) deliver(ctx context.Context, lease *Lease) {
	start := time.Now()
	l.beat(start)
	l.counters.inFlight.Add(1)
	v := l.uplink.Deliver(ctx, lease)
	l.counters.inFlight.Add(-1)
	now := time.Now()
	l.beat(now)
	l.counters.latency.observe(now.Sub(start))
	if ctx.Err() != nil && v.Action != Accepted && v.Action != Rejected {
		// The gateway stops: the record stays where it is, unblamed.
		l.queue.Retry(lease, 0)
		return
	}
	l.settle(lease, v, now)
}

// settle is the one place where a verdict becomes what happens to a record.
func (l *Loop) settle(lease *Lease, v Verdict, now time.Time) {
	l.counters.verdict(lease.Kind, v, len(lease.Records))
	switch v.Action {
	case Accepted:
		l.queue.Commit(lease)
		l.troubles.accepted(lease.Device, now)
		if l.link.succeeded(now) {
			l.queue.Wake()
		}
	case Rejected:
		l.queue.DeadLetter(lease, v.Reason, v.Message, v.Status)
		l.troubles.forget(lease.Device)
		if v.Status != 0 {
			// The server judged the record, so the link itself is well.
			l.link.succeeded(now)
		}
		l.warn("record rejected by the uplink", lease, v)
	case Hold:
		l.queue.Retry(lease, v.After)
	case Split:
		l.queue.Split(lease)
	case PauseUplink:
		l.queue.Retry(lease, 0)
		l.link.unauthorised(v.Message, now)
		l.warn("the uplink refuses the gateway; delivery pauses, nothing is dropped", lease, v)
	case PauseKind:
		l.queue.Retry(lease, slowBase)
		if l.link.pauseKind(lease.Kind) {
			l.warn("the uplink refuses this kind of record; the kind pauses, nothing is dropped", lease, v)
		}
	case Retry:
		v = l.retry(lease, v, now)
	}
	l.settled(lease, v)
}

// retry puts a record back, or gives it up when its budget is spent. It returns
// the verdict that was carried out.
func (l *Loop) retry(lease *Lease, v Verdict, now time.Time) Verdict {
	if v.Unreachable {
		l.link.unanswered(v.Message, now)
	} else {
		l.link.faulted(v.Message, v.Throttled, now)
	}
	if !v.Throttled && l.troubles.failed(lease.Device, lease.RequestID, now) {
		v.Action, v.Reason = Rejected, "retries_exhausted"
		v.Message = fmt.Sprintf("still refused after %d attempts over %s while other devices' records were accepted; last: %s", budgetAttempts, budgetTime, v.Message)
		l.counters.reject(lease.Kind, v.Reason, len(lease.Records))
		l.queue.DeadLetter(lease, v.Reason, v.Message, v.Status)
		l.warn("record given up", lease, v)
		return v
	}
	after := v.After
	if after == 0 {
		after = fullJitter(lease.Attempt, retryBase, retryCap)
	}
	l.queue.Retry(lease, after)
	l.warn("delivery failed, will be tried again", lease, v)
	return v
}

func (l *Loop) warn(message string, lease *Lease, v Verdict) {
	if suppressed, ok := l.throttle.allow(message+v.Reason, time.Now()); ok {
		l.log.Warn(message,
			zap.String("device", lease.Device), zap.Stringer("kind", lease.Kind), zap.String("reason", v.Reason),
			zap.Int("status", v.Status), zap.String("message", v.Message), zap.Int("attempt", lease.Attempt),
			zap.Int("suppressed", suppressed))
	}
}

// probe reopens a closed link. It also gives paused kinds another try now and
// then, since the permission that was missing may have been granted.
func (l *Loop) probe(ctx context.Context) {
	for ctx.Err() == nil {
		st, open, changed := l.link.snapshot()
		if open {
			select {
			case <-ctx.Done():
			case <-changed:
			case <-l.events:
				l.queue.Wake()
			case <-time.After(slowCap):
				l.link.resumeKinds()
			case <-l.nudge:
			}
			continue
		}
		l.probeUntilOpen(ctx, st.State)
	}
}

func (l *Loop) probeUntilOpen(ctx context.Context, state State) {
	reason := l.Status().Reason
	for attempt := 1; ctx.Err() == nil; attempt++ {
		base, limit := probeBase, probeCap
		if state == Unauthorised {
			base, limit = slowBase, slowCap
		}
		wait := fullJitter(attempt, base, limit)
		l.link.stillClosed(state, reason, time.Now().Add(wait), time.Now())
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-l.events:
			attempt = 1
		case <-l.nudge:
			attempt = 1
		case <-timer.C:
		}
		timer.Stop()
		l.counters.probes.Add(1)
		l.beat(time.Now())
		v := l.uplink.Probe(ctx)
		l.beat(time.Now())
		switch {
		case v.Action == Accepted:
			l.link.reopen(time.Now())
			l.queue.Wake()
			return
		case v.Action == PauseUplink:
			state = Unauthorised
		default:
			state = Offline
		}
		reason = v.Message
	}
}
