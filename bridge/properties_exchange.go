package bridge

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
)

// maxBefore bounds the values that the application may have while a local
// value is on its way: operators may write faster than a bad link answers.
const maxBefore = 16

// newLocalWrite is a value on its way up in place of an earlier one.
func newLocalWrite(old *LocalWrite, value json.RawMessage) *LocalWrite {
	w := &LocalWrite{Value: value, RequestID: uuid.NewString()}
	if old != nil && old.Sent {
		// Whether the earlier value arrived is not known.
		w.Before = withValue(old.Before, old.Value)
	}
	return w
}

// withValue returns a new list with one more value and without the oldest ones
// that are too many.
func withValue(list []json.RawMessage, v json.RawMessage) []json.RawMessage {
	if amongValues(list, v) {
		return list
	}
	return append(slices.Clone(list[max(0, len(list)+1-maxBefore):]), v)
}

// exchange makes one call for a property: it sends the local value that waits,
// or asks for the application's.
func (p *Properties) exchange(ctx context.Context, pr *property) {
	p.mu.Lock()
	write, change := pr.Write, pr.change
	p.mu.Unlock()
	if write != nil && !write.Sent {
		p.send(ctx, pr, write)
		return
	}
	p.poll(ctx, pr, write, change)
}

// send sends a local value, once. What the application has before is asked
// first, and both are on disk before the value goes out: should the answer be
// lost, or the power, the application's value then tells whether ours arrived.
func (p *Properties) send(ctx context.Context, pr *property, w *LocalWrite) {
	before, ok := p.ask(ctx, pr)
	if !ok {
		return
	}
	if before != nil && sameJSON(before, w.Value) {
		p.settleWrite(pr, w, func() { pr.Write, pr.Cloud = nil, w.Value })
		return
	}
	sent := *w
	sent.Sent, sent.Before = true, withValue(w.Before, before)
	var saved saving
	if !p.settleWrite(pr, w, func() { pr.Write = &sent }, &saved) {
		return
	}
	unsent := *w
	if err := saved.wait(ctx); err != nil {
		p.settleWrite(pr, &sent, func() { pr.Write = &unsent; pr.attempts++ })
		return
	}
	if err := p.pacer.WaitBackground(ctx); err != nil {
		p.settleWrite(pr, &sent, func() { pr.Write = &unsent })
		return
	}
	_, err := p.service.UpdateProperty(ctx, pr.Device, pr.Name, sent.Value, sent.RequestID)
	v := classify(err)
	p.pace(v)
	switch {
	case err == nil:
		p.counters.written.Add(1)
		p.settleWrite(pr, &sent, func() {
			pr.Write, pr.Cloud, pr.attempts = nil, sent.Value, 0
			pr.hotUntil = time.Now().Add(hotFor)
		})
	case central.MaybeSent(err):
		p.settleWrite(pr, &sent, func() { pr.attempts++ })
	case v.Action == Rejected || v.Action == Split:
		p.counters.rejected.Add(1)
		p.log.Warn("local value refused by the application, whose own value holds", zap.String("device", pr.Device),
			zap.String("property", pr.Name), zap.Int("status", v.Status), zap.String("message", v.Message))
		p.settleWrite(pr, &sent, func() { pr.Write, pr.attempts = nil, 0 })
	default:
		// It certainly did not arrive, so it may be sent again.
		p.settleWrite(pr, &sent, func() { pr.Write = &unsent; pr.attempts++ })
	}
}

// settleWrite applies what became of a local value, unless an operator has set
// another one meanwhile: then the earlier one counts as it stood.
func (p *Properties) settleWrite(pr *property, w *LocalWrite, fn func(), saved ...*saving) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pr.Write != w {
		return false
	}
	fn()
	pr.change++
	s := p.saveLocked(pr)
	for _, out := range saved {
		*out = s
	}
	return true
}

func (p *Properties) pace(v Verdict) {
	switch {
	case v.Throttled:
		p.pacer.Throttled(v.After)
	case !v.Unreachable:
		p.pacer.Accepted()
	}
}

// ask reads the application's value, nil for none. It reports false when there
// was no answer.
func (p *Properties) ask(ctx context.Context, pr *property) (value json.RawMessage, ok bool) {
	got, err := p.service.Property(ctx, pr.Device, pr.Name)
	p.pace(classify(err))
	p.counters.polls.Add(1)
	switch {
	case err == nil:
		return compactJSON(got.Value), true
	case central.StatusOf(err) == http.StatusNotFound:
		// The application has none yet. A device that it does not have is the
		// registry's business.
		return nil, true
	}
	p.counters.pollFaults.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	pr.attempts++
	return nil, false
}

// poll takes over the application's value. write is a local value that may
// have arrived there, or nil.
func (p *Properties) poll(ctx context.Context, pr *property, write *LocalWrite, change uint64) {
	value, ok := p.ask(ctx, pr)
	if !ok {
		return
	}
	p.mu.Lock()
	if pr.change != change {
		p.mu.Unlock()
		return // the question is out of date
	}
	pr.attempts = 0
	if !p.answerLocked(pr, value, write) {
		p.mu.Unlock()
		return
	}
	saved, version := p.saveLocked(pr), pr.Version
	p.mu.Unlock()
	// The version is on disk before the device sees it, so that it never goes
	// back. A disk that takes nothing does not keep the device from its value.
	if err := saved.wait(ctx); ctx.Err() != nil {
		return // delivered after the next start
	} else if err != nil {
		p.log.Warn("keep a desired value", zap.String("device", pr.Device), zap.String("property", pr.Name), zap.Error(err))
	}
	p.mu.Lock()
	pr.stored = max(pr.stored, version)
	p.mu.Unlock()
	p.deliver(pr)
}

// answerLocked takes over the application's value; it reports whether the
// device has to be told.
func (p *Properties) answerLocked(pr *property, value json.RawMessage, write *LocalWrite) (fresh bool) {
	if write != nil {
		switch {
		case value != nil && sameJSON(value, write.Value):
			// It had arrived, and only the answer was lost.
			p.counters.written.Add(1)
			pr.Write, pr.Cloud = nil, write.Value
			pr.change++
			p.saveLocked(pr)
			return false
		case amongValues(write.Before, value):
			// It had not: it is sent again, under the same request id.
			again := *write
			again.Sent = false
			pr.Write = &again
			pr.change++
			p.saveLocked(pr)
			return false
		}
		// Somebody set another value after it.
		p.counters.overtaken.Add(1)
		pr.Write = nil
		pr.change++
	}
	if value == nil || sameJSON(value, pr.Cloud) && sameJSON(value, pr.Desired) {
		if write != nil {
			p.saveLocked(pr)
		}
		return false
	}
	pr.Cloud = value
	if sameJSON(value, pr.Desired) {
		p.saveLocked(pr)
		return false
	}
	p.counters.changes.Add(1)
	p.desireLocked(pr, value)
	pr.hotUntil = time.Now().Add(hotFor)
	p.boostLocked(pr.Name)
	return true
}

func amongValues(list []json.RawMessage, v json.RawMessage) bool {
	for _, w := range list {
		if sameJSON(w, v) {
			return true
		}
	}
	return false
}
