package localapi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
)

// remembered is how many request ids are kept.
const remembered = 1 << 16

// Mark is a request id to be kept with what it wrote. The zero Mark is none.
type Mark struct {
	Key   string
	Value []byte
}

// MarkStore keeps marks.
type MarkStore interface {
	LoadMarks(fn func(key string, value []byte)) error
	// SaveMark keeps a mark by itself, for writes that have no transaction of
	// their own. It does not wait for the disk.
	SaveMark(m Mark)
}

type digest [16]byte

func digestOf(text string) digest {
	sum := sha256.Sum256([]byte(text))
	return digest(sum[:16])
}

// requests remembers which writes were carried out, and holds a repeated one
// until the first has ended. On disk it is a ring of slots: a slot's value is a
// serial number and the digest of the request.
type requests struct {
	store MarkStore

	mu     sync.Mutex
	calls  map[digest]*callState
	slots  []digest // by slot; zero where it is free
	serial uint64
}

type callState struct {
	done chan struct{}
	err  error
}

const slotValueBytes = 8 + len(digest{})

func newRequests(store MarkStore) *requests {
	return &requests{store: store, calls: make(map[digest]*callState), slots: make([]digest, remembered)}
}

func (r *requests) load() error {
	ended := make(chan struct{})
	close(ended)
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.store.LoadMarks(func(_ string, value []byte) {
		if len(value) != slotValueBytes {
			return
		}
		serial := binary.BigEndian.Uint64(value)
		d := digest(value[8:])
		r.slots[serial%remembered] = d
		r.calls[d] = &callState{done: ended}
		r.serial = max(r.serial, serial+1)
	})
	if err != nil {
		return fmt.Errorf("load the request ids: %w", err)
	}
	return nil
}

// once runs write for the first request of its kind and remembers it if it
// succeeds. A repetition waits for the first and shares its success; after a
// failure it is carried out itself.
func (r *requests) once(ctx context.Context, request string, write func(Mark) error) (repeated bool, err error) {
	d := digestOf(request)
	for {
		c, mark, first := r.begin(d)
		if first {
			err := write(mark)
			r.end(d, c, mark, err)
			return false, err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return true, ctx.Err()
		}
		if c.err == nil {
			return true, nil
		}
	}
}

func (r *requests) begin(d digest) (c *callState, mark Mark, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.calls[d]; c != nil {
		return c, Mark{}, false
	}
	c = &callState{done: make(chan struct{})}
	r.calls[d] = c
	slot := r.serial % remembered
	if old := r.slots[slot]; old != (digest{}) {
		delete(r.calls, old)
	}
	r.slots[slot] = d
	value := binary.BigEndian.AppendUint64(make([]byte, 0, slotValueBytes), r.serial)
	r.serial++
	return c, Mark{Key: fmt.Sprintf("%04x", slot), Value: append(value, d[:]...)}, true
}

func (r *requests) end(d digest, c *callState, mark Mark, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.err = err
	close(c.done)
	if err == nil || r.calls[d] != c {
		return
	}
	delete(r.calls, d)
	serial := binary.BigEndian.Uint64(mark.Value)
	if slot := serial % remembered; r.slots[slot] == d {
		r.slots[slot] = digest{}
	}
}

// saved keeps the mark of a write that had no transaction for it.
func (r *requests) saved(m Mark) {
	if m.Key != "" {
		r.store.SaveMark(Mark{m.Key, slices.Clone(m.Value)})
	}
}
