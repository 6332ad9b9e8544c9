package broker_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"iotc-gateway/broker"
)

// The tests in this file hold what we know of the library under us, v2.7.9: each defect is met by a guard, and the test fails
// when either changes.

// 1. A v5 QoS 1 subscriber with a Receive Maximum and a dozen publishers freeze their topic in the bare library.
func TestMochiReceiveMaximumDoesNotDeadlock(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.PendingWrites = 4096 }))
	sub := b.dial(t, 5)
	sub.mustConnect(connectOpts{id: "sub", props: []byte{0x21, 0, 2}})
	sub.subscribe(1, "devices/#", 1)
	const publishers, each = 12, 60
	var wg sync.WaitGroup
	for i := range publishers {
		wg.Go(func() {
			c := b.client(t, 5, fmt.Sprintf("p%d", i))
			for id := uint16(1); id <= each; id++ {
				c.publish(fmt.Sprintf("devices/p%d/telemetry", i), "1", 1, id)
				c.want(4)
			}
		})
	}
	for range publishers * each {
		sub.ack(4, sub.wantPublish().id)
	}
	wg.Wait()
}

// 2. A subscriber that does not read holds the library's lock in a blocked write. It is closed within the write timeout, and
// whoever publishes goes on.
func TestMochiSlowSubscriberIsClosed(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.WriteTimeout, l.QueuedBytes = 100*time.Millisecond, 1<<30 }))
	slow := b.dial(t, 4)
	if tcp, ok := slow.conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4096)
	}
	slow.mustConnect(connectOpts{id: "slow"})
	slow.subscribe(1, "devices/#", 1)
	c := b.client(t, 4, "c")
	payload := strings.Repeat("x", 100_000)
	deadline := time.Now().Add(wait)
	for id := uint16(1); b.Stats().Reasons["write_timeout"] == 0; id++ {
		c.publishAck(telemetry, payload, id)
		if time.Now().After(deadline) {
			t.Fatal("the slow subscriber was not closed")
		}
	}
	b.reason(t, "write_timeout", 1)
	c.publishAck(telemetry, payload, 1)
}

// 3 and 12. A silent socket, a CONNECT that drips, half a CONNECT, something else than a CONNECT: all are closed, and nothing
// large is allocated for them.
func TestMochiBeforeConnect(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.ConnectTimeout = 150 * time.Millisecond; l.MaxConnectBytes = 1000 }))
	silent, half, drip := b.dial(t, 4), b.dial(t, 4), b.dial(t, 4)
	half.send([]byte{0x10, 50, 0, 4, 'M'})
	full := drip.connectPacket(connectOpts{id: strings.Repeat("d", 200)})
	stop := make(chan struct{})
	go func() {
		for _, x := range full {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				drip.trySend([]byte{x})
			}
		}
	}()
	for _, c := range []*raw{silent, half, drip} {
		c.wantClosed()
	}
	close(stop)
	b.reason(t, "connect_timeout", 3)

	large := b.dial(t, 4)
	large.send([]byte{0x10, 0xff, 0xff, 0xff, 0x7f}) // announces 256 MiB
	large.wantClosed()
	b.reason(t, "max_connect_bytes", 1)
	other := b.dial(t, 4)
	other.send(other.publishPacket("a", nil, 0, 0, false))
	other.wantClosed()
	b.reason(t, "not_connect", 1)
	if s := b.Stats(); s.PacketMemory != 0 || s.Clients != 0 {
		t.Fatalf("%+v", s)
	}
	eventually(t, "all sockets closed", func() bool { return b.Stats().Connections == 0 })
}

// 4. The largest packet passes, one byte more ends the connection, in MQTT 5 with its reason.
func TestMochiPacketSize(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		const limit = 20_000
		b := setup(t, withLimits(func(l *broker.Limits) { l.MaxPacketBytes = limit; l.PacketMemory = 3 * limit }))
		c := b.client(t, version, "c")
		overhead := len(c.publishPacket(telemetry, nil, 1, 1, false)) - 2
		c.publishAck(telemetry, strings.Repeat("x", limit-5-overhead), 1)
		if n := b.Stats().PacketMemory; n != 0 {
			t.Fatalf("%d bytes of packet memory are still taken", n)
		}
		c.publish(telemetry, strings.Repeat("x", limit-4-overhead), 1, 2)
		last := c.wantClosed()
		if version == 5 && (last.kind() != 14 || last.code() != 0x95) {
			t.Fatalf("last packet %+v, want DISCONNECT 0x95", last)
		}
		b.reason(t, "max_packet_bytes", 1)
	})
}

