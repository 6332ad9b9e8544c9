package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
	"iotc-gateway/mapping"
)

// memoryTriggers is a bridge.TriggerStore that survives its ledger.
type memoryTriggers struct {
	mu      sync.Mutex
	entries map[string]bridge.Trigger
	fail    error
}

func (s *memoryTriggers) LoadTriggers(fn func(bridge.Trigger)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		fn(e)
	}
	return nil
}

func (s *memoryTriggers) SaveTrigger(t bridge.Trigger, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		if s.entries == nil {
			s.entries = make(map[string]bridge.Trigger)
		}
		s.entries[t.ID] = t
	}
	done(s.fail)
}

func (s *memoryTriggers) DeleteTrigger(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, id)
}

// triggerBench is a ledger and an uplink over an emulated application.
type triggerBench struct {
	t            *testing.T
	application  *emulator.Application
	store        *memoryTriggers
	deduplicates bool
	cfg          bridge.CommandConfig
	triggers     *bridge.Triggers
	uplink       *bridge.REST
	stop         func()

	mu        sync.Mutex
	published []mapping.Message
}

func setupTriggers(t *testing.T) *triggerBench {
	t.Helper()
	b := &triggerBench{t: t, application: &emulator.Application{CommandDelay: 5 * time.Second}, store: &memoryTriggers{}, cfg: bridge.DefaultConfig().Commands}
	create(t, b.application, "dev")
	b.start()
	return b
}

func (b *triggerBench) start() {
	b.t.Helper()
	pacer := bridge.NewPacer(0)
	ledger, err := bridge.NewTriggers(b.cfg, bridge.TriggersOptions{
		Service: b.application, Pacer: pacer, Store: b.store, MaxAge: time.Minute, Deduplicates: b.deduplicates,
		Publish: func(m mapping.Message) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.published = append(b.published, m)
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.triggers = ledger
	registry := bridge.NewRegistry(bridge.DefaultConfig().Registry, bridge.RegistryOptions{Service: b.application, Pacer: pacer})
	if err := ledger.Load(); err != nil {
		b.t.Fatal(err)
	}
	b.uplink = bridge.NewREST(bridge.RESTOptions{Service: b.application, Registry: registry, Pacer: pacer, Deduplicates: b.deduplicates, Commands: ledger})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = ledger.Run(ctx) }()
	b.stop = func() { cancel(); <-done }
}

// trigger takes a command in and stores it, as the gateway does.
func (b *triggerBench) trigger(reply *mapping.Reply) *bridge.Lease {
	b.t.Helper()
	r := mapping.Record{Kind: mapping.KindCommand, Device: "dev", Name: "reboot", Value: json.RawMessage(`{"delay":1}`), Time: time.Now(), Response: reply}
	e, queue, err := b.triggers.Accept(&r, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	if !queue {
		return nil
	}
	b.store.SaveTrigger(e, func(error) {})
	b.triggers.Stored(e.ID, nil)
	return &bridge.Lease{Device: "dev", Kind: mapping.KindCommand, RequestID: "request-" + e.ID, TriggerID: e.ID, Records: []mapping.Record{r}, Attempt: 1}
}

// statuses returns what was published on the status topic, in order.
func (b *triggerBench) statuses() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []string{}
	for _, m := range b.published {
		var body struct{ Status string }
		if err := json.Unmarshal(m.Payload, &body); err != nil {
			b.t.Error(err)
		}
		if strings.Contains(m.Topic, "/status/") {
			list = append(list, body.Status)
		}
	}
	return list
}

func (b *triggerBench) want(statuses ...string) {
	b.t.Helper()
	if got := b.statuses(); fmt.Sprint(got) != fmt.Sprint(statuses) {
		b.t.Errorf("statuses %v, want %v", got, statuses)
	}
}

func (b *triggerBench) runs() uint64 { return b.application.Stats().Commands }

func TestTriggeredCommandIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupTriggers(t)
		defer func() { b.stop() }()
		l := b.trigger(&mapping.Reply{Topic: "answers/here", Correlation: []byte("c-1")})
		synctest.Wait()
		b.want("Queued")
		if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Accepted || v.Reason != "" {
			t.Fatalf("verdict %+v", v)
		}
		time.Sleep(time.Minute)
		b.want("Queued", "Pending", "Completed")
		last := b.published[len(b.published)-1]
		if last.Topic != "answers/here" || string(last.CorrelationData) != "c-1" || !strings.Contains(string(last.Payload), `"Executed by the emulator."`) {
			t.Errorf("the answer is %s %q %s", last.Topic, last.CorrelationData, last.Payload)
		}
		if n := len(b.published); n != 4 {
			t.Errorf("%d messages, want three statuses and one answer", n)
		}
	})
}

