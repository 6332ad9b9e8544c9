package bridge

import "time"

// Whoever sets a value for one device often sets it for a fleet, one after the
// other. So a change makes the same property of all devices that are there due
// at once, again after a while as long as that finds more changes, and ever
// more seldom where it does not.
const (
	boostSoon   = time.Second
	boostSeldom = 5 * time.Minute
	// boostWorth is the share of a fleet, one in so many, that has to have
	// changed for another look to be worth it soon.
	boostWorth = 20
)

// boost is how the fleet's property of one name is looked at.
type boost struct {
	at      time.Time     // of the last look
	wait    time.Duration // until the next
	changes int           // seen since
	pending bool
}

// boostLocked notes a change of a property of this name.
func (p *Properties) boostLocked(name string) {
	b := p.boosts[name]
	if b == nil {
		b = &boost{}
		p.boosts[name] = b
	}
	b.changes++
	if b.pending {
		return
	}
	if wait := b.wait - time.Since(b.at); wait > 0 {
		b.pending = true
		p.laterLocked(wait, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			b.pending = false
			p.lookLocked(name, b)
		})
		return
	}
	p.lookLocked(name, b)
}

// lookLocked makes the property of every device that is there due.
func (p *Properties) lookLocked(name string, b *boost) {
	fleet := p.byName[name]
	if b.changes > len(fleet)/boostWorth {
		b.wait = boostSoon
	} else {
		b.wait = min(max(boostSoon, 2*b.wait), boostSeldom)
	}
	b.at, b.changes = time.Now(), 0
	for pr := range fleet {
		if pr.index >= 0 && (pr.lane == laneConnected || pr.lane == laneHot) {
			p.dueNowLocked(pr)
		}
	}
}
