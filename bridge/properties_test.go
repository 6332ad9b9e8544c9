package bridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/emulator"
)

// memoryProperties is a bridge.PropertyStore that survives the Properties that
// write to it.
type memoryProperties struct {
	mu      sync.Mutex
	entries map[string]bridge.PropertyEntry
	fail    error
}

func (s *memoryProperties) LoadProperties(fn func(bridge.PropertyEntry)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		fn(e)
	}
	return nil
}

func (s *memoryProperties) SaveProperty(e bridge.PropertyEntry, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		if s.entries == nil {
			s.entries = make(map[string]bridge.PropertyEntry)
		}
		s.entries[e.Device+"/"+e.Name] = e
	}
	if done != nil {
		done(s.fail)
	}
}

// propertyBench is Properties over an emulated application, with what was
// delivered. It lives in a synctest bubble.
type propertyBench struct {
	t           *testing.T
	application *emulator.Application
	store       *memoryProperties
	properties  *bridge.Properties
	stop        func()

	mu        sync.Mutex
	delivered []bridge.DesiredValue
	refuse    error
}

func setupProperties(t *testing.T) *propertyBench {
	t.Helper()
	b := &propertyBench{t: t, application: &emulator.Application{}, store: &memoryProperties{}}
	create(t, b.application, "dev")
	b.start()
	return b
}

func (b *propertyBench) start() {
	b.t.Helper()
	cfg := bridge.DefaultConfig().Properties
	owned := map[string]bool{"setpoint": true, "mode": true}
	p, err := bridge.NewProperties(cfg, bridge.PropertiesOptions{
		Service: b.application, Pacer: bridge.NewPacer(0), Store: b.store,
		CloudOwned: func(_, name string) bool { return owned[name] },
		Names:      func(string) []string { return []string{"setpoint", "mode"} },
		Deliver: func(v bridge.DesiredValue) (bool, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.refuse == nil {
				b.delivered = append(b.delivered, v)
			}
			return true, b.refuse
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := p.Load(); err != nil {
		b.t.Fatal(err)
	}
	b.properties = p
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	p.Track("dev")
	b.stop = func() { cancel(); <-done }
}

func (b *propertyBench) restart() {
	b.t.Helper()
	b.stop()
	b.start()
}

func (b *propertyBench) set(name, value string) {
	b.t.Helper()
	if _, err := b.application.UpdateProperty(b.t.Context(), "dev", name, json.RawMessage(value), ""); err != nil {
		b.t.Fatal(err)
	}
}

func (b *propertyBench) inCloud(name string) string {
	b.t.Helper()
	p, err := b.application.Property(b.t.Context(), "dev", name)
	if err != nil {
		return err.Error()
	}
	return string(p.Value)
}

// taken returns what was delivered since the last call as "name=value@version".
func (b *propertyBench) taken() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []string{}
	for _, v := range b.delivered {
		list = append(list, fmt.Sprintf("%s=%s@%d", v.Name, v.Value, v.Version))
	}
	b.delivered = nil
	return list
}

func (b *propertyBench) want(deliveries ...string) {
	b.t.Helper()
	if got := b.taken(); fmt.Sprint(got) != fmt.Sprint(deliveries) {
		b.t.Errorf("delivered %q, want %q", got, deliveries)
	}
}

const enoughPolls = 15 * time.Minute

func TestDesiredValueComesDownOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupProperties(t)
		defer func() { b.stop() }()
		b.set("setpoint", "21.50")
		time.Sleep(enoughPolls)
		b.want("setpoint=21.50@1")
		b.set("setpoint", "21.5")
		time.Sleep(enoughPolls)
		b.want()
		b.set("setpoint", "23")
		time.Sleep(enoughPolls)
		b.want("setpoint=23@2")
	})
}

func TestDesiredChangeWhileTheGatewayWasDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupProperties(t)
		defer func() { b.stop() }()
		b.set("setpoint", "1")
		time.Sleep(enoughPolls)
		b.want("setpoint=1@1")
		b.stop()
		b.set("setpoint", "2")
		b.start()
		time.Sleep(time.Second)
		b.want("setpoint=2@2")
		b.restart()
		time.Sleep(enoughPolls)
		b.want()
	})
}

