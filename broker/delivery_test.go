package broker_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"iotc-gateway/broker"
)

// receiveMaximum is the property of CONNECT.
func receiveMaximum(n uint16) []byte { return binary.BigEndian.AppendUint16([]byte{0x21}, n) }

// silent checks that nothing arrives: a PINGREQ is answered first.
func (c *raw) silent(what string) {
	c.t.Helper()
	c.send([]byte{0xc0, 0})
	p, err := c.read()
	if err != nil || p.kind() != 13 {
		c.t.Fatalf("%s: got packet type %d, %v", what, p.kind(), err)
	}
}

// A client gets no more unacknowledged messages than it asked for (MQTT 5 §3.3.4), whatever else it is sent, and the rest in
// their order as it acknowledges.
func TestReceiveMaximum(t *testing.T) {
	t.Parallel()
	b := setup(t)
	opts := connectOpts{id: "c", resume: true, expiry: 100, props: receiveMaximum(2)}
	c := b.dial(t, 5)
	c.mustConnect(opts)
	c.subscribe(1, "x/#", 2)
	publish := func(from, to int, qos byte) {
		for i := from; i < to; i++ {
			if err := b.Publish("x/y", []byte(fmt.Sprint(i)), qos, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(c *raw, i int, dup bool) message {
		t.Helper()
		m := c.wantPublish()
		if m.payload != fmt.Sprint(i) || m.dup != dup {
			t.Fatalf("got %+v, want %d with dup %v", m, i, dup)
		}
		return m
	}
	publish(0, 6, 1)
	first, second := want(c, 0, false), want(c, 1, false)
	c.silent("two are unacknowledged")
	publish(6, 7, 0) // QoS 0 does not wait
	want(c, 6, false)
	c.ack(4, second.id)
	third := want(c, 2, false)
	c.ack(4, first.id)
	want(c, 3, false)
	c.silent("two are unacknowledged again")
	c.conn.Close()
	eventually(t, "gone", func() bool { return b.Stats().Clients == 0 })

	c = b.dial(t, 5)
	c.mustConnect(opts)
	again := want(c, 2, true)
	if again.id != third.id {
		t.Fatalf("%+v, want %+v", again, third)
	}
	c.ack(4, again.id)
	c.ack(4, want(c, 3, true).id)
	c.ack(4, want(c, 4, false).id) // it never was on the wire
	c.ack(4, want(c, 5, false).id)

	publish(7, 10, 2)
	m := want(c, 7, false)
	want(c, 8, false)
	c.ack(5, m.id) // PUBREC does not free a place, PUBCOMP does
	c.want(6)
	c.silent("two are on their way")
	c.ack(7, m.id)
	m = want(c, 9, false)
	c.send(frame(0x50, binary.BigEndian.AppendUint16(nil, m.id), []byte{0x80})) // a PUBREC that refuses does
	publish(10, 11, 1)
	want(c, 10, false)
	if n := b.Stats().QueuedMessages; n != 2 {
		t.Fatalf("%d messages are queued", n)
	}
}

// A burst reaches a client that reads, however small the library's queue.
func TestBurstIsNotDropped(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withLimits(func(l *broker.Limits) { l.PendingWrites = 8 }))
		c := b.client(t, version, "c")
		c.subscribe(1, "x", 1)
		const n = 800
		go func() {
			for i := range n {
				_ = b.Publish("x", []byte(fmt.Sprint(i)), 1, false)
			}
		}()
		for i := range n {
			m := c.wantPublish()
			if m.payload != fmt.Sprint(i) {
				t.Fatalf("%s instead of %d", m.payload, i)
			}
			c.ack(4, m.id)
		}
		if d := b.Stats().DeliveryDropped; d != 0 {
			t.Fatalf("%d dropped", d)
		}
	})
}

// All retained messages come, once each; what is published after SUBACK comes live alone.
func TestRetainedMessagesAllCome(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withLimits(func(l *broker.Limits) { l.PendingWrites = 8 }))
		const n = 600
		for i := range n {
			if err := b.Publish(fmt.Sprint("r/", i), []byte("kept"), 1, true); err != nil {
				t.Fatal(err)
			}
		}
		for qos := byte(0); qos <= 1; qos++ {
			c := b.client(t, version, fmt.Sprint("c", qos))
			c.subscribe(1, "r/#", qos)
			if err := b.Publish("r/late", []byte("late"), 1, true); err != nil {
				t.Fatal(err)
			}
			seen := map[string]int{}
			for range n + 1 + int(qos) { // the second client finds the late one retained, and gets it live
				m := c.wantPublish()
				seen[fmt.Sprint(m.topic, m.retain)]++
				if m.id > 0 {
					c.ack(4, m.id)
				}
			}
			c.silent("no message twice")
			if len(seen) != n+1+int(qos) || seen["r/latefalse"] != 1 || seen["r/latetrue"] != int(qos) {
				t.Fatalf("%d of %d, late %d and retained %d", len(seen), n+1, seen["r/latefalse"], seen["r/latetrue"])
			}
		}
		if d := b.Stats().DeliveryDropped; d != 0 {
			t.Fatalf("%d dropped", d)
		}
	})
}

