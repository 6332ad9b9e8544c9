package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/localapi"
	"iotc-gateway/mapping"
)

// openTokens reads who may use the local API and the dashboard.
func (g *Gateway) openTokens() error {
	tokens, err := access.Open(TokensFile(g.cfg.Gateway.DataDir), access.Options{Log: g.log.Named("access")})
	if err != nil {
		return err
	}
	g.tokens = tokens
	return nil
}

// localAPI is the IoT Central API over the gateway's own parts.
func (g *Gateway) localAPI() http.Handler {
	g.api = localapi.New(localapi.Options{
		Application: func() central.Application {
			return central.Application{
				ID: g.cfg.Gateway.ID, DisplayName: "iotc-gateway " + g.cfg.Gateway.ID, Template: "iotc-gateway", Location: "edge",
				State: "Running", CreatedTime: g.createdTime(), LastUpdatedTime: g.started.UTC().Truncate(time.Second),
			}
		},
		Devices: apiDevices{g}, Values: apiValues{g}, Commands: g.commands, Marks: apiMarks{g.store},
		Template: func(device string) mapping.Template {
			r := g.rules.Load()
			if t, ok := r.templates.Get(g.templateOf(device)); ok {
				return t
			}
			return nil
		},
		FutureBound: func() time.Duration {
			if g.clock.Synced() {
				return futureBound
			}
			return 0
		},
	})
	guard := access.NewGuard(g.tokens, g.log)
	handler := central.NewHandler(g.api, central.HandlerOptions{Authorizer: guard, Log: g.log.Named("api"), Observe: g.apiCalls.observe})
	return guard.Wrap(g.whenOpen(handler, func(*http.Request) bool { return false }))
}

const createdKey = "created"

// creation is when this gateway's store was first used by the local API. A
// gateway below this one takes another time for another application.
type creation struct {
	at   time.Time
	kept atomic.Bool // it is in the store
}

// loadCreation reads the time, or writes down that it is now. A full disk may
// refuse that: it is tried again whenever somebody asks.
func (g *Gateway) loadCreation() error {
	space := g.store.Space(spaceAPI)
	if value, ok := space.Get(createdKey); ok {
		if t, err := time.Parse(time.RFC3339, string(value)); err == nil {
			g.creation.at = t
			g.creation.kept.Store(true)
			return nil
		}
	}
	g.creation.at = time.Now().UTC().Truncate(time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), storeGrace)
	defer cancel()
	err := space.PutSync(ctx, createdKey, g.creation.value())
	g.creation.kept.Store(err == nil)
	if err != nil && !errors.Is(err, buffer.ErrDiskFull) {
		return fmt.Errorf("keep the time of creation: %w", err)
	}
	return nil
}

func (c *creation) value() []byte { return []byte(c.at.Format(time.RFC3339)) }

func (g *Gateway) createdTime() time.Time {
	c := &g.creation
	if !c.kept.Load() {
		put := buffer.KV{Space: spaceAPI, Key: createdKey, Value: c.value()}
		g.store.Append(&buffer.Batch{Puts: []buffer.KV{put}}, func(err error) { c.kept.Store(err == nil) })
	}
	return c.at
}

// admitDevice is asked for the device of each record.
func (g *Gateway) admitDevice(id string) error {
	if err := g.registry.Check(id); err != nil {
		return err
	}
	g.registry.Meet(id, time.Now())
	return nil
}

// apiDevices is the registry as the local API shows it.
type apiDevices struct{ g *Gateway }

func (a apiDevices) Device(id string) (central.Device, bool) {
	d, ok := a.g.registry.Status(id)
	if !ok || !d.Exists() {
		return central.Device{}, false
	}
	return shownDevice(d), true
}

func (a apiDevices) Devices() []central.Device {
	all := a.g.registry.Statuses()
	list := make([]central.Device, 0, len(all))
	for _, d := range all {
		if d.Exists() {
			list = append(list, shownDevice(d))
		}
	}
	return list
}

func shownDevice(d bridge.DeviceStatus) central.Device {
	out := central.Device{
		ID: d.ID, DisplayName: d.DisplayName, Template: d.Template, Simulated: d.Simulated,
		Provisioned: d.State == bridge.DeviceRegistered, Enabled: d.Enabled(), LastSeen: d.LastSeen.Truncate(time.Millisecond),
	}
	if out.DisplayName == "" {
		out.DisplayName = d.ID
	}
	return out
}

func (a apiDevices) SeenHere(id string) bool {
	d, ok := a.g.registry.Device(id)
	return ok && d.Local
}

