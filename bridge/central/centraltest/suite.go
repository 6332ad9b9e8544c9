package centraltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"iotc-gateway/bridge/central"
)

// Target is one service under test, fresh and without devices of the suite's names.
type Target struct {
	Service central.Service
	// FinishCommands lets every command triggered so far come to its end: it moves a clock on, or plays the device. Nil
	// leaves out the tests that need it.
	FinishCommands func(t *testing.T)
	// AddDevice makes a device where Capabilities.Create is false.
	AddDevice func(t *testing.T, id string)
}

// Capabilities say what an implementation offers beyond reading.
type Capabilities struct {
	// Create, Update and Delete are the writes to devices.
	Create, Update, Delete bool
	// List includes $filter, $top and pages.
	List bool
	// Deduplicates means that a write of a known request id is not applied again.
	Deduplicates bool
	// FreeProperties means that a device without a template has whatever properties are set.
	FreeProperties bool
	// LastSeen means that telemetry shows in the device's lastSeen.
	LastSeen bool
	// TopicNames means that properties have names that can stand in a topic; others are refused with 400.
	TopicNames bool
}

// Everything is what a full implementation offers.
var Everything = Capabilities{Create: true, Update: true, Delete: true, List: true, Deduplicates: true, FreeProperties: true, LastSeen: true}

// Suite runs the tests on services that New makes, one for each test.
type Suite struct {
	New          func(t *testing.T) Target
	Capabilities Capabilities
}

// Run runs the whole suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*bundle)
		skip bool
	}{
		{"application", testApplication, false},
		{"create and get", testCreate, !s.Capabilities.Create},
		{"create twice", testCreateTwice, !s.Capabilities.Create},
		{"create with a bad id", testCreateBadID, !s.Capabilities.Create},
		{"update", testUpdate, !s.Capabilities.Update},
		{"delete", testDelete, !s.Capabilities.Delete},
		{"unknown device", testUnknownDevice, false},
		{"list", testList, !s.Capabilities.List},
		{"filter", testFilter, !s.Capabilities.List || !s.Capabilities.Create},
		{"pages", testPages, !s.Capabilities.List},
		{"telemetry", testTelemetry, false},
		{"bad telemetry", testBadTelemetry, false},
		{"command", testCommand, false},
		{"unknown command", testUnknownCommand, false},
		{"property", testProperty, !s.Capabilities.FreeProperties},
		{"unknown property", testUnknownProperty, false},
		{"request ids", testRequestIDs, !s.Capabilities.Deduplicates},
		{"at once", testAtOnce, false},
	}
	for _, test := range tests {
		if test.skip {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(&bundle{T: t, Target: s.New(t), can: s.Capabilities})
		})
	}
}

// bundle is what a test of the suite works with.
type bundle struct {
	*testing.T
	Target
	can    Capabilities
	serial int
}

// id returns a new request id.
func (b *bundle) id() string {
	b.serial++
	return fmt.Sprintf("%08x-0000-5000-8000-%012x", b.serial, b.serial)
}

// add makes a device.
func (b *bundle) add(id string, in central.DeviceCreate) central.Device {
	b.Helper()
	if b.AddDevice != nil {
		b.AddDevice(b.T, id)
		d, err := b.Service.Device(b.Context(), id)
		b.must(err)
		return d
	}
	d, err := b.Service.CreateDevice(b.Context(), id, in, b.id())
	b.must(err)
	return d
}

func (b *bundle) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// want checks that err is the server's answer of that status, and complete.
func (b *bundle) want(status int, err error) {
	b.Helper()
	e, ok := errors.AsType[*central.Error](err)
	if !ok || e.Status != status {
		b.Fatalf("got the error %v, want an answer %d", err, status)
	}
	if e.Code == "" || e.Message == "" {
		b.Errorf("the answer %d has the code %q and the message %q, want both", status, e.Code, e.Message)
	}
	if central.MaybeSent(err) {
		b.Errorf("MaybeSent(%v) = true for a refusal", err)
	}
}

