package bridge

import (
	"container/heap"
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
)

// propertyLane orders the questions by how soon their answer matters.
type propertyLane uint8

// The lanes. Local values go first. Of the others each gets its turn, so that
// a fleet of devices that are away does not hold up one that waits for an
// answer, nor the other way round.
const (
	laneWrite propertyLane = iota
	laneHot
	laneConnected
	laneAway
	numPropertyLanes
)

// propertyTurns is how the lanes take turns while more is due than the rate
// allows.
var propertyTurns = [...]propertyLane{laneHot, laneConnected, laneHot, laneConnected, laneAway}

const (
	// hotFor is how long a property that changed is watched closely, and
	// hotShare how much more often.
	hotFor   = 10 * time.Minute
	hotShare = 6
	// awayShare is how much more seldom a property of a device is read that is
	// not there to be told.
	awayShare = 20
	// activeFor is how long a device that published counts as being there: one
	// behind a bridge of its family has no connection of its own.
	activeFor = 10 * time.Minute
	// pollsAtOnce is how many questions may be under way.
	pollsAtOnce = 16
)

// propertyHeap holds the properties of a lane by when they are due.
type propertyHeap []*property

func (h propertyHeap) Len() int           { return len(h) }
func (h propertyHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h propertyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *propertyHeap) Push(x any) {
	pr := x.(*property) //nolint:forcetypeassert // nothing else is pushed
	pr.index = len(*h)
	*h = append(*h, pr)
}

// Pop implements heap.Interface.
func (h *propertyHeap) Pop() any {
	last := len(*h) - 1
	pr := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	pr.index = -1
	return pr
}

// delayedWork is done by Run when its time has come.
type delayedWork struct {
	at time.Time
	do func()
}

// laterLocked has Run do something after a while.
func (p *Properties) laterLocked(after time.Duration, do func()) {
	at := time.Now().Add(after)
	i, _ := slices.BinarySearchFunc(p.later, at, func(w delayedWork, t time.Time) int {
		if w.at.After(t) {
			return 1
		}
		return -1
	})
	p.later = slices.Insert(p.later, i, delayedWork{at, do})
	p.kickLocked()
}

func (p *Properties) kickLocked() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Track follows the cloud-owned properties of a device, or stops asking for
// them where the device is not there to be asked for. It is called when the
// registry's entry of the device changed.
func (p *Properties) Track(device string) {
	names := p.names(device)
	ask := p.asks(device)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ask {
		for _, n := range names {
			if _, err := p.followLocked(device, n); err != nil {
				break
			}
		}
	}
	d := p.devices[strings.ToLower(device)]
	if d == nil {
		return
	}
	for _, pr := range d.properties {
		switch {
		case !ask || !p.owned(pr.Device, pr.Name):
			p.unscheduleLocked(pr)
		case pr.index < 0 && !pr.busy:
			p.scheduleLocked(pr)
			p.dueNowLocked(pr)
		}
	}
}

// Refresh follows what a new configuration or new templates say.
func (p *Properties) Refresh() {
	if p.registry == nil {
		return
	}
	for _, d := range p.registry.Devices() {
		p.Track(d.ID)
	}
}

// asks tells whether the application is asked for a device's properties.
func (p *Properties) asks(device string) bool {
	if p.service == nil {
		return false
	}
	if p.registry == nil {
		return true
	}
	d, ok := p.registry.Device(device)
	return ok && d.State == DeviceRegistered && d.Local && d.Enabled()
}

// present tells whether the device is there to be told.
func (p *Properties) present(pr *property) bool {
	if pr.dev.links > 0 {
		return true
	}
	if p.registry == nil {
		return false
	}
	return time.Since(p.registry.lastSeen(pr.Device)) < activeFor
}

// scheduleLocked gives a property its lane and the time of its next question.
func (p *Properties) scheduleLocked(pr *property) {
	if p.service == nil {
		return
	}
	p.unscheduleLocked(pr)
	now := time.Now()
	interval := p.cfg.PollInterval
	switch {
	case pr.Write != nil:
		pr.lane, interval = laneWrite, 0
	case now.Before(pr.hotUntil):
		pr.lane, interval = laneHot, interval/hotShare
	case p.present(pr):
		pr.lane = laneConnected
	default:
		pr.lane, interval = laneAway, interval*awayShare
	}
	wait := pr.untilTurn(now, interval)
	if pr.attempts > 0 {
		wait = max(wait, fullJitter(pr.attempts, probeBase, slowCap))
	}
	pr.due = now.Add(wait)
	if pr.busy {
		return // scheduled again when the answer is there
	}
	heap.Push(&p.lanes[pr.lane], pr)
	p.kickLocked()
}

