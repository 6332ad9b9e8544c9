package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
)

// slot is an application with one property, which can be away and lose
// answers.
type slot struct {
	central.Service
	mu     sync.Mutex
	value  string // "" is none
	down   bool
	next   string         // what happens to the next write: lost, dropped, unsent or refused
	writes map[string]int // values that were written by the gateway, and how often
	denied map[string]bool
}

func (s *slot) Property(context.Context, string, string) (central.Property, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return central.Property{}, &central.TransportError{Op: "get", Err: errors.New("down")}
	case s.value == "":
		return central.Property{}, &central.Error{Status: 404, Code: central.CodePropertyNotFound}
	}
	return central.Property{Value: json.RawMessage(s.value)}, nil
}

func (s *slot) UpdateProperty(_ context.Context, _, _ string, value json.RawMessage, _ string) (central.Property, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return central.Property{}, &central.TransportError{Op: "update", Err: errors.New("down")}
	}
	fault := s.next
	s.next = ""
	switch fault {
	case "unsent":
		return central.Property{}, &central.TransportError{Op: "update", Err: errors.New("refused")}
	case "dropped":
		return central.Property{}, &central.TransportError{Op: "update", MaybeSent: true, Err: errors.New("reset")}
	case "refused":
		s.denied[string(value)] = true
		return central.Property{}, &central.Error{Status: 400, Code: central.CodeInvalidBody}
	}
	s.value = string(value)
	s.writes[s.value]++
	if fault == "lost" {
		return central.Property{}, &central.TransportError{Op: "update", MaybeSent: true, Err: errors.New("reset")}
	}
	return central.Property{Value: value}, nil
}

func (s *slot) set(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value = value
}

// slowProperties is a store whose writes reach the disk a little later, in
// order; a crash loses those that have not.
type slowProperties struct {
	mu      sync.Mutex
	entries map[string]bridge.PropertyEntry
	pending []func()
	life    int
}

const diskTakes = 2 * time.Millisecond

func (s *slowProperties) LoadProperties(fn func(bridge.PropertyEntry)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		fn(e)
	}
	return nil
}

func (s *slowProperties) SaveProperty(e bridge.PropertyEntry, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	life := s.life
	s.pending = append(s.pending, func() {
		if s.life != life {
			done(errors.New("power lost"))
			return
		}
		s.entries[e.Device+"/"+e.Name] = e
		done(nil)
	})
	time.AfterFunc(diskTakes, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		next := s.pending[0]
		s.pending = s.pending[1:]
		next()
	})
}

func (s *slowProperties) crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life++
}

// propertyModel drives one property of one device and knows what must come of
// it.
type propertyModel struct {
	cloud *slot
	store *slowProperties
	p     *bridge.Properties
	stop  func()

	mu        sync.Mutex
	delivered []bridge.DesiredValue
	values    map[uint64]string // by version
	again     map[uint64]int    // deliveries of a version
	powerless bool
	allowed   int // further deliveries that reconnects and crashes explain

	serial    int
	links     int
	last      string // who set the last value: "cloud", "local" or ""
	lastValue string
}

