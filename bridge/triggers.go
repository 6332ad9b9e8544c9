package bridge

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping"
)

// Triggers is the ledger of commands that were triggered here. It follows each
// from the queue to its end, asks the application how far it has come, and
// tells the field of each change. It implements [CommandObserver].
//
//	Queued -> Pending -> Completed | Failed | TimedOut
//	Queued -> Expired | Failed (refused) | Unknown (answer lost)
//
// Its methods may be called from many goroutines.
type Triggers struct {
	cfg          CommandConfig
	service      central.Service
	pacer        *Pacer
	store        TriggerStore
	maxAge       time.Duration
	deduplicates bool
	publish      func(mapping.Message)
	log          *zap.Logger
	link         *linkGate
	counters     triggerCounters

	mu       sync.Mutex
	entries  map[string]*trigger
	active   int
	due      triggerHeap
	finished []*trigger // by when they ended
	outbox   []Trigger
	kick     chan struct{}
}

var _ CommandObserver = (*Triggers)(nil)

// trigger is an entry with its timing. deadline and until are by the monotonic
// clock; across a restart they follow the wall clock, as far as it went on.
type trigger struct {
	Trigger
	deadline time.Time // to be sent; zero is never
	until    time.Time // to be asked for
	at       time.Time // when Run has to look at it
	attempt  int
	index    int
}

// NewTriggers loads what the store remembers. A command that was about to be
// sent when the gateway stopped may have been, so it is Unknown now, unless
// the application would know it again.
func NewTriggers(cfg CommandConfig, opts TriggersOptions) (*Triggers, error) {
	if opts.Pacer == nil || opts.Publish == nil {
		return nil, errors.New("bridge: triggers need a pacer and a way to publish")
	}
	t := &Triggers{
		cfg: cfg, service: opts.Service, pacer: opts.Pacer, store: opts.Store, maxAge: opts.MaxAge, deduplicates: opts.Deduplicates,
		publish: opts.Publish, log: opts.Log, link: newLinkGate(), entries: make(map[string]*trigger), kick: make(chan struct{}, 1),
	}
	if t.log == nil {
		t.log = zap.NewNop()
	}
	return t, nil
}

// Load takes up what the store remembers, before the first command is
// accepted. It is apart from NewTriggers because a store on a full disk can be
// read only later.
func (t *Triggers) Load() error {
	if t.store == nil {
		return nil
	}
	var loaded []Trigger
	if err := t.store.LoadTriggers(func(e Trigger) { loaded = append(loaded, e) }); err != nil {
		return fmt.Errorf("load the triggered commands: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(loaded, func(a, b Trigger) int {
		return cmp.Or(a.Completed.Compare(b.Completed), a.Accepted.Compare(b.Accepted))
	})
	for _, e := range loaded {
		t.restoreLocked(e)
	}
	return nil
}

func (t *Triggers) restoreLocked(e Trigger) {
	now := time.Now()
	x := &trigger{Trigger: e, index: -1}
	t.entries[e.ID] = x
	if x.Phase == PhaseSending {
		if t.deduplicates {
			x.Phase = PhaseWaiting
		} else {
			t.active++
			t.finishLocked(x, central.StatusUnknown, errorResult("AnswerLost", "the gateway stopped while the command was being sent: it may or may not run"), now)
			return
		}
	}
	if x.Phase == PhaseDone {
		t.finished = append(t.finished, x)
	} else {
		t.active++
		t.timeLocked(x, now)
	}
	if x.Told != x.Status {
		t.outbox = append(t.outbox, x.Trigger)
	}
}

// timeLocked says how long an entry may wait from here on.
func (t *Triggers) timeLocked(x *trigger, now time.Time) {
	switch x.Phase {
	case PhaseWaiting:
		if t.maxAge > 0 {
			age := min(max(0, now.Sub(x.Accepted)), t.maxAge)
			x.deadline = now.Add(t.maxAge - age)
			t.wakeAtLocked(x, x.deadline)
		}
	case PhaseSent:
		asked := min(max(0, now.Sub(x.Sent)), t.cfg.StatusTimeout)
		x.until = now.Add(t.cfg.StatusTimeout - asked)
		t.wakeAtLocked(x, now)
	case PhaseSending, PhaseDone:
	}
}

// LinkChanged tells of the uplink's state.
func (t *Triggers) LinkChanged(s Status) { t.link.set(s.State) }

// Accept enters a command that was triggered. With queue it is to be stored in
// the queue, in one transaction with the entry, and Stored is owed; without,
// it has ended already, because it may not wait for the link.
func (t *Triggers) Accept(r *mapping.Record, now time.Time) (entry Trigger, queue bool, err error) {
	x := &trigger{index: -1, Trigger: Trigger{
		ID: uuid.NewString(), Device: r.Device, Name: r.Name, Phase: PhaseWaiting, Status: StatusQueued, Accepted: now, Response: r.Response,
	}}
	up, _, _ := t.link.look()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.active >= maxActiveTriggers {
		t.counters.refused.Add(1)
		return Trigger{}, false, ErrTooManyTriggers
	}
	t.entries[x.ID] = x
	t.active++
	if !up && t.cfg.Offline == OfflineRefuse {
		t.counters.refused.Add(1)
		t.finishLocked(x, central.StatusFailed, errorResult("Offline", errLinkDown.Error()), now)
		return x.Trigger, false, nil
	}
	return x.Trigger, true, nil
}