// untilTurn is the time until the property's own moment within the interval,
// at most a whole one. The moments of many are spread evenly, whenever they
// began: a change of all of them is seen at the first, and so in a small part
// of the interval.
func (pr *property) untilTurn(now time.Time, interval time.Duration) time.Duration {
	if interval <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(pr.Device)) // it never fails
	_, _ = h.Write([]byte(pr.Name))
	turn := time.Duration(h.Sum64() % uint64(interval))
	into := time.Duration(now.UnixNano() % int64(interval))
	if turn > into {
		return turn - into
	}
	return interval - into + turn
}

func (p *Properties) unscheduleLocked(pr *property) {
	if pr.index >= 0 {
		heap.Remove(&p.lanes[pr.lane], pr.index)
	}
}

// dueNowLocked brings a scheduled property forward.
func (p *Properties) dueNowLocked(pr *property) {
	if pr.index < 0 {
		return
	}
	pr.due = time.Now()
	heap.Fix(&p.lanes[pr.lane], pr.index)
	p.kickLocked()
}

// wakeDeviceLocked asks at once for the properties of a device that came.
func (p *Properties) wakeDeviceLocked(d *propertyDevice) {
	for _, pr := range d.properties {
		if pr.index >= 0 && pr.Write == nil {
			p.scheduleLocked(pr)
			p.dueNowLocked(pr)
		}
	}
}

// nextLocked takes the next property that is due, or tells when one will be.
func (p *Properties) nextLocked(now time.Time) (pr *property, at time.Time) {
	take := func(lane propertyLane) bool {
		h := &p.lanes[lane]
		if len(*h) == 0 {
			return false
		}
		if due := (*h)[0].due; due.After(now) {
			if at.IsZero() || due.Before(at) {
				at = due
			}
			return false
		}
		pr = heap.Pop(h).(*property) //nolint:forcetypeassert // nothing else is in it
		return true
	}
	if take(laneWrite) {
		return pr, at
	}
	for range propertyTurns {
		lane := propertyTurns[p.turn%len(propertyTurns)]
		p.turn++
		if take(lane) {
			return pr, at
		}
	}
	return nil, at
}

// Run carries values until ctx ends. Calls that are under way then are given
// up, which is safe: what they were about is on disk.
func (p *Properties) Run(ctx context.Context) error {
	p.Refresh()
	p.mu.Lock()
	for _, d := range p.devices {
		for _, pr := range d.properties {
			if pr.Version > 0 && !pr.Published {
				p.laterLocked(0, func() { p.deliver(pr) })
			}
			if pr.Write != nil && pr.index < 0 {
				p.scheduleLocked(pr)
			}
		}
	}
	p.mu.Unlock()
	var calls sync.WaitGroup
	defer calls.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		up, changed, _ := p.link.look()
		wait := p.step(ctx, up, &calls)
		if wait <= 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-p.kick:
		case <-timer.C:
		}
	}
	return ctx.Err()
}

// step does what is due and returns how long nothing else will be; 0 asks for
// another step.
func (p *Properties) step(ctx context.Context, up bool, calls *sync.WaitGroup) time.Duration {
	now := time.Now()
	p.mu.Lock()
	if len(p.later) > 0 && !p.later[0].at.After(now) {
		do := p.later[0].do
		p.later = p.later[1:]
		p.mu.Unlock()
		do()
		return 0
	}
	defer p.mu.Unlock()
	var pr *property
	var at time.Time
	if up && p.calls < pollsAtOnce {
		pr, at = p.nextLocked(now)
	}
	if pr != nil {
		pr.busy = true
		p.calls++
		calls.Go(func() { p.call(ctx, pr) })
		return 0
	}
	if len(p.later) > 0 && (at.IsZero() || p.later[0].at.Before(at)) {
		at = p.later[0].at
	}
	if at.IsZero() {
		return time.Hour
	}
	return max(at.Sub(now), time.Millisecond)
}

// call makes the exchange that a property waits for, when the rate allows.
func (p *Properties) call(ctx context.Context, pr *property) {
	if p.pacer.WaitBackground(ctx) == nil {
		p.exchange(ctx, pr)
	}
	again := p.asks(pr.Device) && p.owned(pr.Device, pr.Name)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	pr.busy = false
	if pr.Write != nil || again {
		p.scheduleLocked(pr)
	}
	p.kickLocked()
}
