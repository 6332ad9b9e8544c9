package broker_test

import (
	"testing"

	"iotc-gateway/broker"
)

// What was published as transient waits in a session like anything else, but not over a restart.
func TestTransientMessagesDoNotOutliveTheBroker(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	b := setup(t, withStore(store))
	opts := connectOpts{id: "q", resume: true, expiry: 3600}
	q := b.dial(t, 5)
	q.mustConnect(opts)
	q.subscribe(1, "x/#", 1)
	q.disconnect()
	eventually(t, "away", func() bool { return b.Stats().Clients == 0 })
	for _, m := range []broker.Message{{Topic: "x/command", QoS: 1, Transient: true}, {Topic: "x/other", QoS: 1}, {Topic: "x/command", QoS: 2, Transient: true}} {
		if err := b.PublishWith(m); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.Stats().QueuedMessages; n != 3 {
		t.Errorf("%d messages wait", n)
	}
	b.stop()
	b = setup(t, withStore(store))
	if n := b.Stats().QueuedMessages; n != 1 {
		t.Errorf("%d messages wait after a restart", n)
	}
	q = b.dial(t, 5)
	q.mustConnect(opts)
	if m := q.wantPublish(); m.topic != "x/other" {
		t.Errorf("got %s", m.topic)
	}
}
