package broker_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"iotc-gateway/broker"
)

// Each limit is tried at and one past its end.

func TestLimitClients(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withLimits(func(l *broker.Limits) { l.MaxClients = 2 }))
		b.client(t, version, "a")
		second := b.client(t, version, "b")
		c := b.dial(t, version)
		if p := c.connect(connectOpts{id: "c"}); p.code() != map[byte]byte{4: 3, 5: 0x89}[version] {
			t.Fatalf("CONNACK %#x", p.code())
		}
		b.reason(t, "max_clients", 1)
		second.disconnect()
		eventually(t, "room", func() bool { return b.Stats().Clients == 1 })
		b.client(t, version, "c").ping()
	})
}

func TestLimitConnections(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]func(l *broker.Limits){
		"max_connections":             func(l *broker.Limits) { l.MaxConnections = 2 },
		"max_connections_per_address": func(l *broker.Limits) { l.MaxConnectionsPerAddress = 2 },
		"connection_rate":             func(l *broker.Limits) { l.ConnectionRate, l.ConnectionBurst = 0.0001, 2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, withLimits(x))
			a := b.client(t, 4, "a")
			b.client(t, 4, "b")
			if conn, err := net.Dial("tcp", b.addr.String()); err == nil { // it may be reset before Dial returns
				wrap(t, conn, 4).wantClosed()
			}
			b.reason(t, name, 1)
			a.ping()
			if name == "connection_rate" {
				return
			}
			a.disconnect()
			eventually(t, "room", func() bool { return b.Stats().Connections == 1 })
			b.client(t, 4, "c").ping()
		})
	}
}

func TestLimitConnectBytes(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.MaxConnectBytes = 300 }))
	for _, over := range []int{0, 1} {
		c := b.dial(t, 4)
		pk := c.connectPacket(connectOpts{id: "c", will: telemetry, willPayload: "x"})
		pad := 300 - (len(pk) - 2) + over
		c.send(c.connectPacket(connectOpts{id: "c", will: telemetry, willPayload: "x" + strings.Repeat("y", pad)}))
		if over == 0 {
			c.want(2)
		} else {
			c.wantClosed()
		}
		c.disconnect()
	}
	b.reason(t, "max_connect_bytes", 1)
}

func TestLimitTopics(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.MaxTopicBytes, l.MaxTopicLevels = 40, 5 }))
	c := b.client(t, 5, "c")
	for _, x := range []struct {
		topic string
		code  byte
	}{
		{"a/" + strings.Repeat("x", 38), 0},
		{"a/" + strings.Repeat("x", 39), 0x90},
		{"a/b/c/d/e", 0},
		{"a/b/c/d/e/f", 0x90},
	} {
		if a := c.publishAck(x.topic, "1", 1); a.code() != x.code {
			t.Errorf("publish %s: %#x, want %#x", x.topic, a.code(), x.code)
		}
		want := byte(1)
		if x.code != 0 {
			want = 0x8f
		}
		if code := c.subscribe(2, x.topic, 1); code != want {
			t.Errorf("subscribe %s: %#x, want %#x", x.topic, code, want)
		}
	}
	b.reason(t, "publish_topic", 2)
	b.reason(t, "subscribe_filter", 2)
}

func TestLimitClientID(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withLimits(func(l *broker.Limits) { l.MaxClientIDBytes = 30 }))
		b.client(t, version, strings.Repeat("x", 30)).ping()
		for _, id := range []string{strings.Repeat("x", 31), "a\nb", "a\x1b[2J"} {
			c := b.dial(t, version)
			if p := c.connect(connectOpts{id: id}); p.code() != map[byte]byte{4: 2, 5: 0x85}[version] {
				t.Fatalf("CONNACK %#x for %q", p.code(), id)
			}
		}
		b.reason(t, "client_id", 3)
		b.dial(t, version).mustConnect(connectOpts{}) // one is assigned
	})
}

