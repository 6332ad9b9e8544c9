package bridge

import (
	"context"
	"slices"
	"sync"
	"time"

	"iotc-gateway/mapping"
)

// State is what a person sees of the uplink.
type State uint8

// The states, from good to bad.
const (
	// Starting: nothing has been delivered or refused yet.
	Starting State = iota
	// Online: deliveries succeed.
	Online
	// Degraded: the server answers, but lately with faults only.
	Degraded
	// Throttled: the server asked for fewer calls.
	Throttled
	// Unauthorised: the token was refused; nothing is dropped meanwhile.
	Unauthorised
	// Offline: there is no answer at all.
	Offline
)

func (s State) String() string {
	return [...]string{"starting", "online", "degraded", "throttled", "unauthorised", "offline"}[s]
}

// Status is the uplink's state with its reason, for console and status topics.
type Status struct {
	State       State
	Since       time.Time
	Reason      string
	LastSuccess time.Time
	PausedKinds []string
	// NextProbe is when a closed link is tried again at the latest.
	NextProbe time.Time
}

// unreachableLimit is how many calls in a row have to go unanswered before the
// link counts as down while others succeeded a moment ago.
const (
	unreachableLimit = 3
	recentSuccess    = 5 * time.Second
)

// link holds the state machine. Workers deliver only while it is open.
//
//	starting -> online <-> degraded, throttled
//	any -> offline (no answer) -> online (a probe succeeds)
//	any -> unauthorised (401, 403) -> online (a probe succeeds)
type link struct {
	onChange func(Status)

	mu          sync.Mutex
	status      Status
	open        bool
	kinds       Kinds
	changed     chan struct{} // closed and replaced when open or kinds change
	unreachable int
	faults      int // answered faults since the last success
}

func newLink(onChange func(Status)) *link {
	return &link{
		onChange: onChange,
		status:   Status{State: Starting, Since: time.Now(), Reason: "nothing delivered yet"},
		open:     true,
		kinds:    AllKinds,
		changed:  make(chan struct{}),
	}
}

// wait blocks while the link is closed. It returns the kinds that may be
// delivered and a channel that closes when that changes.
func (l *link) wait(ctx context.Context) (Kinds, <-chan struct{}, error) {
	for {
		l.mu.Lock()
		open, kinds, changed := l.open, l.kinds, l.changed
		l.mu.Unlock()
		if open {
			return kinds, changed, nil
		}
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-changed:
		}
	}
}

// succeeded notes an accepted call. It reports whether the uplink took nothing
// for a while before, so that waiting devices should be woken.
func (l *link) succeeded(now time.Time) (wake bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wake = l.faults > 0 && now.Sub(l.status.LastSuccess) >= recentSuccess
	l.unreachable, l.faults = 0, 0
	l.status.LastSuccess = now
	if l.open {
		l.setLocked(Online, "deliveries succeed", now)
	}
	return wake
}

// unanswered notes a call that got no answer and closes the link when that
// was not a single mishap.
func (l *link) unanswered(message string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unreachable++
	l.faults++
	if l.unreachable >= unreachableLimit || now.Sub(l.status.LastSuccess) >= recentSuccess {
		l.closeLocked(Offline, message, now)
	}
}

// faulted notes an answer that was no success.
func (l *link) faulted(message string, throttled bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unreachable = 0
	l.faults++
	switch {
	case !l.open:
	case throttled:
		l.setLocked(Throttled, message, now)
	case now.Sub(l.status.LastSuccess) >= recentSuccess:
		l.setLocked(Degraded, message, now)
	}
}

// unauthorised closes the link until a probe finds that the token is taken.
func (l *link) unauthorised(message string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeLocked(Unauthorised, message, now)
}

// reopen lets the workers go on after a successful probe.
func (l *link) reopen(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unreachable, l.faults = 0, 0
	l.status.LastSuccess = now
	l.status.NextProbe = time.Time{}
	if !l.open {
		l.open = true
		l.signalLocked()
	}
	l.setLocked(Online, "the uplink answers", now)
}

// stillClosed notes why a probe failed and when the next one comes.
func (l *link) stillClosed(state State, message string, next, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.NextProbe = next
	l.setLocked(state, message, now)
}

// pauseKind stops deliveries of one kind, resumeKind lets them go on.
func (l *link) pauseKind(k mapping.Kind) (fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kinds.Has(k) {
		return false
	}
	l.kinds = l.kinds.Without(k)
	l.status.PausedKinds = append(slices.Clip(l.status.PausedKinds), k.String())
	l.signalLocked()
	return true
}

func (l *link) resumeKinds() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds != AllKinds {
		l.kinds = AllKinds
		l.status.PausedKinds = nil
		l.signalLocked()
	}
}

func (l *link) closeLocked(state State, message string, now time.Time) {
	if l.open {
		l.open = false
		l.signalLocked()
	}
	l.setLocked(state, message, now)
}

func (l *link) signalLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) setLocked(s State, reason string, now time.Time) {
	l.status.Reason = reason
	if l.status.State == s {
		return
	}
	l.status.State, l.status.Since = s, now
	if l.onChange != nil {
		l.onChange(l.status)
	}
}

func (l *link) snapshot() (st Status, open bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status, l.open, l.changed
}

// Delivers reports whether records go up in this state.
func (s State) Delivers() bool { return s == Starting || s == Online || s == Throttled }
