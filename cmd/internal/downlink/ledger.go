package downlink

import (
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping"
)

// Store keeps the ledger. It belongs to the consumer of the interface to say
// where; keys are command ids.
type Store interface {
	// Load calls fn for every entry, in the order of keys.
	Load(fn func(key string, value []byte)) error
	// Commit carries out the changes of the ledger (a nil value deletes) and of
	// the mapping's state, all of them or none, in the order of calls. It
	// returns at once; done is told when they are on disk, or why they are not,
	// on another goroutine than the caller's.
	Commit(ledger []Change, state []mapping.Change, done func(error))
}

// Change is one change of the ledger's keys.
type Change struct {
	Key   string
	Value []byte
}

// Field is what the ledger needs of the broker.
type Field interface {
	// Reaches tells whether a client that may act as the device is connected
	// and would be given a message to the topic.
	Reaches(device, topic string) bool
	// Publish hands a message to the clients; it does not wait for them. What
	// is not delivered within the expiry is dropped.
	Publish(m mapping.Message, expiry time.Duration) error
}

// Options are what a ledger needs besides its configuration.
type Options struct {
	Store Store
	Field Field
	// Map turns a command into what is to be published, and calls use with it
	// before it returns. While use runs, no publication changes the mapping's
	// state: use hands the result's changes to the store.
	Map func(e Entry, now time.Time, use func(mapping.Result, error))
	// OnChange is told of each new state after it is on disk, in order for each
	// command, on Run's goroutine. Nil is allowed.
	OnChange func(Entry)
	Log      *zap.Logger
}

// Bounds of the whole ledger.
const (
	maxEntries = 20_000
	maxBytes   = 32 << 20
	maxDrops   = 100 // that ride along with one write
	// retryAfter is how soon a write that failed is tried again.
	retryAfter = time.Second
)

// Errors of the ledger.
var (
	ErrTooMany   = errors.New("the device has as many unfinished commands as it may")
	ErrNoRoom    = errors.New("the ledger of commands is full")
	ErrNoCommand = errors.New("there is no such command")
)

// Ledger keeps the commands. Its methods may be called from many goroutines.
type Ledger struct {
	cfg      bridge.DeviceCommandConfig
	store    Store
	field    Field
	mapping  func(Entry, time.Time, func(mapping.Result, error))
	onChange func(Entry)
	log      *zap.Logger
	counters counters
	kick     chan struct{} // capacity 1: Run has something to do
	came     atomic.Bool   // a client connected or subscribed

	mu       sync.Mutex
	entries  map[string]*entry
	requests map[string]*entry   // by device and request id
	open     map[string][]*entry // unfinished, by lower-case device, in order
	finished []*entry            // in the order in which they ended
	due      deadlines
	bytes    int
	work     []func() // for Run, in order
	drops    []string // forgotten entries that are still in the store
}

type counters struct {
	Triggered, Repeated, Delivered, Completed, Failed, TimedOut, Expired, Late, Unknown, Refused, StoreFailed atomic.Uint64
}

// Stats counts what became of commands since the start.
type Stats struct {
	Waiting  int // Pending
	Awaiting int // Delivered
	Ended    map[string]uint64
	// Triggered are new commands, Repeated requests that were known, Refused
	// those beyond a limit.
	Triggered, Repeated, Refused uint64
	// Late are answers to commands that had ended, Unknown those to none.
	Late, Unknown uint64
	StoreFailed   uint64
}

// New makes a ledger that holds nothing yet: see Load.
func New(cfg bridge.DeviceCommandConfig, opts Options) *Ledger {
	l := &Ledger{
		cfg: cfg, store: opts.Store, field: opts.Field, mapping: opts.Map, onChange: opts.OnChange, log: opts.Log,
		kick: make(chan struct{}, 1), entries: make(map[string]*entry), requests: make(map[string]*entry), open: make(map[string][]*entry),
	}
	if l.log == nil {
		l.log = zap.NewNop()
	}
	return l
}

// Load takes up what the store remembers, before the first command comes. It
// is apart from New because a store on a full disk can be read only later.
func (l *Ledger) Load() error {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.store.Load(func(key string, value []byte) {
		var e Entry
		if json.Unmarshal(value, &e) != nil || e.ID != key || e.Device == "" || e.Status == "" {
			l.log.Error("an entry of the command ledger cannot be read and is dropped", zap.String("key", key))
			l.drops = append(l.drops, key)
			return
		}
		l.restoreLocked(e, now)
	})
	if err != nil {
		return fmt.Errorf("load the command ledger: %w", err)
	}
	slices.SortStableFunc(l.finished, func(a, b *entry) int { return a.Completed.Compare(b.Completed) })
	l.came.Store(true)
	l.wakeLocked()
	return nil
}