func TestLimitSubscriptions(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withLimits(func(l *broker.Limits) { l.MaxSubscriptions = 2 }))
		c := b.client(t, version, "c")
		for i, want := range []byte{1, 1, map[byte]byte{4: 0x80, 5: 0x97}[version]} {
			if code := c.subscribe(uint16(i+1), fmt.Sprint("x/", i), 1); code != want {
				t.Fatalf("SUBACK %#x, want %#x", code, want)
			}
		}
		if code := c.subscribe(9, "x/1", 0); code != 0 { // one that is there already
			t.Fatalf("SUBACK %#x", code)
		}
		b.reason(t, "max_subscriptions", 1)
	})
}

func TestLimitPublishRate(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withLimits(func(l *broker.Limits) { l.PublishRate, l.MaxBackPressure = 0.5, 3*time.Second }))
		c := b.client(t, version, "c")
		for id := uint16(1); id <= 2; id++ { // the burst, and one that is slowed down
			c.publishAck(telemetry, "1", id)
		}
		if s := b.Stats(); s.BackPressure <= 0 || s.BackPressure > 2 {
			t.Fatalf("slowed down by %v s", s.BackPressure)
		}
		b.reason(t, "publish_rate", 0)
	})
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withLimits(func(l *broker.Limits) { l.PublishRate, l.MaxBackPressure = 1, 60*time.Millisecond }))
		c := b.client(t, version, "c")
		c.publishAck(telemetry, "1", 1)
		c.publish(telemetry, "1", 1, 2)
		last := c.wantClosed()
		if version == 5 && last.code() != 0x96 {
			t.Fatalf("last packet %+v, want DISCONNECT 0x96", last)
		}
		b.reason(t, "publish_rate", 1)
	})
}

func TestLimitPublishBytes(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) {
		l.MaxPacketBytes, l.PublishBytesRate, l.MaxBackPressure = 2000, 2000, 60*time.Millisecond
	}))
	c := b.client(t, 5, "c")
	c.publishAck(telemetry, strings.Repeat("x", 1000), 1)
	c.publishAck(telemetry, strings.Repeat("x", 1000), 2)
	c.publish(telemetry, strings.Repeat("x", 1500), 1, 3)
	c.wantClosed()
	b.reason(t, "publish_rate", 1)
}

func TestLimitQoS2Pending(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withLimits(func(l *broker.Limits) { l.MaxQoS2Pending = 3 }))
		c := b.client(t, version, "c")
		for id := uint16(1); id <= 3; id++ {
			c.publish(telemetry, "1", 2, id)
			c.want(5)
		}
		c.publish(telemetry, "1", 2, 4)
		last := c.wantClosed()
		if version == 5 && last.code() != 0x93 {
			t.Fatalf("last packet %+v, want DISCONNECT 0x93", last)
		}
		b.reason(t, "max_qos2_pending", 1)
	})
}

func TestLimitRetained(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.MaxRetained, l.MaxRetainedBytes = 2, 100 }))
	c := b.client(t, 4, "c")
	retain := func(topic string, size int) {
		c.send(c.publishPacket(topic, []byte(strings.Repeat("x", size)), 1, 1, true))
		c.want(4)
	}
	retain("a", 10)
	retain("b", 10)
	retain("c", 10) // one too many: delivered, not kept
	b.reason(t, "max_retained", 1)
	retain("a", 80) // a: 81, b: 11 bytes with their topics
	b.reason(t, "max_retained", 1)
	retain("b", 19)
	b.reason(t, "max_retained", 2)
	retain("a", 0)
	retain("c", 5)
	b.reason(t, "max_retained", 2)
	if s := b.Stats(); s.Retained != 2 || s.RetainedBytes != 11+6 {
		t.Fatalf("%+v", s)
	}
	if err := b.Publish("d", []byte("x"), 0, true); !errors.Is(err, broker.ErrRetainedLimit) {
		t.Fatal(err)
	}
	if err := b.Publish("a/+", []byte("x"), 0, true); !errors.Is(err, broker.ErrTopic) {
		t.Fatal(err)
	}
}

