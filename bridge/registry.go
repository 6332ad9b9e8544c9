package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"iotc-gateway/bridge/central"
)

// DeviceState is what the gateway knows of a device's place in the
// application.
type DeviceState string

// The states of a device. A device that was never looked for has none.
const (
	// DeviceRegistered: the application has it.
	DeviceRegistered DeviceState = "registered"
	// DevicePending: the application does not have it and a person has to
	// approve it; its data waits.
	DevicePending DeviceState = "pending"
	// DeviceApproved: a person approved it, it is created with its next
	// record.
	DeviceApproved DeviceState = "approved"
	// DeviceRefused: the application does not have it and it is not to be
	// created.
	DeviceRefused DeviceState = "refused"
	// DeviceDeleted: the application had it and has it no longer.
	DeviceDeleted DeviceState = "deleted"
)

// KnownDevice is one entry of the registry.
type KnownDevice struct {
	ID       string      `json:"id"`
	State    DeviceState `json:"state"`
	Template string      `json:"template,omitempty"`
	// Disabled says that the application disabled the device.
	Disabled bool      `json:"disabled,omitempty"`
	Changed  time.Time `json:"changed"`
}

// ApplicationID tells one application from another behind the same address.
type ApplicationID struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// RegistryStore keeps the registry across restarts. Writes may be asynchronous
// but keep their order; what is lost costs a look-up in the application.
type RegistryStore interface {
	LoadDevices(fn func(KnownDevice)) error
	SaveDevice(d KnownDevice)
	LoadApplication() (ApplicationID, bool)
	SaveApplication(id ApplicationID)
}

// RegistryOptions are what a registry needs besides its configuration.
type RegistryOptions struct {
	Service central.Service
	Pacer   *Pacer
	// Store may be nil: then everything is looked up again after a restart.
	Store RegistryStore
	// Template names the device template of a device that is created; "" is
	// none. Nil is allowed.
	Template func(device string) string
}

// Registry knows which devices the application has, and creates the others
// within the configured rules. Device ids are compared without regard to case,
// as the application does.
type Registry struct {
	cfg      RegistryConfig
	service  central.Service
	pacer    *Pacer
	store    RegistryStore
	template func(string) string
	create   *rate.Limiter
	flight   singleflight.Group

	mu         sync.RWMutex
	devices    map[string]KnownDevice // by lower-case id
	registered int
	app        ApplicationID
}

const (
	createBurst    = 60
	createWait     = time.Second // for a device whose creation is rationed
	pendingWait    = 30 * time.Second
	deletedRecheck = time.Minute
	reasonNoRoom   = "registry_full"
	reasonRefused  = "device_refused"
	reasonDeleted  = "device_deleted"
	reasonPending  = "device_pending"
	reasonRationed = "create_rate"
)

// NewRegistry loads what the store remembers.
func NewRegistry(cfg RegistryConfig, opts RegistryOptions) (*Registry, error) {
	r := &Registry{
		cfg: cfg, service: opts.Service, pacer: opts.Pacer, store: opts.Store, template: opts.Template,
		create:  rate.NewLimiter(rate.Limit(cfg.CreateRate), createBurst),
		devices: make(map[string]KnownDevice),
	}
	if cfg.CreateRate == 0 {
		r.create.SetLimit(rate.Inf)
	}
	if r.template == nil {
		r.template = func(string) string { return "" }
	}
	if r.store == nil {
		return r, nil
	}
	err := r.store.LoadDevices(func(d KnownDevice) {
		r.devices[strings.ToLower(d.ID)] = d
		if d.State == DeviceRegistered {
			r.registered++
		}
	})
	if err != nil {
		return nil, fmt.Errorf("load the device registry: %w", err)
	}
	r.app, _ = r.store.LoadApplication()
	return r, nil
}

// Device returns what is known of a device.
func (r *Registry) Device(id string) (KnownDevice, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	d, ok := r.devices[strings.ToLower(id)]
	return d, ok
}

// Devices lists what is known, in the order of ids.
func (r *Registry) Devices() []KnownDevice {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]KnownDevice, 0, len(r.devices))
	for _, d := range r.devices {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b KnownDevice) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// CheckID refuses an id that differs from a known device's in case alone,
// which the application would take for the same device.
func (r *Registry) CheckID(id string) error {
	if d, ok := r.Device(id); ok && d.ID != id {
		return fmt.Errorf("device id %q differs from the known device %q in case alone", id, d.ID)
	}
	return nil
}

// Approve lets a device be created that waits for it, or that was refused or
// deleted.
func (r *Registry) Approve(id string) error {
	d, ok := r.Device(id)
	if !ok {
		return fmt.Errorf("device %q has not been seen here", id)
	}
	if d.State != DeviceRegistered {
		r.set(d.ID, DeviceApproved, d.Template)
	}
	return nil
}

// ensure makes sure that the application has the device before its first
// record goes up.
func (r *Registry) ensure(ctx context.Context, id string) Verdict {
	if d, ok := r.Device(id); ok {
		switch d.State {
		case DeviceRegistered:
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
		r.set(id, DeviceRegistered, found.Template)
		return Verdict{}
	}
	if central.StatusOf(err) != http.StatusNotFound {
		return r.judge(err)
	}
	known, _ := r.Device(id)
	switch {
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
	full := r.registered >= r.cfg.MaxDevices
	r.mu.RUnlock()
	if full {
		return Verdict{Action: Rejected, Reason: reasonNoRoom, Message: fmt.Sprintf("device %q would be more than bridge.registry.max_devices (%d)", id, r.cfg.MaxDevices)}
	}
	if !r.create.Allow() {
		return hold(reasonRationed, createWait, "device %q waits for bridge.registry.create_rate", id)
	}
	if err := r.pacer.Wait(ctx); err != nil {
		return classify(&central.TransportError{Op: "wait for the rate limit", Err: err})
	}
	template := r.template(id)
	_, err := r.service.CreateDevice(ctx, id, central.DeviceCreate{DisplayName: id, Template: template}, "")
	if err != nil && central.StatusOf(err) != http.StatusConflict {
		return r.judge(err)
	}
	r.rememberApplication(ctx)
	r.set(id, DeviceRegistered, template)
	return Verdict{}
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
				delete(r.devices, key)
			}
		}
		r.registered = 0
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

func (r *Registry) set(id string, s DeviceState, template string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := strings.ToLower(id)
	old := r.devices[key]
	if old.State == DeviceRegistered {
		r.registered--
	}
	if s == DeviceRegistered {
		r.registered++
	}
	d := KnownDevice{ID: id, State: s, Template: template, Changed: time.Now()}
	if old.ID != "" {
		d.ID = old.ID
	}
	r.devices[key] = d
	if r.store != nil {
		r.store.SaveDevice(d)
	}
}

func hold(reason string, after time.Duration, format string, args ...any) Verdict {
	return Verdict{Action: Hold, Reason: reason, After: after, Message: fmt.Sprintf(format, args...)}
}

func waiting(id string, wait time.Duration) Verdict {
	return hold(reasonPending, wait, "device %q waits to be approved: create it in the application", id)
}

func gone(d KnownDevice) Verdict {
	if d.State == DeviceDeleted {
		return Verdict{Action: Rejected, Reason: reasonDeleted, Status: http.StatusNotFound, Message: fmt.Sprintf("device %q was deleted in the application; its data goes up again once it is created there", d.ID)}
	}
	return Verdict{Action: Rejected, Reason: reasonRefused, Message: fmt.Sprintf("device %q is not in the application and bridge.registry.unknown is refuse", d.ID)}
}
