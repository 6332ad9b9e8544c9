package emulator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"iotc-gateway/bridge/central"
)

// Defaults of an Application's limits.
const (
	DefaultHistory    = 1000
	DefaultMaxDevices = 100_000
	DefaultRemembered = 1 << 18
	maxProperties     = 1000
	maxCommands       = 1000
)

// CountOnly as Application.History keeps no telemetry and only counts it.
const CountOnly = -1

// Template is a device template as the emulator needs it. An error is the answer's message (status 400), but one that is
// [ErrNotInTemplate] makes a 404: the template has no such property or command.
type Template interface {
	ValidateTelemetry(body json.RawMessage) error
	ValidateProperty(name string, value json.RawMessage) error
	ValidateCommand(name string, args json.RawMessage) error
}

// ErrNotInTemplate is returned by a Template for a name it does not know.
var ErrNotInTemplate = errors.New("not in the template")

// CommandService is what commands are forwarded to: the local API of a gateway, through a central.Client.
type CommandService interface {
	TriggerCommand(ctx context.Context, device, name string, args json.RawMessage, requestID string) (central.Command, error)
	CommandStatus(ctx context.Context, device, commandID string) (central.Command, error)
}

// Application is the emulated application. The zero value is ready to use; its fields are set before the first call and
// not changed afterwards, but Faults may be changed at any time. It is safe for concurrent use.
type Application struct {
	// Info is what GET /apps/app returns; members that are empty get a value.
	Info central.Application
	// History is how many telemetry events are kept for each device: 0 means DefaultHistory, CountOnly keeps none.
	History int
	// MaxDevices bounds the devices; 0 means DefaultMaxDevices.
	MaxDevices int
	// Remembered is how many request ids are remembered, the oldest forgotten first; 0 means DefaultRemembered.
	Remembered int
	// SequenceMember is the numeric member of telemetry that grows with each event of a device. Where it is missing the
	// timestamp tells the order. Empty means "seq".
	SequenceMember string
	// CompareContent also counts telemetry that equals, byte for byte, an earlier event of the same device under another
	// request id. Of the content a hash is remembered, as many as of request ids.
	CompareContent bool
	// Templates are the known device templates by id. Nil knows none and lets devices name any.
	Templates map[string]Template
	// CommandDelay is how long a command stays Pending.
	CommandDelay time.Duration
	// CommandResult says how a command ends; nil completes every one with a fixed sentence.
	CommandResult func(device, name string, args json.RawMessage) (status string, result json.RawMessage)
	// Forward hands commands to a gateway instead of completing them here.
	Forward CommandService
	// Faults make calls fail.
	Faults Faults
	// OnTelemetry is called after each event that was accepted and not seen before, on the caller's goroutine. The body is
	// valid during the call only.
	OnTelemetry func(device string, body json.RawMessage, requestID string)
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	once    sync.Once
	seed    maphash.Seed
	started time.Time
	shards  [64]shard
	devices atomic.Int64
	ids     memory // request ids of applied writes
	content memory // telemetry by content
	serial  atomic.Uint64
	totals  totals
}

var _ central.Service = (*Application)(nil)

// shard holds some of the devices. Its mutex guards the map alone; a device has its own.
type shard struct {
	mu      sync.RWMutex
	devices map[string]*device
}

func (a *Application) init() {
	a.once.Do(func() {
		a.seed = maphash.MakeSeed()
		a.started = a.now()
		a.ids.limit = cmp.Or(a.Remembered, DefaultRemembered)
		a.content.limit = a.ids.limit
	})
}

func (a *Application) now() time.Time {
	if a.Now != nil {
		return a.Now().UTC()
	}
	return time.Now().UTC()
}

func (a *Application) shard(id string) *shard {
	return &a.shards[maphash.String(a.seed, id)%uint64(len(a.shards))]
}

// lookup returns a device or the 404.
func (a *Application) lookup(id string) (*device, error) {
	s := a.shard(id)
	s.mu.RLock()
	d := s.devices[id]
	s.mu.RUnlock()
	if d == nil {
		return nil, central.DeviceNotFound(id)
	}
	return d, nil
}

