package bridge

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
)

// How often the application is asked for the status of a command: soon at
// first, since most commands take no time, and then with growing waits.
const (
	statusBase  = 250 * time.Millisecond
	statusCap   = time.Minute
	statusCalls = 8 // under way at once
)

func pollBackoff(attempt int) time.Duration {
	wait := statusCap
	if shift := attempt - 1; shift < 16 {
		wait = min(statusCap, statusBase<<shift)
	}
	return wait*9/10 + time.Duration(rand.Int64N(int64(wait/5)))
}

// triggerHeap holds the active triggers by when Run has to look at them.
type triggerHeap []*trigger

func (h triggerHeap) Len() int           { return len(h) }
func (h triggerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h triggerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *triggerHeap) Push(x any) {
	t := x.(*trigger) //nolint:forcetypeassert // nothing else is pushed
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *triggerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}

func (t *Triggers) wakeAtLocked(x *trigger, at time.Time) {
	x.at = at
	if x.index >= 0 {
		heap.Fix(&t.due, x.index)
	} else {
		heap.Push(&t.due, x)
	}
	t.kickLocked()
}

// Run asks for statuses, lets what waited too long expire, and tells the field,
// until ctx ends. What it has not told by then it tells after the next start.
func (t *Triggers) Run(ctx context.Context) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	slots := make(chan struct{}, statusCalls)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		up, changed, _ := t.link.look()
		if t.tell() {
			continue
		}
		x, wait := t.next(up, slots)
		if x != nil {
			calls.Go(func() {
				defer func() { <-slots; t.mu.Lock(); t.kickLocked(); t.mu.Unlock() }()
				t.ask(ctx, x)
			})
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-t.kick:
		case <-timer.C:
		}
	}
	return ctx.Err()
}

// tell publishes the oldest change that the field was not told of.
func (t *Triggers) tell() bool {
	t.mu.Lock()
	if len(t.outbox) == 0 {
		t.mu.Unlock()
		return false
	}
	e := t.outbox[0]
	t.outbox = t.outbox[1:]
	t.mu.Unlock()
	for _, m := range e.Messages() {
		t.publish(m)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.entries[e.ID]; x != nil {
		x.Told = e.Status
		t.saveLocked(x)
	}
	return true
}

// next takes the next trigger whose status is to be asked for, or tells how
// long there will be none. What is to expire expires here.
func (t *Triggers) next(up bool, slots chan struct{}) (x *trigger, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.forgetLocked(now)
	for len(t.due) > 0 && !t.due[0].at.After(now) {
		x := t.due[0]
		switch {
		case x.Phase == PhaseWaiting:
			t.expireLocked(x)
			return nil, time.Millisecond
		case x.Phase != PhaseSent:
			heap.Pop(&t.due) // its answer is awaited
		case !now.Before(x.until):
			t.finishLocked(x, StatusTimedOut, errorResult("TimedOut", fmt.Sprintf("the application did not tell within %s how the command ended", t.cfg.StatusTimeout)), now)
			return nil, time.Millisecond
		case !up:
			// Asked at once when the link is back, which wakes Run.
			t.wakeAtLocked(x, now.Add(statusCap))
		default:
			select {
			case slots <- struct{}{}:
				heap.Pop(&t.due)
				return x, 0
			default:
				return nil, time.Hour // a call that ends wakes Run
			}
		}
	}
	if len(t.due) == 0 {
		return nil, time.Hour
	}
	return nil, t.due[0].at.Sub(now)
}

// ask asks for the status of one command.
func (t *Triggers) ask(ctx context.Context, x *trigger) {
	t.mu.Lock()
	device, id := x.Device, x.CommandID
	t.mu.Unlock()
	var c central.Command
	err := t.pacer.Wait(ctx)
	if err == nil {
		c, err = t.service.CommandStatus(ctx, device, id)
		t.counters.polls.Add(1)
		if v := classify(err); v.Throttled {
			t.pacer.Throttled(v.After)
		} else if !v.Unreachable {
			t.pacer.Accepted()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if x.Phase != PhaseSent {
		return
	}
	x.attempt++
	t.wakeAtLocked(x, time.Now().Add(pollBackoff(x.attempt+1)))
	switch {
	case err == nil:
		before := x.Trigger
		t.progressLocked(x, c)
		if x.Phase == PhaseSent && x.Status != before.Status {
			t.saveLocked(x)
		}
	case central.StatusOf(err) == http.StatusNotFound:
		t.finishLocked(x, central.StatusUnknown, errorResult("Forgotten", "the application does not know the command any more"), time.Now())
	case ctx.Err() == nil:
		t.log.Debug("status of a command", zap.String("device", device), zap.String("id", x.ID), zap.Error(err))
	}
}
