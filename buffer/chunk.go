package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	badger "github.com/dgraph-io/badger/v4"
)

// A chunk is what one transaction stored of a telemetry lane behind its window, under the key of the first of those
// records. It is compressed as a whole, and costs the database one entry where each record by itself would cost one,
// and one more for its deletion. The chunks and single records of a lane never overlap: reading from one key to the
// next gives the records in order.

const (
	// chunkVersion leads the value of a chunk where codecVersion leads that of a record.
	chunkVersion = 2
	// chunkRecords and chunkBytes bound a chunk: reading a few records of it reads all of it.
	chunkRecords = 128
	chunkBytes   = 32 << 10
	// chunkRecord is the size above which a record has a key of its own all the same.
	chunkRecord = 4 << 10
)

// packing is a chunk of the transaction under way: its records are linked by planned.next.
type packing struct {
	head, tail int
	n          int
	bytes      int64
}

// pack adds a record that goes behind the window of its lane to the chunk that the transaction makes of them.
func (p *plan) pack(i int) {
	x := &p.recs[i]
	l, size := x.lane, x.rec.size()
	x.next = -1
	if l.class != ClassTelemetry || size > chunkRecord {
		l.packing = -1 // what follows is behind it
		return
	}
	x.packed = true
	if k := l.packing; k >= 0 {
		if c := &p.chunks[k]; c.n < chunkRecords && c.bytes+size <= chunkBytes {
			p.recs[c.tail].next = i
			x.chunk = k
			c.tail, c.n, c.bytes = i, c.n+1, c.bytes+size
			return
		}
	}
	l.packing = len(p.chunks)
	x.chunk = l.packing
	p.chunks = append(p.chunks, packing{head: i, tail: i, n: 1, bytes: size})
}

// writeChunks puts the chunks of a plan into its transaction. One record alone is no chunk.
func (p *plan) writeChunks(w *writes) {
	for i := range p.chunks {
		c := &p.chunks[i]
		x := &p.recs[c.head]
		key := p.take(func(b []byte) []byte { return appendQueueKey(b, keyQueue, x.rec.Class, x.dev.no, x.rec.Seq) })
		if c.n == 1 {
			w.set(key, p.take(func(b []byte) []byte { return appendRecord(b, x.rec) }))
			continue
		}
		first := x.rec.Seq
		p.body = p.body[:0]
		for j := c.head; j >= 0; j = p.recs[j].next {
			r := p.recs[j].rec
			p.entry = appendRecord(p.entry[:0], r)
			p.body = appendString(binary.AppendUvarint(p.body, r.Seq-first), p.entry)
		}
		w.set(key, p.take(func(b []byte) []byte { return appendChunk(b, c.n, c.bytes, p.body) }))
	}
}

// appendChunk appends a chunk:
//
//	version, number of records, their sizes together, compression, entries
//
// An entry is the distance of its sequence from the key's, and the record with its length before it.
func appendChunk(b []byte, n int, size int64, entries []byte) []byte {
	b = append(b, chunkVersion)
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendUvarint(b, uint64(size))
	return appendPacked(b, entries)
}

// chunkHead is what can be known of a chunk without unpacking it.
type chunkHead struct {
	n    int
	size int64
}

// decodeChunk calls fn for the records of a chunk; first is the sequence in its key. With an error the head holds what
// could be read of it.
func decodeChunk(v []byte, first uint64, fn func(i int, seq uint64, body []byte) error) (chunkHead, error) {
	h, packed, err := openChunk(v)
	if err != nil {
		return h, err
	}
	return h, h.decode(packed, first, fn)
}

// openChunk reads the head of a chunk and gives the packed entries behind it.
func openChunk(v []byte) (h chunkHead, packed []byte, err error) {
	d := decoder{b: v}
	version, n, size := d.byte(), d.uvarint(), d.uvarint()
	if d.bad || version != chunkVersion || n == 0 || n > chunkRecords || size > maxBlock {
		return h, nil, errCodec
	}
	return chunkHead{int(n), int64(size)}, d.b, nil
}

// decode calls fn for the records of the chunk with this head.
func (h chunkHead) decode(packed []byte, first uint64, fn func(i int, seq uint64, body []byte) error) error {
	entries, err := unpackEntries(packed)
	if err != nil {
		return err
	}
	d := decoder{b: entries}
	last := uint64(0)
	for i := range h.n {
		off, body := d.uvarint(), d.bytes()
		if d.bad || (i == 0) != (off == 0) || i > 0 && off <= last || first+off < first {
			return errCodec
		}
		last = off
		if err := fn(i, first+off, body); err != nil {
			return err
		}
	}
	if len(d.b) > 0 {
		return errCodec
	}
	return nil
}

func isChunk(v []byte) bool { return len(v) > 0 && v[0] == chunkVersion }

// found is a record on disk as scanLane gives it.
type found struct {
	seq   uint64
	body  []byte // valid during the call
	bad   bool   // it, or the chunk at seq, cannot be read
	chunk *foundChunk
	idx   int // in the chunk
}

// foundChunk is where a record was found that is not alone under its key.
type foundChunk struct {
	first uint64
	head  chunkHead
	bits  []byte // as they were on disk, nil when none were
}

// settledAt reports whether the saved bits of a block or chunk tell of its record i as settled.
func settledAt(bits []byte, i int) bool {
	j := 1 + i/8
	return j < len(bits) && bits[j]&(1<<(i%8)) != 0
}