// The memory of large packets is bounded over all clients, and comes back also from connections that break off.
func TestPacketMemory(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) {
		l.MaxPacketBytes, l.PacketMemory, l.MaxBackPressure = 20_000, 20_000, 50*time.Millisecond
	}))
	b.sink.auto = nil
	c1, c2 := b.client(t, 4, "c1"), b.client(t, 4, "c2")
	c1.publish(telemetry, strings.Repeat("x", 15_000), 1, 1)
	p := b.sink.next(t)
	c2.trySend(c2.publishPacket(telemetry, []byte(strings.Repeat("x", 15_000)), 1, 1, false))
	c2.wantClosed()
	b.reason(t, "packet_memory", 1)
	p.Settle(broker.Outcome{})
	c1.want(4)
	c3 := b.client(t, 4, "c3")
	c3.send(c3.publishPacket(telemetry, []byte(strings.Repeat("x", 15_000)), 1, 1, false)[:5000])
	eventually(t, "memory is taken", func() bool { return b.Stats().PacketMemory > 0 })
	c3.conn.Close()
	eventually(t, "memory is back", func() bool { return b.Stats().PacketMemory == 0 })
}

// 5. Wills pass the access rules, reach Ingest and subscribers once, with their properties.
func TestMochiWills(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withUsers(t))
		watch := b.dial(t, version)
		watch.mustConnect(connectOpts{id: "watch", user: "mon", pass: "secret5"})
		watch.subscribe(1, "devices/#", 1)

		bad := b.dial(t, version)
		if p := bad.connect(connectOpts{id: "c", user: "dev1", pass: "secret1", will: "devices/dev2/telemetry", willPayload: "x"}); p.code() != map[byte]byte{4: 5, 5: 0x87}[version] {
			t.Fatalf("CONNACK code %#x", p.code())
		}
		b.reason(t, "will", 1)

		opts := connectOpts{id: "c", user: "dev1", pass: "secret1", will: "devices/dev1/telemetry/online", willPayload: "false", willQoS: 1}
		if version == 5 {
			opts.willProps = append([]byte{0x03}, str("text/plain")...)
		}
		c := b.dial(t, version)
		c.mustConnect(opts)
		c.conn.Close()
		p := b.sink.next(t)
		if !p.Will || p.Topic != opts.will || string(p.Payload) != "false" || p.User != "dev1" || p.Client != "c" || !p.Identity.MayWrite("dev1") {
			t.Fatalf("%+v", p)
		}
		if version == 5 && p.ContentType != "text/plain" {
			t.Fatalf("content type %q", p.ContentType)
		}
		p.Settle(broker.Outcome{}) // harmless
		if m := watch.wantPublish(); m.topic != opts.will || m.payload != "false" {
			t.Fatalf("%+v", m)
		}

		c = b.dial(t, version)
		c.mustConnect(opts)
		c.disconnect() // no will after a DISCONNECT
		eventually(t, "gone", func() bool { return b.Stats().Clients == 1 })

		opts.willPayload = "" // refused by the bare library, in 3.1.1 too
		opts.willQoS = 0
		c = b.dial(t, version)
		c.mustConnect(opts)
		c.conn.Close()
		if p := b.sink.next(t); !p.Will || len(p.Payload) != 0 {
			t.Fatalf("%+v", p)
		}
		watch.wantPublishAfterAck(t)

		c = b.dial(t, version)
		opts.willPayload = "away"
		c.mustConnect(opts)
		if version == 5 { // DISCONNECT with reason 0x04, one byte of body
			c.send([]byte{0xe0, 1, 4})
			if p := b.sink.next(t); string(p.Payload) != "away" {
				t.Fatalf("%+v", p)
			}
		}
		if b.Stats().Wills != map[byte]int64{4: 2, 5: 3}[version] {
			t.Fatalf("%d wills", b.Stats().Wills)
		}
	})
}

