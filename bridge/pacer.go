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
// once they stop.
//
// The rate follows what the server takes. After a second with refusals it is
// set just below what was taken in it; once refusals stop, it doubles
// much again each quarter of a second while it is well below that mark or
// nothing was refused for a while, and creeps in between. So a server that
// allows n calls a second is met at about n without being told n.
//
// A share of refusals that stays the same although the rate was lowered has
// nothing to do with the rate, and lowering it further would only end in a
// standstill: then the rate grows all the same.
type Pacer struct {
	configured float64 // calls a second, 0 is unlimited

	// idle is true while neither a rate nor a pause applies, so that the hot
	// path of an unlimited uplink is two atomic operations.
	idle     atomic.Bool
	accepted atomic.Int64
	refused  atomic.Int64
	wanted   atomic.Int64 // calls that wait in the foreground

	mu         sync.Mutex
	limiter    *rate.Limiter
	background *rate.Limiter // what the background may take while others wait
	learnt     float64       // 0 while nothing was learnt
	limit      float64       // what the server took when it last refused
	resume     time.Time
	period     time.Time
	refusal    time.Time // the last one
	share      float64   // of refusals in the last second that had any
	same       int       // how often in a row the share did not change
}

const (
	pacePeriod = 250 * time.Millisecond
	// paceJudge is how long refusals are watched before they count: many
	// servers count by the second.
	paceJudge  = time.Second
	paceFloor  = 5.0
	paceBelow  = 0.95
	paceSame   = 2
	paceGrowth = 2.0
	paceCreep  = 1.02
	paceNear   = 0.8
	paceCalm   = time.Second
	// paceHeadroom is how far above the learnt limit an unlimited pacer
	// forgets it.
	paceHeadroom = 4.0
	maxPause     = 15 * time.Minute
	// paceSample is how many acceptances lie between two looks at the time
	// while nothing limits.
	paceSample = 64
)

// NewPacer makes a pacer for the given number of calls a second; 0 is
// unlimited.
func NewPacer(perSecond float64) *Pacer {
	p := &Pacer{configured: perSecond, limiter: rate.NewLimiter(rate.Inf, 1), background: rate.NewLimiter(rate.Inf, 1), period: time.Now()}
	p.apply(perSecond)
	return p
}

// Wait blocks until the next call may be made, or ctx ends.
func (p *Pacer) Wait(ctx context.Context) error {
	if p.idle.Load() {
		return nil
	}
	p.wanted.Add(1)
	defer p.wanted.Add(-1)
	return p.wait(ctx)
}

func (p *Pacer) wait(ctx context.Context) error {
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
	n := p.accepted.Add(1)
	idle := p.idle.Load()
	if idle && n%paceSample != 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !idle {
		p.adaptLocked(now)
	} else if elapsed := now.Sub(p.period); elapsed >= time.Second {
		p.limit = float64(p.accepted.Swap(0)) / elapsed.Seconds()
		p.period = now
	}
}

// Throttled tells the pacer of a 429. With a wait of the server's own nobody
// calls until it is over.
func (p *Pacer) Throttled(after time.Duration) {
	p.refused.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.refusal = now
	if after > 0 {
		if until := now.Add(min(after, maxPause)); until.After(p.resume) {
			p.resume = until
		}
	}
	if p.idle.Swap(false) || p.learnt == 0 {
		p.startLocked(now)
		return
	}
	p.adaptLocked(now)
}

// startLocked begins to limit at the rate that was reached so far.
func (p *Pacer) startLocked(now time.Time) {
	reached := p.limit
	if elapsed := now.Sub(p.period); elapsed >= pacePeriod || reached == 0 {
		reached = float64(p.accepted.Load()) / max(elapsed, pacePeriod).Seconds()
	}
	if p.configured > 0 {
		reached = min(reached, p.configured)
	}
	p.limit = reached
	p.learnt = max(paceFloor, reached)
	p.period = now
	p.accepted.Store(0)
	p.refused.Store(1)
	p.apply(p.effectiveLocked())
}

// Rate returns the calls a second that are allowed now, 0 for unlimited, and
// how long all calls still have to wait.
func (p *Pacer) Rate() (perSecond float64, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.effectiveLocked(), max(0, time.Until(p.resume))
}

func (p *Pacer) effectiveLocked() float64 {
	if p.learnt > 0 && (p.configured == 0 || p.learnt < p.configured) {
		return p.learnt
	}
	return p.configured
}

func (p *Pacer) adaptLocked(now time.Time) {
	elapsed := now.Sub(p.period)
	refused := p.refused.Load()
	if p.learnt == 0 || elapsed < pacePeriod || refused > 0 && elapsed < paceJudge {
		return
	}
	p.period = now
	p.refused.Add(-refused)
	accepted := p.accepted.Swap(0)
	if refused > 0 {
		p.judgeLocked(float64(accepted), float64(refused), elapsed)
	} else {
		p.growLocked(now)
	}
	p.apply(p.effectiveLocked())
	p.settleLocked()
}

// judgeLocked sets the rate after a second with refusals.
func (p *Pacer) judgeLocked(accepted, refused float64, elapsed time.Duration) {
	share := refused / (accepted + refused)
	if p.share > 0 && share > p.share*0.6 && share < p.share*1.4 {
		p.same++
	} else {
		p.same = 0
	}
	p.share = share
	if p.same >= paceSame {
		p.learnt *= paceGrowth
		return
	}
	p.limit = accepted / elapsed.Seconds()
	p.learnt = max(paceFloor, p.limit*paceBelow)
}

// growLocked gives back after a period without refusals.
func (p *Pacer) growLocked(now time.Time) {
	calm := now.Sub(p.refusal) > paceCalm
	if calm {
		p.share, p.same = 0, 0
	}
	if calm || p.learnt < p.limit*paceNear {
		p.learnt *= paceGrowth
	} else {
		p.learnt *= paceCreep
	}
	forget := max(p.limit, paceFloor) * paceHeadroom
	if p.configured > 0 {
		forget = p.configured
	}
	if calm && p.learnt >= forget {
		p.learnt, p.limit = 0, 0
	}
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
		p.background.SetLimit(rate.Inf)
		return
	}
	p.background.SetLimit(rate.Limit(perSecond * backgroundShare))
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