func (m *propertyModel) start(t *rapid.T) {
	p, err := bridge.NewProperties(bridge.DefaultConfig().Properties, bridge.PropertiesOptions{
		Service: m.cloud, Pacer: bridge.NewPacer(0), Store: m.store,
		CloudOwned: func(string, string) bool { return true },
		Names:      func(string) []string { return []string{"setpoint"} },
		Deliver: func(v bridge.DesiredValue) (bool, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.powerless {
				return false, errors.New("power lost")
			}
			m.delivered = append(m.delivered, v)
			m.again[v.Version]++
			if old, ok := m.values[v.Version]; ok && old != string(v.Value) {
				t.Errorf("version %d was %s and is %s now", v.Version, old, v.Value)
			}
			m.values[v.Version] = string(v.Value)
			return true, nil
		},
	})
	if err == nil {
		err = p.Load()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	m.p = p
	m.stop = func() { cancel(); <-done }
	p.Track("dev")
	for range m.links {
		p.Connected("dev", true)
	}
}

func (m *propertyModel) fresh() string {
	m.serial++
	return strconv.Itoa(m.serial)
}

func (m *propertyModel) checkVersions(t *rapid.T) {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 1; i < len(m.delivered); i++ {
		if m.delivered[i].Version < m.delivered[i-1].Version {
			t.Fatalf("version %d was delivered after %d", m.delivered[i].Version, m.delivered[i-1].Version)
		}
	}
	surplus := 0
	for _, n := range m.again {
		surplus += n - 1
	}
	if surplus > m.allowed {
		t.Fatalf("%d deliveries came again, %d reconnects and restarts explain them", surplus, m.allowed)
	}
	m.cloud.mu.Lock()
	defer m.cloud.mu.Unlock()
	for value, n := range m.cloud.writes {
		if n > 1 {
			t.Fatalf("value %s went up %d times", value, n)
		}
	}
}

// settle lets everything come to rest and checks what must hold then.
func (m *propertyModel) settle(t *rapid.T) {
	m.cloud.mu.Lock()
	m.cloud.down, m.cloud.next = false, ""
	m.cloud.mu.Unlock()
	m.p.LinkChanged(bridge.Status{State: bridge.Online})
	time.Sleep(2 * time.Hour)
	e, ok := m.p.Get("dev", "setpoint")
	m.cloud.mu.Lock()
	value, denied := m.cloud.value, m.cloud.denied[m.lastValue]
	m.cloud.mu.Unlock()
	if value == "" && (!ok || e.Version == 0 || denied) {
		return
	}
	if string(e.Desired) != value || e.Pending() {
		t.Fatalf("the application has %s and the gateway wants %s: %+v", value, e.Desired, e)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.delivered) == 0 {
		t.Fatalf("the application has %s and the device was told nothing: %+v", value, e)
	}
	if last := m.delivered[len(m.delivered)-1]; string(last.Value) != value {
		t.Fatalf("the application has %s and the device was told %s", value, last.Value)
	}
	if m.last != "" && !denied && value != m.lastValue {
		t.Fatalf("the application has %s, the last value, set by %s, was %s", value, m.last, m.lastValue)
	}
}

func TestPropertiesWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		// A bubble of its own for each run, so that rapid keeps its own time.
		// What rapid stops a run with is carried out of it.
		var stopped any
		synctest.Test(t, func(*testing.T) {
			defer func() { stopped = recover() }()
			m := &propertyModel{
				cloud:  &slot{writes: make(map[string]int), denied: make(map[string]bool)},
				store:  &slowProperties{entries: make(map[string]bridge.PropertyEntry)},
				values: make(map[uint64]string), again: make(map[uint64]int),
			}
			m.start(rt)
			defer func() { m.stop() }()
			rt.Repeat(m.actions())
			m.settle(rt)
			m.checkVersions(rt)
		})
		if stopped != nil {
			panic(stopped)
		}
	})
}

func (m *propertyModel) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"": m.checkVersions,
		"cloud sets": func(*rapid.T) {
			e, _ := m.p.Get("dev", "setpoint")
			v := m.fresh()
			m.cloud.set(v)
			m.last, m.lastValue = "cloud", v
			if e.Pending() {
				m.last = "" // whichever of the two comes later holds
			}
		},
		"operator sets": func(t *rapid.T) {
			v := m.fresh()
			if _, err := m.p.SetLocal(context.Background(), "dev", "setpoint", json.RawMessage(v)); err != nil {
				t.Fatal(err)
			}
			m.last, m.lastValue = "local", v
		},
		"device reports": func(t *rapid.T) {
			m.mu.Lock()
			v := rapid.SampledFrom([]string{"null", fmt.Sprint(m.serial)}).Draw(t, "value")
			m.mu.Unlock()
			if !m.p.Reported("dev", "setpoint", json.RawMessage(v), time.Now()) {
				t.Error("a report of the application's property was not taken for an acknowledgement")
			}
		},
		"device connects": func(*rapid.T) {
			m.links++
			m.mu.Lock()
			m.allowed++
			m.mu.Unlock()
			m.p.Connected("dev", true)
		},
		"device leaves": func(*rapid.T) {
			m.links = max(0, m.links-1)
			m.p.Disconnected("dev")
		},
		"link": func(t *rapid.T) {
			down := rapid.Bool().Draw(t, "down")
			m.cloud.mu.Lock()
			m.cloud.down = down
			m.cloud.mu.Unlock()
			if rapid.Bool().Draw(t, "told") {
				m.p.LinkChanged(bridge.Status{State: map[bool]bridge.State{true: bridge.Offline, false: bridge.Online}[down]})
			}
		},
		"next write": func(t *rapid.T) {
			m.cloud.mu.Lock()
			defer m.cloud.mu.Unlock()
			m.cloud.next = rapid.SampledFrom([]string{"lost", "dropped", "unsent", "refused"}).Draw(t, "fault")
		},
		"time passes": func(t *rapid.T) {
			time.Sleep(rapid.SampledFrom([]time.Duration{diskTakes / 2, diskTakes, time.Second, time.Minute, time.Hour}).Draw(t, "for"))
		},
		"restart": func(t *rapid.T) {
			m.stop()
			time.Sleep(2 * diskTakes)
			m.startAgain(t)
		},
		"crash": func(t *rapid.T) {
			m.store.crash()
			m.setPower(false)
			m.stop()
			time.Sleep(2 * diskTakes)
			m.setPower(true)
			m.startAgain(t)
		},
	}
}

func (m *propertyModel) startAgain(t *rapid.T) {
	m.mu.Lock()
	m.allowed += 1 + m.links // published and not noted, and each connection anew
	m.mu.Unlock()
	m.start(t)
}

func (m *propertyModel) setPower(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.powerless = !on
}
