package localapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/downlink"
	"iotc-gateway/mapping"
)

// Devices is the registry. Ids are compared without regard to case.
type Devices interface {
	// Device returns a device that exists for callers of the API: one that was
	// deleted or refused does not.
	Device(id string) (central.Device, bool)
	// Devices lists them in the order of ids.
	Devices() []central.Device
	// SeenHere tells whether the device has been at this gateway, or was created
	// through it: the application may have others.
	SeenHere(id string) bool
	// Create registers a device, Update changes one, Remove forgets one. What
	// they answer is on disk or, if lost, harmless. Errors that callers cause
	// are [*central.Error].
	Create(ctx context.Context, id string, in central.DeviceCreate) error
	Update(ctx context.Context, id string, in central.DeviceUpdate) error
	Remove(ctx context.Context, id string) error
}

// Values is where telemetry and properties go to and come from. Marks are kept
// in the same transaction as what they belong to; what is stored is on disk
// when a call returns.
type Values interface {
	Telemetry(ctx context.Context, r mapping.Record, mark Mark) error
	Report(ctx context.Context, r mapping.Record, mark Mark) error
	Desire(ctx context.Context, device, name string, value json.RawMessage) (central.Property, error)
	// Property returns the last known value, be it reported or desired.
	Property(device, name string) (central.Property, bool)
}

// Commands is the ledger of commands.
type Commands interface {
	Trigger(ctx context.Context, r downlink.Request) (downlink.Entry, error)
	Command(device, id string) (downlink.Entry, error)
}

// Options are what a Service is made of.
type Options struct {
	Application func() central.Application
	Devices     Devices
	Values      Values
	Commands    Commands
	// Template returns a device's template, nil if it has none.
	Template func(device string) mapping.Template
	// Marks keeps the request ids.
	Marks MarkStore
	// FutureBound is how far ahead of our clock a time may lie, zero while the
	// clock is not to be trusted.
	FutureBound func() time.Duration
}

// Service is the gateway as a [central.Service].
type Service struct {
	opts     Options
	requests *requests
}

var _ central.Service = (*Service)(nil)

// New makes the service. Load comes before the first call.
func New(opts Options) *Service { return &Service{opts: opts, requests: newRequests(opts.Marks)} }

// Load takes up the request ids that are remembered. It is apart from New
// because a store on a full disk can be read only later.
func (s *Service) Load() error { return s.requests.load() }

// Application describes the gateway.
func (s *Service) Application(context.Context) (central.Application, error) {
	return s.opts.Application(), nil
}

// device finds a device or makes the 404.
func (s *Service) device(id string) (central.Device, error) {
	d, ok := s.opts.Devices.Device(id)
	if !ok {
		return central.Device{}, central.DeviceNotFound(id)
	}
	return d, nil
}

// ListDevices lists the devices that the caller's token is for, by id.
func (s *Service) ListDevices(ctx context.Context, opts central.ListOptions) (central.DeviceList, error) {
	top := cmp.Or(opts.Top, central.DefaultTop)
	if top < 1 || top > central.MaxTop {
		return central.DeviceList{}, central.Errorf(http.StatusBadRequest, central.CodeInvalidRequest, "$top must be a whole number from 1 to %d.", central.MaxTop)
	}
	var filter *central.Filter
	if opts.Filter != "" {
		var err error
		if filter, err = central.ParseFilter(opts.Filter); err != nil {
			return central.DeviceList{}, central.Errorf(http.StatusBadRequest, central.CodeInvalidFilter, "$filter: %s.", err)
		}
	}
	caller, bound := access.PrincipalOf(ctx)
	all := s.opts.Devices.Devices()
	start, found := slices.BinarySearchFunc(all, opts.Continuation, func(d central.Device, id string) int { return strings.Compare(d.ID, id) })
	if found {
		start++
	}
	var list central.DeviceList
	for _, d := range all[start:] {
		if bound && !caller.Covers(d.ID) || !filter.Match(d) {
			continue
		}
		if len(list.Devices) == top {
			list.Next = list.Devices[top-1].ID
			break
		}
		// Lists tell less than the device itself, as in the reference.
		d.LastSeen, d.FirmwareVersion = time.Time{}, ""
		list.Devices = append(list.Devices, d)
	}
	return list, nil
}

// Device returns one device, with the firmware version that it reported.
func (s *Service) Device(_ context.Context, id string) (central.Device, error) {
	d, err := s.device(id)
	if err != nil {
		return d, err
	}
	if p, ok := s.opts.Values.Property(d.ID, "firmwareVersion"); ok {
		_ = json.Unmarshal(p.Value, &d.FirmwareVersion) // what is no text is no version
	}
	return d, nil
}

