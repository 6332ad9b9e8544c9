package bridge_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
)

func newLocalRegistry(t *testing.T, unknown string, most int) *bridge.Registry {
	t.Helper()
	cfg := bridge.DefaultConfig().Registry
	cfg.Unknown, cfg.MaxDevices = unknown, most
	return bridge.NewRegistry(cfg, bridge.RegistryOptions{Pacer: bridge.NewPacer(0)})
}

// A device is known from when it is first heard of, without a state, and the
// memory for such is bounded.
func TestMeet(t *testing.T) {
	t.Parallel()
	r := newLocalRegistry(t, bridge.UnknownCreate, 3)
	now := time.Now()
	for i := range 10 {
		r.Meet(fmt.Sprintf("d%d", i), now)
		r.Meet("D0", now)
	}
	if n := len(r.Devices()); n != 6 {
		t.Errorf("%d devices were met, want twice max_devices", n)
	}
	s, ok := r.Status("d0")
	if !ok || s.State != "" || !s.Local || !s.Exists() || s.LastSeen.IsZero() {
		t.Errorf("%+v", s)
	}
}

func TestCreateByPersonAndProgram(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		unknown string
		person  bool
		state   bridge.DeviceState
		err     error
	}{
		{bridge.UnknownCreate, true, bridge.DeviceApproved, nil},
		{bridge.UnknownCreate, false, bridge.DeviceApproved, nil},
		{bridge.UnknownApprove, true, bridge.DeviceApproved, nil},
		{bridge.UnknownApprove, false, bridge.DevicePending, nil},
		{bridge.UnknownRefuse, true, bridge.DeviceApproved, nil},
		{bridge.UnknownRefuse, false, "", bridge.ErrDeviceRefused},
	} {
		r := newLocalRegistry(t, c.unknown, 3)
		err := r.Create("d1", central.DeviceCreate{DisplayName: "One", Template: "dtmi:a:b;1", Simulated: true}, c.person)
		d, _ := r.Device("d1")
		if !errors.Is(err, c.err) || d.State != c.state {
			t.Errorf("%s, person %v: %v, %+v", c.unknown, c.person, err, d)
		}
		if err != nil {
			continue
		}
		if !d.Local || d.DisplayName != "One" || d.Template != "dtmi:a:b;1" || !d.Simulated || !d.Enabled() {
			t.Errorf("created %+v", d)
		}
		if err := r.Create("d1", central.DeviceCreate{}, false); !errors.Is(err, bridge.ErrDeviceExists) {
			t.Errorf("created twice: %v", err)
		}
		if err := r.Create("D1", central.DeviceCreate{}, true); err == nil || errors.Is(err, bridge.ErrDeviceExists) {
			t.Errorf("an id that differs in case alone: %v", err)
		}
	}
	// A person approves by creating what waits.
	r := newLocalRegistry(t, bridge.UnknownApprove, 3)
	for _, person := range []bool{false, true} {
		if err := r.Create("d1", central.DeviceCreate{}, person); err != nil {
			t.Fatal(err)
		}
	}
	if d, _ := r.Device("d1"); d.State != bridge.DeviceApproved {
		t.Errorf("%+v", d)
	}
	for i := range 10 {
		err := r.Create(fmt.Sprintf("x%d", i), central.DeviceCreate{}, true)
		if full := i >= 5; errors.Is(err, bridge.ErrTooManyDevices) != full {
			t.Errorf("device %d: %v", i, err)
		}
	}
	if err := r.Create("bad id", central.DeviceCreate{}, true); err == nil {
		t.Error("a bad id was taken")
	}
}

func TestAmend(t *testing.T) {
	t.Parallel()
	r := newLocalRegistry(t, bridge.UnknownCreate, 3)
	if err := r.Amend("d1", central.DeviceUpdate{}); !errors.Is(err, bridge.ErrUnknownDevice) {
		t.Errorf("an unknown device: %v", err)
	}
	if err := r.Create("d1", central.DeviceCreate{Enabled: new(false)}, true); err != nil {
		t.Fatal(err)
	}
	if d, _ := r.Device("d1"); d.Enabled() {
		t.Errorf("created disabled: %+v", d)
	}
	if err := r.Amend("d1", central.DeviceUpdate{DisplayName: new("n"), Template: new("t"), Simulated: new(true), Enabled: new(true)}); err != nil {
		t.Fatal(err)
	}
	if d, _ := r.Device("d1"); !d.Enabled() || d.DisplayName != "n" || d.Template != "t" || !d.Simulated {
		t.Errorf("%+v", d)
	}
}