func TestLostAnswerOfACommandIsUnknownAndNotSentAgain(t *testing.T) {
	t.Parallel()
	for _, fault := range []emulator.Fault{
		{Operations: []central.Operation{central.OpTriggerCommand}, Status: 502, Calls: 1},
		{Operations: []central.Operation{central.OpTriggerCommand}, Drop: emulator.DropBeforeAnswering, Calls: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := setupTriggers(t)
			defer func() { b.stop() }()
			b.application.Faults.Set(fault)
			l := b.trigger(nil)
			for range 2 { // the second as after a commit that was lost
				if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Accepted {
					t.Fatalf("verdict %+v", v)
				}
			}
			synctest.Wait()
			b.want("Queued", "Unknown")
			if n := b.runs(); n > 1 {
				t.Errorf("the command ran %d times", n)
			}
		})
	}
}

// TestStopBetweenSendingAndCommitting stops the gateway after each write of
// the ledger and delivers the record again, as the queue does that has not
// seen a commit.
func TestStopBetweenSendingAndCommitting(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		phase        bridge.TriggerPhase
		deduplicates bool
		want         string
		runs         uint64
	}{
		{"before the intent", bridge.PhaseWaiting, false, "Completed", 1},
		{"after the intent", bridge.PhaseSending, false, "Unknown", 0},
		{"after the intent, the application knows it again", bridge.PhaseSending, true, "Completed", 1},
		{"after the answer", bridge.PhaseSent, false, "Completed", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setupTriggers(t)
				defer func() { b.stop() }()
				b.deduplicates = tc.deduplicates
				l := b.trigger(nil)
				if tc.phase == bridge.PhaseSent {
					b.uplink.Deliver(t.Context(), l)
				}
				synctest.Wait()
				b.stop()
				b.store.mu.Lock()
				e := b.store.entries[l.TriggerID]
				b.store.mu.Unlock()
				if tc.phase != bridge.PhaseSent {
					e.Phase = tc.phase
				}
				b.store.SaveTrigger(e, func(error) {})
				b.start()
				if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Accepted {
					t.Fatalf("verdict %+v", v)
				}
				time.Sleep(time.Minute)
				e, _ = b.triggers.Get(l.TriggerID)
				if e.Status != tc.want || b.runs() != tc.runs {
					t.Errorf("status %s after %d runs, want %s after %d", e.Status, b.runs(), tc.want, tc.runs)
				}
			})
		})
	}
}

func TestCommandThatIsNotSentInTimeExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupTriggers(t)
		defer func() { b.stop() }()
		l := b.trigger(nil)
		time.Sleep(59 * time.Second)
		b.want("Queued")
		time.Sleep(2 * time.Second)
		b.want("Queued", "Expired")
		if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Accepted || v.Reason != "expired" || b.runs() != 0 {
			t.Errorf("verdict %+v after %d runs, want expired and none", v, b.runs())
		}
	})
}

