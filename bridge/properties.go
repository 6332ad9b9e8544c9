package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping"
)

// PropertyEntry is what is kept of a property with a desired value.
type PropertyEntry struct {
	Device string `json:"device"`
	Name   string `json:"name"`
	// Cloud is the value that the application was last seen to have, nil while
	// none was seen.
	Cloud json.RawMessage `json:"cloud,omitempty"`
	// Desired is what the device is to take over, nil for nothing, and Version
	// counts its changes; it never goes back.
	Desired json.RawMessage `json:"desired,omitempty"`
	Version uint64          `json:"version,omitempty"`
	Changed time.Time       `json:"changed,omitzero"`
	// Reported is what the device last said of it.
	Reported     json.RawMessage `json:"reported,omitempty"`
	ReportedTime time.Time       `json:"reportedTime,omitzero"`
	// Acknowledged says that the device reported the desired value since it
	// changed.
	Acknowledged bool `json:"acknowledged,omitempty"`
	// Published says that this version was handed to the broker, and Live that
	// the device was connected then.
	Published bool `json:"published,omitempty"`
	Live      bool `json:"live,omitempty"`
	// Retained says that the broker keeps the published value.
	Retained bool `json:"retained,omitempty"`
	// Write is a local operator's value on its way to the application.
	Write *LocalWrite `json:"write,omitempty"`
}

// LocalWrite is a value that goes up once.
type LocalWrite struct {
	Value     json.RawMessage `json:"value"`
	RequestID string          `json:"requestId"`
	// Sent says that it may have reached the application: nobody knows before
	// the application was asked.
	Sent bool `json:"sent,omitempty"`
	// Before are the values that the application may have while this one has
	// not arrived. Any other there was set after it.
	Before []json.RawMessage `json:"before,omitempty"`
}

// Pending says that a local operator's value has not reached the application.
func (e PropertyEntry) Pending() bool { return e.Write != nil }

// PropertyStore keeps entries across restarts. Writes are carried out in the
// order in which they are made.
type PropertyStore interface {
	LoadProperties(fn func(PropertyEntry)) error
	// SaveProperty returns at once and calls done, where it is not nil, when
	// the entry is on disk or cannot be kept.
	SaveProperty(e PropertyEntry, done func(error))
}

// DesiredValue is what a device is told of a property. A nil value takes an
// earlier one back.
type DesiredValue struct {
	Device, Name string
	Value        json.RawMessage
	Version      uint64
}

// PropertiesOptions are what Properties need besides their configuration.
type PropertiesOptions struct {
	// Service may be nil: then local values go down and wait to go up.
	Service  central.Service
	Pacer    *Pacer
	Registry *Registry
	// Store may be nil, for tests.
	Store PropertyStore
	// CloudOwned says that the application owns a property, and Names which of
	// a device's it owns. Both follow a reload.
	CloudOwned func(device, name string) bool
	Names      func(device string) []string
	// Deliver hands a desired value to the device; retained says that the
	// broker keeps it for a device that subscribes later. An error that is a
	// *mapping.Error is for good, any other is tried again. It must not call
	// Properties.
	Deliver func(v DesiredValue) (retained bool, err error)
	Log     *zap.Logger
}

// Properties carry desired values to devices and local operators' values to
// the application. See the package comment for who owns what. Its methods may
// be called from many goroutines.
type Properties struct {
	cfg      PropertyConfig
	service  central.Service
	pacer    *Pacer
	registry *Registry
	store    PropertyStore
	owned    func(device, name string) bool
	names    func(device string) []string
	handOver func(v DesiredValue) (bool, error)
	log      *zap.Logger
	link     *linkGate
	counters propertyCounters
	throttle throttledLog

	mu      sync.Mutex
	kick    chan struct{}
	devices map[string]*propertyDevice
	byName  map[string]map[*property]struct{}
	boosts  map[string]*boost
	lanes   [numPropertyLanes]propertyHeap
	turn    int
	tracked int
	calls   int           // under way
	later   []delayedWork // by time
}

// maxProperties bounds the properties that are followed.
const maxProperties = 250_000

// Errors of Properties.
var (
	ErrNotJSON       = errors.New("the value is not one JSON value")
	ErrTooManyValues = errors.New("the gateway follows as many properties as it may")
)

