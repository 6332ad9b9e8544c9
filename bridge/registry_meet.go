package bridge

import (
	"errors"
	"fmt"
	"time"

	"iotc-gateway/bridge/central"
)

// Errors of Create.
var (
	ErrDeviceExists   = errors.New("the device exists already")
	ErrTooManyDevices = errors.New("the gateway holds as many devices as it may")
	ErrDeviceRefused  = errors.New("devices that the application does not have are refused here (bridge.registry.unknown)")
)

// Meet notes that a device was heard of at this gateway. One that was not known
// gets an entry without a state, so that it can be seen, commanded and told of
// before the application was asked for it. It is quick where nothing is new.
func (r *Registry) Meet(id string, at time.Time) {
	d, known := r.Device(id)
	r.Seen(id, at)
	if d.Local || !known && r.full() {
		return
	}
	r.markLocal(id)
}

// full keeps ids that come from the field from filling the memory.
func (r *Registry) full() bool {
	const spare = 2
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.met >= spare*r.cfg.MaxDevices
}

// Exists tells whether a device counts as one for those who look at the
// gateway: one that was deleted or refused does not.
func (d KnownDevice) Exists() bool {
	return d.ID != "" && d.State != DeviceDeleted && d.State != DeviceRefused
}

// Create enters a device at somebody's word. With a person's it is approved,
// whatever it was before; with a program's it is dealt with by the rules for
// unknown devices: created, held until it is approved, or refused.
func (r *Registry) Create(id string, in central.DeviceCreate, person bool) error {
	if err := central.ValidDeviceID(id); err != nil {
		return fmt.Errorf("create a device: %w", err)
	}
	if err := r.CheckID(id); err != nil {
		if _, disabled := errors.AsType[*DisabledError](err); !disabled {
			return err
		}
	}
	known, met := r.Device(id)
	switch {
	case known.Exists() && (known.State != DevicePending || !person):
		return fmt.Errorf("%w: %q", ErrDeviceExists, id)
	case !person && r.cfg.Unknown == UnknownRefuse:
		return ErrDeviceRefused
	case !met && r.full():
		return fmt.Errorf("%w: bridge.registry.max_devices is %d", ErrTooManyDevices, r.cfg.MaxDevices)
	}
	r.change(id, func(d *KnownDevice) {
		d.State, d.Local, d.Disabled = DeviceApproved, true, false
		if !person && r.cfg.Unknown == UnknownApprove {
			d.State = DevicePending
		}
		d.DisplayName, d.Template, d.Simulated = in.DisplayName, in.Template, in.Simulated
		d.DisabledHere = in.Enabled != nil && !*in.Enabled
	})
	return nil
}

// Amend changes an entry here; the application is not told. What the
// application says of its own device replaces it with the next
// synchronisation, but not whether it is disabled here.
func (r *Registry) Amend(id string, in central.DeviceUpdate) error {
	return r.update(id, func(d *KnownDevice) {
		if in.DisplayName != nil {
			d.DisplayName = *in.DisplayName
		}
		if in.Template != nil {
			d.Template = *in.Template
		}
		if in.Simulated != nil {
			d.Simulated = *in.Simulated
		}
		if in.Enabled != nil {
			d.DisabledHere = !*in.Enabled
		}
	})
}