func TestLimitQueue(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]func(l *broker.Limits){
		"queued_messages": func(l *broker.Limits) { l.QueuedMessages = 3 },
		"queued_bytes":    func(l *broker.Limits) { l.QueuedBytes = 4000 }, // 3 of 500, and what a message costs, go over it
		"total":           func(l *broker.Limits) { l.TotalQueuedBytes = 4000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, withLimits(x))
			opts := connectOpts{id: "q", resume: true}
			q := b.dial(t, 4)
			q.mustConnect(opts)
			q.subscribe(1, "x/#", 1)
			q.disconnect()
			eventually(t, "gone", func() bool { return b.Stats().Clients == 0 })
			for range 5 {
				if err := b.Publish("x/y", []byte(strings.Repeat("x", 500)), 1, false); err != nil {
					t.Fatal(err)
				}
			}
			reason := name
			if name == "total" {
				reason = "queued_bytes"
			}
			b.reason(t, reason, 2)
			if n := b.Stats().QueuedMessages; n != 3 {
				t.Fatalf("%d queued", n)
			}
			q = b.dial(t, 4)
			q.mustConnect(opts)
			for range 3 {
				q.ack(4, q.wantPublish().id)
			}
			q.ping()
			if s := b.Stats(); s.QueuedMessages != 0 || s.QueuedBytes != 0 {
				t.Fatalf("%+v", s)
			}
		})
	}
}

func TestLimitSessions(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.MaxSessions = 2 }))
	for i := range 3 {
		c := b.dial(t, 4)
		c.mustConnect(connectOpts{id: fmt.Sprint(i), resume: true})
		c.subscribe(1, "x", 1)
		c.disconnect()
		eventually(t, "gone", func() bool { return b.Stats().Clients == 0 })
	}
	b.reason(t, "max_sessions", 1)
	if s := b.Stats(); s.Sessions != 2 || s.Subscriptions != 2 {
		t.Fatalf("%+v", s)
	}
	for id, want := range map[string]byte{"0": 0, "1": 1, "2": 1} {
		if p := b.dial(t, 4).mustConnect(connectOpts{id: id, resume: true}); p.body[0] != want {
			t.Errorf("session %s present = %d, want %d", id, p.body[0], want)
		}
	}
}

// One user who makes sessions without end drops its own, not those of others.
func TestLimitSessionsIsFair(t *testing.T) {
	t.Parallel()
	b := setup(t, withUsers(t), withLimits(func(l *broker.Limits) { l.MaxSessions = 3 }))
	visit := func(id, user, pass string) packet {
		c := b.dial(t, 4)
		p := c.mustConnect(connectOpts{id: id, user: user, pass: pass, resume: true})
		c.disconnect()
		eventually(t, "gone", func() bool { return b.Stats().Clients == 0 })
		return p
	}
	visit("quiet", "dev2", "secret2")
	for i := range 8 {
		visit(fmt.Sprint("many", i), "dev1", "secret1")
	}
	b.reason(t, "max_sessions", 6)
	if p := visit("quiet", "dev2", "secret2"); p.body[0] != 1 {
		t.Fatal("the session of another user was dropped")
	}
}

