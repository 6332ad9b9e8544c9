package broker_test

import (
	"context"
	"testing"

	"iotc-gateway/broker"
)

// Before Load nobody knows whose sessions there are, so nobody is let in, with
// an answer that says that it will pass.
func TestRefusedBeforeLoad(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	first := setup(t, withStore(store))
	c := first.dial(t, 5)
	c.mustConnect(connectOpts{id: "c", resume: true, expiry: 1000})
	c.subscribe(1, "x", 1)
	c.disconnect()
	first.stop()

	cfg := broker.DefaultConfig()
	cfg.Listeners = []broker.ListenerConfig{{Name: "test", Address: "127.0.0.1:0"}}
	b, err := broker.New(cfg, broker.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	second := &bundle{Broker: b, store: store, addr: b.Addr("test")}
	for version, code := range map[byte]byte{4: 3, 5: 0x88} {
		ack := second.dial(t, version).connect(connectOpts{id: "c", resume: true, expiry: 1000})
		if ack.kind() != 2 || ack.body[1] != code {
			t.Errorf("version %d: CONNACK %x, want code %#x", version, ack.body, code)
		}
	}
	second.reason(t, "starting", 2)
	if st := b.Stats(); st.Sessions != 0 {
		t.Errorf("%d sessions", st.Sessions)
	}

	if err := b.Load(); err != nil {
		t.Fatal(err)
	}
	if ack := second.dial(t, 5).mustConnect(connectOpts{id: "c", resume: true, expiry: 1000}); ack.body[0] != 1 {
		t.Errorf("the session is lost: %x", ack.body)
	}
}
