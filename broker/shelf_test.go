package broker_test

import (
	"bytes"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// A session that holds nothing is kept without the library's knowing, and is there all the same: its owner, its QoS 2
// identifiers, its flag in CONNACK.
func TestSessionThatHoldsNothing(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		store := newMemoryStore()
		b := setup(t, withStore(store))
		opts := connectOpts{id: "q", resume: true, expiry: 1000}
		present := func(want byte) *raw {
			t.Helper()
			c := b.dial(t, version)
			if p := c.mustConnect(opts); p.body[0] != want {
				t.Fatalf("session present is %d, want %d", p.body[0], want)
			}
			return c
		}
		away := func(c *raw) {
			t.Helper()
			c.disconnect()
			eventually(t, "away", func() bool { return b.Stats().Clients == 0 })
		}
		c := present(0)
		c.publish(telemetry, "1", 2, 7)
		c.want(5)
		away(c)
		c = present(1)
		c.publish(telemetry, "1", 2, 7) // the same one again: it has not been released
		c.want(5)
		c.send([]byte{0x62, 2, 0, 7})
		c.want(7)
		if n := b.sink.count(); n != 1 {
			t.Errorf("published %d times", n)
		}
		away(c)
		b.stop()

		b = setup(t, withStore(store)) // after a restart too
		c = present(1)
		c.subscribe(1, "x", 1)
		away(c)
		if err := b.Publish("x", []byte("waited"), 1, false); err != nil {
			t.Fatal(err)
		}
		c = present(1)
		c.ack(4, c.wantPublish().id)
		c.send(frame(0xa2, append([]byte{0, 2}, make([]byte, int(version-4))...), str("x")))
		c.want(11)
		away(c)
		c = present(1)
		c.disconnect()
		eventually(t, "away", func() bool { return b.Stats().Clients == 0 })
		opts.resume, opts.expiry = false, 0
		present(0).disconnect()
		eventually(t, "no session", func() bool { return b.Stats().Sessions == 0 })
		b.stop()
		if len(store.kv) != 0 {
			t.Errorf("%d keys are left in the store", len(store.kv))
		}
	})
}

// A session is written with the first thing that it holds, and one that holds nothing is never written: no wear for a device
// that only publishes. A QoS 2 identifier takes its session along at once, not when the journal is due.
func TestSessionIsStoredWithWhatItHolds(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		store := newMemoryStore()
		b := setup(t, withStore(store))
		for i := range 20 {
			c := b.dial(t, version)
			c.mustConnect(connectOpts{id: "publisher", resume: true, expiry: 1000})
			c.publish(telemetry, "1", 1, uint16(i+1))
			c.want(4)
			c.disconnect()
			eventually(t, "away", func() bool { return b.Stats().Clients == 0 })
		}
		c := b.dial(t, version)
		c.mustConnect(connectOpts{id: "qos2", resume: true, expiry: 1000})
		c.publish(telemetry, "1", 2, 1)
		c.want(5) // the client has PUBREC
		if !store.has("s/qos2") || !store.has("q/qos2\x001") {
			t.Error("a QoS 2 publish was acknowledged before its session was stored")
		}
		c = b.dial(t, version)
		c.mustConnect(connectOpts{id: "both", resume: true, expiry: 1000})
		c.subscribe(1, "x", 1)
		c.publish(telemetry, "1", 2, 1)
		c.want(5)
		if !store.has("s/both") {
			t.Error("the session waits in the journal, and its QoS 2 identifier does not")
		}
		b.stop()
		if store.has("s/publisher") || store.puts != 5 {
			t.Errorf("%d writes, of %v", store.puts, slices.Sorted(maps.Keys(store.kv)))
		}
	})
}

// A filter, a topic alias, a client identifier or a waiting message does not keep the packet in memory that it came in.
func TestNothingPinsAPacket(t *testing.T) { //nolint:paralleltest // it reads the heap of the whole process
	b := setup(t)
	const n = 40
	c := b.dial(t, 5)
	c.mustConnect(connectOpts{id: "c"})
	var junk []byte
	for len(junk) < 200_000 {
		junk = append(append(junk, str(strings.Repeat("+/", 500)+"#")...), 1)
	}
	before := heapAfterGC()
	for i := range n {
		c.send(frame(0x82, []byte{0, byte(i + 1), 0}, str("f/"+string(rune('A'+i))), []byte{1}, junk))
		c.want(9)
	}
	if grown := heapAfterGC() - before; grown > 2<<20 {
		t.Errorf("%d subscriptions hold %d KiB", n, grown>>10)
	}
	c.ping()
}

// A long payload is compressed in the store, and is what it was after a restart.
func TestStoredPayloadsArePacked(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	b := setup(t, withStore(store))
	opts := connectOpts{id: "q", resume: true}
	q := b.dial(t, 4)
	q.mustConnect(opts)
	q.subscribe(1, "x", 1)
	q.disconnect()
	eventually(t, "away", func() bool { return b.Stats().Clients == 0 })
	long := bytes.Repeat([]byte("compressible "), 10_000)
	if err := b.Publish("x", long, 1, true); err != nil {
		t.Fatal(err)
	}
	b.stop()
	for key, value := range store.kv {
		if len(value) > len(long)/4 {
			t.Errorf("%q takes %d bytes", key, len(value))
		}
	}
	// What claims to become more than a packet may be is not unpacked.
	store.kv["r/y"] = []byte(`{"topic":"y","s2":"////fwAA"}`)
	store.kv["r/z"] = []byte(`{"topic":"z","s2":"BQA="}`)
	b = setup(t, withStore(store))
	if s := b.Stats(); s.Reasons["store_corrupt"] != 2 || s.Retained != 1 || s.QueuedMessages != 1 {
		t.Errorf("%+v", s)
	}
	q = b.dial(t, 4)
	q.mustConnect(opts)
	if m := q.wantPublish(); m.payload != string(long) {
		t.Errorf("%d bytes came back", len(m.payload))
	}
	if kept, ok := b.Retained("x"); !ok || !bytes.Equal(kept, long) {
		t.Errorf("%d bytes are retained", len(kept))
	}
}

func heapAfterGC() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