func testApplication(b *bundle) {
	app, err := b.Service.Application(b.Context())
	b.must(err)
	if app.ID == "" || app.DisplayName == "" {
		b.Errorf("got the application %+v, want an id and a display name", app)
	}
}

func testCreate(b *bundle) {
	in := central.DeviceCreate{DisplayName: "New IoT Device", Template: "dtmi:com:example:genericDevice;1", Simulated: true}
	created, err := b.Service.CreateDevice(b.Context(), "device001", in, b.id())
	b.must(err)
	if created.ID != "device001" || created.DisplayName != in.DisplayName || created.Template != in.Template || !created.Simulated || !created.Enabled {
		b.Errorf("created %+v of %+v", created, in)
	}
	got, err := b.Service.Device(b.Context(), "device001")
	b.must(err)
	if got != created {
		b.Errorf("got %+v, created %+v", got, created)
	}
	disabled := b.add("device002", central.DeviceCreate{Enabled: new(false)})
	if disabled.Enabled || disabled.DisplayName == "" {
		b.Errorf("created %+v, want it disabled and with a display name", disabled)
	}
}

func testCreateTwice(b *bundle) {
	b.add("device001", central.DeviceCreate{DisplayName: "first"})
	_, err := b.Service.CreateDevice(b.Context(), "device001", central.DeviceCreate{DisplayName: "second"}, b.id())
	b.want(409, err)
	got, err := b.Service.Device(b.Context(), "device001")
	b.must(err)
	if got.DisplayName != "first" {
		b.Errorf("the refused creation changed the device to %+v", got)
	}
}

func testCreateBadID(b *bundle) {
	for _, id := range []string{"a b", "pump/7", "pump.", "größe", "a#b", "x?y", "a%2fb", longName} {
		_, err := b.Service.CreateDevice(b.Context(), id, central.DeviceCreate{}, "")
		b.want(400, err)
	}
}

// longName is one character longer than a device id may be.
var longName = func() string {
	name := make([]byte, central.MaxDeviceIDBytes+1)
	for i := range name {
		name[i] = 'x'
	}
	return string(name)
}()

func testUpdate(b *bundle) {
	before := b.add("device001", central.DeviceCreate{DisplayName: "Sensor Alpha", Simulated: true})
	after, err := b.Service.UpdateDevice(b.Context(), "device001", central.DeviceUpdate{DisplayName: new("Updated Sensor Alpha"), Enabled: new(false)}, b.id())
	b.must(err)
	if after.DisplayName != "Updated Sensor Alpha" || after.Enabled || after.Simulated != before.Simulated {
		b.Errorf("updated to %+v", after)
	}
	same, err := b.Service.UpdateDevice(b.Context(), "device001", central.DeviceUpdate{}, b.id())
	b.must(err)
	if same.DisplayName != after.DisplayName || same.Enabled {
		b.Errorf("an empty update changed %+v to %+v", after, same)
	}
}

func testDelete(b *bundle) {
	b.add("device001", central.DeviceCreate{})
	b.must(b.Service.DeleteDevice(b.Context(), "device001", b.id()))
	_, err := b.Service.Device(b.Context(), "device001")
	b.want(404, err)
	b.want(404, b.Service.DeleteDevice(b.Context(), "device001", b.id()))
	again := b.add("device001", central.DeviceCreate{DisplayName: "again"})
	if again.DisplayName != "again" {
		b.Errorf("created %+v after the deletion", again)
	}
}