// restoreLocked enters what was loaded. What waits for its device keeps what is left
// of its expiry, at most all of it. What was delivered gets its whole time
// anew: the device could not answer while the gateway was away.
func (l *Ledger) restoreLocked(e Entry, now time.Time) {
	x := &entry{Entry: e, index: -1, stored: closed()}
	if !e.Final() {
		x.Until = now.Add(min(e.Until.Sub(now), l.cfg.Expiry))
		if e.Status == central.StatusDelivered {
			x.Until = now.Add(l.cfg.Timeout)
		}
	}
	l.enterLocked(x)
	if e.Final() {
		l.finished = append(l.finished, x)
		return
	}
	l.openLocked(x)
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// enterLocked puts an entry into the indexes.
func (l *Ledger) enterLocked(e *entry) {
	l.entries[e.ID] = e
	if e.RequestID != "" {
		l.requests[requestKey(e.Device, e.RequestID)] = e
	}
	e.size = e.measure()
	l.bytes += e.size
}

// openLocked adds an entry to the unfinished ones.
func (l *Ledger) openLocked(e *entry) {
	key := strings.ToLower(e.Device)
	l.open[key] = append(l.open[key], e)
	heap.Push(&l.due, e)
}

// closeLocked takes an entry out of the unfinished ones.
func (l *Ledger) closeLocked(e *entry) {
	key := strings.ToLower(e.Device)
	rest := slices.DeleteFunc(l.open[key], func(x *entry) bool { return x == e })
	if len(rest) == 0 {
		delete(l.open, key)
	} else {
		l.open[key] = rest
	}
	if e.index >= 0 {
		heap.Remove(&l.due, e.index)
	}
}

// forgetLocked takes an entry out of everything; the store follows with the
// next commit.
func (l *Ledger) forgetLocked(e *entry, stored bool) {
	delete(l.entries, e.ID)
	if key := requestKey(e.Device, e.RequestID); l.requests[key] == e {
		delete(l.requests, key)
	}
	l.bytes -= e.size
	if stored {
		l.drops = append(l.drops, e.ID)
	}
}

// makeRoomLocked forgets finished commands, the oldest first, until one more of
// the size fits.
func (l *Ledger) makeRoomLocked(size int) bool {
	for len(l.entries) >= maxEntries || l.bytes+size > maxBytes {
		if len(l.finished) == 0 {
			return false
		}
		l.forgetLocked(l.finished[0], true)
		l.finished = l.finished[1:]
	}
	return true
}

// commitLocked hands a state of the entry to the store, and with it what was
// forgotten. then is called, without the mutex, when it is on disk or is not.
func (l *Ledger) commitLocked(e *entry, next Entry, state []mapping.Change, then func(error)) {
	value, err := json.Marshal(next)
	if err != nil {
		// Arguments and results were checked to be JSON.
		l.workLocked(func() { then(err) })
		return
	}
	dropped := l.drops[:min(len(l.drops), maxDrops)]
	l.drops = l.drops[len(dropped):]
	changes := make([]Change, 0, 1+len(dropped))
	changes = append(changes, Change{e.ID, value})
	for _, id := range dropped {
		changes = append(changes, Change{Key: id})
	}
	l.store.Commit(changes, state, func(err error) {
		if err != nil {
			l.counters.StoreFailed.Add(1)
			l.mu.Lock()
			l.drops = append(l.drops, dropped...)
			l.mu.Unlock()
		}
		then(err)
	})
}

// moveLocked writes a new state of an entry that is not busy. The state is seen
// by others when it is on disk; then is called after that.
func (l *Ledger) moveLocked(e *entry, next Entry, state []mapping.Change, then func(error)) {
	e.busy = true
	l.commitLocked(e, next, state, func(err error) {
		l.mu.Lock()
		e.busy = false
		if err == nil {
			l.adoptLocked(e, next)
		}
		settles := e.settles
		e.settles = nil
		l.mu.Unlock()
		for _, settle := range settles {
			settle(err)
		}
		if then != nil {
			then(err)
		}
	})
}

// adoptLocked makes a state that is on disk the entry's own.
func (l *Ledger) adoptLocked(e *entry, next Entry) {
	e.Entry = next
	l.bytes -= e.size
	e.size = e.measure()
	l.bytes += e.size
	if next.Final() {
		l.closeLocked(e)
		l.finished = append(l.finished, e)
		l.counters.ended(next.Status)
	} else if e.index >= 0 {
		heap.Fix(&l.due, e.index)
	}
	l.toldLocked(next)
}

func (l *Ledger) toldLocked(e Entry) {
	if l.onChange != nil {
		l.workLocked(func() { l.onChange(e) })
	}
}

// workLocked leaves something to Run.
func (l *Ledger) workLocked(fn func()) {
	l.work = append(l.work, fn)
	l.wakeLocked()
}

func (l *Ledger) wakeLocked() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (c *counters) ended(status string) {
	switch status {
	case central.StatusCompleted:
		c.Completed.Add(1)
	case central.StatusFailed:
		c.Failed.Add(1)
	case central.StatusTimedOut:
		c.TimedOut.Add(1)
	case central.StatusExpired:
		c.Expired.Add(1)
	}
}

// Stats returns the present counts.
func (l *Ledger) Stats() Stats {
	c := &l.counters
	s := Stats{
		Triggered: c.Triggered.Load(), Repeated: c.Repeated.Load(), Refused: c.Refused.Load(), Late: c.Late.Load(), Unknown: c.Unknown.Load(), StoreFailed: c.StoreFailed.Load(),
		Ended: map[string]uint64{
			central.StatusCompleted: c.Completed.Load(), central.StatusFailed: c.Failed.Load(),
			central.StatusTimedOut: c.TimedOut.Load(), central.StatusExpired: c.Expired.Load(),
		},
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.due {
		if e.Status == central.StatusPending {
			s.Waiting++
		} else {
			s.Awaiting++
		}
	}
	return s
}
