package emulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
)

func TestAccounting(t *testing.T) {
	t.Parallel()
	var told []string
	app := &emulator.Application{CompareContent: true, OnTelemetry: func(device string, body json.RawMessage, requestID string) {
		told = append(told, device+" "+requestID)
	}}
	addDevice(t, app, "d1")
	addDevice(t, app, "d2")
	for _, event := range []struct{ device, body, id string }{
		{"d1", `{"seq":1}`, "a"},
		{"d1", `{"seq":2}`, "b"},
		{"d1", `{"seq":2}`, "b"}, // the same request again
		{"d1", `{"seq":4}`, "c"},
		{"d1", `{"seq":3}`, "d"}, // behind 4
		{"d1", `{"seq":4}`, "e"}, // the same content under another id; not behind
		{"d2", `{"seq":1}`, "f"}, // another device's order
		{"d2", `{"t":1,"timestamp":"2026-01-01T00:00:02Z"}`, "g"},
		{"d2", `{"t":2,"timestamp":"2026-01-01T00:00:01Z"}`, "h"}, // behind by its time
		{"d2", `{"t":2,"timestamp":"2026-01-01T00:00:01Z"}`, ""},  // without an id nothing is known
	} {
		if err := app.SendTelemetry(t.Context(), event.device, json.RawMessage(event.body), event.id); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.SendTelemetry(t.Context(), "d1", json.RawMessage(`{`), "i"); central.StatusOf(err) != 400 {
		t.Error(err)
	}
	got := app.Stats()
	d1, d2 := got.Devices["d1"], got.Devices["d2"]
	if d1.Received != 6 || d1.Accepted != 5 || d1.Duplicates != 1 || d1.OutOfOrder != 1 || d1.SameContent != 1 || d1.LastSequence == nil || *d1.LastSequence != 4 {
		t.Errorf("d1: %+v", d1)
	}
	if d2.Received != 4 || d2.Accepted != 4 || d2.Duplicates != 0 || d2.OutOfOrder != 2 || d2.SameContent != 1 {
		t.Errorf("d2: %+v", d2)
	}
	if got.Telemetry != 10 || got.Accepted != 9 || got.Duplicates != 1 || got.OutOfOrder != 3 || got.SameContent != 2 || got.Refused != 1 || got.DeviceCount != 2 {
		t.Errorf("all: %+v", got)
	}
	if fmt.Sprint(told) != "[d1 a d1 b d1 c d1 d d1 e d2 f d2 g d2 h d2 ]" {
		t.Errorf("told %v", told)
	}
	app.Reset()
	if got := app.Stats(); got.Telemetry != 0 || got.DeviceCount != 0 || len(got.Devices) != 0 {
		t.Errorf("after the reset: %+v", got)
	}
	addDevice(t, app, "d1")
	if err := app.SendTelemetry(t.Context(), "d1", json.RawMessage(`{"seq":1}`), "a"); err != nil || app.Totals().Duplicates != 0 {
		t.Errorf("a request id outlived the reset: %v, %+v", err, app.Totals())
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]string{3: "7 8 9", 20: "0 1 2 3 4 5 6 7 8 9", emulator.CountOnly: ""} {
		app := &emulator.Application{History: limit}
		addDevice(t, app, "d1")
		for n := range 10 {
			if err := send(t, app, n); err != nil {
				t.Fatal(err)
			}
		}
		events, err := app.Telemetry("d1", 100)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range events {
			got = append(got, strings.Trim(string(e.Body), `{"seq:}`))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("a history of %d keeps %v, want %s", limit, got, want)
		}
		if last, _ := app.Telemetry("d1", 2); len(last) > 2 {
			t.Errorf("the last 2 are %d", len(last))
		}
		if stats, _ := app.DeviceStats("d1"); stats.Accepted != 10 {
			t.Errorf("counted %+v", stats)
		}
	}
}

// The memory of request ids is bounded: what is forgotten is applied again.
func TestRememberedIDs(t *testing.T) {
	t.Parallel()
	app := &emulator.Application{Remembered: 16}
	addDevice(t, app, "d1")
	for n := range 1000 {
		if err := send(t, app, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := send(t, app, 999); err != nil || app.Totals().Duplicates != 1 {
		t.Errorf("the last id is forgotten: %v %+v", err, app.Totals())
	}
	again := 0
	for n := range 900 {
		before := app.Totals().Accepted
		if err := send(t, app, n); err != nil {
			t.Fatal(err)
		}
		again += int(app.Totals().Accepted - before)
	}
	if again < 850 {
		t.Errorf("only %d of 900 old ids were forgotten", again)
	}
}

func TestMostDevices(t *testing.T) {
	t.Parallel()
	app := &emulator.Application{MaxDevices: 2}
	addDevice(t, app, "d1")
	addDevice(t, app, "d2")
	if _, err := app.CreateDevice(t.Context(), "d3", central.DeviceCreate{}, ""); central.StatusOf(err) != 429 {
		t.Errorf("got %v", err)
	}
}

func TestCommandsCompleteInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := &emulator.Application{CommandDelay: 2 * time.Second, CommandResult: func(_, name string, args json.RawMessage) (string, json.RawMessage) {
			if name == "fail" {
				return central.StatusFailed, json.RawMessage(`{"reason":"stuck"}`)
			}
			return central.StatusCompleted, args
		}}
		addDevice(t, app, "d1")
		for name, want := range map[string]struct{ status, result string }{
			"echo": {central.StatusCompleted, `{"a":1}`}, "fail": {central.StatusFailed, `{"reason":"stuck"}`},
		} {
			start := time.Now().UTC()
			cmd, err := app.TriggerCommand(t.Context(), "d1", name, json.RawMessage(`{"a":1}`), "")
			if err != nil || cmd.Status != central.StatusPending {
				t.Fatalf("triggered %+v, %v", cmd, err)
			}
			<-time.After(2*time.Second - time.Millisecond)
			if got, err := app.CommandStatus(t.Context(), "d1", cmd.CommandID); err != nil || got.Status != central.StatusPending {
				t.Errorf("too early: %+v, %v", got, err)
			}
			<-time.After(time.Millisecond)
			got, err := app.CommandStatus(t.Context(), "d1", cmd.CommandID)
			if err != nil || got.Status != want.status || string(got.Result) != want.result || !got.CompletedTime.Equal(start.Add(2*time.Second)) {
				t.Errorf("in time: %+v, %v", got, err)
			}
		}
	})
}

