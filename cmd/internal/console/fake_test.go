package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"iotc-gateway/cmd/internal/console"
)

// fake is a gateway that a test makes up. Actions are noted.
type fake struct {
	mu       sync.Mutex
	now      func() time.Time
	overview console.Overview
	devices  []console.DeviceDetail
	letters  []console.DeadLetterDetail
	actions  []string
	events   chan console.TapEvent
	status   string // of commands
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.actions = append(f.actions, fmt.Sprintf(format, args...))
}

func (f *fake) noted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.actions)
}

func (f *fake) Gateway() console.Gateway {
	return console.Gateway{ID: "site-42", Version: "1.4.0", Started: f.now().Add(-26 * time.Hour)}
}

func (f *fake) Overview() console.Overview {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.overview
	o.Now = f.now()
	return o
}

func (f *fake) set(change func(*console.Overview)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.overview)
}

func (f *fake) Devices() []console.Device {
	out := make([]console.Device, len(f.devices))
	for i := range f.devices {
		out[i] = f.devices[i].Device
	}
	return out
}

func (f *fake) Device(id string) (console.DeviceDetail, bool) {
	for _, d := range f.devices {
		if d.ID == id {
			return d, true
		}
	}
	return console.DeviceDetail{}, false
}

func (f *fake) ApproveDevice(id string) error {
	f.note("approve %s", id)
	return nil
}

func (f *fake) SetProperty(_ context.Context, device, name string, value json.RawMessage) error {
	if string(value) == `"refused"` {
		return fmt.Errorf("%w: expected a number", console.ErrRefused)
	}
	f.note("set %s %s %s", device, name, value)
	return nil
}

func (f *fake) TriggerCommand(_ context.Context, device, name string, args json.RawMessage) (console.Command, error) {
	f.note("trigger %s %s %s", device, name, args)
	return console.Command{ID: "c1", Status: "Pending"}, nil
}

