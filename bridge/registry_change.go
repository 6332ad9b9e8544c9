package bridge

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
)

// ErrUnknownDevice says that the registry has no entry for a device.
var ErrUnknownDevice = errors.New("the device is not known here")

// Approve lets a device be created that waits for it, or that was refused or
// deleted. Its data that waits goes up then; whoever approves wakes the queue.
func (r *Registry) Approve(id string) error {
	return r.update(id, func(d *KnownDevice) {
		if d.State != DeviceRegistered {
			d.State, d.Local = DeviceApproved, true
		}
	})
}

// Admit enters a device that was not seen yet, or approves one that was, with
// the template and display name under which it is created in the application.
func (r *Registry) Admit(id, template, displayName string) error {
	if err := central.ValidDeviceID(id); err != nil {
		return fmt.Errorf("admit a device: %w", err)
	}
	if err := r.CheckID(id); err != nil {
		return err
	}
	r.change(id, func(d *KnownDevice) {
		if d.State == DeviceRegistered {
			return
		}
		d.State, d.Local = DeviceApproved, true
		d.Template, d.DisplayName = cmp.Or(template, d.Template), cmp.Or(displayName, d.DisplayName)
	})
	return nil
}

// Disable keeps a device from connecting and publishing at this gateway,
// whatever the application says; Enable ends that. What waits in the queue for
// a disabled device stays there.
func (r *Registry) Disable(id string) error {
	return r.update(id, func(d *KnownDevice) { d.DisabledHere = true })
}

// Enable ends what Disable began. A device that the application disabled stays
// disabled.
func (r *Registry) Enable(id string) error {
	return r.update(id, func(d *KnownDevice) { d.DisabledHere = false })
}

// Forget drops a device's entry. A device that still publishes is met as if
// for the first time.
func (r *Registry) Forget(id string) error {
	key := strings.ToLower(id)
	r.mu.Lock()
	old, ok := r.devices[key]
	if ok {
		delete(r.devices, key)
		r.countLocked(old, -1)
		if r.store != nil {
			r.store.DeleteDevice(key)
		}
	}
	r.mu.Unlock()
	if !ok {
		return fmt.Errorf("forget device %q: %w", id, ErrUnknownDevice)
	}
	r.presence.forget(key)
	r.onChange(old, KnownDevice{ID: old.ID})
	return nil
}

// update changes the entry of a device that must be known.
func (r *Registry) update(id string, fn func(*KnownDevice)) error {
	if _, ok := r.Device(id); !ok {
		return fmt.Errorf("device %q: %w", id, ErrUnknownDevice)
	}
	r.change(id, fn)
	return nil
}

// change is the one place where an entry changes. fn must be quick and may be
// told of an entry that is new, with nothing but its id.
func (r *Registry) change(id string, fn func(*KnownDevice)) KnownDevice {
	key := strings.ToLower(id)
	r.mu.Lock()
	before := r.devices[key]
	after := before
	if after.ID == "" {
		after.ID = strings.Clone(id)
	}
	fn(&after)
	if after == before {
		r.mu.Unlock()
		return after
	}
	after.Changed = time.Now()
	r.countLocked(before, -1)
	r.countLocked(after, 1)
	r.devices[key] = after
	if r.store != nil {
		r.store.SaveDevice(after)
	}
	r.mu.Unlock()
	if before.State != after.State || before.Enabled() != after.Enabled() {
		r.log.Debug("device changed", zap.String("device", after.ID), zap.String("state", string(after.State)),
			zap.String("before", string(before.State)), zap.Bool("enabled", after.Enabled()))
	}
	r.onChange(before, after)
	return after
}

// set moves a device to a state.
func (r *Registry) set(id string, s DeviceState, template string) {
	r.change(id, func(d *KnownDevice) {
		d.State, d.Template, d.Local = s, template, true
		if s != DeviceRegistered {
			// What the application thought of it went with it.
			d.Disabled = false
		}
		d.Changed = time.Now() // also when nothing else changed: it was looked up
	})
}

// markLocal notes that a device of the application's was seen here.
func (r *Registry) markLocal(id string) {
	r.change(id, func(d *KnownDevice) { d.Local = true })
}

// adoptDevice takes over what the application says of a device.
func (r *Registry) adoptDevice(found central.Device, local bool) KnownDevice {
	return r.change(found.ID, func(d *KnownDevice) {
		if d.State != DeviceRegistered || d.Disabled && local {
			d.Changed = time.Now()
		}
		d.State, d.Template, d.DisplayName = DeviceRegistered, found.Template, found.DisplayName
		d.Simulated, d.Provisioned, d.Disabled = found.Simulated, found.Provisioned, !found.Enabled
		d.Local = d.Local || local
	})
}

func (r *Registry) countLocked(d KnownDevice, n int) {
	if d.Local {
		r.met += n
	}
	if d.State == DeviceRegistered && d.Local {
		r.local += n
	}
}