// property is one that is followed.
type property struct {
	PropertyEntry
	dev *propertyDevice
	// change grows with each change made here, so that an answer to a question
	// asked before it is known to be out of date.
	change     uint64
	stored     uint64 // the version that is on disk; no later one is delivered
	delivering bool
	epoch      uint64 // the connection in which it was published
	// Scheduling, see properties_schedule.go.
	lane      propertyLane
	index     int // in its lane's heap, -1 while it is in none
	due       time.Time
	busy      bool
	hotUntil  time.Time
	attempts  int
	permanent bool // the device's template refuses the value
}

// propertyDevice is a device with its followed properties.
type propertyDevice struct {
	id         string
	properties map[string]*property
	links      int
	epoch      uint64 // counts connections
}

// NewProperties makes the part that carries properties: Load takes up what the
// store remembers, and Run starts the work.
func NewProperties(cfg PropertyConfig, opts PropertiesOptions) (*Properties, error) {
	p := &Properties{
		cfg: cfg, service: opts.Service, pacer: opts.Pacer, registry: opts.Registry, store: opts.Store, owned: opts.CloudOwned,
		names: opts.Names, handOver: opts.Deliver, log: opts.Log, link: newLinkGate(), kick: make(chan struct{}, 1),
		devices: make(map[string]*propertyDevice), byName: make(map[string]map[*property]struct{}), boosts: make(map[string]*boost),
	}
	if p.pacer == nil || p.handOver == nil || p.owned == nil {
		return nil, errors.New("bridge: properties need a pacer, an owner and a way to deliver")
	}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	if p.names == nil {
		p.names = func(string) []string { return cfg.Desired }
	}
	return p, nil
}

// Load takes up what the store remembers, before anything is followed. It is
// apart from NewProperties because a store on a full disk can be read only
// later.
func (p *Properties) Load() error {
	if p.store == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.store.LoadProperties(func(e PropertyEntry) {
		pr, err := p.followLocked(e.Device, e.Name)
		if err != nil {
			return
		}
		pr.PropertyEntry, pr.stored = e, e.Version
	})
	if err != nil {
		return fmt.Errorf("load the desired properties: %w", err)
	}
	return nil
}

// LinkChanged tells of the uplink's state.
func (p *Properties) LinkChanged(s Status) { p.link.set(s.State) }

// Get returns what is known of a property that has, or had, a desired value.
func (p *Properties) Get(device, name string) (PropertyEntry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.findLocked(device, name)
	if pr == nil || pr.Version == 0 && pr.Reported == nil {
		return PropertyEntry{}, false
	}
	return pr.PropertyEntry, true
}

// Of lists what is known of a device's properties, in no order.
func (p *Properties) Of(device string) []PropertyEntry {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.devices[strings.ToLower(device)]
	if d == nil {
		return nil
	}
	list := make([]PropertyEntry, 0, len(d.properties))
	for _, pr := range d.properties {
		if pr.Version > 0 || pr.Reported != nil {
			list = append(list, pr.PropertyEntry)
		}
	}
	return list
}

// SetLocal is a local operator's value. It is on disk when SetLocal returns,
// reaches the device at once or when it connects, and, where the application
// owns the property, goes up once when the link allows. A value that the
// device's template refuses is an error and changes nothing.
func (p *Properties) SetLocal(ctx context.Context, device, name string, value json.RawMessage) (PropertyEntry, error) {
	if err := mapping.ValidDeviceID(device); err != nil {
		return PropertyEntry{}, err
	}
	if err := mapping.ValidName(name); err != nil {
		return PropertyEntry{}, err
	}
	if !json.Valid(value) {
		return PropertyEntry{}, fmt.Errorf("set property %s of %s: %w", name, device, ErrNotJSON)
	}
	value = compactJSON(value)
	owned := p.owned(device, name)
	p.mu.Lock()
	pr, err := p.followLocked(device, name)
	if err != nil {
		p.mu.Unlock()
		return PropertyEntry{}, fmt.Errorf("set property %s of %s: %w", name, device, err)
	}
	before := pr.PropertyEntry
	p.desireLocked(pr, value)
	if owned {
		pr.Write = newLocalWrite(pr.Write, value)
	}
	entry, change := pr.PropertyEntry, pr.change
	saved := p.saveLocked(pr)
	p.mu.Unlock()
	err = saved.wait(ctx)
	p.mu.Lock()
	if err != nil {
		if pr.change == change {
			// Nothing of it has gone anywhere. The version is not used again.
			before.Version = pr.Version
			pr.PropertyEntry = before
			pr.change++
		}
		p.mu.Unlock()
		return entry, fmt.Errorf("keep property %s of %s: %w", name, device, err)
	}
	pr.stored = max(pr.stored, entry.Version)
	if pr.Write != nil {
		pr.attempts = 0
		p.scheduleLocked(pr)
	}
	p.mu.Unlock()
	p.counters.local.Add(1)
	p.deliver(pr)
	return entry, nil
}

