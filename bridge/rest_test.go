package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping"
)

// scriptedService has every device and answers writes with what fail returns.
type scriptedService struct {
	central.Service
	mu      sync.Mutex
	app     central.Application
	devices map[string]bool // nil has every device
	creates int
	fail    func(call string) error
	bodies  []string
}

func (s *scriptedService) failure(call string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(call)
}

func (s *scriptedService) Application(context.Context) (central.Application, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.app, s.failure("application")
}

func (s *scriptedService) Device(_ context.Context, id string) (central.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failure("device"); err != nil {
		return central.Device{}, err
	}
	if s.devices != nil && !s.devices[id] {
		return central.Device{}, central.DeviceNotFound(id)
	}
	return central.Device{ID: id, Enabled: true}, nil
}

func (s *scriptedService) CreateDevice(_ context.Context, id string, _ central.DeviceCreate, _ string) (central.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failure("create"); err != nil {
		return central.Device{}, err
	}
	s.creates++
	if s.devices != nil {
		s.devices[id] = true
	}
	return central.Device{ID: id}, nil
}

func (s *scriptedService) write(call, device, body string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failure(call); err != nil {
		return err
	}
	if s.devices != nil && !s.devices[device] {
		return central.DeviceNotFound(device)
	}
	s.bodies = append(s.bodies, body)
	return nil
}

func (s *scriptedService) SendTelemetry(_ context.Context, device string, body json.RawMessage, _ string) error {
	return s.write("telemetry", device, string(body))
}

func (s *scriptedService) UpdateProperty(_ context.Context, device, _ string, value json.RawMessage, _ string) (central.Property, error) {
	return central.Property{}, s.write("property", device, string(value))
}

func (s *scriptedService) TriggerCommand(_ context.Context, device, _ string, args json.RawMessage, _ string) (central.Command, error) {
	return central.Command{CommandID: "c1", Status: central.StatusPending}, s.write("command", device, string(args))
}

func newREST(t *testing.T, s central.Service, change func(*bridge.RegistryConfig, *bridge.RESTOptions)) (*bridge.REST, *bridge.Registry) {
	t.Helper()
	cfg := bridge.DefaultConfig().Registry
	opts := bridge.RESTOptions{Service: s, Pacer: bridge.NewPacer(0)}
	if change != nil {
		change(&cfg, &opts)
	}
	registry := bridge.NewRegistry(cfg, bridge.RegistryOptions{Service: s, Pacer: opts.Pacer})
	opts.Registry = registry
	return bridge.NewREST(opts), registry
}

func lease(kind mapping.Kind, values ...string) *bridge.Lease {
	l := &bridge.Lease{Device: "dev", Kind: kind, RequestID: "id", Attempt: 1}
	for _, v := range values {
		l.Records = append(l.Records, mapping.Record{Kind: kind, Device: "dev", Name: "name", Value: json.RawMessage(v), Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)})
	}
	return l
}