// A client that is silent for one and a half keep-alives is disconnected, and its will published.
func TestLimitKeepAlive(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.MaxKeepAlive = time.Second }))
	c := b.dial(t, 4)
	start := time.Now()
	c.mustConnect(connectOpts{id: "c", keepalive: 1000, will: telemetry, willPayload: "lost"})
	if p := b.sink.next(t); !p.Will {
		t.Fatalf("%+v", p)
	}
	if d := time.Since(start); d < 900*time.Millisecond {
		t.Fatalf("disconnected after %v", d)
	}
	b.reason(t, "keep_alive", 1)
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	faults := func(c broker.Config) (paths []string) {
		c.Validate(func(path, _ string) { paths = append(paths, path) })
		return paths
	}
	if f := faults(broker.DefaultConfig()); len(f) != 0 {
		t.Fatal(f)
	}
	c := broker.DefaultConfig()
	c.Listeners = []broker.ListenerConfig{
		{Name: "a", Address: "nowhere", Transport: "udp", Anonymous: "perhaps"},
		{Name: "a", Address: ":1", Origins: []string{"x"}, TLS: &broker.TLSConfig{ClientAuth: "require", MinVersion: "1.1", Identity: "ou"}},
		{Address: ":2", Transport: "websocket", Path: "mqtt", Origins: []string{"not an origin", "*", "https://ok.example"}},
	}
	c.Auth = broker.AuthConfig{Anonymous: "yes", FailureDelay: 2, MaxDelay: 1, SuccessCache: -1, RefusalDelay: -1}
	c.Limits = broker.Limits{PublishRate: -1, PublishBytesRate: -1, ConnectionRate: -1}
	got := strings.Join(faults(c), " ")
	for _, want := range []string{
		"listeners[0].address", "listeners[0].transport", "listeners[0].anonymous", "listeners[1].name", "listeners[1].transport",
		"listeners[1].origins[0]", "listeners[1].tls.cert_file", "listeners[1].tls.key_file", "listeners[1].tls.client_ca_file",
		"listeners[1].tls.min_version", "listeners[1].tls.identity", "listeners[2].name", "listeners[2].path", "listeners[2].origins[0]",
		"auth.anonymous", "auth.max_delay", "auth.success_cache", "auth.refusal_delay", "auth.hash_concurrent",
		"limits.max_clients", "limits.max_connections", "limits.connect_timeout", "limits.write_timeout", "limits.max_connect_bytes",
		"limits.max_packet_bytes", "limits.publish_rate", "limits.publish_bytes_rate", "limits.connection_rate", "limits.in_flight",
		"limits.max_subscriptions", "limits.max_topic_bytes", "limits.max_topic_levels", "limits.queued_bytes", "limits.session_expiry",
		"limits.max_sessions", "limits.max_keep_alive",
	} {
		if !strings.Contains(got+" ", want+" ") {
			t.Errorf("no fault for %s", want)
		}
	}
	if _, err := broker.New(c, broker.Options{}); err == nil || !strings.Contains(err.Error(), "broker.limits.in_flight") {
		t.Errorf("New: %v", err)
	}
}

func TestNewFailsCleanly(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := broker.DefaultConfig()
	c.Listeners = []broker.ListenerConfig{{Name: "ok", Address: "127.0.0.1:0"}, {Name: "taken", Address: l.Addr().String()}}
	if _, err := broker.New(c, broker.Options{}); err == nil || !strings.Contains(err.Error(), "listener taken") {
		t.Fatal(err)
	}
}

// An MQTT 5 client that sends more QoS 2 publishes than CONNACK allowed, none released, is disconnected; one that releases
// them in between goes on for ever.
func TestLimitReceiveMaximum(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.InFlight = 3 }))
	c := b.client(t, 5, "c")
	for id := uint16(1); id <= 10; id++ {
		c.publish(telemetry, "1", 2, id)
		c.want(5)
		c.ack(6, id)
		c.want(7)
	}
	for id := uint16(1); id <= 3; id++ {
		c.publish(telemetry, "1", 2, id)
		c.want(5)
	}
	c.publish(telemetry, "1", 2, 1) // sent again: not another one
	c.want(5)
	c.publish(telemetry, "1", 2, 4)
	if last := c.wantClosed(); last.code() != 0x93 {
		t.Fatalf("last packet %+v, want DISCONNECT 0x93", last)
	}
	b.reason(t, "max_qos2_pending", 1)
}
