package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/mapping"
)

// remap maps the publication of a dead letter again, by the rules that are in
// force now, and stores what it becomes in the transaction that drops the
// letter. With an error the letter stays as it was.
//
// The publication comes from the one who sent it then, with the rights of
// today, so that a user whose patterns were mended gets its data through and
// one that was removed does not.
func (in *ingest) remap(ctx context.Context, l *buffer.DeadLetter, id *broker.Identity) error {
	pub := &mapping.Publication{
		Topic: l.Topic, Payload: l.Payload, QoS: l.QoS, Client: l.Client, User: l.User, Received: time.Unix(0, l.When),
	}
	if in.synced() {
		pub.FutureBound = futureBound
	}
	pub.MayPublish = func(topic string) bool { return in.mayPublish(id, topic) }
	batch := &buffer.Batch{DropDeadLetters: []uint64{l.ID}}
	in.stateful.Lock()
	stored, err := in.remapped(batch, pub, id)
	in.stateful.Unlock()
	if err != nil {
		return err
	}
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remapped maps and hands the batch to the store, which answers on the channel.
func (in *ingest) remapped(batch *buffer.Batch, pub *mapping.Publication, id *broker.Identity) (<-chan error, error) {
	res, err := in.mapper.Load().Map(pub, pub.Received, in.state)
	if err != nil {
		return nil, fmt.Errorf("map it again: %w", err)
	}
	if device, ok := foreign(id, &res); !ok {
		return nil, fmt.Errorf("map it again: %w", foreignDevice(device))
	}
	if err := in.fill(batch, &res); err != nil {
		in.giveUp(batch, err)
		return nil, fmt.Errorf("map it again: %w", err)
	}
	stored := make(chan error, 1)
	in.keep(batch, func(err error) {
		if err == nil {
			in.counters.Records.Add(uint64(len(res.Records)))
		}
		stored <- err
	})
	return stored, nil
}

// fill adds to a batch what a publication became: its records, the last
// reported values of its properties, and the state that mapping keeps.
func (in *ingest) fill(batch *buffer.Batch, res *mapping.Result) *mapping.Error {
	if len(res.Records) > 0 {
		batch.Records = make([]buffer.Record, 0, len(res.Records))
	}
	for i := range res.Records {
		r := &res.Records[i]
		if err := in.checkDevice(r.Device); err != nil {
			code := mapping.CodeBadDevice
			if _, disabled := errors.AsType[*bridge.DisabledError](err); disabled {
				code = reasonDisabledDevice
			}
			return &mapping.Error{Code: code, Message: err.Error(), Device: r.Device}
		}
		if r.Kind == mapping.KindProperty {
			batch.Puts = append(batch.Puts, reportedProperty(r))
			in.reported(r)
			if in.owns(r.Device, r.Name) {
				in.counters.Acknowledgements.Add(1)
				continue
			}
		}
		if r.Kind == mapping.KindCommand {
			if err := in.acceptCommand(batch, r); err != nil {
				return err
			}
			continue
		}
		rec, err := stored(r)
		if err != nil {
			return &mapping.Error{Code: reasonUnstorable, Message: err.Error(), Device: r.Device}
		}
		batch.Records = append(batch.Records, rec)
	}
	in.state.changes(batch, res.Changes)
	return nil
}
