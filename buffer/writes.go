package buffer

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// write is what a transaction does to a key: its new value, or nil to delete it.
type write struct{ value []byte }

// writes collects what a transaction does. Keys and values must stay unchanged until it is committed.
//
// What is set or deleted is in the database when the transaction is committed. What is kept is in the journal only, as
// long as that has room: in a steady flow it is forgotten before. So kept keys cannot be read while the store is open.
type writes struct {
	list []listed
	body []byte // as they stand in the journal
}

type listed struct {
	key   []byte
	value []byte
	kept  bool
	fresh bool
}

func (w *writes) reset() {
	clear(w.list)
	w.list, w.body = w.list[:0], w.body[:0]
	if cap(w.body) > segmentSize/4 {
		w.body = nil
	}
}

func (w *writes) set(key, value []byte) { w.add(listed{key: key, value: value}) }
func (w *writes) delete(key []byte)     { w.add(listed{key: key}) }
func (w *writes) forget(key []byte)     { w.add(listed{key: key, kept: true}) }

// keep sets a key that nobody reads while the store is open. fresh says that the store never had it before.
func (w *writes) keep(key, value []byte, fresh bool) {
	w.add(listed{key: key, value: value, kept: true, fresh: fresh})
}

func (w *writes) add(l listed) {
	w.list = append(w.list, l)
	w.body = appendWrite(w.body, l.key, l.value)
}

// appendWrite appends a write as the journal has it: key with its length, then 0 to delete it, or the length of the value
// plus 1 and the value.
func appendWrite(b, key, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	if value == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(value))+1)
	return append(b, value...)
}

// decodeWrites adds the writes of a transaction to those before it. What it adds points into b.
func decodeWrites(b []byte, into map[string]write) error {
	d := decoder{b: b}
	for len(d.b) > 0 {
		key := d.bytes()
		n := d.uvarint()
		var value []byte
		if n > 0 {
			if n-1 > uint64(len(d.b)) {
				return errCodec
			}
			value, d.b = d.b[:n-1:n-1], d.b[n-1:]
		}
		if d.bad || len(key) == 0 {
			return errCodec
		}
		into[string(key)] = write{value}
	}
	return nil
}

// kept is what the journal has and the database has not.
type kept struct {
	writes map[string]keptWrite
	// stored are the kept keys that were brought into the database.
	stored map[string]struct{}
}

type keptWrite struct {
	value []byte
	fresh bool // the database never had the key

	generation uint64 // of the segment that has it
}

func newKept() kept {
	return kept{writes: map[string]keptWrite{}, stored: map[string]struct{}{}}
}

// note takes a write that was committed. What is forgotten before the database had it leaves no trace.
func (k *kept) note(l *listed, generation uint64) {
	old, known := k.writes[string(l.key)]
	if l.value == nil {
		if known && old.fresh {
			delete(k.writes, string(l.key))
			return
		}
		k.writes[string(l.key)] = keptWrite{generation: generation}
		return
	}
	if !known {
		_, stored := k.stored[string(l.key)]
		old.fresh = l.fresh && !stored
	}
	k.writes[string(l.key)] = keptWrite{append(old.value[:0], l.value...), old.fresh, generation}
}

// until lists what segments up to a generation have.
func (k *kept) until(generation uint64) (list []listed) {
	for key, w := range k.writes {
		if w.generation <= generation {
			list = append(list, listed{key: []byte(key), value: w.value})
		}
	}
	slices.SortFunc(list, func(a, b listed) int { return bytes.Compare(a.key, b.key) })
	return list
}

// applying notes that the database may have what is listed from now on, even if that fails halfway.
func (k *kept) applying(list []listed) {
	for i := range list {
		w := k.writes[string(list[i].key)]
		w.fresh = false
		k.writes[string(list[i].key)] = w
	}
}

// applied notes that the database has what is listed.
func (k *kept) applied(list []listed) {
	for i := range list {
		key := string(list[i].key)
		if list[i].value == nil {
			delete(k.stored, key)
		} else {
			k.stored[key] = struct{}{}
		}
		delete(k.writes, key)
	}
}