func TestUnconfirmedValueIsToldAgainAfterAReconnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupProperties(t)
		defer func() { b.stop() }()
		p := b.properties
		p.Connected("dev", false)
		p.Subscribed("dev", "devices/dev/#")
		b.set("setpoint", "1")
		time.Sleep(enoughPolls)
		b.want("setpoint=1@1")
		for range 2 {
			p.Disconnected("dev")
			p.Connected("dev", true)
			time.Sleep(time.Minute)
			b.want("setpoint=1@1")
		}
		// One that subscribes gets the retained message from the broker.
		p.Disconnected("dev")
		p.Connected("dev", true)
		p.Subscribed("dev", "devices/+/properties/#")
		time.Sleep(time.Minute)
		b.want()
		if p.Reported("other", "unowned", json.RawMessage("1"), time.Now()) || !p.Reported("dev", "setpoint", json.RawMessage("0"), time.Now()) {
			t.Error("a report is an acknowledgement exactly where the application owns the property")
		}
		if e, _ := p.Get("dev", "setpoint"); e.Acknowledged {
			t.Error("the report of another value counted as acknowledgement")
		}
		p.Reported("dev", "setpoint", json.RawMessage("1.0"), time.Now())
		if e, _ := p.Get("dev", "setpoint"); !e.Acknowledged {
			t.Errorf("entry %+v, want it acknowledged", e)
		}
		p.Disconnected("dev")
		p.Connected("dev", true)
		time.Sleep(time.Minute)
		b.want()
		if got := b.inCloud("setpoint"); got != "1" {
			t.Errorf("the application has %s, want its own 1: a report of its property went up", got)
		}
	})
}

func TestWhatWasPublishedWhileTheDeviceWasAwayIsNotToldTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupProperties(t)
		defer func() { b.stop() }()
		b.set("setpoint", "1")
		time.Sleep(enoughPolls)
		b.want("setpoint=1@1")
		b.properties.Connected("dev", true) // its session's queue holds it
		time.Sleep(time.Minute)
		b.want()
	})
}

func TestLocalValueGoesUpOnceThenTheCloudHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupProperties(t)
		defer func() { b.stop() }()
		b.set("setpoint", "1")
		time.Sleep(enoughPolls)
		b.want("setpoint=1@1")
		b.properties.LinkChanged(bridge.Status{State: bridge.Offline})
		if _, err := b.properties.SetLocal(t.Context(), "dev", "setpoint", json.RawMessage(" 7 ")); err != nil {
			t.Fatal(err)
		}
		b.want("setpoint=7@2")
		b.restart()
		b.properties.LinkChanged(bridge.Status{State: bridge.Offline})
		time.Sleep(time.Second)
		// The restarted gateway may find the link before it is told.
		b.properties.LinkChanged(bridge.Status{State: bridge.Online})
		time.Sleep(enoughPolls)
		b.want()
		if got := b.inCloud("setpoint"); got != "7" {
			t.Errorf("the application has %s, want 7", got)
		}
		if e, _ := b.properties.Get("dev", "setpoint"); e.Pending() {
			t.Errorf("entry %+v, want nothing pending", e)
		}
		b.set("setpoint", "8")
		time.Sleep(enoughPolls)
		b.want("setpoint=8@3")
	})
}

// TestFleetIsAskedWhenOneDevicesPropertyChanges sets a value for one device
// after the other, and counts the questions once nothing changes any more.
func TestFleetIsAskedWhenOneDevicesPropertyChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupProperties(t)
		defer func() { b.stop() }()
		ids := make([]string, 100)
		for i := range ids {
			ids[i] = fmt.Sprintf("fleet-%d", i)
			create(t, b.application, ids[i])
			b.properties.Track(ids[i])
			b.properties.Connected(ids[i], false)
		}
		time.Sleep(time.Minute)
		for _, id := range ids {
			if _, err := b.application.UpdateProperty(t.Context(), id, "setpoint", json.RawMessage("5"), ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		if n := len(b.taken()); n != len(ids) {
			t.Errorf("%d of %d devices were told within three seconds of the last change", n, len(ids))
		}
		time.Sleep(20 * time.Minute)
		before := b.properties.Stats().Polls
		time.Sleep(time.Minute)
		// Two properties of each device, every 27 to 33 s, and one device that
		// is away.
		if n := b.properties.Stats().Polls - before; n > 2*100*3 {
			t.Errorf("%d questions in a minute in which nothing changed", n)
		}
	})
}
