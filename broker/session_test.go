package broker_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"iotc-gateway/broker"
)

func TestSessionsSurviveARestart(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		store := newMemoryStore()
		opts := connectOpts{id: "q", resume: true, expiry: 1000}
		b := setup(t, withStore(store))
		q := b.dial(t, version)
		q.mustConnect(opts)
		q.subscribe(1, "x/#", 1)
		q.subscribe(2, "y", 2)
		q.disconnect()
		clean := b.client(t, version, "clean")
		clean.subscribe(1, "x/#", 1)
		eventually(t, "gone", func() bool { return b.Stats().Clients == 1 })
		c := b.client(t, version, "c")
		c.send(c.publishPacket("kept", []byte("retained"), 1, 1, true))
		c.want(4)
		for i := range 3 {
			if err := b.PublishWith(broker.Message{
				Topic: "x/a", Payload: []byte(fmt.Sprint(i)), QoS: 1,
				ResponseTopic: "r", CorrelationData: []byte("c"), Properties: []broker.Property{{Key: "k", Value: "v"}},
			}); err != nil {
				t.Fatal(err)
			}
		}
		b.stop()

		b = setup(t, withStore(store))
		if s := b.Stats(); s.Sessions != 1 || s.Subscriptions != 2 || s.QueuedMessages != 3 || s.Retained != 1 || s.Reasons["store_corrupt"] != 0 {
			t.Fatalf("%+v", s)
		}
		if !b.HasSubscriber("x/b") || b.HasSubscriber("z") {
			t.Fatal("HasSubscriber")
		}
		if err := b.Publish("x/a", []byte("3"), 1, false); err != nil {
			t.Fatal(err)
		}
		q = b.dial(t, version)
		if p := q.mustConnect(opts); p.body[0] != 1 {
			t.Fatal("the session is not present")
		}
		for i := range 4 {
			m := q.wantPublish()
			if m.payload != fmt.Sprint(i) || m.dup || m.topic != "x/a" {
				t.Fatalf("delivery %d: %+v", i, m)
			}
			want := ""
			if version == 5 && i < 3 {
				want = string(append(append(append(append([]byte{0x08}, str("r")...), append([]byte{0x09}, str("c")...)...), append([]byte{0x26}, str("k")...)...), str("v")...))
			}
			if string(m.props) != want {
				t.Fatalf("properties % x, want % x", m.props, want)
			}
			q.ack(4, m.id)
		}
		q.subscribe(3, "kept", 0)
		if m := q.wantPublish(); m.payload != "retained" || !m.retain {
			t.Fatalf("%+v", m)
		}
		q.disconnect()
		eventually(t, "gone", func() bool { return b.Stats().Clients == 0 })
		q = b.dial(t, version)
		q.mustConnect(connectOpts{id: "q"}) // a clean start ends the session
		b.stop()
		for key := range store.kv {
			if key != "r/kept" {
				t.Errorf("left in the store: %q", key)
			}
		}
	})
}

// What was acknowledged within the journal's delay never reaches the store: no wear for what passes through.
func TestJournalWritesLittle(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	b := setup(t, withStore(store))
	q := b.dial(t, 4)
	q.mustConnect(connectOpts{id: "q", resume: true})
	q.subscribe(1, "x", 1)
	q.ping() // the broker has looked for retained messages by now: the first one is not sent twice
	const n = 100
	for range n {
		if err := b.Publish("x", []byte("1"), 1, true); err != nil {
			t.Fatal(err)
		}
		q.ack(4, q.wantPublish().id)
	}
	q.ping()
	b.stop()
	if store.puts > n/2 {
		t.Errorf("%d writes for %d messages", store.puts, n)
	}
	if !store.has("r/x") || !store.has("s/q") || !store.has("u/q\x00x") || len(store.kv) != 3 {
		t.Errorf("the store holds %d keys", len(store.kv))
	}
}

func TestDamagedStoreIsSurvived(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	good := `{"user":"","protocol":4,"expiry":1000}`
	for key, value := range map[string]string{
		"s/good": good, "s/bad": "{", "s/": good, "s/a\nb": good, "s/zero": `{"expiry":0}`,
		"u/good\x00x": `{"qos":1}`, "u/good\x00a#": `{"qos":1}`, "u/nobody\x00x": `{"qos":1}`, "u/good": `{}`, "u/good\x00y": `{"qos":7}`,
		"m/good\x001": `{"topic":"x","qos":1,"payload":"eA=="}`, "m/good\x00zz": `{"topic":"x","qos":1}`, "m/good\x002": `{"topic":"#","qos":1}`, "m/good\x000": `{"topic":"x","qos":1}`, "m/good\x003": `{"topic":"x","qos":0}`,
		"q/good\x001": "\x01", "q/good\x00x": "\x01",
		"r/x": `{"topic":"x","payload":"eA=="}`, "r/y": `{"topic":"y"}`, "r/z": "null",
	} {
		store.kv[key] = []byte(value)
	}
	b := setup(t, withStore(store))
	s := b.Stats()
	if s.Sessions != 1 || s.Subscriptions != 1 || s.QueuedMessages != 1 || s.Retained != 1 || s.Reasons["store_corrupt"] != 15 {
		t.Fatalf("%+v", s)
	}
	b.stop()
	if len(store.kv) != 5 {
		t.Fatalf("%d keys left", len(store.kv))
	}
}