func testUnknownDevice(b *bundle) {
	ctx, s := b.Context(), b.Service
	_, err := s.Device(ctx, "nobody")
	b.want(404, err)
	if b.can.Update {
		_, err = s.UpdateDevice(ctx, "nobody", central.DeviceUpdate{Enabled: new(true)}, b.id())
		b.want(404, err)
	}
	if b.can.Delete {
		b.want(404, s.DeleteDevice(ctx, "nobody", b.id()))
	}
	b.want(404, s.SendTelemetry(ctx, "nobody", json.RawMessage(`{"t":1}`), b.id()))
	_, err = s.TriggerCommand(ctx, "nobody", "reboot", nil, b.id())
	b.want(404, err)
	_, err = s.CommandStatus(ctx, "nobody", "cmd-1")
	b.want(404, err)
	_, err = s.Property(ctx, "nobody", "interval")
	b.want(404, err)
	_, err = s.UpdateProperty(ctx, "nobody", "interval", json.RawMessage(`1`), b.id())
	b.want(404, err)
}

func testTelemetry(b *bundle) {
	before := b.add("device001", central.DeviceCreate{})
	for _, body := range []string{
		`{"temperature": 25.5, "humidity": 60.2, "timestamp": "2023-10-26T15:05:10Z"}`,
		`{}`,
		` {"nested": {"a": [1, 2, {"b": null}]}, "text": "ü", "big": 12345678901234567890, "timestamp": "2023-10-26T15:05:10.123456+02:00"} `,
	} {
		b.must(b.Service.SendTelemetry(b.Context(), "device001", json.RawMessage(body), b.id()))
	}
	if !b.can.LastSeen {
		return
	}
	after, err := b.Service.Device(b.Context(), "device001")
	b.must(err)
	if !before.LastSeen.IsZero() || after.LastSeen.IsZero() {
		b.Errorf("lastSeen went from %v to %v", before.LastSeen, after.LastSeen)
	}
}

func testBadTelemetry(b *bundle) {
	b.add("device001", central.DeviceCreate{})
	for _, body := range []string{``, `  `, `21.5`, `"text"`, `[{"t":1}]`, `null`, `{"t":}`, `{"t":1`, `{"t":1}{"t":2}`, `{"t":1} x`, `{"t":1, "timestamp":"yesterday"}`, `{"timestamp":5}`} {
		b.want(400, b.Service.SendTelemetry(b.Context(), "device001", json.RawMessage(body), b.id()))
	}
}

func testCommand(b *bundle) {
	b.add("device001", central.DeviceCreate{})
	ctx := b.Context()
	triggered, err := b.Service.TriggerCommand(ctx, "device001", "reboot", json.RawMessage(`{"rebootInterval": 60}`), b.id())
	b.must(err)
	if triggered.CommandID == "" || triggered.Status != central.StatusPending {
		b.Fatalf("triggered %+v, want an id and Pending", triggered)
	}
	other, err := b.Service.TriggerCommand(ctx, "device001", "reboot", nil, b.id())
	b.must(err)
	if other.CommandID == triggered.CommandID {
		b.Errorf("two commands have the id %s", other.CommandID)
	}
	pending, err := b.Service.CommandStatus(ctx, "device001", triggered.CommandID)
	b.must(err)
	if pending.CommandID != triggered.CommandID || pending.Status != central.StatusPending || !pending.CompletedTime.IsZero() {
		b.Errorf("the status is %+v, want Pending", pending)
	}
	if b.FinishCommands == nil {
		return
	}
	b.FinishCommands(b.T)
	done, err := b.Service.CommandStatus(ctx, "device001", triggered.CommandID)
	b.must(err)
	if done.CommandID != triggered.CommandID || done.Status != central.StatusCompleted || done.CompletedTime.IsZero() || !done.Final() {
		b.Errorf("the status is %+v, want Completed with its time", done)
	}
}

func testUnknownCommand(b *bundle) {
	b.add("device001", central.DeviceCreate{})
	b.add("device002", central.DeviceCreate{})
	cmd, err := b.Service.TriggerCommand(b.Context(), "device001", "reboot", nil, b.id())
	b.must(err)
	_, err = b.Service.CommandStatus(b.Context(), "device001", "no-such-command")
	b.want(404, err)
	_, err = b.Service.CommandStatus(b.Context(), "device002", cmd.CommandID)
	b.want(404, err)
}