// A message that is too large for the client is done with, not kept for ever (MQTT 5 §3.1.2.11.4).
func TestClientMaximumPacketSize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.dial(t, 5)
	c.mustConnect(connectOpts{id: "c", props: binary.BigEndian.AppendUint32([]byte{0x27}, 100)})
	c.subscribe(1, "x", 1)
	overhead := len(c.publishPacket("x", nil, 1, 1, false))
	publish := func(size int, qos byte) {
		if err := b.Publish("x", []byte(strings.Repeat("x", size)), qos, false); err != nil {
			t.Fatal(err)
		}
	}
	publish(100-overhead, 1)
	c.ack(4, c.wantPublish().id)
	publish(101-overhead, 1)
	publish(103-overhead, 0) // has no identifier
	publish(1000, 2)
	c.silent("what is too large does not come")
	b.reason(t, "client_max_packet_size", 3)
	if s := b.Stats(); s.QueuedMessages != 0 || s.QueuedBytes != 0 {
		t.Fatalf("%+v", s)
	}
}

// What cannot be decoded is answered in MQTT 5 (§4.13.1), and who left or was told already is not told.
func TestMalformedPacketIsAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, packet := range map[string][]byte{
		"publish with a topic that is no UTF-8":   frame(0x30, []byte{0, 2, 0xc3, 0x28, 0}),
		"subscribe with a filter that runs over":  frame(0x82, []byte{0, 1, 0, 0xff, 0xff, 'a'}),
		"publish with properties that do not end": frame(0x32, str("a"), []byte{0, 1, 200, 1}),
	} {
		c := b.client(t, 5, "c")
		c.send(packet)
		if last := c.wantClosed(); last.kind() != 14 || last.code() < 0x80 {
			t.Errorf("%s: last packet %+v", name, last)
		}
	}
	c := b.client(t, 5, "left")
	c.send([]byte{0xe0, 0})
	if last := c.wantClosed(); last.kind() != 0 {
		t.Errorf("a client that said DISCONNECT got %+v", last)
	}
}

// MQTT 3.1 knows no session present flag.
func TestOldProtocolHasNoSessionPresent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 2 {
		c := b.dial(t, 3)
		if p := c.mustConnect(connectOpts{id: "old", resume: true, protocolName: "MQIsdp"}); p.body[0] != 0 {
			t.Fatalf("CONNACK % x", p.body)
		}
		c.disconnect()
		eventually(t, "gone", func() bool { return b.Stats().Clients == 0 })
	}
}

// MQTT 3.1 lets a client set DUP in what it sends again, also where later versions do not.
func TestOldProtocolSendsAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.dial(t, 3)
	c.mustConnect(connectOpts{id: "old", protocolName: "MQIsdp"})
	c.send(frame(0x8a, []byte{0, 1}, str("x"), []byte{1}))
	c.want(9)
	c.publish(telemetry, "1", 2, 7)
	c.want(5)
	c.send([]byte{0x6a, 2, 0, 7})
	c.want(7)
	c.send(frame(0xaa, []byte{0, 2}, str("x")))
	c.want(11)
}

// A shared subscription goes to members that are there, to all of them.
func TestSharedSubscriptionPrefersWhoIsThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	members := map[string]*raw{}
	for _, id := range []string{"a", "b", "away"} {
		c := b.dial(t, 5)
		c.mustConnect(connectOpts{id: id, resume: true, expiry: 100})
		c.subscribe(1, "$share/g/x", 1)
		members[id] = c
	}
	members["away"].disconnect()
	eventually(t, "one is away", func() bool { return b.Stats().Clients == 2 })
	const n = 60
	for range n {
		if err := b.Publish("x", []byte("1"), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	counts := map[string]int{}
	results := make(chan string, n)
	for _, id := range []string{"a", "b"} {
		go func() {
			for p, err := members[id].read(); err == nil && p.kind() == 3; p, err = members[id].read() {
				results <- id
			}
		}()
	}
	for range n {
		select {
		case id := <-results:
			counts[id]++
		case <-time.After(wait):
			t.Fatalf("not all were delivered to members that are there: %v", counts)
		}
	}
	if counts["a"] < n/10 || counts["b"] < n/10 {
		t.Errorf("the load is not shared: %v", counts)
	}
}
