package bridge_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/mapping"
)

// memoryQueue is a bridge.Queue in memory: a FIFO a device, one lease at a
// time of each.
type memoryQueue struct {
	mu      sync.Mutex
	changed chan struct{}
	lanes   map[string]*lane
	order   []string
	dead    []deadLetter
	done    []string // request ids in the order of their commits
	wakes   int
}

type lane struct {
	waiting   []*bridge.Lease
	leased    bool
	notBefore time.Time
}

type deadLetter struct {
	requestID, reason, answer string
	status                    int
}

func newMemoryQueue() *memoryQueue {
	return &memoryQueue{changed: make(chan struct{}), lanes: make(map[string]*lane)}
}

func (q *memoryQueue) add(device string, kind mapping.Kind, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[device]
	if l == nil {
		l = &lane{}
		q.lanes[device] = l
		q.order = append(q.order, device)
	}
	for range n {
		seq := len(l.waiting)
		l.waiting = append(l.waiting, &bridge.Lease{
			Device: device, Kind: kind, RequestID: fmt.Sprintf("%s-%d", device, seq),
			Records: []mapping.Record{{Kind: kind, Device: device, Name: "name", Value: fmt.Appendf(nil, `{"seq":%d}`, seq), Time: time.Now()}},
		})
	}
	q.signal()
}

func (q *memoryQueue) signal() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *memoryQueue) Next(ctx context.Context, kinds bridge.Kinds) (*bridge.Lease, error) {
	for {
		q.mu.Lock()
		changed := q.changed
		var soonest time.Time
		for _, d := range q.order {
			l := q.lanes[d]
			if l.leased || len(l.waiting) == 0 || !kinds.Has(l.waiting[0].Kind) {
				continue
			}
			if time.Now().Before(l.notBefore) {
				if soonest.IsZero() || l.notBefore.Before(soonest) {
					soonest = l.notBefore
				}
				continue
			}
			l.leased = true
			lease := l.waiting[0]
			lease.Attempt++
			q.mu.Unlock()
			return lease, nil
		}
		q.mu.Unlock()
		wait := time.Hour
		if !soonest.IsZero() {
			wait = time.Until(soonest)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

func (q *memoryQueue) leave(l *bridge.Lease) {
	lane := q.lanes[l.Device]
	lane.waiting, lane.leased = lane.waiting[1:], false
	q.signal()
}

func (q *memoryQueue) Commit(l *bridge.Lease) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = append(q.done, l.RequestID)
	q.leave(l)
}

func (q *memoryQueue) Retry(l *bridge.Lease, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.lanes[l.Device]
	lane.leased, lane.notBefore = false, time.Now().Add(after)
	q.signal()
}

func (q *memoryQueue) Split(l *bridge.Lease) { q.Retry(l, 0) }

func (q *memoryQueue) DeadLetter(l *bridge.Lease, reason, answer string, status int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead = append(q.dead, deadLetter{l.RequestID, reason, answer, status})
	q.leave(l)
}

func (q *memoryQueue) Wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakes++
	for _, l := range q.lanes {
		l.notBefore = time.Time{}
	}
	q.signal()
}

func (q *memoryQueue) counts() (done, dead int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.done), len(q.dead)
}

// scriptedUplink answers with what its functions say.
type scriptedUplink struct {
	deliver func(ctx context.Context, l *bridge.Lease) bridge.Verdict
	probe   func(ctx context.Context) bridge.Verdict
}

func (u scriptedUplink) Deliver(ctx context.Context, l *bridge.Lease) bridge.Verdict {
	return u.deliver(ctx, l)
}

func (u scriptedUplink) Probe(ctx context.Context) bridge.Verdict {
	if u.probe == nil {
		return bridge.Verdict{}
	}
	return u.probe(ctx)
}
