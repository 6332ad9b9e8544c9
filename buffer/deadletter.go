package buffer

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

// DeadLetter moves the records of a lease to the dead letters. They leave the queue after the dead letters are on disk.
// When there is no room for them the oldest dead letters go: a record that the uplink will never take must not hold up
// its device.
func (s *Store) DeadLetter(l *Lease, reason, answer string, status int) {
	s.dress(l)
	letters := make([]DeadLetter, len(l.Records))
	now := s.clk.Stamp()
	for i := range letters {
		r := l.Records[i]
		letters[i] = DeadLetter{
			Reason: reason, Answer: answer, Status: status, Device: l.Device, Record: &r,
			Attempts: l.Attempt, When: now.Wall, Stamp: now,
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.state != leaseOut || s.closed {
		return
	}
	l.state = leaseDone
	o := op{kind: opDead, lease: l, batch: nil, dead: letters}
	for i := range letters {
		o.dlBytes += letters[i].size()
	}
	o.bytes = o.dlBytes
	s.pendBytes += o.bytes
	s.dlPend += o.dlBytes
	s.pending = append(s.pending, o)
	s.poke()
}

func (o *op) letters() []DeadLetter {
	if o.batch != nil {
		return o.batch.DeadLetters
	}
	return o.dead
}

// planDead numbers the dead letters of an entry.
func (s *Store) planDead(o *op) {
	if o.err != nil {
		return
	}
	letters := o.letters()
	for i := range letters {
		letters[i].ID = s.nextDL
		s.nextDL++
	}
}

func (s *Store) writeDead(o *op, w *writes) {
	letters := o.letters()
	for i := range letters {
		w.set(numberKey(keyDead, letters[i].ID), appendDeadLetter(nil, &letters[i]))
	}
}

func (s *Store) footDead(o *op, t *totals) {
	if o.err != nil {
		return
	}
	letters := o.letters()
	for i := range letters {
		t.dlCount++
		t.dlBytes += letters[i].size()
	}
}

// planDropDead looks up the dead letters that are to be deleted: their sizes are needed for the totals.
func (s *Store) planDropDead(p *plan) {
	seen := map[uint64]bool{}
	for i := range p.ops {
		o := &p.ops[i]
		if o.err != nil || o.batch == nil {
			continue
		}
		for _, id := range o.batch.DropDeadLetters {
			v, ok, err := s.kv.get(numberKey(keyDead, id))
			if err != nil || !ok || seen[id] {
				continue
			}
			seen[id] = true
			var l DeadLetter
			size := int64(0)
			if decodeDeadLetter(v, &l) == nil {
				size = l.size()
			}
			p.dead = append(p.dead, gone{kind: keyDead, seq: id, size: size})
		}
	}
}

// ErrNoDeadLetter is an id that does not exist (any more).
var ErrNoDeadLetter = errors.New("buffer: no such dead letter")

// ErrRawDeadLetter is a dead letter that holds a publication, which has to be mapped again: append what it becomes
// with its id in Batch.DropDeadLetters.
var ErrRawDeadLetter = errors.New("buffer: the dead letter is a publication")

// DeadLetters lists up to limit dead letters with ids greater than after, oldest first.
func (s *Store) DeadLetters(after uint64, limit int) (list []DeadLetter, err error) {
	if after == ^uint64(0) || limit <= 0 {
		return nil, nil
	}
	err = s.kv.scan([]byte{keyDead}, numberKey(keyDead, after+1), func(k, v []byte) (bool, error) {
		l := DeadLetter{ID: binary.BigEndian.Uint64(k[1:])}
		if err := decodeDeadLetter(bytes.Clone(v), &l); err != nil {
			l = DeadLetter{ID: l.ID, Reason: "unreadable", Payload: bytes.Clone(v)}
		}
		list = append(list, l)
		return len(list) < limit, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// DeadLetterByID shows one.
func (s *Store) DeadLetterByID(id uint64) (DeadLetter, error) {
	v, ok, err := s.kv.get(numberKey(keyDead, id))
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", id, err)
	}
	if !ok {
		return DeadLetter{}, fmt.Errorf("%w: %d", ErrNoDeadLetter, id)
	}
	l := DeadLetter{ID: id}
	if err := decodeDeadLetter(v, &l); err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", id, err)
	}
	return l, nil
}

// RetryDeadLetter puts the record of a dead letter back into the queue, at the end, with a sequence and a request id of
// its own. For a publication the error is ErrRawDeadLetter.
func (s *Store) RetryDeadLetter(ctx context.Context, id uint64) error {
	l, err := s.DeadLetterByID(id)
	if err != nil {
		return err
	}
	if l.Record == nil {
		return fmt.Errorf("%w: %d", ErrRawDeadLetter, id)
	}
	r := *l.Record
	r.Stamp = s.clk.Stamp() // its age starts again
	return s.AppendSync(ctx, &Batch{Records: []Record{r}, DropDeadLetters: []uint64{id}})
}

// DropDeadLetters removes dead letters; ids that do not exist are passed over.
func (s *Store) DropDeadLetters(ctx context.Context, ids ...uint64) error {
	for chunk := range slices.Chunk(ids, 500) {
		if err := s.AppendSync(ctx, &Batch{DropDeadLetters: chunk}); err != nil {
			return fmt.Errorf("drop dead letters: %w", err)
		}
	}
	return nil
}

// PurgeDeadLetters removes all dead letters and returns how many.
func (s *Store) PurgeDeadLetters(ctx context.Context) (n int, err error) {
	for after := uint64(0); ; {
		ids, err := s.deadIDs(after, 500)
		if err != nil || len(ids) == 0 {
			return n, err
		}
		if err := s.DropDeadLetters(ctx, ids...); err != nil {
			return n, err
		}
		n += len(ids)
		after = ids[len(ids)-1]
	}
}

func (s *Store) deadIDs(after uint64, limit int) (ids []uint64, err error) {
	err = s.kv.scan([]byte{keyDead}, numberKey(keyDead, after+1), func(k, _ []byte) (bool, error) {
		ids = append(ids, binary.BigEndian.Uint64(k[1:]))
		return len(ids) < limit, nil
	})
	return ids, err
}

// ExportDeadLetters writes them as JSON lines, oldest first.
func (s *Store) ExportDeadLetters(ctx context.Context, w io.Writer) error {
	enc := json.NewEncoder(w)
	for after := uint64(0); ; {
		list, err := s.DeadLetters(after, 200)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := enc.Encode(list[i]); err != nil {
				return fmt.Errorf("export dead letters: %w", err)
			}
			after = list[i].ID
		}
	}
}

// exported is a dead letter as a line of JSON.
type exported struct {
	ID       uint64          `json:"id"`
	When     time.Time       `json:"when"`
	Reason   string          `json:"reason"`
	Message  string          `json:"message,omitempty"`
	Device   string          `json:"device,omitempty"`
	Topic    string          `json:"topic,omitempty"`
	Payload  *string         `json:"payload,omitempty"`
	Binary   []byte          `json:"payload_base64,omitempty"`
	QoS      uint8           `json:"qos"`
	Client   string          `json:"client,omitempty"`
	User     string          `json:"user,omitempty"`
	Status   int             `json:"status,omitempty"`
	Answer   string          `json:"answer,omitempty"`
	Attempts int             `json:"attempts,omitempty"`
	Kind     string          `json:"kind,omitempty"`
	Name     string          `json:"name,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
	Time     *time.Time      `json:"time,omitempty"`
}

// MarshalJSON writes the dead letter as a line of an export: binary payloads in base64, times in RFC 3339.
func (l DeadLetter) MarshalJSON() ([]byte, error) { return json.Marshal(l.export()) }

func (l *DeadLetter) export() exported {
	e := exported{
		ID: l.ID, When: time.Unix(0, l.When).UTC(), Reason: l.Reason, Message: l.Message, Device: l.Device,
		Topic: l.Topic, QoS: l.QoS, Client: l.Client, User: l.User, Status: l.Status, Answer: l.Answer, Attempts: l.Attempts,
	}
	switch {
	case l.Topic == "":
	case utf8.Valid(l.Payload):
		e.Payload = new(string(l.Payload))
	default:
		e.Binary = l.Payload
	}
	if r := l.Record; r != nil {
		e.Kind, e.Name, e.Time = r.Class.String(), r.Name, new(time.Unix(0, r.Time).UTC())
		if json.Valid(r.Value) {
			e.Value = r.Value
		} else {
			e.Binary = r.Value
		}
	}
	return e
}

// trimDead removes what is past the bounds of the dead letters: too old, or more than there is room for.
func (s *Store) trimDead(full bool) {
	s.mu.Lock()
	excess := s.dlBytes - s.cfg.DeadLetters.MaxBytes
	count := s.dlCount
	s.mu.Unlock()
	if count == 0 || full && excess <= 0 {
		return
	}
	var ids []uint64
	now := s.clk.Stamp()
	expired := uint64(0)
	_ = s.kv.scan([]byte{keyDead}, nil, func(k, v []byte) (bool, error) {
		l := DeadLetter{ID: binary.BigEndian.Uint64(k[1:])}
		if decodeDeadLetter(v, &l) == nil {
			old := s.cfg.DeadLetters.MaxAge > 0 && s.clk.AgeAt(l.Stamp, now) > s.cfg.DeadLetters.MaxAge
			if !old && excess <= 0 {
				return false, nil
			}
			if old {
				expired++
			}
			excess -= l.size()
		}
		ids = append(ids, l.ID)
		return len(ids) < 500, nil
	})
	if len(ids) == 0 {
		return
	}
	s.Append(&Batch{DropDeadLetters: ids}, nil)
	s.mu.Lock()
	s.stats.dlExpired += expired
	s.stats.dlEvicted += uint64(len(ids)) - expired
	s.mu.Unlock()
}
