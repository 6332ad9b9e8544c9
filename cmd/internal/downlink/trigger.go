package downlink

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping"
)

// Request is a command that somebody triggers.
type Request struct {
	Device, Name string
	Args         json.RawMessage // nil: none
	// RequestID makes the same request sent again harmless; empty takes no
	// notice of repetitions.
	RequestID string
	Caller    string
}

// Trigger enters a command and returns after its entry is on disk, without
// waiting for the device. What the mapping refuses (arguments that the template
// does not allow, a command that it does not have) is its error.
func (l *Ledger) Trigger(ctx context.Context, r Request) (Entry, error) {
	e, fresh, err := l.enter(r)
	if err != nil {
		return Entry{}, err
	}
	if fresh {
		l.accept(e)
	}
	select {
	case <-e.stored:
	case <-ctx.Done():
		return Entry{}, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.failed != nil {
		return Entry{}, e.failed
	}
	if fresh {
		// A new command is always told as Pending, however soon it ended.
		return Entry{ID: e.ID, Device: e.Device, Name: e.Name, Status: central.StatusPending, Created: e.Created}, nil
	}
	return e.Entry, nil
}

// enter finds the command that the same request made before, or makes one.
func (l *Ledger) enter(r Request) (e *entry, fresh bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.RequestID != "" {
		if earlier := l.requests[requestKey(r.Device, r.RequestID)]; earlier != nil {
			l.counters.Repeated.Add(1)
			return earlier, false, nil
		}
	}
	if n := len(l.open[strings.ToLower(r.Device)]); n >= l.cfg.MaxWaiting {
		l.counters.Refused.Add(1)
		return nil, false, fmt.Errorf("%w (%d)", ErrTooMany, n)
	}
	now := time.Now()
	e = &entry{index: -1, stored: make(chan struct{}), busy: true, Entry: Entry{
		ID: newID(now), Device: r.Device, Name: r.Name, Args: bytes.Clone(r.Args), RequestID: r.RequestID, Caller: r.Caller,
		Status: central.StatusPending, Created: now, Until: now.Add(l.cfg.Expiry),
	}}
	if !l.makeRoomLocked(e.measure()) {
		l.counters.Refused.Add(1)
		return nil, false, ErrNoRoom
	}
	l.enterLocked(e)
	l.openLocked(e)
	return e, true, nil
}

// accept maps a new command and writes its entry: as Delivered where the device
// is there and nothing waits before it, which saves a sync, else as Pending.
func (l *Ledger) accept(e *entry) {
	now := time.Now()
	l.mapping(e.Entry, now, func(res mapping.Result, err error) {
		if err != nil && !later(err) {
			l.reject(e, err)
			return
		}
		reached := err == nil && l.reaches(e.Device, res)
		l.mu.Lock()
		defer l.mu.Unlock()
		next, state := e.Entry, []mapping.Change(nil)
		if reached = reached && l.firstLocked(e); reached {
			next, state = l.delivered(e.Entry, now), res.Changes
		}
		l.commitLocked(e, next, state, func(err error) {
			if err != nil {
				l.reject(e, fmt.Errorf("keep the command: %w", err))
				return
			}
			l.counters.Triggered.Add(1)
			l.mu.Lock()
			defer l.mu.Unlock()
			e.busy = false
			if reached {
				// Both states are told, though one write made them.
				l.toldLocked(e.Entry)
			}
			l.adoptLocked(e, next)
			close(e.stored)
			if reached {
				l.publishLocked(e, res)
				return
			}
			// The device may have come in the meantime.
			l.came.Store(true)
			l.wakeLocked()
		})
	})
}

// later tells of an error of the mapping that passes: the family waits for a
// message of the device's, as a BIRTH.
func later(err error) bool {
	e, ok := asMapping(err)
	return ok && e.Code == mapping.CodeState
}

// reject takes back an entry that was never stored.
func (l *Ledger) reject(e *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.failed = err
	l.closeLocked(e)
	l.forgetLocked(e, false)
	close(e.stored)
}

// firstLocked reports that no command of the device waits before this one.
func (l *Ledger) firstLocked(e *entry) bool {
	for _, x := range l.open[strings.ToLower(e.Device)] {
		if x == e {
			return true
		}
		if x.Status == central.StatusPending {
			return false
		}
	}
	return false
}

// delivered is the state of a command that is about to be published.
func (l *Ledger) delivered(e Entry, now time.Time) Entry {
	e.Status, e.Delivered, e.Until = central.StatusDelivered, now, now.Add(l.cfg.Timeout)
	return e
}

// Command returns the state of a device's command.
func (l *Ledger) Command(device, id string) (Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[id]
	if e == nil || !strings.EqualFold(e.Device, device) || !isClosed(e.stored) {
		return Entry{}, ErrNoCommand
	}
	return e.Entry, nil
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Commands lists the commands of a device, or of all with "", the newest first
// and at most n.
func (l *Ledger) Commands(device string, n int) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Entry
	for _, e := range l.entries {
		if (device == "" || strings.EqualFold(e.Device, device)) && isClosed(e.stored) {
			list = append(list, e.Entry)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(b.ID, a.ID) })
	return list[:min(n, len(list))]
}

// Forget ends the unfinished commands of a device that is no more, as Expired
// or TimedOut.
func (l *Ledger) Forget(device string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.open[strings.ToLower(device)] {
		e.Until = time.Now()
	}
	heap.Init(&l.due)
	l.wakeLocked()
}