// begin starts a call: it counts it and lets the faults act. The returned function ends the call; a write passes its result
// through it, for a fault may lose the answer of a call that was carried out.
func (a *Application) begin(ctx context.Context, op central.Operation, device string) (func(error) error, error) {
	a.init()
	a.totals.requests.Add(1)
	effect, active := a.Faults.plan(op, device)
	if !active {
		return a.end, nil
	}
	a.totals.faults.Add(1)
	if err := effect.before(ctx, op); err != nil {
		return nil, err
	}
	return func(err error) error { return effect.after(op, a.end(err)) }, nil
}

// end counts the refusals.
func (a *Application) end(err error) error {
	if err != nil {
		a.totals.refused.Add(1)
	}
	return err
}

// Application describes the application.
func (a *Application) Application(ctx context.Context) (central.Application, error) {
	end, err := a.begin(ctx, central.OpGetApplication, "")
	if err != nil {
		return central.Application{}, err
	}
	info := a.Info
	info.ID = cmp.Or(info.ID, "emulator")
	info.DisplayName = cmp.Or(info.DisplayName, "IoT Central emulator")
	info.Template = cmp.Or(info.Template, "iotc-default")
	info.Location = cmp.Or(info.Location, "localhost")
	info.State = cmp.Or(info.State, "Running")
	if info.CreatedTime.IsZero() {
		info.CreatedTime = a.started
	}
	if info.LastUpdatedTime.IsZero() {
		info.LastUpdatedTime = a.started
	}
	return info, end(nil)
}

// ListDevices returns a page of devices ordered by id; the continuation is the id of the page's last device.
func (a *Application) ListDevices(ctx context.Context, opts central.ListOptions) (central.DeviceList, error) {
	end, err := a.begin(ctx, central.OpListDevices, "")
	if err != nil {
		return central.DeviceList{}, err
	}
	top := cmp.Or(opts.Top, central.DefaultTop)
	if top < 1 || top > central.MaxTop {
		return central.DeviceList{}, end(central.Errorf(http.StatusBadRequest, central.CodeInvalidRequest, "$top must be a whole number from 1 to %d.", central.MaxTop))
	}
	var filter *central.Filter
	if opts.Filter != "" {
		if filter, err = central.ParseFilter(opts.Filter); err != nil {
			return central.DeviceList{}, end(central.Errorf(http.StatusBadRequest, central.CodeInvalidFilter, "$filter: %s.", err))
		}
	}
	list := central.DeviceList{Devices: a.page(opts.Continuation, top+1, filter)}
	if len(list.Devices) > top {
		list.Devices = list.Devices[:top]
		list.Next = list.Devices[top-1].ID
	}
	// Lists tell less than the device itself, as in the reference.
	for i := range list.Devices {
		list.Devices[i].LastSeen, list.Devices[i].FirmwareVersion = time.Time{}, ""
	}
	return list, end(nil)
}

// page returns the n devices with the lowest ids after the given one that match. It keeps no more than these, for a list of
// many devices asks for many pages.
func (a *Application) page(after string, n int, filter *central.Filter) []central.Device {
	var page []central.Device
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.RLock()
		for id, d := range s.devices {
			if id <= after || len(page) == n && id > page[n-1].ID {
				continue
			}
			info := d.snapshot()
			if !filter.Match(info) {
				continue
			}
			at, _ := slices.BinarySearchFunc(page, id, func(p central.Device, id string) int { return cmp.Compare(p.ID, id) })
			if len(page) == n {
				page = page[:n-1]
			}
			page = slices.Insert(page, at, info)
		}
		s.mu.RUnlock()
	}
	return page
}

// sorted returns the devices with ids after the given one, by id.
func (a *Application) sorted(after string) []*device {
	var all []*device
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.RLock()
		for id, d := range s.devices {
			if id > after {
				all = append(all, d)
			}
		}
		s.mu.RUnlock()
	}
	slices.SortFunc(all, func(x, y *device) int { return cmp.Compare(x.id, y.id) })
	return all
}