func (c *raw) wantPublishAfterAck(t *testing.T) {
	t.Helper()
	if m := c.wantPublish(); m.payload != "" {
		t.Fatalf("%+v", m)
	}
}

// A will with a delay is not published when the client is back before, and is published when it is not.
func TestMochiDelayedWill(t *testing.T) {
	t.Parallel()
	b := setup(t)
	opts := connectOpts{id: "c", resume: true, expiry: 100, will: telemetry, willPayload: "late", willProps: []byte{0x18, 0, 0, 0, 1}}
	c := b.dial(t, 5)
	c.mustConnect(opts)
	c.conn.Close()
	eventually(t, "gone", func() bool { return b.Stats().Clients == 0 })
	c = b.dial(t, 5)
	c.mustConnect(opts)
	if b.Stats().Wills != 0 {
		t.Fatal("the will of a client that is back was published")
	}
	c.conn.Close()
	if p := b.sink.next(t); !p.Will || string(p.Payload) != "late" || b.sink.count() != 1 {
		t.Fatalf("%+v", p)
	}
}

// 6. Retained messages stay, and publishes get no expiry that nobody asked for.
func TestMochiRetainedAndExpiry(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t)
		c := b.client(t, version, "c")
		c.send(c.publishPacket(telemetry, []byte("kept"), 1, 1, true))
		c.want(4)
		if p := b.sink.next(t); !p.Retain {
			t.Fatal("Ingest was not told that it was a retained publish")
		}
		s := b.client(t, version, "s")
		s.subscribe(1, telemetry, 1)
		if m := s.wantPublish(); !m.retain || m.payload != "kept" || len(m.props) != 0 {
			t.Fatalf("%+v", m)
		}
		if st := b.Stats(); st.Retained != 1 || st.RetainedBytes == 0 {
			t.Fatalf("%+v", st)
		}
		c.send(c.publishPacket(telemetry, nil, 1, 2, true))
		c.want(4)
		if st := b.Stats(); st.Retained != 0 || st.RetainedBytes != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

// 8. A client identifier belongs to the user who has it; the same user takes its session over.
func TestMochiClientIDBelongsToItsUser(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withUsers(t))
		c1 := b.dial(t, version)
		c1.mustConnect(connectOpts{id: "shared", user: "dev1", pass: "secret1"})
		c2 := b.dial(t, version)
		if p := c2.connect(connectOpts{id: "shared", user: "dev2", pass: "secret2"}); p.code() != map[byte]byte{4: 2, 5: 0x85}[version] {
			t.Fatalf("CONNACK code %#x", p.code())
		}
		c1.ping()
		b.reason(t, "client_id_owner", 1)
		c3 := b.dial(t, version)
		c3.mustConnect(connectOpts{id: "shared", user: "dev1", pass: "secret1"})
		last := c1.wantClosed()
		if version == 5 && (last.kind() != 14 || last.code() != 0x8e) {
			t.Fatalf("last packet %+v, want DISCONNECT 0x8e", last)
		}
		c3.ping()
		b.reason(t, "takeover", 1)
		if n := b.Stats().Clients; n != 1 {
			t.Fatalf("%d clients", n)
		}
	})
}

// 11. Deliveries to a subscriber whose queue is full are dropped and counted; the publisher is not harmed.
func TestMochiDroppedDeliveriesAreCounted(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) {
		l.PendingWrites, l.QueuedBytes, l.WriteTimeout = 4, 1<<30, 5*time.Second
	}))
	s := b.dial(t, 4)
	if tcp, ok := s.conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4096)
	}
	s.mustConnect(connectOpts{id: "slow"})
	s.subscribe(1, "devices/#", 0)
	c := b.client(t, 4, "c")
	payload := strings.Repeat("x", 200_000)
	deadline := time.Now().Add(wait)
	for id := uint16(1); b.Stats().Reasons["slow_consumer"] == 0; id++ {
		c.publishAck(telemetry, payload, id)
		if time.Now().After(deadline) {
			t.Fatal("nothing was dropped")
		}
	}
	if b.Stats().DeliveryDropped == 0 {
		t.Fatal("not counted")
	}
}