// template knows one property, one command and telemetry that has a temperature.
type template struct{}

func (template) ValidateTelemetry(body json.RawMessage) error {
	if !strings.Contains(string(body), "temperature") {
		return errors.New("the temperature is missing")
	}
	return nil
}

func (template) ValidateProperty(name string, value json.RawMessage) error {
	if name != "interval" {
		return emulator.ErrNotInTemplate
	}
	if value[0] == '"' {
		return errors.New("must be a number")
	}
	return nil
}

func (template) ValidateCommand(name string, args json.RawMessage) error {
	if name != "reboot" {
		return fmt.Errorf("%w: %s", emulator.ErrNotInTemplate, name)
	}
	if args == nil {
		return errors.New("rebootInterval is missing")
	}
	return nil
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	app := &emulator.Application{Templates: map[string]emulator.Template{"dtmi:x;1": template{}}}
	if _, err := app.CreateDevice(ctx, "d1", central.DeviceCreate{Template: "dtmi:unknown;1"}, ""); central.StatusOf(err) != 400 {
		t.Errorf("an unknown template: %v", err)
	}
	if _, err := app.CreateDevice(ctx, "d1", central.DeviceCreate{Template: "dtmi:x;1"}, ""); err != nil {
		t.Fatal(err)
	}
	addDevice(t, app, "free")
	check := func(what string, err error, want int) {
		t.Helper()
		if central.StatusOf(err) != want || want == 0 && err != nil {
			t.Errorf("%s: %v, want %d", what, err, want)
		}
	}
	check("good telemetry", app.SendTelemetry(ctx, "d1", json.RawMessage(`{"temperature":1}`), ""), 0)
	check("bad telemetry", app.SendTelemetry(ctx, "d1", json.RawMessage(`{"humidity":1}`), ""), 400)
	check("free telemetry", app.SendTelemetry(ctx, "free", json.RawMessage(`{"humidity":1}`), ""), 0)
	for _, p := range []struct {
		device, name, value string
		want                int
	}{{"d1", "interval", "5", 0}, {"d1", "interval", `"x"`, 400}, {"d1", "other", "5", 404}, {"free", "other", "5", 0}, {"free", "other", "{", 400}} {
		_, err := app.UpdateProperty(ctx, p.device, p.name, json.RawMessage(p.value), "")
		check(p.name+" "+p.value, err, p.want)
	}
	for _, c := range []struct {
		device, name, args string
		want               int
	}{{"d1", "reboot", `{}`, 0}, {"d1", "reboot", "", 400}, {"d1", "other", `{}`, 404}, {"free", "other", "", 0}} {
		var args json.RawMessage
		if c.args != "" {
			args = json.RawMessage(c.args)
		}
		_, err := app.TriggerCommand(ctx, c.device, c.name, args, "")
		check(c.name+" "+c.args, err, c.want)
	}
	_, err := app.UpdateDevice(ctx, "free", central.DeviceUpdate{Template: new("dtmi:unknown;1")}, "")
	check("an update to an unknown template", err, 400)
}

func TestFirmwareVersionShowsInTheDevice(t *testing.T) {
	t.Parallel()
	app := new(emulator.Application)
	addDevice(t, app, "d1")
	if _, err := app.UpdateProperty(t.Context(), "d1", "firmwareVersion", json.RawMessage(`"1.3.0"`), ""); err != nil {
		t.Fatal(err)
	}
	d, err := app.Device(t.Context(), "d1")
	if err != nil || d.FirmwareVersion != "1.3.0" {
		t.Errorf("got %+v, %v", d, err)
	}
}