// Stored tells whether an accepted command is in the queue now. The field is
// told of its id only then.
func (t *Triggers) Stored(id string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.entries[id]
	if x == nil {
		return
	}
	if err != nil {
		t.active--
		delete(t.entries, id)
		return
	}
	t.counters.accepted.Add(1)
	if x.Phase == PhaseWaiting {
		t.timeLocked(x, time.Now())
	}
	if x.Told == "" && x.Status == StatusQueued {
		t.tellLocked(x)
	}
}

// Get returns an entry by the gateway's id.
func (t *Triggers) Get(id string) (Trigger, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.entries[id]; x != nil {
		return x.Trigger, true
	}
	return Trigger{}, false
}

// List returns all entries, the newest first.
func (t *Triggers) List() []Trigger {
	t.mu.Lock()
	list := make([]Trigger, 0, len(t.entries))
	for _, x := range t.entries {
		list = append(list, x.Trigger)
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b Trigger) int { return cmp.Or(b.Accepted.Compare(a.Accepted), cmp.Compare(a.ID, b.ID)) })
	return list
}

// progressLocked takes over what the application says of a command.
func (t *Triggers) progressLocked(x *trigger, c central.Command) {
	result := c.Result
	if len(result) > maxResultBytes {
		result = errorResult("ResultTooLarge", fmt.Sprintf("the result has %d bytes, more than %d", len(result), maxResultBytes))
	}
	if c.Final() {
		at := c.CompletedTime
		if at.IsZero() {
			at = time.Now()
		}
		t.finishLocked(x, c.Status, result, at)
		return
	}
	if c.Status == x.Status && sameJSON(result, x.Result) {
		return
	}
	x.Status, x.Result = c.Status, result
	t.tellLocked(x)
}

func (t *Triggers) expireLocked(x *trigger) {
	t.finishLocked(x, StatusExpired, errorResult("Expired", fmt.Sprintf("it waited longer than buffer.classes.command.max_age (%s) and was not sent", t.maxAge)), time.Now())
}

// finishLocked ends an active entry.
func (t *Triggers) finishLocked(x *trigger, status string, result json.RawMessage, at time.Time) {
	if x.index >= 0 {
		heap.Remove(&t.due, x.index)
	}
	x.Phase, x.Status, x.Result, x.Completed = PhaseDone, status, result, at.UTC()
	t.active--
	t.counters.count(status)
	t.finished = append(t.finished, x)
	t.tellLocked(x)
	t.saveLocked(x)
	t.forgetLocked(time.Now())
}

// forgetLocked drops entries that ended long ago, or that are too many.
func (t *Triggers) forgetLocked(now time.Time) {
	n := 0
	for n < len(t.finished) && (len(t.finished)-n > maxFinishedTriggers || now.Sub(t.finished[n].Completed) > keepFinished) {
		delete(t.entries, t.finished[n].ID)
		if t.store != nil {
			t.store.DeleteTrigger(t.finished[n].ID)
		}
		n++
	}
	t.finished = slices.Delete(t.finished, 0, n)
}

func (t *Triggers) tellLocked(x *trigger) {
	t.outbox = append(t.outbox, x.Trigger)
	t.kickLocked()
}

func (t *Triggers) saveLocked(x *trigger) saving {
	if t.store == nil {
		return nil
	}
	s := make(saving, 1)
	t.store.SaveTrigger(x.Trigger, func(err error) { s <- err })
	return s
}

func (t *Triggers) kickLocked() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

func errorResult(code, message string) json.RawMessage {
	b, err := json.Marshal(map[string]any{"error": map[string]string{"code": code, "message": message}})
	if err != nil {
		return nil
	}
	return b
}

// TriggerStats count since the process started.
type TriggerStats struct {
	Active                                                                        int // gauge
	Accepted, Refused, Sent, Completed, Failed, Unknown, Expired, TimedOut, Polls uint64
}

type triggerCounters struct {
	accepted, refused, sent, completed, failed, unknown, expired, timedOut, polls atomic.Uint64
}

func (c *triggerCounters) count(status string) {
	switch status {
	case central.StatusCompleted:
		c.completed.Add(1)
	case central.StatusFailed:
		c.failed.Add(1)
	case central.StatusUnknown:
		c.unknown.Add(1)
	case StatusExpired:
		c.expired.Add(1)
	case StatusTimedOut:
		c.timedOut.Add(1)
	}
}

// Stats returns the counters.
func (t *Triggers) Stats() TriggerStats {
	c := &t.counters
	t.mu.Lock()
	active := t.active
	t.mu.Unlock()
	return TriggerStats{
		Active: active, Accepted: c.accepted.Load(), Refused: c.refused.Load(), Sent: c.sent.Load(), Completed: c.completed.Load(),
		Failed: c.failed.Load(), Unknown: c.unknown.Load(), Expired: c.expired.Load(), TimedOut: c.timedOut.Load(), Polls: c.polls.Load(),
	}
}
