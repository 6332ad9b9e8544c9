package broker_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"iotc-gateway/broker"
)

const telemetry = "devices/d/telemetry"

func TestPublishIsAcknowledgedOnlyAfterSettle(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t)
		b.sink.auto = nil
		c := b.client(t, version, "c")
		c.publish(telemetry, "1", 1, 7)
		p := b.sink.next(t)
		c.send([]byte{0xc0, 0})
		c.want(13) // the answer to PINGREQ comes first: no PUBACK yet
		p.Settle(broker.Outcome{})
		p.Settle(broker.Outcome{Code: broker.CodeQuotaExceeded}) // only the first counts
		if a := c.want(4); a.id() != 7 || a.code() != 0 {
			t.Fatalf("PUBACK % x", a.body)
		}
		if p.Topic != telemetry || string(p.Payload) != "1" || p.QoS != 1 || p.Client != "c" || p.User != "" || p.Protocol != version || !p.Identity.MayWrite("d") {
			t.Fatalf("publication %+v", p)
		}
	})
}

func TestAcksKeepTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t)
		b.sink.auto = nil
		c := b.client(t, version, "c")
		var ps []*broker.Publication
		for id := uint16(1); id <= 20; id++ {
			qos := byte(1)
			if id%5 == 0 {
				qos = 2
			}
			c.publish(telemetry, "1", qos, id)
			ps = append(ps, b.sink.next(t))
		}
		for _, p := range slices.Backward(ps) {
			p.Settle(broker.Outcome{})
		}
		for id := uint16(1); id <= 20; id++ {
			kind := byte(4)
			if id%5 == 0 {
				kind = 5
			}
			if a := c.want(kind); a.id() != id {
				t.Fatalf("acknowledgement of %d, want %d", a.id(), id)
			}
		}
	})
}

func TestWindowHoldsTheClientBack(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.InFlight = 4 }))
	b.sink.auto = nil
	c := b.client(t, 4, "c")
	for id := uint16(1); id <= 10; id++ {
		c.publish(telemetry, "1", 1, id)
	}
	var ps []*broker.Publication
	for range 4 {
		ps = append(ps, b.sink.next(t))
	}
	if n := b.sink.count(); n != 4 {
		t.Fatalf("%d publications were taken, want 4", n)
	}
	eventually(t, "four in flight", func() bool { return b.Clients()[0].InFlight == 4 })
	for id := uint16(1); id <= 10; id++ {
		ps[0].Settle(broker.Outcome{})
		ps = ps[1:]
		if a := c.want(4); a.id() != id {
			t.Fatalf("PUBACK %d, want %d", a.id(), id)
		}
		if id <= 6 {
			ps = append(ps, b.sink.next(t))
		}
	}
	eventually(t, "the window is empty", func() bool { return b.Stats().InFlight == 0 && b.Clients()[0].InFlight == 0 })
}

// The table of refusals: every version and QoS has the answer that its client understands, and never an acknowledgement.
func TestRefusedByStore(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		for qos := byte(0); qos <= 2; qos++ {
			b := setup(t)
			b.sink.auto = func(p *broker.Publication) {
				p.Settle(broker.Outcome{Code: broker.CodeQuotaExceeded, Reason: "the disk is full"})
			}
			c := b.client(t, version, "c")
			c.publish(telemetry, "1", qos, 9)
			switch {
			case qos == 0:
				c.ping()
			case version == 5:
				a := c.want(map[byte]byte{1: 4, 2: 5}[qos])
				if a.id() != 9 || a.code() != 0x97 || !strings.Contains(string(a.body), "the disk is full") {
					t.Fatalf("QoS %d: % x", qos, a.body)
				}
				c.ping()
			default:
				if p := c.wantClosed(); p.first != 0 {
					t.Fatalf("QoS %d: got % x before the close", qos, p)
				}
			}
			b.reason(t, "refused_quota", 1)
			if s := b.Stats(); s.Refused != 1 || s.Acknowledged != 0 {
				t.Fatalf("%+v", s)
			}
		}
	})
}

// A 3.1.1 client that was refused is told nothing more, also not of later publications that were stored: it sends again from
// the refused one on.
func TestNothingIsAcknowledgedAfterARefusal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.sink.auto = nil
	c := b.client(t, 4, "c")
	for id := uint16(1); id <= 3; id++ {
		c.publish(telemetry, "1", 1, id)
	}
	first, second, third := b.sink.next(t), b.sink.next(t), b.sink.next(t)
	third.Settle(broker.Outcome{})
	second.Settle(broker.Outcome{Code: broker.CodeQuotaExceeded})
	first.Settle(broker.Outcome{})
	if last := c.wantClosed(); last.kind() != 4 || last.id() != 1 {
		t.Fatalf("last packet %+v, want the PUBACK of 1", last)
	}
}