// gateway plays the local API that commands are handed to.
type gateway struct {
	triggered []string
	err       error
	state     central.Command
}

func (g *gateway) TriggerCommand(_ context.Context, device, name string, args json.RawMessage, requestID string) (central.Command, error) {
	g.triggered = append(g.triggered, fmt.Sprint(device, " ", name, " ", string(args), " ", requestID))
	return g.state, g.err
}

func (g *gateway) CommandStatus(context.Context, string, string) (central.Command, error) {
	return g.state, g.err
}

func TestForwardedCommands(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := &gateway{state: central.Command{CommandID: "gw-7", Status: central.StatusPending}}
	app := &emulator.Application{Forward: g}
	addDevice(t, app, "d1")
	cmd, err := app.TriggerCommand(ctx, "d1", "reboot", json.RawMessage(`{"a":1}`), "r1")
	if err != nil || cmd.Status != central.StatusPending || cmd.CommandID == "gw-7" {
		t.Fatalf("triggered %+v, %v", cmd, err)
	}
	if again, err := app.TriggerCommand(ctx, "d1", "reboot", json.RawMessage(`{"a":1}`), "r1"); err != nil || again.CommandID != cmd.CommandID {
		t.Errorf("again: %+v, %v", again, err)
	}
	if fmt.Sprint(g.triggered) != `[d1 reboot {"a":1} r1]` {
		t.Errorf("the gateway was handed %v", g.triggered)
	}
	g.err = &central.TransportError{Op: "x", Err: errors.New("no route")}
	if got, err := app.CommandStatus(ctx, "d1", cmd.CommandID); err != nil || got.Status != central.StatusPending {
		t.Errorf("while the gateway is away: %+v, %v", got, err)
	}
	g.err, g.state = nil, central.Command{CommandID: "gw-7", Status: central.StatusCompleted, Result: json.RawMessage(`1`), CompletedTime: time.Unix(5, 0)}
	if got, err := app.CommandStatus(ctx, "d1", cmd.CommandID); err != nil || got.Status != central.StatusCompleted || got.CommandID != cmd.CommandID || string(got.Result) != "1" {
		t.Errorf("at the end: %+v, %v", got, err)
	}
	for _, test := range []struct {
		err    error
		status int
		unsure bool
	}{
		{central.Errorf(404, central.CodeDeviceNotFound, "no"), 404, false},
		{&central.TransportError{Op: "x", Err: errors.New("refused")}, 503, false},
		{&central.TransportError{Op: "x", MaybeSent: true, Err: errors.New("reset")}, 0, true},
	} {
		g.err = test.err
		cmd, err := app.TriggerCommand(ctx, "d1", "reboot", nil, "")
		if central.StatusOf(err) != test.status || test.unsure && cmd.Status != central.StatusUnknown {
			t.Errorf("after %v: %+v, %v", test.err, cmd, err)
		}
	}
}

// A command that reaches the gateway over HTTP, through another application that plays its local API.
func TestForwardOverHTTP(t *testing.T) {
	t.Parallel()
	local := new(emulator.Application)
	addDevice(t, local, "d1")
	app := &emulator.Application{Forward: connect(t, serve(t, local), nil)}
	addDevice(t, app, "d1")
	c := connect(t, serve(t, app), nil)
	cmd, err := c.TriggerCommand(t.Context(), "d1", "reboot", nil, "r1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.CommandStatus(t.Context(), "d1", cmd.CommandID)
	if err != nil || got.Status != central.StatusCompleted {
		t.Errorf("got %+v, %v", got, err)
	}
	if stats, _ := local.DeviceStats("d1"); stats.Commands != 1 {
		t.Errorf("the gateway got %d commands", stats.Commands)
	}
}

// Many callers at once: nothing is lost or counted twice.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	app := &emulator.Application{History: 10}
	const callers, events = 8, 200
	for i := range callers {
		addDevice(t, app, fmt.Sprintf("d%d", i))
	}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := range events {
				// Each event is sent by two callers, under one request id.
				for _, device := range []int{i, (i + 1) % callers} {
					body := fmt.Appendf(nil, `{"seq":%d}`, n)
					if err := app.SendTelemetry(t.Context(), fmt.Sprintf("d%d", device), body, fmt.Sprintf("%d-%d", device, n)); err != nil {
						t.Error(err)
					}
				}
				if _, err := app.ListDevices(t.Context(), central.ListOptions{Filter: "enabled"}); err != nil {
					t.Error(err)
				}
				_ = app.Stats()
			}
		})
	}
	wg.Wait()
	if got := app.Totals(); got.Accepted != callers*events || got.Duplicates != callers*events {
		t.Errorf("counted %+v", got)
	}
}
