package bridge_test

import (
	"context"
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

// memoryRegistry is a bridge.RegistryStore that survives its registry.
type memoryRegistry struct {
	mu      sync.Mutex
	devices map[string]bridge.KnownDevice
	app     bridge.ApplicationID
	writes  int
}

func (s *memoryRegistry) LoadDevices(fn func(bridge.KnownDevice)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		fn(d)
	}
	return nil
}

func (s *memoryRegistry) SaveDevice(d bridge.KnownDevice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.devices == nil {
		s.devices = make(map[string]bridge.KnownDevice)
	}
	s.devices[strings.ToLower(d.ID)] = d
	s.writes++
}

func (s *memoryRegistry) DeleteDevice(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.devices, id)
}

func (s *memoryRegistry) LoadApplication() (bridge.ApplicationID, bool) {
	return s.app, s.app != (bridge.ApplicationID{})
}

func (s *memoryRegistry) SaveApplication(id bridge.ApplicationID) { s.app = id }

// registryBench is a registry over an emulated application.
type registryBench struct {
	t           testing.TB
	application *emulator.Application
	store       *memoryRegistry
	registry    *bridge.Registry
	uplink      *bridge.REST
}

func setupRegistry(t testing.TB, change func(*bridge.RegistryConfig)) *registryBench {
	t.Helper()
	b := &registryBench{t: t, application: &emulator.Application{}, store: &memoryRegistry{}}
	b.open(b.application, change)
	return b
}

func (b *registryBench) open(service central.Service, change func(*bridge.RegistryConfig)) {
	b.t.Helper()
	cfg := bridge.DefaultConfig().Registry
	if change != nil {
		change(&cfg)
	}
	pacer := bridge.NewPacer(0)
	r := bridge.NewRegistry(cfg, bridge.RegistryOptions{Service: service, Pacer: pacer, Store: b.store})
	if err := r.Load(); err != nil {
		b.t.Fatal(err)
	}
	b.registry = r
	b.uplink = bridge.NewREST(bridge.RESTOptions{Service: service, Registry: r, Pacer: pacer})
}

func (b *registryBench) sync() {
	b.t.Helper()
	if _, _, err := b.registry.Sync(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *registryBench) deliver(device string) bridge.Verdict {
	return b.uplink.Deliver(b.t.Context(), &bridge.Lease{
		Device: device, Kind: mapping.KindTelemetry, RequestID: "id", Attempt: 1,
		Records: []mapping.Record{{Kind: mapping.KindTelemetry, Device: device, Value: []byte(`{"a":1}`), Time: time.Now()}},
	})
}

func (b *registryBench) state(id string) bridge.DeviceState {
	d, _ := b.registry.Device(id)
	return d.State
}

func TestSynchronisationTakesOverEveryPage(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t, nil)
	for i := range 250 {
		create(t, b.application, fmt.Sprintf("dev-%03d", i))
	}
	if _, err := b.application.UpdateDevice(t.Context(), "dev-007", central.DeviceUpdate{Template: new("dtmi:a:b;1"), Enabled: new(false)}, ""); err != nil {
		t.Fatal(err)
	}
	b.sync()
	if n := len(b.registry.Devices()); n != 250 {
		t.Fatalf("%d devices, want 250", n)
	}
	if d, _ := b.registry.Device("DEV-007"); d.Template != "dtmi:a:b;1" || !d.Disabled || d.Local || d.State != bridge.DeviceRegistered {
		t.Errorf("device %+v", d)
	}
	writes := b.store.writes
	b.sync()
	if b.store.writes != writes {
		t.Errorf("%d writes for a synchronisation that brought nothing new", b.store.writes-writes)
	}
	b.open(nil, nil) // an offline boot
	if n := len(b.registry.Devices()); n != 250 {
		t.Errorf("%d devices after a restart without an uplink, want 250", n)
	}
	if err := b.registry.Check("dev-007"); err == nil {
		t.Error("a disabled device is let in after a restart")
	}
}