func TestRefusedByACL(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withUsers(t))
		for qos := byte(0); qos <= 2; qos++ {
			c := b.dial(t, version)
			c.mustConnect(connectOpts{id: "c", user: "dev1", pass: "secret1"})
			c.publish("devices/dev2/telemetry", "1", qos, 9)
			switch {
			case qos == 0:
				c.ping()
			case version == 5:
				if a := c.want(map[byte]byte{1: 4, 2: 5}[qos]); a.id() != 9 || a.code() != 0x87 {
					t.Fatalf("QoS %d: % x", qos, a.body)
				}
				c.ping()
			default:
				if p := c.wantClosed(); p.first != 0 {
					t.Fatalf("QoS %d: got % x before the close", qos, p)
				}
			}
			c.disconnect()
		}
		b.reason(t, "publish_acl", 3)
		if b.sink.count() != 0 {
			t.Fatal("a refused publication was handed over")
		}
	})
}

func TestQoS2ExactlyOnceAcrossReconnect(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		store := newMemoryStore()
		b := setup(t, withStore(store))
		opts := connectOpts{id: "c", resume: true, expiry: 100}
		c := b.dial(t, version)
		c.mustConnect(opts)
		c.publish(telemetry, "1", 2, 5)
		c.want(5)
		if !store.has("q/c\x005") {
			t.Fatal("the identifier is not stored when PUBREC arrives")
		}
		c.conn.Close() // as if PUBREC had been lost

		again := func(b *bundle) {
			t.Helper()
			c := b.dial(t, version)
			if p := c.mustConnect(opts); p.body[0] != 1 {
				t.Fatal("the session is gone")
			}
			dup := c.publishPacket(telemetry, []byte("1"), 2, 5, false)
			dup[0] |= 8
			c.send(dup)
			if a := c.want(5); a.id() != 5 || a.code() != 0 {
				t.Fatalf("PUBREC % x", a.body)
			}
		}
		again(b)
		if n := b.sink.count(); n != 1 {
			t.Fatalf("%d publications, want 1", n)
		}
		b.stop()

		b2 := setup(t, withStore(store)) // a restart in between
		again(b2)
		if n := b2.sink.count(); n != 0 {
			t.Fatalf("%d publications after the restart, want 0", n)
		}
		c = b2.dial(t, version)
		c.mustConnect(opts)
		c.ack(6, 5)
		if a := c.want(7); a.id() != 5 || a.code() != 0 {
			t.Fatalf("PUBCOMP % x", a.body)
		}
		c.publish(telemetry, "2", 2, 5) // the identifier is free again
		c.want(5)
		c.ack(6, 5)
		c.want(7)
		c.ack(6, 99)
		if a := c.want(7); version == 5 && a.code() != 0x92 {
			t.Fatalf("PUBCOMP of an unknown identifier: % x", a.body)
		}
		if n := b2.sink.count(); n != 1 {
			t.Fatalf("%d publications, want 1", n)
		}
		if store.has("q/c\x005") {
			t.Fatal("the identifier is still stored after its release")
		}
	})
}

// A publication that comes again while the first is not settled is answered once that is.
func TestQoS2AgainWhilePending(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.sink.auto = nil
	opts := connectOpts{id: "c", resume: true}
	c := b.dial(t, 4)
	c.mustConnect(opts)
	c.publish(telemetry, "1", 2, 5)
	p := b.sink.next(t)
	c2 := b.dial(t, 4)
	c2.mustConnect(opts) // takes over
	dup := c2.publishPacket(telemetry, []byte("1"), 2, 5, false)
	dup[0] |= 8
	c2.send(dup)
	c2.ping()
	p.Settle(broker.Outcome{})
	if a := c2.want(5); a.id() != 5 {
		t.Fatalf("PUBREC % x", a.body)
	}
	if b.sink.count() != 1 {
		t.Fatal("the publication was handed over twice")
	}
}

// Identifiers of the two directions do not meet: what a client publishes under an identifier must not touch a delivery to it
// under the same one, nor be refused for it; and neither must a SUBSCRIBE. The bare library does all three.
func TestMochiIdentifiersOfBothDirections(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t)
		opts := connectOpts{id: "c", resume: true, expiry: 100}
		c := b.dial(t, version)
		c.mustConnect(opts)
		c.subscribe(1, "devices/d/commands/#", 1)
		if err := b.Publish("devices/d/commands/x/request/1", []byte("go"), 1, false); err != nil {
			t.Fatal(err)
		}
		m := c.wantPublish()
		if a := c.publishAck(telemetry, "1", m.id); a.code() != 0 {
			t.Fatalf("PUBACK code %#x", a.code())
		}
		if code := c.subscribe(m.id, "devices/d/properties/+/desired", 1); code != 1 {
			t.Fatalf("SUBACK code %#x", code)
		}
		c.send(frame(0xa2, binary.BigEndian.AppendUint16(nil, m.id), map[byte][]byte{4: nil, 5: {0}}[version], str("devices/d/properties/+/desired")))
		if u := c.want(11); u.id() != m.id || version == 5 && u.body[len(u.body)-1] != 0 {
			t.Fatalf("UNSUBACK % x", u.body)
		}
		c.conn.Close()
		c = b.dial(t, version)
		c.mustConnect(opts)
		if again := c.wantPublish(); again.id != m.id || !again.dup {
			t.Fatalf("the unacknowledged delivery came as %+v", again)
		}
	})
}