func TestCommandIsTriedAgainWhereItCertainlyDidNotRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupTriggers(t)
		defer func() { b.stop() }()
		b.application.Faults.Set(emulator.Fault{Operations: []central.Operation{central.OpTriggerCommand}, Status: 503, RetryAfter: time.Second, Calls: 2})
		l := b.trigger(nil)
		for range 2 {
			if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Retry {
				t.Fatalf("verdict %+v, want retry", v)
			}
		}
		b.store.fail = errors.New("disk full")
		if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Hold || b.runs() != 0 {
			t.Fatalf("verdict %+v with a disk that takes no intent, want hold", v)
		}
		b.store.fail = nil
		if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Accepted || b.runs() != 1 {
			t.Fatalf("verdict %+v after %d runs", v, b.runs())
		}
	})
}

func TestRejectedCommandFailsAndMayBeSentAgainByAPerson(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupTriggers(t)
		defer func() { b.stop() }()
		b.application.Faults.Set(emulator.Fault{Operations: []central.Operation{central.OpTriggerCommand}, Status: 422, Message: "no such thing", Calls: 1})
		l := b.trigger(nil)
		v := b.uplink.Deliver(t.Context(), l)
		b.triggers.Settled(l, v)
		synctest.Wait()
		b.want("Queued", "Failed")
		if e, _ := b.triggers.Get(l.TriggerID); !strings.Contains(string(e.Result), "no such thing") {
			t.Errorf("result %s does not say why", e.Result)
		}
		if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Accepted || b.runs() != 1 {
			t.Errorf("verdict %+v after %d runs", v, b.runs())
		}
	})
}

func TestOfflineTriggers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupTriggers(t)
		defer func() { b.stop() }()
		b.stop()
		b.cfg.Offline = bridge.OfflineRefuse
		b.start()
		b.triggers.LinkChanged(bridge.Status{State: bridge.Offline})
		if l := b.trigger(nil); l != nil {
			t.Error("the command was queued")
		}
		synctest.Wait()
		b.want("Failed")
	})
}

func TestLedgerIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupTriggers(t)
		defer func() { b.stop() }()
		r := mapping.Record{Kind: mapping.KindCommand, Device: "dev", Name: "reboot"}
		for i := range 1001 {
			e, _, err := b.triggers.Accept(&r, time.Now())
			if full := errors.Is(err, bridge.ErrTooManyTriggers); full != (i == 1000) {
				t.Fatalf("command %d: %v", i, err)
			}
			if err == nil {
				b.store.SaveTrigger(e, func(error) {})
				b.triggers.Stored(e.ID, nil)
			}
		}
		time.Sleep(2 * time.Minute)
		if n := b.triggers.Stats(); n.Active != 0 || n.Expired != 1000 {
			t.Errorf("stats %+v, want all expired", n)
		}
		time.Sleep(26 * time.Hour)
		if n := len(b.triggers.List()); n != 0 {
			t.Errorf("%d entries a day later, want none", n)
		}
		b.store.mu.Lock()
		defer b.store.mu.Unlock()
		if n := len(b.store.entries); n != 0 {
			t.Errorf("%d entries in the store, want none", n)
		}
	})
}

// A link that died unnoticed must not make a command Unknown: it is asked
// first, and the command waits.
func TestCommandGoesOnlyOverALinkThatAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupTriggers(t)
		defer func() { b.stop() }()
		b.uplink.Deliver(t.Context(), &bridge.Lease{
			Device: "dev", Kind: mapping.KindTelemetry, RequestID: "id", Attempt: 1,
			Records: []mapping.Record{{Kind: mapping.KindTelemetry, Device: "dev", Value: json.RawMessage(`{"a":1}`), Time: time.Now()}},
		})
		time.Sleep(30 * time.Second)
		b.application.Faults.Set(emulator.Fault{Drop: emulator.DropAfterReading})
		l := b.trigger(nil)
		if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Retry || !v.Unreachable {
			t.Fatalf("verdict %+v over a dead link, want retry", v)
		}
		b.application.Faults.Clear()
		if v := b.uplink.Deliver(t.Context(), l); v.Action != bridge.Accepted || v.Reason != "" || b.runs() != 1 {
			t.Errorf("verdict %+v after %d runs once the link is back", v, b.runs())
		}
	})
}