// TestVerdicts is the table of uplink answers.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	status := func(n int) error { return &central.Error{Status: n, Code: "Code", Message: "words of the server"} }
	lost := &central.TransportError{Op: "call", MaybeSent: true, Err: errors.New("connection reset")}
	unsent := &central.TransportError{Op: "call", Err: errors.New("connection refused")}
	timeout := &central.TransportError{Op: "call", MaybeSent: true, Err: context.DeadlineExceeded}
	tests := []struct {
		name   string
		kind   mapping.Kind
		joined bool
		err    error
		want   bridge.Action
		reason string
	}{
		{name: "success", kind: mapping.KindTelemetry, want: bridge.Accepted},
		{name: "400", kind: mapping.KindTelemetry, err: status(400), want: bridge.Rejected, reason: "status_400"},
		{name: "400 joined", kind: mapping.KindTelemetry, joined: true, err: status(400), want: bridge.Split, reason: "status_400"},
		{name: "413 joined", kind: mapping.KindTelemetry, joined: true, err: status(413), want: bridge.Split, reason: "status_413"},
		{name: "413", kind: mapping.KindTelemetry, err: status(413), want: bridge.Rejected, reason: "status_413"},
		{name: "401", kind: mapping.KindTelemetry, err: status(401), want: bridge.PauseUplink, reason: "status_401"},
		{name: "401 property", kind: mapping.KindProperty, err: status(401), want: bridge.PauseUplink, reason: "status_401"},
		{name: "403", kind: mapping.KindTelemetry, err: status(403), want: bridge.PauseUplink, reason: "status_403"},
		{name: "403 property", kind: mapping.KindProperty, err: status(403), want: bridge.PauseKind, reason: "status_403"},
		{name: "403 command", kind: mapping.KindCommand, err: status(403), want: bridge.PauseKind, reason: "status_403"},
		{name: "404 property by an unknown code", kind: mapping.KindProperty, err: status(404), want: bridge.Rejected, reason: "property_not_found"},
		{name: "404 command", kind: mapping.KindCommand, err: central.Errorf(404, central.CodeCommandNotFound, "no"), want: bridge.Rejected, reason: "command_not_found"},
		{name: "409", kind: mapping.KindTelemetry, err: status(409), want: bridge.Rejected, reason: "status_409"},
		{name: "415", kind: mapping.KindTelemetry, err: status(415), want: bridge.Rejected, reason: "status_415"},
		{name: "422", kind: mapping.KindProperty, err: status(422), want: bridge.Rejected, reason: "status_422"},
		{name: "408", kind: mapping.KindTelemetry, err: status(408), want: bridge.Retry, reason: "status_408"},
		{name: "425", kind: mapping.KindTelemetry, err: status(425), want: bridge.Retry, reason: "status_425"},
		{name: "429", kind: mapping.KindTelemetry, err: status(429), want: bridge.Retry, reason: "status_429"},
		{name: "500", kind: mapping.KindTelemetry, err: status(500), want: bridge.Retry, reason: "status_500"},
		{name: "503 telemetry", kind: mapping.KindTelemetry, err: status(503), want: bridge.Retry, reason: "status_503"},
		{name: "503 command that may come again", kind: mapping.KindCommand, err: &central.Error{Status: 503, RetryAfter: time.Second}, want: bridge.Retry, reason: "status_503"},
		{name: "503 command", kind: mapping.KindCommand, err: status(503), want: bridge.Accepted, reason: "answer_lost"},
		{name: "500 command", kind: mapping.KindCommand, err: status(500), want: bridge.Accepted, reason: "answer_lost"},
		{name: "502 command", kind: mapping.KindCommand, err: status(502), want: bridge.Accepted, reason: "answer_lost"},
		{name: "504 command", kind: mapping.KindCommand, err: status(504), want: bridge.Accepted, reason: "answer_lost"},
		{name: "501 command", kind: mapping.KindCommand, err: status(501), want: bridge.Retry, reason: "status_501"},
		{name: "429 command", kind: mapping.KindCommand, err: status(429), want: bridge.Retry, reason: "status_429"},
		{name: "redirect", kind: mapping.KindTelemetry, err: status(302), want: bridge.Retry, reason: "status_302"},
		{name: "connection refused", kind: mapping.KindTelemetry, err: unsent, want: bridge.Retry, reason: "network"},
		{name: "answer lost", kind: mapping.KindTelemetry, err: lost, want: bridge.Retry, reason: "network"},
		{name: "timeout", kind: mapping.KindTelemetry, err: timeout, want: bridge.Retry, reason: "timeout"},
		{name: "command not sent", kind: mapping.KindCommand, err: unsent, want: bridge.Retry, reason: "network"},
		{name: "command's answer lost", kind: mapping.KindCommand, err: lost, want: bridge.Accepted, reason: "answer_lost"},
		{name: "captive portal", kind: mapping.KindTelemetry, err: &central.TransportError{Op: "call", MaybeSent: true, Err: central.ErrNotAnAnswer}, want: bridge.Retry, reason: "not_an_answer"},
		{name: "no token", kind: mapping.KindTelemetry, err: &central.TransportError{Op: "call", Err: central.ErrNoToken}, want: bridge.PauseUplink, reason: "no_token"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := &scriptedService{fail: func(call string) error {
				if call == tc.kind.String() {
					return tc.err
				}
				return nil
			}}
			u, _ := newREST(t, s, nil)
			l := lease(tc.kind, `{"a":1}`)
			if tc.joined {
				l = lease(tc.kind, `{"a":1}`, `{"b":2}`)
			}
			v := u.Deliver(t.Context(), l)
			if v.Action != tc.want || v.Reason != tc.reason {
				t.Errorf("verdict is %s %q (%s), want %s %q", v.Action, v.Reason, v.Message, tc.want, tc.reason)
			}
		})
	}
}

