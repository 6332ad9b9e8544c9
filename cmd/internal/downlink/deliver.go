package downlink

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping"
)

// Wake says that a client connected or subscribed, so that commands which wait
// for a device may be delivered now. It does not wait.
func (l *Ledger) Wake() {
	l.came.Store(true)
	l.wakeLocked() // the channel needs no mutex
}

// Run delivers, expires and tells until ctx ends. What is stored as Delivered
// by then is still published.
func (l *Ledger) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.doWork()
			return ctx.Err()
		case <-l.kick:
		case <-timer.C:
		}
		l.doWork()
		if l.came.Swap(false) {
			l.deliverWaiting()
		}
		timer.Reset(l.expire(time.Now()))
	}
}

// doWork does what others have left to do, in order.
func (l *Ledger) doWork() {
	for {
		l.mu.Lock()
		work := l.work
		l.work = nil
		l.mu.Unlock()
		if len(work) == 0 {
			return
		}
		for _, fn := range work {
			fn()
		}
	}
}

// deliverWaiting tries the first waiting command of each device that has one;
// when it was delivered, the next follows.
func (l *Ledger) deliverWaiting() {
	l.mu.Lock()
	var heads []*entry
	for device := range l.open {
		if e := l.headLocked(device); e != nil {
			heads = append(heads, e)
		}
	}
	l.mu.Unlock()
	for _, e := range heads {
		l.deliver(e)
	}
}

// headLocked returns the device's command that is to be delivered next, nil if
// there is none or it is busy, and claims it.
func (l *Ledger) headLocked(device string) *entry {
	for _, e := range l.open[device] {
		if e.Status != central.StatusPending {
			continue
		}
		if e.busy {
			return nil
		}
		e.busy = true
		return e
	}
	return nil
}

// deliver writes down that a claimed command is delivered and publishes it, if
// the device is there.
func (l *Ledger) deliver(e *entry) {
	now := time.Now()
	l.mapping(e.Entry, now, func(res mapping.Result, err error) {
		reached := err == nil && l.reaches(e.Device, res)
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case err != nil && !later(err):
			// The templates or presets changed since it was accepted.
			l.log.Warn("a command that waits cannot be mapped any more", zap.String("device", e.Device), zap.String("command", e.Name), zap.Error(err))
			next := e.Entry
			next.Status, next.Completed, next.Result = central.StatusFailed, now, quote(err.Error())
			l.moveLocked(e, next, nil, nil)
		case !reached || !now.Before(e.Until):
			e.busy = false
		default:
			l.moveLocked(e, l.delivered(e.Entry, now), res.Changes, func(err error) {
				l.mu.Lock()
				defer l.mu.Unlock()
				if err != nil {
					l.again()
					return
				}
				l.publishLocked(e, res)
				l.came.Store(true) // for the next of this device
				l.wakeLocked()
			})
		}
	})
}

// reaches asks whether the device would get what the command became. A command
// that needs no message reaches it in any case.
func (l *Ledger) reaches(device string, res mapping.Result) bool {
	return len(res.Publish) == 0 || l.field.Reaches(device, res.Publish[0].Topic)
}

// publishLocked leaves the publishing of a command whose state is on disk to
// Run, and completes it where the family knows no answer.
func (l *Ledger) publishLocked(e *entry, res mapping.Result) {
	l.counters.Delivered.Add(1)
	device, name, id := e.Device, e.Name, e.ID
	l.workLocked(func() {
		for _, m := range res.Publish {
			if err := l.field.Publish(m, l.cfg.Timeout); err != nil {
				l.log.Warn("publish a command", zap.String("device", device), zap.String("command", name), zap.String("id", id), zap.Error(err))
			}
		}
		for _, event := range res.Events {
			if r, ok := event.(mapping.CommandResponse); ok {
				l.Respond(r, func(error) {})
			}
		}
	})
}

// again has waiting commands tried after a while: the store refused a write.
func (l *Ledger) again() {
	time.AfterFunc(retryAfter, l.Wake)
}

// expire ends what is due and returns how long there is until the next.
func (l *Ledger) expire(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.due) > 0 {
		e := l.due[0]
		if wait := e.Until.Sub(now); wait > 0 {
			return wait
		}
		// If the write fails it is tried again; nobody sees Until after the end.
		e.Until = now.Add(retryAfter)
		heap.Fix(&l.due, 0)
		if e.busy {
			continue
		}
		next := e.Entry
		next.Completed, next.Until = now, time.Time{}
		next.Status = central.StatusTimedOut
		if e.Status == central.StatusPending {
			next.Status = central.StatusExpired
		}
		l.moveLocked(e, next, nil, nil)
	}
	return time.Hour
}

// Respond takes a device's answer. settle is told when the command's final
// state is on disk, or why it is not; an answer that nobody waits for is
// settled at once, and Respond reports that.
func (l *Ledger) Respond(r mapping.CommandResponse, settle func(error)) (awaited bool) {
	if l.respond(r, settle) {
		return true
	}
	settle(nil)
	return false
}

// respond reports false where there is nothing to wait for.
func (l *Ledger) respond(r mapping.CommandResponse, settle func(error)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[r.ID]
	switch {
	case e == nil || !strings.EqualFold(e.Device, r.Device) || r.Name != "" && r.Name != e.Name || !isClosed(e.stored):
		l.counters.Unknown.Add(1)
		return false
	case e.Final():
		// Also the repeated answer of a device that missed its PUBACK.
		l.counters.Late.Add(1)
		return false
	case e.busy:
		// Another answer, or the timeout, is being written: whatever wins, this
		// one may be acknowledged when it is on disk.
		e.settles = append(e.settles, settle)
		return true
	}
	next := e.Entry
	next.Status, next.Result, next.Completed, next.Until = r.Status, bytes.Clone(r.Result), time.Now(), time.Time{}
	e.settles = append(e.settles, settle)
	l.moveLocked(e, next, nil, nil)
	return true
}

func asMapping(err error) (*mapping.Error, bool) { return errors.AsType[*mapping.Error](err) }
