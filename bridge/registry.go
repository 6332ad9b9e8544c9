package bridge

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
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
	// DisplayName, Simulated and Provisioned are as the application has them.
	DisplayName string `json:"displayName,omitempty"`
	Simulated   bool   `json:"simulated,omitempty"`
	Provisioned bool   `json:"provisioned,omitempty"`
	// Disabled says that the application disabled the device, DisabledHere that
	// a person did so at the gateway.
	Disabled     bool `json:"disabled,omitempty"`
	DisabledHere bool `json:"disabledHere,omitempty"`
	// Local says that the device was seen at this gateway, and is not only one
	// of the application's.
	Local bool `json:"local,omitempty"`
	// LastSeen is when the device last published here or went away, zero if it
	// never did. It is kept to the minute across restarts.
	LastSeen time.Time `json:"lastSeen,omitzero"`
	Changed  time.Time `json:"changed"`
}

// Enabled tells whether the device may connect and publish.
func (d KnownDevice) Enabled() bool { return !d.Disabled && !d.DisabledHere }

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
	// DeleteDevice forgets a device, by its id in lower case.
	DeleteDevice(id string)
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
	// OnChange is told of each change of a device's entry, with the entry
	// before it, whose ID is empty for a new one. It is called without a lock
	// and may call the registry. Nil is allowed.
	OnChange func(before, after KnownDevice)
	// Log may be nil.
	Log *zap.Logger
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
	onChange func(before, after KnownDevice)
	log      *zap.Logger
	flight   singleflight.Group
	link     *linkGate
	presence presence
	sync     syncState

	mu      sync.RWMutex
	devices map[string]KnownDevice // by lower-case id
	local   int                    // registered devices that were seen here
	met     int                    // all that were seen here
	app     ApplicationID
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
	reasonDisabled = "device_disabled"
	reasonRationed = "create_rate"
)

// NewRegistry makes a registry that knows no device yet: see Load.
func NewRegistry(cfg RegistryConfig, opts RegistryOptions) *Registry {
	r := &Registry{
		cfg: cfg, service: opts.Service, pacer: opts.Pacer, store: opts.Store, template: opts.Template,
		create:  rate.NewLimiter(rate.Limit(cfg.CreateRate), createBurst),
		devices: make(map[string]KnownDevice), link: newLinkGate(), onChange: opts.OnChange, log: opts.Log,
	}
	if r.onChange == nil {
		r.onChange = func(KnownDevice, KnownDevice) {}
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	if cfg.CreateRate == 0 {
		r.create.SetLimit(rate.Inf)
	}
	if r.template == nil {
		r.template = func(string) string { return "" }
	}
	return r
}

// Load takes up what the store remembers. It comes before everything that
// tells the registry of devices, and apart from NewRegistry because a store on
// a full disk can be read only later.
func (r *Registry) Load() error {
	if r.store == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.store.LoadDevices(func(d KnownDevice) {
		r.devices[strings.ToLower(d.ID)] = d
		r.countLocked(d, 1)
		r.presence.restore(d)
	})
	if err != nil {
		return fmt.Errorf("load the device registry: %w", err)
	}
	r.app, _ = r.store.LoadApplication()
	return nil
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

// Check refuses what CheckID refuses, and a device that is disabled. The words
// are for the device's maker and for logs.
func (r *Registry) Check(id string) error {
	d, ok := r.Device(id)
	switch {
	case !ok:
		return nil
	case d.ID != id:
		return fmt.Errorf("device id %q differs from the known device %q in case alone", id, d.ID)
	case d.Disabled:
		return &DisabledError{Device: d.ID, Where: "in the application"}
	case d.DisabledHere:
		return &DisabledError{Device: d.ID, Where: "at the gateway"}
	}
	return nil
}

// DisabledError says that a device may not connect or publish.
type DisabledError struct{ Device, Where string }

func (e *DisabledError) Error() string {
	return fmt.Sprintf("device %q is disabled %s", e.Device, e.Where)
}