func testProperty(b *bundle) {
	b.add("device001", central.DeviceCreate{})
	values := map[string]string{
		"firmwareVersion": `"1.3.0"`, "interval": `60`, "ratio": `-1.5e3`, "on": `true`, "nothing": `null`,
		"limits": `{"low":1,"high":[2,3]}`, "list": `[]`, "größe/maß %": `"ü"`, "a b+c?d#e": `1`, "big": `12345678901234567890`,
	}
	for name, value := range values {
		if b.can.TopicNames && strings.ContainsAny(name, "/+#") {
			_, err := b.Service.UpdateProperty(b.Context(), "device001", name, json.RawMessage(value), b.id())
			b.want(400, err)
			continue
		}
		updated, err := b.Service.UpdateProperty(b.Context(), "device001", name, json.RawMessage(value), b.id())
		b.must(err)
		got, err := b.Service.Property(b.Context(), "device001", name)
		b.must(err)
		if !sameJSON(updated.Value, value) || !sameJSON(got.Value, value) {
			b.Errorf("the property %q was set to %s, the answer was %s and then %s", name, value, updated.Value, got.Value)
		}
		if got.LastReportedTime.IsZero() {
			b.Errorf("the property %q has no lastReportedTime", name)
		}
	}
	_, err := b.Service.UpdateProperty(b.Context(), "device001", "interval", json.RawMessage(`90`), b.id())
	b.must(err)
	got, err := b.Service.Property(b.Context(), "device001", "interval")
	b.must(err)
	if !sameJSON(got.Value, `90`) {
		b.Errorf("the property is %s after it was set to 90", got.Value)
	}
}