// shortList is an application that shows only part of its devices in lists.
type shortList struct {
	central.Service
	n int
}

func (s shortList) ListDevices(ctx context.Context, o central.ListOptions) (central.DeviceList, error) {
	l, err := s.Service.ListDevices(ctx, o)
	l.Devices, l.Next = l.Devices[:min(len(l.Devices), s.n)], ""
	return l, err
}

func TestDeletionIsNoticedAndACutListIsNone(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t, nil)
	create(t, b.application, "foreign", "kept")
	b.deliver("here")
	b.sync()
	for _, id := range []string{"here", "foreign"} {
		if err := b.application.DeleteDevice(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Millisecond)
	b.sync()
	if b.state("here") != bridge.DeviceDeleted || b.state("kept") != bridge.DeviceRegistered {
		t.Errorf("here is %q and kept is %q, want deleted and registered", b.state("here"), b.state("kept"))
	}
	if _, known := b.registry.Device("foreign"); known {
		t.Error("a deleted device that was never seen here is still known")
	}
	if v := b.deliver("here"); v.Action != bridge.Rejected || v.Reason != "device_deleted" {
		t.Errorf("verdict %+v, want device_deleted", v)
	}
	create(t, b.application, "here")
	b.sync()
	if v := b.deliver("here"); v.Action != bridge.Accepted {
		t.Errorf("verdict %+v once it is there again", v)
	}
	b.open(shortList{b.application, 0}, nil)
	b.sync()
	if b.state("kept") != bridge.DeviceRegistered {
		t.Errorf("kept is %q because a list was cut short", b.state("kept"))
	}
}

func TestDisabledDevicesDataWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupRegistry(t, nil)
		b.deliver("dev")
		set := func(enabled bool) {
			if _, err := b.application.UpdateDevice(t.Context(), "dev", central.DeviceUpdate{Enabled: &enabled}, ""); err != nil {
				t.Fatal(err)
			}
		}
		set(false)
		b.sync()
		if v := b.deliver("dev"); v.Action != bridge.Hold || v.Reason != "device_disabled" {
			t.Fatalf("verdict %+v, want hold", v)
		}
		// It is looked up now and then, also where nothing is synchronised.
		set(true)
		time.Sleep(6 * time.Minute)
		if v := b.deliver("dev"); v.Action != bridge.Accepted {
			t.Fatalf("verdict %+v once it is enabled", v)
		}
		if err := b.registry.Disable("dev"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		b.sync()
		if v := b.deliver("dev"); v.Action != bridge.Hold || b.registry.Check("dev") == nil {
			t.Fatalf("verdict %+v while it is disabled here", v)
		}
		if err := b.registry.Enable("dev"); err != nil {
			t.Fatal(err)
		}
		if v := b.deliver("dev"); v.Action != bridge.Accepted || b.registry.Check("dev") != nil {
			t.Fatalf("verdict %+v once it is enabled here", v)
		}
		if err := b.registry.Disable("nobody"); err == nil {
			t.Error("a device that nobody knows was disabled")
		}
	})
}

func TestSynchronisationApprovesWhatTheApplicationHas(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t, func(c *bridge.RegistryConfig) { c.Unknown = bridge.UnknownApprove })
	if v := b.deliver("dev"); v.Action != bridge.Hold || b.state("dev") != bridge.DevicePending {
		t.Fatalf("verdict %+v, state %q", v, b.state("dev"))
	}
	create(t, b.application, "dev")
	b.sync()
	if v := b.deliver("dev"); v.Action != bridge.Accepted {
		t.Errorf("verdict %+v after the application has it", v)
	}
}

func TestUnknownIDsDoNotFillTheRegistry(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{bridge.UnknownApprove, bridge.UnknownRefuse} {
		b := setupRegistry(t, func(c *bridge.RegistryConfig) { c.Unknown, c.MaxDevices = policy, 10 })
		var last bridge.Verdict
		for i := range 21 {
			last = b.deliver(fmt.Sprintf("dev-%d", i))
		}
		if n := len(b.registry.Devices()); n != 20 || last.Reason != "registry_full" {
			t.Errorf("%s: %d entries and verdict %+v, want 20 and registry_full", policy, n, last)
		}
	}
}