func TestJoinedTelemetryHasAllMembersAndTheLastTime(t *testing.T) {
	t.Parallel()
	s := &scriptedService{}
	u, _ := newREST(t, s, nil)
	l := lease(mapping.KindTelemetry, `{"a":1.50}`, `{}`, `{"b":"x"}`)
	l.Records[2].Time = l.Records[0].Time.Add(time.Second)
	if v := u.Deliver(t.Context(), l); v.Action != bridge.Accepted {
		t.Fatalf("verdict %+v", v)
	}
	const want = `{"a":1.50,"b":"x","timestamp":"2026-11-22T10:00:01Z"}`
	if len(s.bodies) != 1 || s.bodies[0] != want {
		t.Errorf("sent %q, want %q", s.bodies, want)
	}
}

func TestFirstSightLooksBeforeItCreates(t *testing.T) {
	t.Parallel()
	s := &scriptedService{devices: map[string]bool{}}
	u, registry := newREST(t, s, nil)
	for range 3 {
		if v := u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{"a":1}`)); v.Action != bridge.Accepted {
			t.Fatalf("verdict %+v", v)
		}
	}
	if s.creates != 1 || len(s.bodies) != 3 {
		t.Errorf("%d creations and %d messages, want 1 and 3", s.creates, len(s.bodies))
	}
	if err := registry.CheckID("DEV"); err == nil {
		t.Error("an id that differs in case alone was let through")
	}
}

func TestConflictOnCreateMeansItExists(t *testing.T) {
	t.Parallel()
	s := &scriptedService{devices: map[string]bool{}}
	s.fail = func(call string) error {
		if call == "create" {
			s.devices["dev"] = true
			return &central.Error{Status: http.StatusConflict, Code: central.CodeDeviceExists}
		}
		return nil
	}
	u, _ := newREST(t, s, nil)
	if v := u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{"a":1}`)); v.Action != bridge.Accepted {
		t.Errorf("verdict %+v, want accepted", v)
	}
}

func TestDeviceDeletedInTheCloudIsNotCreatedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scriptedService{devices: map[string]bool{}, app: central.Application{ID: "app"}}
		u, registry := newREST(t, s, nil)
		deliver := func() bridge.Verdict { return u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{"a":1}`)) }
		deliver()
		delete(s.devices, "dev")
		if v := deliver(); v.Action != bridge.Rejected || v.Reason != "device_deleted" {
			t.Fatalf("verdict %+v, want device_deleted", v)
		}
		time.Sleep(2 * time.Minute)
		if v := deliver(); v.Reason != "device_deleted" || s.creates != 1 {
			t.Fatalf("verdict %+v after %d creations, want device_deleted and no second creation", v, s.creates)
		}
		// It comes back when somebody creates it in the application, or when a person approves it here.
		s.devices["dev"] = true
		time.Sleep(2 * time.Minute)
		if v := deliver(); v.Action != bridge.Accepted {
			t.Fatalf("verdict %+v after it came back, want accepted", v)
		}
		delete(s.devices, "dev")
		deliver()
		if err := registry.Approve("dev"); err != nil {
			t.Fatal(err)
		}
		if v := deliver(); v.Action != bridge.Accepted || s.creates != 2 {
			t.Fatalf("verdict %+v after approval, want accepted and a second creation", v)
		}
	})
}

func TestAnotherApplicationGetsItsDevicesAnew(t *testing.T) {
	t.Parallel()
	s := &scriptedService{devices: map[string]bool{}, app: central.Application{ID: "app", CreatedTime: time.Unix(1, 0)}}
	u, _ := newREST(t, s, nil)
	deliver := func() bridge.Verdict { return u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{"a":1}`)) }
	deliver()
	s.devices, s.app.CreatedTime = map[string]bool{}, time.Unix(2, 0)
	if v := deliver(); v.Action != bridge.Accepted || s.creates != 2 {
		t.Errorf("verdict %+v with %d creations, want accepted with 2", v, s.creates)
	}
}