// Create registers a device. One of the application's that was never here is
// there already.
func (a apiDevices) Create(ctx context.Context, id string, in central.DeviceCreate) error {
	caller, _ := access.PrincipalOf(ctx)
	err := a.g.registry.Create(id, in, caller.Role != access.Gateway)
	switch {
	case errors.Is(err, bridge.ErrDeviceExists):
		return central.Errorf(http.StatusConflict, central.CodeDeviceExists, "There is already a device %q.", id)
	case err != nil:
		return central.Errorf(http.StatusConflict, central.CodeConflict, "The device cannot be created: %s.", err)
	}
	if a.g.loop == nil {
		return nil
	}
	// The application gets it with the next record; this is one, so that it
	// need not wait for the device.
	record := buffer.Record{Class: buffer.ClassDevice, Device: id, Time: time.Now().UnixNano()}
	if err := a.g.store.AppendSync(ctx, &buffer.Batch{Records: []buffer.Record{record}}); err != nil {
		a.g.log.Warn("a device that was created here goes to the application with its first data", zap.String("device", id), zap.Error(err))
	}
	return nil
}

func (a apiDevices) Update(_ context.Context, id string, in central.DeviceUpdate) error {
	return a.g.registry.Amend(id, in)
}

func (a apiDevices) Remove(_ context.Context, id string) error {
	if err := a.g.registry.Forget(id); err != nil {
		return central.DeviceNotFound(id)
	}
	a.g.commands.Forget(id)
	a.g.broker.DisconnectDevice(id, "the device was deleted")
	return nil
}

// apiValues puts what the local API takes where a device's own would go.
type apiValues struct{ g *Gateway }

func (a apiValues) Telemetry(ctx context.Context, r mapping.Record, mark localapi.Mark) error {
	return a.store(ctx, r, mark)
}

func (a apiValues) Report(ctx context.Context, r mapping.Record, mark localapi.Mark) error {
	return a.store(ctx, r, mark)
}

// store takes a record in as a publication's, with the mark in the same
// transaction.
func (a apiValues) store(ctx context.Context, r mapping.Record, mark localapi.Mark) error {
	in := a.g.ingest
	if in.closed.Load() {
		return errors.Join(localapi.ErrBusy, errors.New("the gateway is stopping"))
	}
	batch := &buffer.Batch{}
	if err := in.fill(batch, &mapping.Result{Records: []mapping.Record{r}}); err != nil {
		return central.Errorf(http.StatusConflict, central.CodeConflict, "%s.", err)
	}
	batch.Puts = append(batch.Puts, markPuts(mark)...)
	n := len(batch.Records)
	err := a.g.store.AppendSync(ctx, batch)
	switch {
	case err == nil:
		in.counters.API.Add(1)
		in.counters.Records.Add(uint64(n))
	case errors.Is(err, buffer.ErrTooLarge), errors.Is(err, buffer.ErrInvalid):
		return errors.Join(localapi.ErrTooLarge, err)
	case ctx.Err() == nil:
		in.counters.reason("api_not_stored")
		return errors.Join(localapi.ErrBusy, err)
	}
	return err
}

func (a apiValues) Desire(ctx context.Context, device, name string, value json.RawMessage) (central.Property, error) {
	e, err := a.g.desired.SetLocal(ctx, device, name, value)
	switch {
	case errors.Is(err, bridge.ErrTooManyValues):
		return central.Property{}, central.Errorf(http.StatusBadRequest, central.CodeInvalidRequest, "%s.", err)
	case err != nil && ctx.Err() == nil:
		return central.Property{}, errors.Join(localapi.ErrBusy, err)
	case err != nil:
		return central.Property{}, err
	}
	return central.Property{Value: e.Desired, LastReportedTime: e.Changed.Truncate(time.Millisecond)}, nil
}

// Property is the desired value until the device has taken it over, and then
// what the device reported last.
func (a apiValues) Property(device, name string) (central.Property, bool) {
	e, _ := a.g.desired.Get(device, name)
	reported, at, ok := a.g.lastReported(device, name)
	if e.Desired != nil && (!e.Acknowledged || !ok) {
		return central.Property{Value: e.Desired, LastReportedTime: e.Changed.Truncate(time.Millisecond)}, true
	}
	return central.Property{Value: reported, LastReportedTime: at.Truncate(time.Millisecond)}, ok
}

// apiMarks keeps request ids.
type apiMarks struct{ store *buffer.Store }

const markPrefix = "request/"

func markPuts(m localapi.Mark) []buffer.KV {
	if m.Key == "" {
		return nil
	}
	return []buffer.KV{{Space: spaceAPI, Key: markPrefix + m.Key, Value: m.Value}}
}

func (s apiMarks) LoadMarks(fn func(key string, value []byte)) error {
	return s.store.Space(spaceAPI).Scan(markPrefix, func(key string, value []byte) error { fn(key, value); return nil })
}

func (s apiMarks) SaveMark(m localapi.Mark) { s.store.Append(&buffer.Batch{Puts: markPuts(m)}, nil) }
