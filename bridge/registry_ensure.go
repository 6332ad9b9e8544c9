package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"iotc-gateway/bridge/central"
)

// What a device that the application disabled has to wait for: its data stays
// in the queue, and now and then its state is looked up, in case nobody told
// that it was enabled.
const (
	disabledWait    = 30 * time.Second
	disabledRecheck = 5 * time.Minute
)

// ensure makes sure that the application has the device before its first
// record goes up.
func (r *Registry) ensure(ctx context.Context, id string) Verdict {
	if d, ok := r.Device(id); ok {
		if !d.Enabled() {
			if d.DisabledHere || time.Since(d.Changed) < disabledRecheck {
				return hold(reasonDisabled, disabledWait, "device %q is disabled: its data waits", id)
			}
			d.State = "" // look again whether it still is
		}
		switch d.State {
		case DeviceRegistered:
			if !d.Local {
				r.markLocal(id)
			}
			return Verdict{}
		case DevicePending:
			// Whoever creates it in the application approves it as well.
			if wait := pendingWait - time.Since(d.Changed); wait > 0 {
				return waiting(id, wait)
			}
		case DeviceDeleted, DeviceRefused:
			if time.Since(d.Changed) < deletedRecheck {
				return gone(d)
			}
		case DeviceApproved:
		}
	}
	v, _, _ := r.flight.Do(strings.ToLower(id), func() (any, error) { return r.find(ctx, id), nil })
	return v.(Verdict) //nolint:forcetypeassert // find returns nothing else
}

// find looks the device up and creates it where the rules allow.
func (r *Registry) find(ctx context.Context, id string) Verdict {
	if err := r.pacer.Wait(ctx); err != nil {
		return classify(&central.TransportError{Op: "wait for the rate limit", Err: err})
	}
	found, err := r.service.Device(ctx, id)
	if err == nil {
		r.rememberApplication(ctx)
		found.ID = id
		d := r.adoptDevice(found, true)
		if d.Disabled {
			return hold(reasonDisabled, disabledWait, "device %q is disabled: its data waits", id)
		}
		return Verdict{}
	}
	if central.StatusOf(err) != http.StatusNotFound {
		return r.judge(err)
	}
	known, met := r.Device(id)
	switch {
	case !met && r.full():
		return r.noRoom(id)
	case known.State == DeviceDeleted:
		r.set(id, DeviceDeleted, known.Template)
		return gone(known)
	case known.State == DeviceApproved:
	case r.cfg.Unknown == UnknownRefuse:
		r.set(id, DeviceRefused, "")
		return gone(KnownDevice{ID: id, State: DeviceRefused})
	case r.cfg.Unknown == UnknownApprove:
		r.set(id, DevicePending, "")
		return waiting(id, pendingWait)
	}
	return r.register(ctx, id)
}

func (r *Registry) register(ctx context.Context, id string) Verdict {
	r.mu.RLock()
	full := r.local >= r.cfg.MaxDevices
	r.mu.RUnlock()
	if full {
		return r.noRoom(id)
	}
	if !r.create.Allow() {
		return hold(reasonRationed, createWait, "device %q waits for bridge.registry.create_rate", id)
	}
	if err := r.pacer.Wait(ctx); err != nil {
		return classify(&central.TransportError{Op: "wait for the rate limit", Err: err})
	}
	known, _ := r.Device(id)
	template := cmp.Or(known.Template, r.template(id))
	_, err := r.service.CreateDevice(ctx, id, central.DeviceCreate{DisplayName: cmp.Or(known.DisplayName, id), Template: template, Simulated: known.Simulated}, "")
	if err != nil && central.StatusOf(err) != http.StatusConflict {
		return r.judge(err)
	}
	r.rememberApplication(ctx)
	r.set(id, DeviceRegistered, template)
	return Verdict{}
}

func (r *Registry) noRoom(id string) Verdict {
	return Verdict{Action: Rejected, Reason: reasonNoRoom, Message: fmt.Sprintf("device %q would be more than bridge.registry.max_devices (%d)", id, r.cfg.MaxDevices)}
}

// missing is told that the application does not have a device that was
// registered. It was deleted there, unless there is another application now.
func (r *Registry) missing(ctx context.Context, id string) Verdict {
	if v := r.checkApplication(ctx); v.Action != Accepted {
		return v
	}
	d, ok := r.Device(id)
	if ok && d.State == DeviceRegistered {
		r.set(id, DeviceDeleted, d.Template)
		d.State = DeviceDeleted
		return gone(d)
	}
	return r.ensure(ctx, id)
}

// checkApplication forgets every registration when the address leads to
// another application than before, such as a restored one.
func (r *Registry) checkApplication(ctx context.Context) Verdict {
	v, _, _ := r.flight.Do("\x00application", func() (any, error) {
		app, err := r.service.Application(ctx)
		if err != nil {
			if e, ok := errors.AsType[*central.Error](err); ok && e.Status < 500 && e.Status != http.StatusUnauthorized && e.Status != http.StatusTooManyRequests {
				// The application does not tell; then it counts as the same.
				return Verdict{}, nil
			}
			return r.judge(err), nil
		}
		r.adopt(ApplicationID{app.ID, app.CreatedTime})
		return Verdict{}, nil
	})
	return v.(Verdict) //nolint:forcetypeassert // the function returns nothing else
}

func (r *Registry) adopt(id ApplicationID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.app.ID == id.ID && r.app.Created.Equal(id.Created) {
		return
	}
	if r.app != (ApplicationID{}) {
		for key, d := range r.devices {
			if d.State == DeviceRegistered || d.State == DeviceDeleted {
				r.countLocked(d, -1)
				delete(r.devices, key)
				if r.store != nil {
					r.store.DeleteDevice(key)
				}
			}
		}
	}
	r.app = id
	if r.store != nil {
		r.store.SaveApplication(id)
	}
}

// rememberApplication notes, once, which application the devices belong to.
func (r *Registry) rememberApplication(ctx context.Context) {
	r.mu.RLock()
	known := r.app != (ApplicationID{})
	r.mu.RUnlock()
	if !known {
		r.checkApplication(ctx)
	}
}

// judge classifies a failed call of the registry itself. A refusal there is
// not the record's fault in the way of a bad body, but it will not pass.
func (r *Registry) judge(err error) Verdict {
	v := classify(err)
	if v.Throttled {
		r.pacer.Throttled(v.After)
	}
	switch v.Action {
	case Split:
		v.Action = Rejected
	case PauseKind:
		v.Action = PauseUplink
		v.Message = "the token may not read or create devices: " + v.Message
	default:
	}
	return v
}

func hold(reason string, after time.Duration, format string, args ...any) Verdict {
	return Verdict{Action: Hold, Reason: reason, After: after, Message: fmt.Sprintf(format, args...)}
}

func waiting(id string, wait time.Duration) Verdict {
	return hold(reasonPending, wait, "device %q waits to be approved: iotc-gateway device approve, or create it in the application", id)
}

func gone(d KnownDevice) Verdict {
	if d.State == DeviceDeleted {
		return Verdict{Action: Rejected, Reason: reasonDeleted, Status: http.StatusNotFound, Message: fmt.Sprintf("device %q was deleted in the application; its data goes up again once it is created there", d.ID)}
	}
	return Verdict{Action: Rejected, Reason: reasonRefused, Message: fmt.Sprintf("device %q is not in the application and bridge.registry.unknown is refuse", d.ID)}
}