func TestRegistryPolicies(t *testing.T) {
	t.Parallel()
	t.Run("refuse", func(t *testing.T) {
		t.Parallel()
		s := &scriptedService{devices: map[string]bool{}}
		u, _ := newREST(t, s, func(c *bridge.RegistryConfig, _ *bridge.RESTOptions) { c.Unknown = bridge.UnknownRefuse })
		if v := u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{}`)); v.Action != bridge.Rejected || v.Reason != "device_refused" {
			t.Errorf("verdict %+v, want device_refused", v)
		}
	})
	t.Run("approve", func(t *testing.T) {
		t.Parallel()
		s := &scriptedService{devices: map[string]bool{}}
		u, registry := newREST(t, s, func(c *bridge.RegistryConfig, _ *bridge.RESTOptions) { c.Unknown = bridge.UnknownApprove })
		if v := u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{}`)); v.Action != bridge.Hold {
			t.Errorf("verdict %+v, want hold", v)
		}
		if d, _ := registry.Device("dev"); d.State != bridge.DevicePending {
			t.Errorf("state is %q, want pending", d.State)
		}
		if err := registry.Approve("dev"); err != nil {
			t.Fatal(err)
		}
		if v := u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{}`)); v.Action != bridge.Accepted {
			t.Errorf("verdict %+v after approval, want accepted", v)
		}
	})
	t.Run("approved by creating it in the application", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &scriptedService{devices: map[string]bool{}}
			u, _ := newREST(t, s, func(c *bridge.RegistryConfig, _ *bridge.RESTOptions) { c.Unknown = bridge.UnknownApprove })
			u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{}`))
			s.devices["dev"] = true
			v := u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{}`))
			if v.Action != bridge.Hold || v.After <= 0 {
				t.Fatalf("verdict %+v at once, want hold for a while", v)
			}
			time.Sleep(v.After)
			if v := u.Deliver(t.Context(), lease(mapping.KindTelemetry, `{}`)); v.Action != bridge.Accepted {
				t.Errorf("verdict %+v after it was created, want accepted", v)
			}
		})
	})
	t.Run("full", func(t *testing.T) {
		t.Parallel()
		s := &scriptedService{devices: map[string]bool{}}
		u, _ := newREST(t, s, func(c *bridge.RegistryConfig, _ *bridge.RESTOptions) { c.MaxDevices = 1 })
		first, second := lease(mapping.KindTelemetry, `{}`), lease(mapping.KindTelemetry, `{}`)
		second.Device = "other"
		u.Deliver(t.Context(), first)
		if v := u.Deliver(t.Context(), second); v.Action != bridge.Rejected || v.Reason != "registry_full" {
			t.Errorf("verdict %+v, want registry_full", v)
		}
	})
}

func TestPacerMeetsTheServersRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bridge.NewPacer(0)
		const allowed = 50 // calls a second
		accepted, refused := 0, 0
		second, inSecond := time.Now(), 0
		call := func() {
			if err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if time.Since(second) >= time.Second {
				second, inSecond = time.Now(), 0
			}
			time.Sleep(time.Millisecond)
			if inSecond++; inSecond > allowed {
				refused++
				p.Throttled(0)
				return
			}
			accepted++
			p.Accepted()
		}
		start := time.Now()
		for time.Since(start) < time.Minute {
			call()
		}
		if accepted < 60*allowed*7/10 {
			t.Errorf("%d calls accepted in a minute of %d a second, want at least 70 %%", accepted, allowed)
		}
		if refused > accepted {
			t.Errorf("%d calls refused against %d accepted", refused, accepted)
		}
	})
}

func TestPacerIsNotStarvedByRefusalsAtRandom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bridge.NewPacer(0)
		calls := func(until time.Duration, refuse bool) (accepted int) {
			for start, i := time.Now(), 0; time.Since(start) < until; i++ {
				if err := p.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
				if refuse && i%5 == 0 {
					p.Throttled(0)
					continue
				}
				accepted++
				p.Accepted()
			}
			return accepted
		}
		calls(5*time.Second, false)
		if n := calls(30*time.Second, true); n < 30*200 {
			t.Errorf("%d calls accepted in 30 s while a fifth is refused at random, want at least 200 a second of 800", n)
		}
		calls(2*time.Second, false)
		if n := calls(time.Second, false); n < 900 {
			t.Errorf("%d calls accepted in the third second after the refusals ended, want 1,000", n)
		}
	})
}

func TestPacerObeysRetryAfterAndRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bridge.NewPacer(20)
		p.Throttled(7 * time.Second)
		start := time.Now()
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < 7*time.Second || waited > 9*time.Second {
			t.Errorf("waited %s, want the 7s of Retry-After", waited)
		}
		for range 400 {
			_ = p.Wait(t.Context())
			p.Accepted()
		}
		if rate, _ := p.Rate(); rate != 20 {
			t.Errorf("the rate is %v after the refusals ended, want 20 again", rate)
		}
	})
}
