package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"iotc-gateway/buffer/clock"
)

// codecVersion leads every value, so that a format can change record by record.
const codecVersion = 1

var errCodec = errors.New("buffer: undecodable value")

// bits of the second byte of an encoded record.
const (
	bitSynced = 1 << iota
	bitMeta
	bitName
	bitFlags
)

// appendRecord appends the parts of a record that are not in its key.
//
//	version, bits, [flags], time, boot, up, wall - time, [name], [meta], value
func appendRecord(b []byte, r *Record) []byte {
	var bits byte
	if r.Stamp.Synced {
		bits |= bitSynced
	}
	if len(r.Meta) > 0 {
		bits |= bitMeta
	}
	if r.Name != "" {
		bits |= bitName
	}
	if r.Flags != 0 {
		bits |= bitFlags
	}
	b = append(b, codecVersion, bits)
	if r.Flags != 0 {
		b = append(b, r.Flags)
	}
	b = binary.AppendVarint(b, r.Time)
	b = binary.AppendUvarint(b, uint64(r.Stamp.Boot))
	b = binary.AppendVarint(b, r.Stamp.Up)
	b = binary.AppendVarint(b, r.Stamp.Wall-r.Time)
	if r.Name != "" {
		b = appendString(b, r.Name)
	}
	if len(r.Meta) > 0 {
		b = appendString(b, r.Meta)
	}
	return append(b, r.Value...)
}