func (f *fake) CommandStatus(_ context.Context, _, id string) (console.Command, error) {
	if id != "c1" {
		return console.Command{}, console.ErrNotFound
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return console.Command{ID: id, Status: f.status, Final: f.status != "Pending", Result: json.RawMessage(`{"ok":true}`)}, nil
}

func (f *fake) Connections() []console.Connection {
	return []console.Connection{
		{Client: "pump-7", User: "pump-7", Role: "device", Remote: "192.0.2.17:51000", Listener: "field-tls", Protocol: "MQTT 5", TLS: true, Connected: f.now().Add(-time.Hour)},
		{Client: "plug-kitchen", User: "", Role: "device", Remote: "127.0.0.1:51002", Listener: "local", Protocol: "MQTT 3.1.1", Connected: f.now().Add(-time.Minute)},
	}
}

func (f *fake) Disconnect(client, why string) error {
	if client == "gone" {
		return console.ErrNotFound
	}
	f.note("disconnect %s: %s", client, why)
	return nil
}

func (f *fake) DeadLetters(_ context.Context, after uint64, fn func(console.DeadLetter) bool) error {
	f.mu.Lock()
	list := slices.Clone(f.letters)
	f.mu.Unlock()
	for _, l := range list {
		if l.ID > after && !fn(l.DeadLetter) {
			return nil
		}
	}
	return nil
}

func (f *fake) DeadLetter(id uint64) (console.DeadLetterDetail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.letters {
		if l.ID == id {
			return l, nil
		}
	}
	return console.DeadLetterDetail{}, console.ErrNotFound
}

func (f *fake) RetryDeadLetter(ctx context.Context, id uint64) error {
	l, err := f.DeadLetter(id)
	if err != nil {
		return err
	}
	if l.Reason == "undecodable" {
		return fmt.Errorf("map it again: unexpected end of JSON")
	}
	f.note("retry %d", id)
	return f.remove(ctx, id)
}

func (f *fake) DropDeadLetters(ctx context.Context, ids ...uint64) error {
	f.note("drop %v", ids)
	return f.remove(ctx, ids...)
}

func (f *fake) remove(_ context.Context, ids ...uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.letters = slices.DeleteFunc(f.letters, func(l console.DeadLetterDetail) bool { return slices.Contains(ids, l.ID) })
	return nil
}

func (f *fake) Try(p console.TrialInput) json.RawMessage {
	if p.Topic == "plant/1" {
		return json.RawMessage(`{"trial":{"topic":"plant/1","route":"","records":[],"requests":[],"error":{"code":"unmapped","message":"nothing maps plant/1","hint":"plant/{area}/{device}/temp has two levels more"}},"decoded":null,"detail":null}`)
	}
	return json.RawMessage(`{"trial":{"topic":"devices/my-sensor/telemetry","route":"native","records":[{"kind":"telemetry","device":"my-sensor","name":"","value":{"temperature":21.5},"time":"2026-11-25T10:00:00.000Z"}],
	"requests":[{"method":"POST","path":"/devices/my-sensor/telemetry","body":{"temperature":21.5,"timestamp":"2026-11-25T10:00:00.000Z"}}],"error":null},"decoded":{"temperature":21.5},"detail":null}`)
}

func (f *fake) Tap(filter console.TapFilter, _ int) *console.TapStream {
	f.note("tap %s %s", filter.Topic, filter.Device)
	return &console.TapStream{Events: f.events, Dropped: func() uint64 { return 3 }, Close: func() { f.note("tap closed") }}
}

// healthy is a gateway where all is well.
func healthy(now func() time.Time) *fake {
	f := &fake{now: now, events: make(chan console.TapEvent, 16), status: "Pending"}
	t := now()
	f.overview = console.Overview{
		Checks: []console.Check{
			{Name: "store", OK: true, Message: "0 records wait, 0 dead letters are kept, 12 MiB on disk"},
			{Name: "disk", OK: true, Message: "9412 MiB free"},
			{Name: "uplink", OK: true, Advisory: true, Message: "online since 2026-11-25 08:14:02Z: answers 200"},
			{Name: "clock", OK: true, Advisory: true, Message: "synchronised"},
		},
		Uplink: console.Uplink{State: "online", Delivers: true, Since: t.Add(-26 * time.Hour), Reason: "the application answers", LastSuccess: t, URL: "https://my-app.azureiotcentral.com/api", RateLimit: 20, Calls: 91234, CallSeconds: 3831},
		Totals: console.Totals{
			Received: 91300, Stored: 91234, Records: 91234, Delivered: 91234, Bytes: 18_400_000, DiskBytes: 41_000_000, Dropped: map[string]uint64{}, Reasons: map[string]uint64{},
		},
		Backlog: console.Backlog{HoursLeft: -1, Classes: []console.BacklogClass{
			{Name: "device", Stored: 14, Delivered: 14}, {Name: "command", Stored: 3, Delivered: 3}, {Name: "property", Stored: 411, Delivered: 402, Dropped: map[string]uint64{"superseded": 9}}, {Name: "telemetry", Stored: 90806, Delivered: 90806},
		}},
		Store:   console.Store{LimitBytes: 2 << 30, DiskBytes: 12 << 20, FreeBytes: 9412 << 20},
		Clients: 14, Sessions: 15, Devices: 14, ClockSynced: true,
	}
	for i := range 14 {
		f.devices = append(f.devices, madeDevice(i, t))
	}
	return f
}

func madeDevice(i int, t time.Time) console.DeviceDetail {
	names := []string{"pump-7", "pump-8", "plug-kitchen", "boiler", "hall-3-temp", "hall-4-temp", "meter-main", "weather", "tank-north", "tank-south", "compressor", "gate", "fan-1", "fan-2"}
	d := console.DeviceDetail{Device: console.Device{
		ID: names[i], State: "registered", Template: "dtmi:example:Pump;2", Connection: "connected", Client: names[i], LastSeen: t.Add(-time.Duration(i) * time.Second),
	}, Publications: []console.Seen{}, Properties: []console.Property{}, Faults: []console.Fault{}, Commands: []string{}}
	temperature := console.Value{Kind: "telemetry", Name: "temperature", Last: json.RawMessage("21.5"), Time: d.LastSeen}
	for k := range 40 {
		temperature.Spark = append(temperature.Spark, 21+math.Sin(float64(k+3*i)/5)+float64((k*7+i)%5)/10)
	}
	d.Values = []console.Value{temperature, {Kind: "telemetry", Name: "state", Last: json.RawMessage(`"running"`), Time: d.LastSeen}, {Kind: "property", Name: "online", Last: json.RawMessage("true"), Time: d.LastSeen}}
	switch i {
	case 0:
		d.Properties = []console.Property{
			{Name: "firmware", Reported: json.RawMessage(`"3.2.1"`)},
			{Name: "interval", Reported: json.RawMessage("10"), Desired: json.RawMessage("5"), Version: 4, Writable: true, Pending: true},
		}
		d.Commands = []string{"reboot", "prime"}
		d.Publications = []console.Seen{{Time: d.LastSeen, Topic: "devices/pump-7/telemetry", Payload: `{"temperature": 21.5, "state": "running"}`, Bytes: 40, Records: 1}}
	case 2:
		d.State, d.Template = "pending", ""
	case 5:
		d.Connection, d.Errors = "offline", 12
		d.Faults = []console.Fault{{Time: d.LastSeen, Where: "field", Reason: "template", Message: "temperature: expected a double, found the string \"n/a\""}}
		d.LastError = &d.Faults[0]
	}
	return d
}

// withLetters adds dead letters of three reasons.
func (f *fake) withLetters() *fake {
	t := f.now()
	for i := range 38 {
		l := console.DeadLetterDetail{DeadLetter: console.DeadLetter{ID: uint64(i + 1), Time: t.Add(time.Duration(i-40) * time.Minute), Device: "hall-4-temp", Topic: "devices/hall-4-temp/telemetry", Bytes: 24}, Client: "hall-4-temp", QoS: 1}
		switch {
		case i%9 == 0:
			l.Reason, l.Message, l.Payload = "undecodable", "the payload is no JSON: unexpected end at byte 14", `{"temperature"`
			l.Mapped = json.RawMessage(`{"topic":"devices/hall-4-temp/telemetry","route":"","records":[],"requests":[],"error":{"code":"undecodable","message":"the payload is no JSON: unexpected end at byte 14","hint":""}}`)
		case i%7 == 0:
			l.Reason, l.Message, l.Kind, l.Topic, l.Status, l.Attempts = "status_422", "DeviceTemplateMismatch: the property interval takes an integer", "property", "", 422, 1
			l.Device, l.Name, l.Answer, l.Payload = "pump-7", "interval", "DeviceTemplateMismatch: the property interval takes an integer", "2.5"
			l.Mapped = json.RawMessage(`{"requests":[{"method":"PATCH","path":"/devices/pump-7/properties/interval","body":2.5}],"records":[],"error":null}`)
		default:
			l.Reason, l.Message, l.Payload = "template", "temperature: expected a double, found the string \"n/a\"", `{"temperature": "n/a"}`
			l.Mapped = json.RawMessage(`{"topic":"devices/hall-4-temp/telemetry","route":"native","records":[],"requests":[{"method":"POST","path":"/devices/hall-4-temp/telemetry","body":{"temperature":null}}],"error":null}`)
		}
		f.letters = append(f.letters, l)
	}
	f.overview.DeadLetters, f.overview.DeadLetterBytes = 38, 38*300
	f.overview.Totals.Reasons = map[string]uint64{"template": 28, "undecodable": 5}
	return f
}

// cut takes the uplink away.
func (f *fake) cut() *fake {
	t := f.now()
	f.set(func(o *console.Overview) {
		o.Uplink.State, o.Uplink.Delivers, o.Uplink.Since, o.Uplink.LastSuccess = "offline", false, t.Add(-95*time.Minute), t.Add(-95*time.Minute)
		o.Uplink.Reason, o.Uplink.NextProbe = "dial tcp 203.0.113.9:443: connect: no route to host", t.Add(24*time.Second)
		o.Backlog.Records, o.Backlog.Bytes, o.Backlog.OldestSeconds, o.Backlog.HoursLeft = 114_020, 31<<20, 5700, 102
		o.Backlog.Classes[3].Records, o.Backlog.Classes[3].Bytes, o.Backlog.Classes[3].OldestSeconds = 113_988, 31<<20, 5700
		o.Backlog.Classes[2].Records, o.Backlog.Classes[2].Bytes, o.Backlog.Classes[2].OldestSeconds = 32, 6<<10, 5400
		o.Totals.Records += 114_020
		o.Checks[2] = console.Check{Name: "uplink", Advisory: true, Message: "offline since 2026-11-25 08:39:00Z: no route to host"}
	})
	return f
}