// stretch is a part of a lane on disk.
type stretch struct {
	class Class
	dev   uint32
	// key is where a reader begins: that of the record or chunk that has from, or a lower bound of it with nothing in
	// between. 0: it is looked up.
	key      uint64
	from, to uint64
}

var errStop = errors.New("enough")

// scanLane calls fn for the records of a stretch that are not settled as far as the disk knows.
func (s *Store) scanLane(x stretch, fn func(f *found) (more bool)) error {
	return s.kv.view(func(txn *badger.Txn) error {
		if x.key == 0 {
			key, err := keyBefore(txn, &x)
			if err != nil {
				return err
			}
			x.key = key
		}
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = lanePrefix(x.class, x.dev)
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(queueKey(x.class, x.dev, x.key)); it.Valid(); it.Next() {
			item := it.Item()
			_, _, seq, ok := splitQueueKey(item.Key())
			if !ok {
				return fmt.Errorf("%w: key %x", errCodec, item.Key())
			}
			if seq > x.to {
				return nil
			}
			err := item.Value(func(v []byte) error { return scanValue(txn, &x, seq, v, fn) })
			if errors.Is(err, errStop) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read record %d: %w", seq, err)
			}
		}
		return nil
	})
}

// scanValue calls fn for what lies under one key. It returns errStop when fn has enough.
func scanValue(txn *badger.Txn, x *stretch, key uint64, v []byte, fn func(f *found) bool) error {
	give := func(f *found) error {
		if f.seq < x.from {
			return nil
		}
		if f.seq > x.to || !fn(f) {
			return errStop
		}
		return nil
	}
	if !isChunk(v) {
		return give(&found{seq: key, body: v})
	}
	c := foundChunk{first: key}
	var err error
	if c.bits, _, err = getIn(txn, numberKey(keyBits, key)); err != nil {
		return fmt.Errorf("read bits of %d: %w", key, err)
	}
	var packed []byte
	if c.head, packed, err = openChunk(v); err == nil {
		err = c.head.decode(packed, key, func(i int, seq uint64, body []byte) error {
			if settledAt(c.bits, i) {
				return nil
			}
			return give(&found{seq: seq, body: body, chunk: &c, idx: i})
		})
	}
	if errors.Is(err, errCodec) {
		return give(&found{seq: max(key, x.from), bad: true, chunk: &c})
	}
	return err
}

// keyBefore finds the key from which on a stretch is read: it may begin within a chunk.
func keyBefore(txn *badger.Txn, x *stretch) (uint64, error) {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Reverse = true
	o.Prefix = lanePrefix(x.class, x.dev)
	it := txn.NewIterator(o)
	defer it.Close()
	it.Seek(queueKey(x.class, x.dev, x.from))
	if !it.Valid() {
		return x.from, nil
	}
	_, _, seq, ok := splitQueueKey(it.Item().Key())
	if !ok {
		return 0, fmt.Errorf("%w: key %x", errCodec, it.Item().Key())
	}
	return seq, nil
}

// chunkOf is what the store knows of a chunk with records in memory, or settled ones that others on disk outlive.
func (s *Store) chunkOf(l *lane, c *foundChunk) *block {
	if b := s.chunks[c.first]; b != nil {
		return b
	}
	b := &block{first: c.first, of: l, n: c.head.n, bits: make([]uint64, (c.head.n+63)/64), saved: c.bits != nil}
	b.live = b.n
	for i := range b.n {
		if settledAt(c.bits, i) {
			b.bits[i/64] |= 1 << (i % 64)
		}
	}
	for _, w := range b.bits {
		b.live -= bits.OnesCount64(w)
	}
	s.chunks[c.first] = b
	return b
}

// spent forgets a chunk that has nothing in memory. The caller knows that what is settled of it is on disk.
func (s *Store) spent(b *block) {
	if b.of != nil && b.inMemory == 0 && !b.dirty && !b.of.dev.busy {
		delete(s.chunks, b.first)
	}
}

// dropFound removes a record that is on disk only.
func (s *Store) dropFound(l *lane, f *found, size int64, reason int) {
	if f.chunk == nil {
		s.dropCold(l, f.seq, size, reason)
		return
	}
	b := s.chunkOf(l, f.chunk)
	if b.has(f.idx) {
		return
	}
	s.stats.drops[l.class][reason]++
	s.cur.count[l.class]--
	s.cur.bytes[l.class] -= size
	s.settleIn(b, f.idx, l.class, size)
	s.arm()
}

// dropUnreadable removes what nobody can read any more, so that it does not stand in the way of the rest. Where sizes are
// not known, the totals are put right by counting the records as empty.
func (s *Store) dropUnreadable(l *lane, f *found) {
	n, size := 1, int64(recordOverhead)
	if f.chunk != nil && !f.bad {
		s.dropFound(l, f, size, dropUnreadable) // the others of its chunk are well
		return
	}
	if f.chunk == nil {
		s.gone = append(s.gone, gone{keyQueue, l.class, l.dev.no, f.seq, size})
	} else {
		f.chunk.head.n = max(1, f.chunk.head.n)
		b := s.chunkOf(l, f.chunk)
		n = b.live - b.inMemory
		if size = int64(n) * recordOverhead; b.live == b.n {
			size = max(size, f.chunk.head.size)
		}
		b.live = b.inMemory
		b.gone.count[l.class] += int64(n)
		b.gone.bytes[l.class] += size
		s.soil(b)
	}
	s.stats.drops[l.class][dropUnreadable] += uint64(n)
	s.cur.count[l.class] -= int64(n)
	s.cur.bytes[l.class] -= size
	s.arm()
}
