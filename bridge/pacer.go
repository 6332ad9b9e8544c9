package bridge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Pacer spaces the calls of everything that talks to one application. It keeps
// the configured rate, learns a lower one from 429 answers and gives it back
// step by step once they stop.
//
// While calls are refused the rate follows what the server did accept in the
// last period; while none are, it grows by half each period. A server that
// allows n calls a second is met at just under n without being told n.
type Pacer struct {
	configured float64 // calls a second, 0 is unlimited

	// idle is true while neither a rate nor a pause applies, so that the hot
	// path of an unlimited uplink is two atomic operations.
	idle     atomic.Bool
	accepted atomic.Int64
	refused  atomic.Int64

	mu      sync.Mutex
	limiter *rate.Limiter
	learnt  float64 // 0 while nothing was learnt
	ceiling float64 // an unlimited pacer forgets what it learnt above this
	resume  time.Time
	period  time.Time
}

const (
	pacePeriod   = 250 * time.Millisecond
	paceFloor    = 2.0
	paceGrowth   = 1.5
	maxPause     = 15 * time.Minute
	paceHeadroom = 4.0
)

// NewPacer makes a pacer for the given number of calls a second; 0 is
// unlimited.
func NewPacer(perSecond float64) *Pacer {
	p := &Pacer{configured: perSecond, limiter: rate.NewLimiter(rate.Inf, 1), period: time.Now()}
	p.apply(perSecond)
	return p
}

// Wait blocks until the next call may be made, or ctx ends.
func (p *Pacer) Wait(ctx context.Context) error {
	for !p.idle.Load() {
		p.mu.Lock()
		pause := time.Until(p.resume)
		limiter := p.limiter
		p.settleLocked()
		p.mu.Unlock()
		if pause <= 0 {
			return limiter.Wait(ctx)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// Accepted tells the pacer that the server did not refuse a call for its rate.
func (p *Pacer) Accepted() {
	p.accepted.Add(1)
	if p.idle.Load() {
		return
	}
	p.mu.Lock()
	p.adaptLocked(time.Now())
	p.mu.Unlock()
}

// Throttled tells the pacer of a 429. With a wait of the server's own nobody
// calls until it is over.
func (p *Pacer) Throttled(after time.Duration) {
	p.refused.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.idle.Swap(false) {
		// Counts from before the first refusal say nothing about a period.
		p.period = now
		p.accepted.Store(0)
	}
	if after > 0 {
		if until := now.Add(min(after, maxPause)); until.After(p.resume) {
			p.resume = until
		}
	}
	p.adaptLocked(now)
}

// Rate returns the calls a second that are allowed now, 0 for unlimited, and
// how long all calls still have to wait.
func (p *Pacer) Rate() (perSecond float64, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.effectiveLocked(), max(0, time.Until(p.resume))
}

func (p *Pacer) effectiveLocked() float64 {
	if p.learnt > 0 {
		return p.learnt
	}
	return p.configured
}

func (p *Pacer) adaptLocked(now time.Time) {
	elapsed := now.Sub(p.period)
	if elapsed < pacePeriod {
		return
	}
	p.period = now
	accepted, refused := p.accepted.Swap(0), p.refused.Swap(0)
	served := float64(accepted) / elapsed.Seconds()
	switch {
	case refused > 0:
		p.learnt = max(paceFloor, served*0.9)
		if p.configured > 0 {
			p.learnt = min(p.learnt, p.configured)
		}
		p.ceiling = max(p.ceiling, served*paceHeadroom)
	case p.learnt > 0:
		p.learnt *= paceGrowth
		if p.configured > 0 && p.learnt >= p.configured || p.configured == 0 && p.learnt > p.ceiling {
			p.learnt, p.ceiling = 0, 0
		}
	}
	p.apply(p.effectiveLocked())
	p.settleLocked()
}

// settleLocked lets the hot path skip the pacer again once it limits nothing.
func (p *Pacer) settleLocked() {
	if p.configured == 0 && p.learnt == 0 && !time.Now().Before(p.resume) && p.refused.Load() == 0 {
		p.idle.Store(true)
	}
}

func (p *Pacer) apply(perSecond float64) {
	if perSecond <= 0 {
		p.limiter.SetLimit(rate.Inf)
		return
	}
	p.limiter.SetBurst(max(1, int(perSecond/10)))
	p.limiter.SetLimit(rate.Limit(perSecond))
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