// CreateDevice registers a device here, and in the application as soon as the
// link allows.
func (s *Service) CreateDevice(ctx context.Context, id string, in central.DeviceCreate, requestID string) (central.Device, error) {
	if err := central.ValidDeviceID(id); err != nil {
		return central.Device{}, central.Errorf(http.StatusBadRequest, central.CodeInvalidDeviceID, "The device id is not valid: %s.", err)
	}
	_, err := s.once(ctx, "create", id, requestID, func(m Mark) error {
		if err := s.opts.Devices.Create(ctx, id, in); err != nil {
			return err
		}
		s.requests.saved(m)
		return nil
	})
	if err != nil {
		return central.Device{}, err
	}
	return s.Device(ctx, id)
}

// UpdateDevice changes a device here.
func (s *Service) UpdateDevice(ctx context.Context, id string, in central.DeviceUpdate, requestID string) (central.Device, error) {
	d, err := s.device(id)
	if err != nil {
		return d, err
	}
	if _, err := s.once(ctx, "update", d.ID, requestID, func(m Mark) error {
		if err := s.opts.Devices.Update(ctx, d.ID, in); err != nil {
			return err
		}
		s.requests.saved(m)
		return nil
	}); err != nil {
		return central.Device{}, err
	}
	return s.Device(ctx, id)
}

// DeleteDevice forgets a device here.
func (s *Service) DeleteDevice(ctx context.Context, id, requestID string) error {
	_, err := s.once(ctx, "delete", id, requestID, func(m Mark) error {
		if _, err := s.device(id); err != nil {
			return err
		}
		if err := s.opts.Devices.Remove(ctx, id); err != nil {
			return err
		}
		s.requests.saved(m)
		return nil
	})
	return err
}

// TriggerCommand enters a command for a device of this gateway.
func (s *Service) TriggerCommand(ctx context.Context, id, name string, args json.RawMessage, requestID string) (central.Command, error) {
	d, err := s.device(id)
	if err != nil {
		return central.Command{}, err
	}
	if !s.opts.Devices.SeenHere(id) {
		return central.Command{}, central.Errorf(http.StatusNotFound, central.CodeDeviceNotFound, "The device %q was never seen at this gateway.", id)
	}
	if !d.Enabled {
		return central.Command{}, central.Errorf(http.StatusConflict, central.CodeConflict, "The device %q is disabled.", id)
	}
	e, err := s.opts.Commands.Trigger(ctx, downlink.Request{Device: d.ID, Name: name, Args: args, RequestID: requestID, Caller: central.Caller(ctx)})
	if err != nil {
		return central.Command{}, commandRefusal(err, id, name)
	}
	return e.Command(), nil
}

// CommandStatus tells how far a command has come.
func (s *Service) CommandStatus(_ context.Context, id, commandID string) (central.Command, error) {
	d, err := s.device(id)
	if err != nil {
		return central.Command{}, err
	}
	e, err := s.opts.Commands.Command(d.ID, commandID)
	if err != nil {
		return central.Command{}, central.Errorf(http.StatusNotFound, central.CodeCommandNotFound, "The device %q has no command with the id %q.", id, commandID)
	}
	return e.Command(), nil
}

// once carries out a write unless it was before. It reports whether it was.
func (s *Service) once(ctx context.Context, op, device, requestID string, write func(Mark) error) (repeated bool, err error) {
	if requestID == "" {
		return false, write(Mark{})
	}
	return s.requests.once(ctx, op+"\x00"+strings.ToLower(device)+"\x00"+requestID, write)
}

// commandRefusal turns what the ledger or the mapping says into an answer.
func commandRefusal(err error, device, name string) error {
	switch {
	case errors.Is(err, downlink.ErrTooMany), errors.Is(err, downlink.ErrNoRoom):
		e := central.Errorf(http.StatusTooManyRequests, central.CodeTooManyRequests, "The command is refused: %s.", err)
		e.RetryAfter = 5 * time.Second
		return e
	case unknownName(err):
		return central.Errorf(http.StatusNotFound, central.CodeCommandNotFound, "The device %q has no command %q: %s.", device, name, err)
	}
	if e, ok := errors.AsType[*mapping.Error](err); ok {
		return central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The command %q cannot be given to the device %q: %s.", name, device, e)
	}
	return refusal(err)
}