// CreateDevice registers a device. The same request sent again returns the device as it is.
func (a *Application) CreateDevice(ctx context.Context, id string, in central.DeviceCreate, requestID string) (central.Device, error) {
	end, err := a.begin(ctx, central.OpCreateDevice, id)
	if err != nil {
		return central.Device{}, err
	}
	d, err := a.create(id, in, requestID)
	if err = end(err); err != nil {
		return central.Device{}, err
	}
	return d.snapshot(), nil
}

func (a *Application) create(id string, in central.DeviceCreate, requestID string) (*device, error) {
	if err := central.ValidDeviceID(id); err != nil {
		return nil, central.Errorf(http.StatusBadRequest, central.CodeInvalidDeviceID, "The device id is not valid: %s.", err)
	}
	if err := a.checkTemplate(in.Template); err != nil {
		return nil, err
	}
	s := a.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[id]; d != nil {
		if requestID != "" && d.createdBy == requestID {
			a.totals.duplicates.Add(1)
			return d, nil
		}
		return nil, central.Errorf(http.StatusConflict, central.CodeDeviceExists, "There is already a device %q.", id)
	}
	if limit := int64(cmp.Or(a.MaxDevices, DefaultMaxDevices)); a.devices.Load() >= limit {
		return nil, central.Errorf(http.StatusTooManyRequests, central.CodeTooManyRequests, "The application holds its most devices, %d.", limit)
	}
	d := &device{id: id, createdBy: requestID}
	d.info = central.Device{
		ID: id, DisplayName: cmp.Or(in.DisplayName, id), Template: in.Template, Simulated: in.Simulated,
		Provisioned: true, Enabled: in.Enabled == nil || *in.Enabled,
	}
	if s.devices == nil {
		s.devices = make(map[string]*device)
	}
	s.devices[id] = d
	a.devices.Add(1)
	return d, nil
}

func (a *Application) checkTemplate(id string) error {
	if id == "" || a.Templates == nil {
		return nil
	}
	if _, ok := a.Templates[id]; !ok {
		return central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "There is no device template %q.", id)
	}
	return nil
}

// Device returns one device.
func (a *Application) Device(ctx context.Context, id string) (central.Device, error) {
	end, err := a.begin(ctx, central.OpGetDevice, id)
	if err != nil {
		return central.Device{}, err
	}
	d, err := a.lookup(id)
	if err = end(err); err != nil {
		return central.Device{}, err
	}
	return d.snapshot(), nil
}

// UpdateDevice changes a device.
func (a *Application) UpdateDevice(ctx context.Context, id string, in central.DeviceUpdate, requestID string) (central.Device, error) {
	end, err := a.begin(ctx, central.OpUpdateDevice, id)
	if err != nil {
		return central.Device{}, err
	}
	d, err := a.lookup(id)
	if err == nil && in.Template != nil {
		err = a.checkTemplate(*in.Template)
	}
	if err != nil {
		return central.Device{}, end(err)
	}
	if a.applied(requestID) {
		return d.snapshot(), end(nil)
	}
	d.mu.Lock()
	setIf(&d.info.DisplayName, in.DisplayName)
	setIf(&d.info.Template, in.Template)
	setIf(&d.info.Simulated, in.Simulated)
	setIf(&d.info.Enabled, in.Enabled)
	d.mu.Unlock()
	return d.snapshot(), end(nil)
}

func setIf[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// DeleteDevice removes a device with its telemetry, properties and commands.
func (a *Application) DeleteDevice(ctx context.Context, id, requestID string) error {
	end, err := a.begin(ctx, central.OpDeleteDevice, id)
	if err != nil {
		return err
	}
	s := a.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.devices[id] == nil {
		if a.ids.holds(requestID) {
			a.totals.duplicates.Add(1)
			return end(nil)
		}
		return end(central.DeviceNotFound(id))
	}
	a.ids.add(requestID)
	delete(s.devices, id)
	a.devices.Add(-1)
	return end(nil)
}

// applied remembers the id of a write and tells whether it came before. The empty id is never remembered.
func (a *Application) applied(requestID string) bool {
	if requestID == "" || !a.ids.add(requestID) {
		return false
	}
	a.totals.duplicates.Add(1)
	return true
}
