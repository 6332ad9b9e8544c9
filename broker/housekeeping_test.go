package broker_test

import (
	"testing"
	"time"

	"iotc-gateway/broker"
)

// Messages whose expiry interval is over are gone, waiting and retained ones, also those that came out of the store;
// others stay.
func TestMessagesExpire(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		store := newMemoryStore()
		b := setup(t, withStore(store))
		opts := connectOpts{id: "q", resume: true, expiry: 1000}
		q := b.dial(t, version)
		q.mustConnect(opts)
		q.subscribe(1, "x/#", 1)
		q.disconnect()
		eventually(t, "away", func() bool { return b.Stats().Clients == 0 })
		for topic, expiry := range map[string]time.Duration{"x/short": 10 * time.Second, "x/long": time.Hour, "x/ever": 0} {
			if err := b.PublishWith(broker.Message{Topic: topic, Payload: []byte(topic), QoS: 1, Retain: true, Expiry: expiry}); err != nil {
				t.Fatal(err)
			}
		}
		count := func(b *bundle, n int64) {
			t.Helper()
			if s := b.Stats(); s.QueuedMessages != n || s.Retained != n {
				t.Fatalf("%d wait and %d are retained, want %d each", s.QueuedMessages, s.Retained, n)
			}
		}
		b.ExpireMessages(time.Now().Add(5 * time.Second))
		count(b, 3)
		b.ExpireMessages(time.Now().Add(15 * time.Second))
		count(b, 2)
		if n := b.Stats().Reasons["queue_expired"]; n != 1 {
			t.Errorf("%d counted as expired", n)
		}
		b.stop()

		b = setup(t, withStore(store))
		count(b, 2)
		b.ExpireMessages(time.Now().Add(2 * time.Hour))
		count(b, 1)
		q = b.dial(t, version)
		q.mustConnect(opts)
		if m := q.wantPublish(); m.topic != "x/ever" || m.payload != "x/ever" {
			t.Errorf("%+v", m)
		}
	})
}

// A monitor reads the broker's own figures, which are neither stored nor counted as received.
func TestSysTopics(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	b := setup(t, withUsers(t), withStore(store))
	c := b.dial(t, 5)
	c.mustConnect(connectOpts{id: "m", user: "mon", pass: "secret5"})
	c.subscribe(1, "$SYS/broker/#", 0)
	seen := map[string]string{}
	for len(seen) < 20 {
		m := c.wantPublish()
		if !m.retain {
			t.Errorf("%+v is not retained", m)
		}
		seen[m.topic] = m.payload
	}
	for _, topic := range []string{"version", "uptime", "clients/connected", "messages/received", "load/bytes/sent", "system/memory"} {
		if seen["$SYS/broker/"+topic] == "" {
			t.Errorf("no %s in %v", topic, seen)
		}
	}
	if got := seen["$SYS/broker/messages/received"]; got != "0" {
		t.Errorf("%s messages received", got)
	}
	if s := b.Stats(); s.Retained != 0 {
		t.Errorf("%d retained", s.Retained)
	}
	b.stop()
	if len(store.kv) != 0 {
		t.Errorf("the store holds %d keys", len(store.kv))
	}
}
