package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/buffer"
	"iotc-gateway/mapping"
)

// The flags of a stored record.
const (
	flagPayloadTime = 1 << iota // the time is the device's own
	flagHistorical              // told later than it happened, as the device says
)

func classOfKind(k mapping.Kind) buffer.Class {
	switch k {
	case mapping.KindTelemetry:
		return buffer.ClassTelemetry
	case mapping.KindProperty:
		return buffer.ClassProperty
	case mapping.KindCommand:
		return buffer.ClassCommand
	default:
		return buffer.ClassDevice
	}
}

func kindOfClass(c buffer.Class) mapping.Kind {
	switch c {
	case buffer.ClassTelemetry:
		return mapping.KindTelemetry
	case buffer.ClassProperty:
		return mapping.KindProperty
	case buffer.ClassCommand:
		return mapping.KindCommand
	default:
		return mapping.KindDevice
	}
}

// recordMeta is what a stored record keeps besides its columns. Telemetry has
// none, so the common record carries no JSON of its own.
type recordMeta struct {
	ID       string         `json:"id,omitempty"` // of a command, in the ledger
	Origin   string         `json:"origin,omitempty"`
	Response *mapping.Reply `json:"response,omitempty"`
}

// stored turns what mapping made into what the store keeps.
func stored(r *mapping.Record) (buffer.Record, error) {
	out := buffer.Record{Class: classOfKind(r.Kind), Device: r.Device, Name: r.Name, Value: r.Value, Time: r.Time.UnixNano()}
	if r.TimeFrom == mapping.Payload {
		out.Flags |= flagPayloadTime
	}
	if r.Historical {
		out.Flags |= flagHistorical
	}
	if r.Response != nil {
		meta, err := json.Marshal(recordMeta{Origin: r.Origin, Response: r.Response})
		if err != nil {
			return out, fmt.Errorf("store a record of %s: %w", r.Device, err)
		}
		out.Meta = meta
	}
	return out, nil
}

// mapped is the way back.
func mapped(r *buffer.Record) mapping.Record {
	out := mapping.Record{
		Kind: kindOfClass(r.Class), Device: r.Device, Name: r.Name, Value: r.Value,
		Time: time.Unix(0, r.Time).UTC(), Historical: r.Flags&flagHistorical != 0,
	}
	if r.Flags&flagPayloadTime != 0 {
		out.TimeFrom = mapping.Payload
	}
	if len(r.Meta) > 0 {
		var meta recordMeta
		if err := json.Unmarshal(r.Meta, &meta); err == nil {
			out.Origin, out.Response = meta.Origin, meta.Response
		}
	}
	return out
}

// queue shows the store to the uplink loop as the queue that it wants.
type queue struct {
	store   *buffer.Store
	options buffer.LeaseOptions
	// correct moves a time that was read from a wrong clock to its right
	// value, as far as it is known by now.
	correct func(r *buffer.Record) int64
}

// leaseOptions is what the bridge's configuration asks of the store.
func leaseOptions(cfg bridge.Config) buffer.LeaseOptions {
	o := buffer.LeaseOptions{PerDevice: cfg.InFlightPerDevice, CoalesceWindow: cfg.Coalesce, LiveFirst: cfg.Order == bridge.OrderLiveFirst}
	if cfg.Coalesce > 0 {
		o.Members = memberNames()
	}
	return o
}

// leased is a lease with room for the one record that most have.
type leased struct {
	bridge.Lease
	one [1]mapping.Record
}

func (q *queue) Next(ctx context.Context, kinds bridge.Kinds) (*bridge.Lease, error) {
	o := q.options
	if kinds != bridge.AllKinds { // no class at all stands for all of them
		for _, c := range buffer.Classes() {
			if kinds.Has(kindOfClass(c)) {
				o.Classes |= buffer.Of(c)
			}
		}
	}
	l, err := q.store.Next(ctx, o)
	if err != nil {
		return nil, err
	}
	out := &leased{Lease: bridge.Lease{
		Device: l.Device, Kind: kindOfClass(l.Class), RequestID: l.RequestID, Attempt: l.Attempt,
		TriggerID: triggerID(&l.Records[0]), Handle: l,
	}}
	lease := &out.Lease
	if lease.Records = out.one[:]; len(l.Records) != 1 {
		lease.Records = make([]mapping.Record, len(l.Records))
	}
	for i := range l.Records {
		lease.Records[i] = mapped(&l.Records[i])
		if lease.Records[i].TimeFrom == mapping.Receipt {
			lease.Records[i].Time = time.Unix(0, q.correct(&l.Records[i])).UTC()
		}
	}
	return lease, nil
}

func handle(l *bridge.Lease) *buffer.Lease {
	return l.Handle.(*buffer.Lease) //nolint:forcetypeassert // only Next makes leases
}

func (q *queue) Commit(l *bridge.Lease) { q.store.Commit(handle(l)) }

func (q *queue) Retry(l *bridge.Lease, after time.Duration) { q.store.Retry(handle(l), after) }

func (q *queue) Split(l *bridge.Lease) { q.store.Split(handle(l)) }

func (q *queue) DeadLetter(l *bridge.Lease, reason, answer string, status int) {
	q.store.DeadLetter(handle(l), reason, answer, status)
}

func (q *queue) Wake() { q.store.Wake() }