// 13. Deviations that are mended: the answer to an unknown protocol level, user properties echoed in acknowledgements, the
// first delivery of a queued message marked as a duplicate.
func TestMochiDeviations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for level, want := range map[byte]byte{3: 1, 6: 0x84, 9: 0x84} {
		c := b.dial(t, 4)
		c.send(c.connectPacket(connectOpts{id: "c", level: level, protocolName: "MQTT"}))
		if p := c.want(2); p.code() != want {
			t.Fatalf("level %d: CONNACK code %#x, want %#x", level, p.code(), want)
		}
		c.wantClosed()
	}
	c := b.dial(t, 4)
	if p := c.connect(connectOpts{resume: true}); p.code() != 2 { // no identifier, and a session to keep
		t.Fatalf("CONNACK code %#x", p.code())
	}

	user := append(append([]byte{0x26}, str("k")...), str("v")...)
	v5 := b.client(t, 5, "v5")
	v5.send(v5.publishPacket(telemetry, []byte("1"), 1, 3, false, user...))
	if a := v5.want(4); len(a.body) != 2 {
		t.Fatalf("PUBACK % x echoes properties", a.body)
	}
	if p := b.sink.next(t); len(p.Properties) != 1 || p.Properties[0] != (broker.Property{Key: "k", Value: "v"}) {
		t.Fatalf("%+v", p.Properties)
	}

	for _, version := range []byte{4, 5} {
		opts := connectOpts{id: fmt.Sprint("queued", version), resume: true, expiry: 100}
		q := b.dial(t, version)
		q.mustConnect(opts)
		q.subscribe(1, fmt.Sprintf("devices/q%d/#", version), 1)
		q.disconnect()
		eventually(t, "gone", func() bool { return b.Stats().Clients == 1 })
		for i := range 5 {
			if err := b.Publish(fmt.Sprintf("devices/q%d/commands/x/request/1", version), []byte(fmt.Sprint(i)), 1, false); err != nil {
				t.Fatal(err)
			}
		}
		q = b.dial(t, version)
		q.mustConnect(opts)
		for i := range 5 {
			if m := q.wantPublish(); m.dup || m.payload != fmt.Sprint(i) {
				t.Fatalf("version %d: delivery %d came as %+v", version, i, m)
			}
		}
		q.conn.Close()
		eventually(t, "gone", func() bool { return b.Stats().Clients == 1 })
		q = b.dial(t, version)
		q.mustConnect(opts)
		for i := range 5 {
			m := q.wantPublish()
			if !m.dup || m.payload != fmt.Sprint(i) {
				t.Fatalf("version %d: redelivery %d came as %+v", version, i, m)
			}
			q.ack(4, m.id)
		}
		q.ping()
		q.disconnect()
		eventually(t, "nothing is queued", func() bool { return b.Stats().QueuedMessages == 0 && b.Stats().QueuedBytes == 0 })
	}
}

// A SUBSCRIBE of MQTT 5 without its options byte makes the bare library's decoder index past the end: the process would end.
// Ours never gives it one, also when it comes with the CONNECT in one read or drips in.
func TestMochiSubscribeWithoutOptions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.client(t, 5, "other")
	bad := frame(0x82, []byte{0, 1, 2, 0x0b, 5}, str("a/b"), []byte{1}, str("c"))
	c := b.client(t, 5, "c")
	c.send(bad)
	if p := c.wantClosed(); p.kind() != 14 || p.code() != 0x81 {
		t.Errorf("closed with %+v", p)
	}
	c = b.dial(t, 5)
	c.send(append(c.connectPacket(connectOpts{id: "c"}), bad...))
	c.wantClosed()
	c = b.client(t, 5, "c")
	for i := range bad {
		c.send(bad[i : i+1])
	}
	c.wantClosed()
	// The same bytes with the options are a good SUBSCRIBE, and MQTT 3.1.1 has no properties.
	c = b.client(t, 5, "c")
	c.send(frame(0x82, []byte{0, 1, 2, 0x0b, 5}, str("a/b"), []byte{1}, str("c"), []byte{0}))
	c.want(9)
	b.client(t, 4, "d").subscribe(1, "c", 0)
	other.ping()
	b.reason(t, "panic", 0)
}