// desireLocked gives the property a new desired value.
func (p *Properties) desireLocked(pr *property, value json.RawMessage) {
	pr.change++
	pr.Version++
	pr.Desired, pr.Changed = value, time.Now().UTC()
	pr.Published, pr.Live, pr.permanent, pr.epoch = false, false, false, 0
	pr.Acknowledged = pr.Reported != nil && sameJSON(pr.Reported, value)
}

// Reported is a device's report. Of a property with a desired value it is
// recorded as the device's acknowledgement where it is the desired value, and
// of one that the application owns never sent up. It reports whether the value
// is an acknowledgement only.
func (p *Properties) Reported(device, name string, value json.RawMessage, at time.Time) (acknowledgement bool) {
	owned := p.owned(device, name)
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.findLocked(device, name)
	if pr == nil {
		if !owned {
			return false
		}
		var err error
		if pr, err = p.followLocked(device, name); err != nil {
			return true
		}
	}
	pr.Reported, pr.ReportedTime = compactJSON(value), at.UTC()
	fresh := pr.Version > 0 && !pr.Acknowledged && sameJSON(pr.Reported, pr.Desired)
	if fresh {
		pr.Acknowledged = true
		p.counters.acknowledged.Add(1)
	}
	switch {
	case !owned && fresh:
		// The device has taken over a local operator's value and owns the
		// property from here on; to keep it retained would set it back.
		p.desireLocked(pr, nil)
		pr.Acknowledged = true
		p.saveLocked(pr)
		pr.stored = pr.Version // to take a value back needs no version
		p.laterLocked(0, func() { p.deliver(pr) })
	case pr.Version > 0 || owned:
		p.saveLocked(pr)
	}
	return owned
}

// All calls fn for every property that has a desired value.
func (p *Properties) All(fn func(PropertyEntry)) {
	p.mu.Lock()
	var list []PropertyEntry
	for _, d := range p.devices {
		for _, pr := range d.properties {
			if pr.Version > 0 {
				list = append(list, pr.PropertyEntry)
			}
		}
	}
	p.mu.Unlock()
	for _, e := range list {
		fn(e)
	}
}

// saveLocked hands the entry to the store. Under the lock, so that the store
// sees the changes in their order.
func (p *Properties) saveLocked(pr *property) saving {
	if p.store == nil {
		return nil
	}
	s := make(saving, 1)
	p.store.SaveProperty(pr.PropertyEntry, func(err error) { s <- err })
	return s
}

// saving is a write to the store that is under way, nil where there is none.
type saving chan error

func (s saving) wait(ctx context.Context) error {
	if s == nil {
		return nil
	}
	select {
	case err := <-s:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Properties) findLocked(device, name string) *property {
	if d := p.devices[strings.ToLower(device)]; d != nil {
		return d.properties[name]
	}
	return nil
}

// followLocked returns the property, which is followed from now on.
func (p *Properties) followLocked(device, name string) (*property, error) {
	key := strings.ToLower(device)
	d := p.devices[key]
	if d == nil {
		d = &propertyDevice{id: strings.Clone(device), properties: make(map[string]*property)}
		p.devices[strings.Clone(key)] = d
	}
	if pr := d.properties[name]; pr != nil {
		return pr, nil
	}
	if p.tracked >= maxProperties {
		p.counters.noRoom.Add(1)
		return nil, ErrTooManyValues
	}
	p.tracked++
	pr := &property{PropertyEntry: PropertyEntry{Device: d.id, Name: strings.Clone(name)}, dev: d, index: -1}
	d.properties[pr.Name] = pr
	if p.byName[pr.Name] == nil {
		p.byName[pr.Name] = make(map[*property]struct{})
	}
	p.byName[pr.Name][pr] = struct{}{}
	return pr, nil
}
