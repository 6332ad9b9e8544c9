package bridge

import (
	"context"
	"time"

	"iotc-gateway/mapping"
)

// Kinds is a set of record kinds.
type Kinds uint8

// AllKinds is every kind there is.
const AllKinds Kinds = 0xff

// Has reports whether the set holds k.
func (s Kinds) Has(k mapping.Kind) bool { return s&(1<<k) != 0 }

// Without returns the set less k.
func (s Kinds) Without(k mapping.Kind) Kinds { return s &^ (1 << k) }

// Lease is what the queue hands out for one call of the uplink: the records of
// one device and one kind. More than one record means that they are to be
// joined into a single telemetry message.
type Lease struct {
	Device  string
	Kind    mapping.Kind
	Records []mapping.Record
	// RequestID is the same for every attempt at these records, also after a
	// restart.
	RequestID string
	// TriggerID is the gateway's own id of a command, see [Trigger].
	TriggerID string
	// Attempt counts from 1 and starts again with the process.
	Attempt int
	// Handle belongs to the queue.
	Handle any
}

// Queue is the durable store that the loop empties. Its methods are called
// from many goroutines. Every lease is settled exactly once. Settling returns
// at once; that a commit has not reached the disk when the power goes costs a
// repetition under the same request id and nothing else.
type Queue interface {
	// Next blocks until some device has a record of the wanted kinds, or ctx
	// ends.
	Next(ctx context.Context, kinds Kinds) (*Lease, error)
	// Commit removes the records: the uplink has them.
	Commit(l *Lease)
	// Retry puts the records back in front of their device's others, which
	// all wait for the given time unless Wake comes before.
	Retry(l *Lease, after time.Duration)
	// Split dissolves a joined lease, to be leased one by one at once.
	Split(l *Lease)
	// DeadLetter takes the records out of the queue and keeps them for a
	// person, with the reason and what the uplink said.
	DeadLetter(l *Lease, reason, answer string, status int)
	// Wake ends every wait that Retry asked for.
	Wake()
}