// What panics for a client's packet costs it the connection, and nobody else anything.
func TestPanicIsContained(t *testing.T) {
	t.Parallel()
	b := setup(t, func(_ *broker.Config, o *broker.Options) {
		o.Ingest = broker.IngestFunc(func(p *broker.Publication) {
			if string(p.Payload) == "bad" {
				panic("bad")
			}
			p.Settle(broker.Outcome{})
		})
	})
	c := b.client(t, 5, "c")
	other := b.client(t, 5, "other")
	c.publish(telemetry, "bad", 0, 0)
	c.wantClosed()
	b.reason(t, "panic", 1)
	other.publishAck(telemetry, "good", 1)
	eventually(t, "the session is gone", func() bool { return b.Stats().Clients == 1 && b.Stats().Sessions == 1 })
	b.client(t, 5, "c").ping()
}

// A reason code that is wrapped makes the bare library panic; ours are never its business. Topic aliases, AUTH, a second
// CONNECT and a publish to $SYS have their answers too.
func TestMochiProtocolCorners(t *testing.T) {
	t.Parallel()
	b := setup(t)

	c := b.client(t, 5, "alias")
	c.send(c.publishPacket(telemetry, []byte("1"), 1, 1, false, 0x23, 0, 3))
	c.want(4)
	c.send(c.publishPacket("", []byte("2"), 1, 2, false, 0x23, 0, 3))
	c.want(4)
	b.sink.next(t)
	if p := b.sink.next(t); p.Topic != telemetry {
		t.Fatalf("alias resolved to %q", p.Topic)
	}
	c.send(c.publishPacket("", []byte("2"), 1, 3, false, 0x23, 0, 9)) // never set
	if last := c.wantClosed(); last.code() != 0x94 {
		t.Fatalf("last packet %+v, want DISCONNECT 0x94", last)
	}

	c = b.client(t, 5, "sys")
	if a := c.publishAck("$SYS/broker/version", "mine", 1); a.code() != 0x87 {
		t.Fatalf("PUBACK code %#x", a.code())
	}
	c.send([]byte{0xf0, 2, 0x18, 0}) // AUTH
	if last := c.wantClosed(); last.code() != 0x82 {
		t.Fatalf("last packet %+v, want DISCONNECT 0x82", last)
	}

	c = b.dial(t, 5)
	if p := c.connect(connectOpts{id: "a", props: append([]byte{0x15}, str("PLAIN")...)}); p.code() != 0x8c {
		t.Fatalf("CONNACK code %#x", p.code())
	}

	c = b.client(t, 5, "twice")
	c.send(c.connectPacket(connectOpts{id: "twice"}))
	if last := c.wantClosed(); last.code() != 0x82 {
		t.Fatalf("last packet %+v, want DISCONNECT 0x82", last)
	}

	c = b.client(t, 5, "session")
	p := c.mustReconnect(b, connectOpts{id: "session", expiry: 1 << 31, resume: true})
	if !strings.Contains(string(p.body), string(binary.BigEndian.AppendUint32([]byte{0x11}, 7*24*3600))) {
		t.Fatalf("CONNACK % x does not tell the session expiry", p.body)
	}
	if !strings.Contains(string(p.body), string(binary.BigEndian.AppendUint32([]byte{0x27}, 256<<10))) {
		t.Fatalf("CONNACK % x does not tell the maximum packet size", p.body)
	}
}

func (c *raw) mustReconnect(b *bundle, o connectOpts) packet {
	c.t.Helper()
	n := b.dial(c.t, c.version)
	return n.mustConnect(o)
}

// A keep-alive of 43,691 seconds overflows sixteen bits in the bare library and ends the connection at once.
func TestMochiKeepAliveOverflow(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withLimits(func(l *broker.Limits) { l.MaxKeepAlive = 12 * time.Hour }))
		c := b.dial(t, version)
		p := c.mustConnect(connectOpts{id: "c", keepalive: 43691})
		c.ping()
		if version == 5 && !strings.Contains(string(p.body), string(binary.BigEndian.AppendUint16([]byte{0x13}, 43200))) {
			t.Fatalf("CONNACK % x does not tell the keep-alive", p.body)
		}
	})
}