// decodeRecord fills what appendRecord wrote. The slices of r point into b.
func decodeRecord(b []byte, r *Record) error {
	d := decoder{b: b}
	if d.byte() != codecVersion {
		return errCodec
	}
	bits := d.byte()
	if bits&bitFlags != 0 {
		r.Flags = d.byte()
	}
	r.Time = d.varint()
	boot := d.uvarint()
	r.Stamp = clock.Stamp{Boot: uint32(boot), Up: d.varint(), Wall: d.varint() + r.Time, Synced: bits&bitSynced != 0}
	if boot > 1<<32-1 {
		return errCodec
	}
	if bits&bitName != 0 {
		r.Name = string(d.bytes())
	}
	if bits&bitMeta != 0 {
		r.Meta = d.bytes()
	}
	r.Value = d.b
	if d.bad {
		return errCodec
	}
	return nil
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendDeadLetter encodes everything but the id, which is the key. A long one is packed.
func appendDeadLetter(b []byte, l *DeadLetter) []byte {
	head := len(b)
	var bits byte
	if l.Stamp.Synced {
		bits |= 1
	}
	if l.Record != nil {
		bits |= 2
	}
	b = append(b, codecVersion, bits, l.QoS)
	b = binary.AppendVarint(b, l.When)
	b = binary.AppendUvarint(b, uint64(l.Stamp.Boot))
	b = binary.AppendVarint(b, l.Stamp.Up)
	b = binary.AppendVarint(b, l.Stamp.Wall)
	b = binary.AppendVarint(b, int64(l.Status))
	b = binary.AppendUvarint(b, uint64(max(0, l.Attempts)))
	for _, s := range []string{l.Reason, l.Message, l.Device, l.Topic, l.Client, l.User, l.Answer} {
		b = appendString(b, s)
	}
	b = appendString(b, l.Payload)
	if r := l.Record; r != nil {
		b = append(b, byte(r.Class))
		b = binary.AppendUvarint(b, r.Seq)
		b = appendString(b, r.Device)
		b = appendRecord(b, r)
	}
	return pack(b, head)
}

func decodeDeadLetter(b []byte, l *DeadLetter) error {
	b, err := unpack(b)
	if err != nil {
		return err
	}
	d := decoder{b: b}
	if d.byte() != codecVersion {
		return errCodec
	}
	bits := d.byte()
	l.QoS = d.byte()
	l.When = d.varint()
	l.Stamp = clock.Stamp{Boot: uint32(d.uvarint()), Up: d.varint(), Wall: d.varint(), Synced: bits&1 != 0}
	l.Status = int(d.varint())
	l.Attempts = int(d.uvarint())
	for _, s := range []*string{&l.Reason, &l.Message, &l.Device, &l.Topic, &l.Client, &l.User, &l.Answer} {
		*s = string(d.bytes())
	}
	l.Payload = d.bytes()
	if bits&2 != 0 && !d.bad {
		r := &Record{Class: Class(d.byte()), Seq: d.uvarint(), Device: string(d.bytes())}
		if d.bad || r.Class >= numClasses {
			return errCodec
		}
		if err := decodeRecord(d.b, r); err != nil {
			return err
		}
		l.Record = r
	}
	if d.bad {
		return errCodec
	}
	return nil
}

// decoder reads varints and remembers the first fault, so that a format reads as a list of its fields.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// totals is the small key written with every transaction, so that nothing is ever counted by scanning.
type totals struct {
	txn     uint64 // number of the transaction that wrote it
	next    uint64 // next sequence number
	nextDL  uint64 // next dead letter id
	count   [numClasses]int64
	bytes   [numClasses]int64
	dlCount int64
	dlBytes int64
}

func (t *totals) append(b []byte) []byte {
	b = append(b, codecVersion, byte(numClasses))
	b = binary.AppendUvarint(b, t.txn)
	b = binary.AppendUvarint(b, t.next)
	b = binary.AppendUvarint(b, t.nextDL)
	for c := range t.count {
		b = binary.AppendVarint(b, t.count[c])
		b = binary.AppendVarint(b, t.bytes[c])
	}
	b = binary.AppendVarint(b, t.dlCount)
	return binary.AppendVarint(b, t.dlBytes)
}

func (t *totals) decode(b []byte) error {
	d := decoder{b: b}
	if d.byte() != codecVersion || d.byte() != byte(numClasses) {
		return errCodec
	}
	t.txn, t.next, t.nextDL = d.uvarint(), d.uvarint(), d.uvarint()
	for c := range t.count {
		t.count[c], t.bytes[c] = d.varint(), d.varint()
	}
	t.dlCount, t.dlBytes = d.varint(), d.varint()
	if d.bad {
		return errCodec
	}
	return nil
}

// blockEntry is one record inside a block; body is what appendRecord wrote.
type blockEntry struct {
	class Class
	dev   uint32
	seq   uint64
	body  []byte
}

// appendBlockEntry appends one record to the entries of a block.
func appendBlockEntry(b []byte, class Class, dev uint32, seq uint64, body []byte) []byte {
	b = append(b, byte(class))
	b = binary.AppendUvarint(b, uint64(dev))
	b = binary.AppendUvarint(b, seq)
	return appendString(b, body)
}

// How the entries of a block are kept.
const (
	blockRaw = iota
	blockS2
)

// appendBlock appends version, compression and entries.
func appendBlock(b, entries []byte) []byte { return appendPacked(append(b, codecVersion), entries) }

// appendPacked appends compression and entries. Compressing them costs less than the system takes for writing the bytes
// that are saved.
func appendPacked(b, entries []byte) []byte {
	head := len(b)
	room := s2.MaxEncodedLen(len(entries))
	if len(entries) < 256 || room < 0 || cap(b)-len(b) < room+1 {
		return append(append(b, blockRaw), entries...)
	}
	b = append(b, blockS2)
	out := s2.Encode(b[head+1:head+1+room], entries)
	if len(out) >= len(entries) {
		b[head] = blockRaw
		return append(b, entries...)
	}
	return b[:head+1+len(out)]
}

// maxBlock bounds what a block may decompress to: more than a transaction holds.
const maxBlock = 4 << 20

// unpackEntries is the reverse of appendPacked. The result may point into b.
func unpackEntries(b []byte) ([]byte, error) {
	d := decoder{b: b}
	switch kind := d.byte(); {
	case d.bad || kind > blockS2:
		return nil, errCodec
	case kind == blockRaw:
		return d.b, nil
	}
	if n, err := s2.DecodedLen(d.b); err != nil || n > maxBlock {
		return nil, errCodec
	}
	raw, err := s2.Decode(nil, d.b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCodec, err)
	}
	return raw, nil
}

func decodeBlock(b []byte, fn func(i int, e blockEntry) error) error {
	d := decoder{b: b}
	if d.byte() != codecVersion {
		return errCodec
	}
	entries, err := unpackEntries(d.b)
	if err != nil {
		return err
	}
	d = decoder{b: entries}
	for i := 0; len(d.b) > 0; i++ {
		e := blockEntry{class: Class(d.byte()), dev: uint32(d.uvarint()), seq: d.uvarint(), body: d.bytes()}
		if d.bad || e.class >= numClasses {
			return errCodec
		}
		if err := fn(i, e); err != nil {
			return err
		}
	}
	return nil
}