type brokenStore struct{ *memoryStore }

func (brokenStore) Scan(string, func(string, []byte) error) error {
	return errors.New("cannot read")
}

func TestStoreThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := broker.DefaultConfig()
	c.Listeners = nil
	b, err := broker.New(c, broker.Options{Store: brokenStore{newMemoryStore()}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Load(); err == nil {
		t.Fatal("no error")
	}
}

func TestSessionExpiry(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.SessionExpiry = time.Second }))
	c := b.dial(t, 4)
	c.mustConnect(connectOpts{id: "c", resume: true})
	c.subscribe(1, "x", 1)
	c.disconnect()
	v5 := b.dial(t, 5)
	v5.mustConnect(connectOpts{id: "v5", resume: true, expiry: 1000})
	v5.send(frame(0xe0, []byte{0, 5, 0x11}, binary.BigEndian.AppendUint32(nil, 0))) // DISCONNECT: expire at once
	v5.wantClosed()
	eventually(t, "the other session waits", func() bool { s := b.Stats(); return s.Clients == 0 && s.Sessions == 1 })
	b.ExpireSessions(time.Now().Add(900 * time.Millisecond))
	if b.Stats().Sessions != 1 {
		t.Fatal("expired too early")
	}
	b.ExpireSessions(time.Now().Add(1100 * time.Millisecond))
	b.reason(t, "session_expired", 1)
	if s := b.Stats(); s.Sessions != 0 || s.Subscriptions != 0 {
		t.Fatalf("%+v", s)
	}
}

// A session whose time is over is not found again, also before anybody has looked.
func TestExpiredSessionIsNotResumed(t *testing.T) {
	t.Parallel()
	b := setup(t, withLimits(func(l *broker.Limits) { l.SessionExpiry = time.Second }))
	for i, want := range []byte{0, 1, 0} {
		c := b.dial(t, 4)
		if p := c.mustConnect(connectOpts{id: "c", resume: true}); p.body[0] != want {
			t.Fatalf("visit %d: session present %d, want %d", i, p.body[0], want)
		}
		c.disconnect()
		eventually(t, "gone", func() bool { return b.Stats().Clients == 0 })
		if i == 1 {
			time.Sleep(1100 * time.Millisecond)
		}
	}
	b.reason(t, "session_expired", 1)
}

func TestEventsAndDisconnect(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	note := func(s string) { mu.Lock(); defer mu.Unlock(); seen = append(seen, s) }
	b := setup(t, func(_ *broker.Config, o *broker.Options) {
		o.Events = broker.Events{
			Connected:    func(c broker.ClientInfo) { note("connected " + c.ID) },
			Disconnected: func(c broker.ClientInfo, why string) { note("disconnected " + c.ID + " " + why) },
			Subscribed:   func(c broker.ClientInfo, f string) { note("subscribed " + c.ID + " " + f) },
		}
	})
	c := b.client(t, 5, "a")
	c.subscribe(1, "x/#", 0)
	if err := b.Disconnect("a", "a test"); err != nil {
		t.Fatal(err)
	}
	if last := c.wantClosed(); last.kind() != 14 || last.code() != 0x98 {
		t.Fatalf("%+v", last)
	}
	eventually(t, "gone", func() bool { return b.Stats().Clients == 0 && b.Stats().Sessions == 0 })
	if err := b.Disconnect("a", "again"); !errors.Is(err, broker.ErrNoClient) {
		t.Fatal(err)
	}
	b.client(t, 4, "b").disconnect()
	eventually(t, "all events", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 5 })
	want := []string{"connected a", "subscribed a x/#", "disconnected a administrative", "connected b", "disconnected b disconnect"}
	for i, w := range want {
		if seen[i] != w {
			t.Errorf("event %d = %q, want %q", i, seen[i], w)
		}
	}
}

// A graceful stop: no new publishes and clients, what is in flight is still acknowledged, no wills.
func TestStopAccepting(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.sink.auto = nil
	c := b.dial(t, 5)
	c.mustConnect(connectOpts{id: "c", will: telemetry, willPayload: "gone"})
	c.publish(telemetry, "1", 1, 1)
	p := b.sink.next(t)
	b.StopAccepting()
	c.publish(telemetry, "2", 1, 2)
	c.publish(telemetry, "3", 2, 3)
	if r := b.dial(t, 5).connect(connectOpts{id: "late"}); r.code() != 0x8b {
		t.Fatalf("CONNACK %#x", r.code())
	}
	p.Settle(broker.Outcome{})
	if a := c.want(4); a.id() != 1 || a.code() != 0 {
		t.Fatalf("% x", a.body)
	}
	if a := c.want(4); a.id() != 2 || a.code() != 0x97 {
		t.Fatalf("% x", a.body)
	}
	if a := c.want(5); a.id() != 3 || a.code() != 0x97 {
		t.Fatalf("% x", a.body)
	}
	b.stop()
	if last := c.wantClosed(); last.kind() != 14 || last.code() != 0x8b {
		t.Fatalf("%+v", last)
	}
	if b.sink.count() != 1 {
		t.Fatal("a will or a late publish was handed over")
	}
	if err := b.Publish("x", nil, 0, false); !errors.Is(err, broker.ErrStopped) {
		t.Fatal(err)
	}
	p.Settle(broker.Outcome{})
}