func TestSynchronisesAtTheStartOnReturnAndFromTimeToTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupRegistry(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = b.registry.Run(ctx) }()
		defer func() { cancel(); <-done }()
		known := func(id string) bool { _, ok := b.registry.Device(id); return ok }
		synctest.Wait()
		if b.registry.SyncStats().Done.IsZero() {
			t.Error("nothing was read at the start")
		}
		b.registry.LinkChanged(bridge.Status{State: bridge.Offline})
		create(t, b.application, "one")
		time.Sleep(time.Hour)
		if known("one") {
			t.Error("devices were read while the link was down")
		}
		b.registry.LinkChanged(bridge.Status{State: bridge.Online})
		synctest.Wait()
		if !known("one") {
			t.Error("nothing was read when the link came back")
		}
		create(t, b.application, "two")
		time.Sleep(16 * time.Minute)
		if !known("two") {
			t.Error("nothing was read after the interval")
		}
		b.application.Faults.Set(emulator.Fault{Operations: []central.Operation{central.OpListDevices}, Status: 500, Calls: 3})
		create(t, b.application, "three")
		time.Sleep(40 * time.Minute)
		if st := b.registry.SyncStats(); !known("three") || st.Failed != 3 || st.Devices != 3 {
			t.Errorf("after faults: %+v", st)
		}
	})
}

// TestNeverSynchronises: without an interval the link's return asks for nothing.
func TestNeverSynchronises(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupRegistry(t, func(c *bridge.RegistryConfig) { c.SyncInterval = 0 })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = b.registry.Run(ctx) }()
		defer func() { cancel(); <-done }()
		b.registry.LinkChanged(bridge.Status{State: bridge.Offline})
		create(t, b.application, "one")
		time.Sleep(time.Minute)
		b.registry.LinkChanged(bridge.Status{State: bridge.Online})
		time.Sleep(time.Hour)
		if _, known := b.registry.Device("one"); known || !b.registry.SyncStats().Done.IsZero() {
			t.Errorf("the devices were read: %+v", b.registry.SyncStats())
		}
	})
}

func TestConnectionState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setupRegistry(t, nil)
		b.deliver("dev")
		r := b.registry
		if !r.Connected("dev", time.Now()) || r.Connected("DEV", time.Now()) {
			t.Error("the first connection is the one by which a device comes")
		}
		time.Sleep(time.Minute)
		if r.Disconnected("dev", "keep_alive", time.Now()) || !r.IsConnected("dev") {
			t.Error("a device with another connection went away")
		}
		if !r.Disconnected("dev", "keep_alive", time.Now()) {
			t.Error("a device without a connection is still there")
		}
		s, _ := r.Status("dev")
		if s.Connected || s.Reason != "keep_alive" || !s.LastSeen.Equal(time.Now()) || !s.Since.Equal(time.Now()) {
			t.Errorf("status %+v", s)
		}
		seen := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = r.Run(ctx) // writes down at its end
		b.open(nil, nil)
		if s, _ := b.registry.Status("dev"); !s.LastSeen.Equal(seen) {
			t.Errorf("last seen %s after a restart, want %s", s.LastSeen, seen)
		}
	})
}

func BenchmarkRegistrySync(b *testing.B) {
	r := setupRegistry(b, nil)
	for i := range 20_000 {
		create(b, r.application, fmt.Sprintf("device-%05d", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		r.sync()
	}
}

func BenchmarkRegistryLoad(b *testing.B) {
	r := setupRegistry(b, nil)
	for i := range 20_000 {
		create(b, r.application, fmt.Sprintf("device-%05d", i))
	}
	r.sync()
	b.ReportAllocs()
	for b.Loop() {
		r.open(nil, nil)
	}
}
