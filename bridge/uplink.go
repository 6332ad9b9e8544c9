package bridge

import (
	"context"
	"time"
)

// Action is what a verdict asks the loop to do.
type Action uint8

// The actions. Their order has no meaning.
const (
	// Accepted: the uplink has the records.
	Accepted Action = iota
	// Rejected: the uplink will never take them; they become dead letters.
	Rejected
	// Retry: this call may succeed later. Only the device waits.
	Retry
	// Hold is a Retry that is nobody's fault, such as a device that waits to
	// be approved; it is not counted against the record.
	Hold
	// Split: the joined call is at fault, its parts may not be.
	Split
	// PauseUplink: nothing can be delivered until a person acts, such as after
	// a 401.
	PauseUplink
	// PauseKind: nothing of this kind can be delivered until a person acts.
	PauseKind
)

func (a Action) String() string {
	return [...]string{"accepted", "rejected", "retry", "hold", "split", "pause_uplink", "pause_kind"}[a]
}

// Verdict is an uplink's answer to a delivery.
type Verdict struct {
	Action Action
	// Reason is a short fixed word for counters: "status_500", "timeout".
	Reason string
	// Message is for people and never holds a secret.
	Message string
	// Status is the HTTP status, 0 where there was none.
	Status int
	// After is how long the server asked to wait, 0 where it did not.
	After time.Duration
	// Unreachable says that no answer came at all, which speaks of the link
	// and not of the record.
	Unreachable bool
	// Throttled says that the server asked for fewer calls.
	Throttled bool
}

// Uplink is one way to the cloud. Deliver and Probe are called from many
// goroutines, return within their own deadline, and classify every failure.
type Uplink interface {
	// Deliver tries the lease once.
	Deliver(ctx context.Context, l *Lease) Verdict
	// Probe asks, cheaply and without side effects, whether deliveries may
	// succeed. Accepted means that they may.
	Probe(ctx context.Context) Verdict
}
