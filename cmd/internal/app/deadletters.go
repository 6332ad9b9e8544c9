package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/console"
	"iotc-gateway/mapping"
)

// deadPage is how many dead letters are read at a time.
const deadPage = 200

// DeadLetters implements console.Source.
func (d dashboard) DeadLetters(ctx context.Context, after uint64, fn func(console.DeadLetter) bool) error {
	for {
		list, err := d.g.store.DeadLetters(after, deadPage)
		if err != nil {
			return err
		}
		for i := range list {
			if !fn(deadLine(&list[i])) {
				return nil
			}
			after = list[i].ID
		}
		if len(list) < deadPage {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list dead letters: %w", err)
		}
	}
}

func deadLine(l *buffer.DeadLetter) console.DeadLetter {
	out := console.DeadLetter{
		ID: l.ID, Time: time.Unix(0, l.When).UTC(), Reason: l.Reason, Message: l.Message, Device: l.Device, Topic: l.Topic,
		Status: l.Status, Attempts: l.Attempts, Bytes: len(l.Payload),
	}
	if r := l.Record; r != nil {
		out.Kind, out.Name, out.Bytes = r.Class.String(), r.Name, len(r.Value)
		if out.Message == "" {
			out.Message = l.Answer
		}
	}
	return out
}

// deadClip is how much of a payload the dashboard shows.
const deadClip = 64 << 10

// DeadLetter implements console.Source.
func (d dashboard) DeadLetter(id uint64) (console.DeadLetterDetail, error) {
	l, err := d.g.store.DeadLetterByID(id)
	if errors.Is(err, buffer.ErrNoDeadLetter) {
		return console.DeadLetterDetail{}, fmt.Errorf("dead letter %d: %w", id, console.ErrNotFound)
	} else if err != nil {
		return console.DeadLetterDetail{}, err
	}
	out := console.DeadLetterDetail{DeadLetter: deadLine(&l), Client: l.Client, User: l.User, QoS: l.QoS, Answer: l.Answer}
	var shown any
	if r := l.Record; r != nil {
		out.Payload, out.Binary = clipped(r.Value, deadClip)
		method, path, body := mapped(r).Request()
		shown = map[string]any{"records": []any{}, "requests": []mapping.Request{{Method: method, Path: path, Body: body}}, "error": nil}
	} else {
		out.Payload, out.Binary = clipped(l.Payload, deadClip)
		shown = d.g.explain(&mapping.Publication{
			Topic: l.Topic, Payload: l.Payload, QoS: l.QoS, Client: l.Client, User: l.User, Received: time.Unix(0, l.When).UTC(),
		})
	}
	if out.Mapped, err = json.Marshal(shown); err != nil {
		return out, fmt.Errorf("show dead letter %d: %w", id, err)
	}
	return out, nil
}

// RetryDeadLetter implements console.Source.
func (d dashboard) RetryDeadLetter(ctx context.Context, id uint64) error {
	l, err := d.g.store.DeadLetterByID(id)
	if err == nil {
		err = d.g.retry(ctx, &l)
	}
	if errors.Is(err, buffer.ErrNoDeadLetter) {
		return fmt.Errorf("dead letter %d: %w", id, console.ErrNotFound)
	}
	return err
}

// DropDeadLetters implements console.Source.
func (d dashboard) DropDeadLetters(ctx context.Context, ids ...uint64) error {
	return d.g.store.DropDeadLetters(ctx, ids...)
}

// Try implements console.Source.
func (d dashboard) Try(p console.TrialInput) json.RawMessage {
	trial := d.g.explain(&mapping.Publication{
		Topic: p.Topic, Payload: p.Decoded, QoS: p.QoS, Retain: p.Retain, Client: p.Client, User: p.User, Received: time.Now().UTC(),
		MayPublish: func(string) bool { return true },
	})
	line, err := json.Marshal(trial)
	if err != nil {
		line, _ = json.Marshal(map[string]any{"error": map[string]string{"code": "internal", "message": err.Error()}})
	}
	var detail any
	if len(trial.Result.Records) == 0 && trial.Err == nil {
		detail = leftOut(&trial)
	}
	out, err := json.Marshal(map[string]any{"trial": json.RawMessage(line), "decoded": trial.Decoded, "detail": detail})
	if err != nil {
		return line
	}
	return out
}