// sameJSON compares two values; numbers are compared as they are written.
func sameJSON(a json.RawMessage, b string) bool {
	var x, y any
	if decode(a, &x) != nil || decode([]byte(b), &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

func testUnknownProperty(b *bundle) {
	b.add("device001", central.DeviceCreate{})
	_, err := b.Service.Property(b.Context(), "device001", "noSuchProperty")
	b.want(404, err)
}

func testRequestIDs(b *bundle) {
	ctx, s := b.Context(), b.Service
	create, send, trigger := b.id(), b.id(), b.id()
	for range 2 {
		_, err := s.CreateDevice(ctx, "device001", central.DeviceCreate{DisplayName: "once"}, create)
		b.must(err)
		b.must(s.SendTelemetry(ctx, "device001", json.RawMessage(`{"n":1}`), send))
	}
	first, err := s.TriggerCommand(ctx, "device001", "reboot", nil, trigger)
	b.must(err)
	second, err := s.TriggerCommand(ctx, "device001", "reboot", nil, trigger)
	b.must(err)
	if first.CommandID != second.CommandID {
		b.Errorf("one request triggered the commands %s and %s", first.CommandID, second.CommandID)
	}
	old := b.id()
	_, err = s.UpdateProperty(ctx, "device001", "p", json.RawMessage(`1`), old)
	b.must(err)
	_, err = s.UpdateProperty(ctx, "device001", "p", json.RawMessage(`2`), b.id())
	b.must(err)
	p, err := s.UpdateProperty(ctx, "device001", "p", json.RawMessage(`1`), old)
	b.must(err)
	if !sameJSON(p.Value, `2`) {
		b.Errorf("a repeated request set the property back to %s", p.Value)
	}
}

func testAtOnce(b *bundle) {
	const devices, events = 8, 25
	names := make([]string, devices)
	for i := range names {
		names[i] = fmt.Sprintf("device%03d", i)
		b.add(names[i], central.DeviceCreate{})
	}
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			for n := range events {
				body := fmt.Appendf(nil, `{"n":%d}`, n)
				if err := b.Service.SendTelemetry(b.Context(), name, body, fmt.Sprintf("%d-%d", i, n)); err != nil {
					b.Errorf("send to %s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
}

func testList(b *bundle) {
	want := []string{"device001", "device002", "device003"}
	for _, id := range []string{"device002", "device003", "device001"} {
		b.add(id, central.DeviceCreate{})
	}
	list, err := b.Service.ListDevices(b.Context(), central.ListOptions{})
	b.must(err)
	if got := ids(list.Devices); !slices.Equal(got, want) || list.Next != "" {
		b.Errorf("listed %v and then %q, want %v", got, list.Next, want)
	}
}

func testPages(b *bundle) {
	var want []string
	for i := range 30 {
		id := fmt.Sprintf("device%03d", i)
		want = append(want, id)
		b.add(id, central.DeviceCreate{})
	}
	list, err := b.Service.ListDevices(b.Context(), central.ListOptions{})
	b.must(err)
	if len(list.Devices) != central.DefaultTop || list.Next == "" {
		b.Errorf("listed %d devices without $top and then %q, want %d and more", len(list.Devices), list.Next, central.DefaultTop)
	}
	for _, top := range []int{7, 10, 30, central.MaxTop} {
		var got []string
		opts := central.ListOptions{Top: top}
		for {
			page, err := b.Service.ListDevices(b.Context(), opts)
			b.must(err)
			if len(page.Devices) > top {
				b.Errorf("a page has %d devices with $top=%d", len(page.Devices), top)
			}
			got = append(got, ids(page.Devices)...)
			if page.Next == "" {
				break
			}
			opts.Continuation = page.Next
		}
		if !slices.Equal(got, want) {
			b.Errorf("the pages of %d have %v, want %v", top, got, want)
		}
	}
	for _, top := range []int{-1, central.MaxTop + 1} {
		_, err := b.Service.ListDevices(b.Context(), central.ListOptions{Top: top})
		b.want(400, err)
	}
}

func testFilter(b *bundle) {
	b.add("device001", central.DeviceCreate{DisplayName: "Sensor Alpha", Template: "dtmi:com:example:temperatureSensor;1"})
	b.add("device002", central.DeviceCreate{DisplayName: "Actuator Beta", Template: "dtmi:com:example:actuator;1", Simulated: true})
	b.add("device003", central.DeviceCreate{DisplayName: "it's here", Enabled: new(false)})
	for filter, want := range map[string][]string{
		"simulated eq true": {"device002"},
		"simulated ne true and displayName ne 'it''s here'":             {"device001"},
		"displayName eq 'it''s here'":                                   {"device003"},
		"template eq null or simulated":                                 {"device002", "device003"},
		"not (template eq null) and not simulated eq true":              {"device001"},
		"template eq 'dtmi:com:example:actuator;1'":                     {"device002"},
		"id eq 'device001' or id eq 'device003' and enabled eq true":    {"device001"},
		"(id eq 'device001' or id eq 'device003') and enabled eq false": {"device003"},
		"id eq 'nobody'": {},
	} {
		list, err := b.Service.ListDevices(b.Context(), central.ListOptions{Filter: filter})
		b.must(err)
		if got := ids(list.Devices); !slices.Equal(got, want) {
			b.Errorf("%s selects %v, want %v", filter, got, want)
		}
	}
	for _, filter := range []string{"simulated eq", "temperature eq 5", "simulated eq 'yes'", "displayName eq 'open", "(simulated", "id = 'x'"} {
		_, err := b.Service.ListDevices(b.Context(), central.ListOptions{Filter: filter})
		b.want(400, err)
	}
}

func ids(devices []central.Device) []string {
	out := make([]string, 0, len(devices))
	for _, d := range devices {
		out = append(out, d.ID)
	}
	return out
}

// decode keeps numbers as they are written.
func decode(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec.Decode(into)
}
