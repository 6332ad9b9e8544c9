package bridge

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping"
)

// CommandSending implements CommandObserver.
func (t *Triggers) CommandSending(ctx context.Context, l *Lease) (Verdict, bool) {
	t.mu.Lock()
	x := t.entries[l.TriggerID]
	if x == nil {
		// A record from before there was a ledger, or one that came back from
		// the dead letters after its entry was given up.
		x = &trigger{index: -1, Trigger: Trigger{
			ID: cmp.Or(l.TriggerID, l.RequestID), Device: l.Device, Name: l.Records[0].Name, Phase: PhaseWaiting, Status: StatusQueued,
			Accepted: l.Records[0].Time, Response: l.Records[0].Response,
		}}
		l.TriggerID = x.ID
		if known := t.entries[x.ID]; known != nil {
			x = known
		} else {
			t.entries[x.ID] = x
			t.active++
		}
	}
	switch {
	case x.Phase == PhaseDone && x.refused():
		// A person sent it again from the dead letters.
		t.finished = slices.DeleteFunc(t.finished, func(f *trigger) bool { return f == x })
		x.Phase, x.Result, x.Completed = PhaseWaiting, nil, time.Time{}
		x.deadline = time.Time{}
		t.active++
	case x.Phase == PhaseWaiting && !x.deadline.IsZero() && !time.Now().Before(x.deadline):
		t.expireLocked(x)
	}
	if x.Phase != PhaseWaiting {
		defer t.mu.Unlock()
		return Verdict{Reason: x.settledReason()}, false
	}
	x.Phase = PhaseSending
	saved := t.saveLocked(x)
	t.mu.Unlock()
	if err := saved.wait(ctx); err != nil {
		t.CommandNotSent(l)
		return Verdict{Action: Hold, Reason: "store", After: time.Second, Message: "the intent to send a command could not be stored: " + err.Error()}, false
	}
	return Verdict{}, true
}

// refused tells whether an entry failed without ever having been on its way:
// then its record may be back in the queue.
func (x *trigger) refused() bool { return x.Status == central.StatusFailed && x.Sent.IsZero() }

func (x *trigger) settledReason() string {
	if x.Status == StatusExpired {
		return "expired"
	}
	return "sent_before"
}

// CommandSent implements CommandObserver.
func (t *Triggers) CommandSent(l *Lease, c central.Command) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.entries[l.TriggerID]
	if x == nil || x.Phase == PhaseDone {
		return
	}
	t.counters.sent.Add(1)
	x.Phase, x.Sent, x.CommandID, x.attempt = PhaseSent, time.Now().UTC(), c.CommandID, 0
	x.until = time.Now().Add(t.cfg.StatusTimeout)
	t.wakeAtLocked(x, time.Now().Add(pollBackoff(1)))
	c.Status = cmp.Or(c.Status, central.StatusPending)
	t.progressLocked(x, c)
	t.saveLocked(x)
}

// CommandUnknown implements CommandObserver.
func (t *Triggers) CommandUnknown(l *Lease, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.entries[l.TriggerID]; x != nil && x.Phase != PhaseDone {
		x.Sent = time.Now().UTC()
		t.log.Warn("command sent and its answer lost: it may or may not run, and is not sent again", zap.String("device", x.Device),
			zap.String("command", x.Name), zap.String("id", x.ID), zap.Error(err))
		t.finishLocked(x, central.StatusUnknown, errorResult("AnswerLost", err.Error()), time.Now())
	}
}

// CommandNotSent implements CommandObserver.
func (t *Triggers) CommandNotSent(l *Lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.entries[l.TriggerID]; x != nil && x.Phase == PhaseSending {
		x.Phase = PhaseWaiting
		if !x.deadline.IsZero() {
			t.wakeAtLocked(x, x.deadline)
		}
		t.saveLocked(x)
	}
}

// Settled tells what became of a command's lease; it belongs into
// [Options.OnSettled].
func (t *Triggers) Settled(l *Lease, v Verdict) {
	if l.Kind != mapping.KindCommand || v.Action != Rejected {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.entries[l.TriggerID]; x != nil && x.Phase != PhaseDone {
		t.finishLocked(x, central.StatusFailed, errorResult(v.Reason, v.Message), time.Now())
	}
}
