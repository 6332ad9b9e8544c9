package buffer

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/klauspost/compress/s2"

	"iotc-gateway/buffer/clock"
)

func samples() []Record {
	return []Record{
		{Value: []byte(`{"t":1}`), Time: 1, Stamp: clock.Stamp{Boot: 1, Up: 5, Wall: 7, Synced: true}},
		{Name: "p", Value: []byte{}, Meta: []byte("meta"), Flags: 255, Time: -1, Stamp: clock.Stamp{Boot: 1<<32 - 1, Up: -1 << 63, Wall: 1<<63 - 1}},
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range samples() {
		f.Add(appendRecord(nil, &r))
	}
	f.Add([]byte{1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Record
		if decodeRecord(b, &r) != nil {
			return
		}
		if err := decodeRecord(appendRecord(nil, &r), &again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Value, again.Value) || !bytes.Equal(r.Meta, again.Meta) || r.Name != again.Name || r.Time != again.Time ||
			r.Flags != again.Flags || r.Stamp != again.Stamp {
			t.Fatalf("%+v\n%+v", r, again)
		}
	})
}

func FuzzDeadLetter(f *testing.F) {
	r := samples()[1]
	r.Device, r.Class = "d", ClassTelemetry
	for _, l := range []DeadLetter{{Reason: "x", Payload: []byte{}}, {Record: &r, Answer: "no", Status: -4, Attempts: 3, Payload: []byte{1}}} {
		b := appendDeadLetter(nil, &l)
		f.Add(b)
		var again DeadLetter
		if err := decodeDeadLetter(b, &again); err != nil || !reflect.DeepEqual(l, again) {
			f.Fatalf("%+v\n%+v %v", l, again, err)
		}
	}
	f.Add(appendDeadLetter(nil, &DeadLetter{Payload: make([]byte, 5000)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l DeadLetter
		if decodeDeadLetter(b, &l) == nil {
			if err := decodeDeadLetter(appendDeadLetter(nil, &l), &l); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What the database is given for a long dead letter must not be much longer compressed again than it is.
func TestPackedDeadLetter(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, tt := range map[string]struct {
		payload []byte
		longest int
	}{
		"zeros":          {make([]byte, 100_000), 6_000},
		"noise":          {noise, 100_100},
		"short":          {make([]byte, packFrom-100), packFrom},
		"longest packed": {make([]byte, maxBlock-100), 210_000},
		"longer":         {make([]byte, maxBlock), maxBlock + 100},
	} {
		l := DeadLetter{Reason: "undecodable", Topic: "t", Payload: tt.payload}
		b := appendDeadLetter([]byte("before"), &l)[len("before"):]
		if len(b) > tt.longest {
			t.Errorf("%s: %d bytes", name, len(b))
		}
		var again DeadLetter
		if err := decodeDeadLetter(b, &again); err != nil || !bytes.Equal(again.Payload, tt.payload) || again.Topic != "t" {
			t.Errorf("%s: %v, %d bytes", name, err, len(again.Payload))
		}
	}
	// A packed value that says it is larger than any can be, is none, or is packed twice.
	for _, b := range [][]byte{{packedVersion, 0xff, 0xff, 0xff, 0xff, 0x0f}, {packedVersion}, {packedVersion, 0}, append([]byte{packedVersion}, s2.Encode(nil, []byte{packedVersion, 1, 2})...)} {
		if decodeDeadLetter(b, new(DeadLetter)) == nil {
			t.Errorf("% x was decoded", b)
		}
	}
}

func FuzzBlock(f *testing.F) {
	var entries []byte
	for i, r := range samples() {
		entries = appendBlockEntry(entries, ClassTelemetry, uint32(i), uint64(i)<<40, appendRecord(nil, &r))
	}
	f.Add(appendBlock(nil, entries))
	f.Add(appendBlock(make([]byte, 0, 8192), bytes.Repeat(entries, 20)))
	f.Add([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = decodeBlock(b, func(_ int, e blockEntry) error {
			var r Record
			_ = decodeRecord(e.body, &r)
			return nil
		})
	})
}

func FuzzChunk(f *testing.F) {
	var entries []byte
	for i, r := range samples() {
		entries = appendString(binary.AppendUvarint(entries, uint64(i*i)), appendRecord(nil, &r))
	}
	f.Add(appendChunk(nil, len(samples()), 1000, entries), uint64(7))
	f.Add(appendChunk(make([]byte, 0, 8192), len(samples()), 1000, append(entries, bytes.Repeat(entries[:0], 9)...)), uint64(1)<<63)
	f.Fuzz(func(t *testing.T, b []byte, first uint64) {
		n, last := 0, first
		head, err := decodeChunk(b, first, func(i int, seq uint64, body []byte) error {
			if i != n || seq < last || i > 0 && seq == last {
				t.Errorf("record %d has sequence %d after %d", i, seq, last)
			}
			n, last = n+1, seq
			var r Record
			_ = decodeRecord(body, &r)
			return nil
		})
		if err == nil && n != head.n || n > chunkRecords {
			t.Errorf("%d records, the head tells of %d", n, head.n)
		}
	})
}

func FuzzSmall(f *testing.F) {
	f.Add(encodeGroup([]*item{{Record: Record{Seq: 1}}, {Record: Record{Seq: 1 << 60}}}))
	f.Add((&totals{txn: 1, next: 2, count: [numClasses]int64{3}}).append(nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeGroup(b)
		_ = (&totals{}).decode(b)
		_ = tornTail(b)
	})
}

func TestBlockCompression(t *testing.T) {
	t.Parallel()
	r := samples()[0]
	var entries []byte
	for i := range 100 {
		entries = appendBlockEntry(entries, ClassProperty, 7, uint64(i), appendRecord(nil, &r))
	}
	b := appendBlock(make([]byte, 0, 1<<16), entries)
	if len(b) > len(entries)/2 {
		t.Fatalf("%d of %d bytes", len(b), len(entries))
	}
	n := 0
	err := decodeBlock(b, func(i int, e blockEntry) error {
		if i != n || e.seq != uint64(i) || e.dev != 7 || e.class != ClassProperty {
			t.Errorf("%d: %+v", i, e)
		}
		n++
		return nil
	})
	if err != nil || n != 100 {
		t.Fatal(n, err)
	}
}
