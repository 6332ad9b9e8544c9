package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/central/centraltest"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/configs"
)

// token makes a token of the gateway's local API.
func (b *bench) token(role access.Role, devices ...string) string {
	b.t.Helper()
	tokens, err := access.Open(app.TokensFile(filepath.Join(b.dir, "data")), access.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	_, secret, err := tokens.Create(access.Token{Role: role, Devices: devices}, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return secret
}

// api is a client of the gateway's local API.
func (b *bench) api(role access.Role, transport http.RoundTripper) *central.Client {
	b.t.Helper()
	cfg := central.DefaultConfig()
	cfg.URL = "http://" + b.gateway.ConsoleAddr().String() + "/api"
	c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(b.token(role)), Transport: transport})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(c.CloseIdleConnections)
	return c
}

// alone is a gateway without an uplink.
func alone(cfg *configs.Config) { cfg.Central.URL = "" }

// obey plays a device that answers every command with its arguments.
func (b *bench) obey(device string) {
	b.t.Helper()
	c := b.connect(device, "", "")
	done := c.Subscribe("devices/"+device+"/commands/+/request/+", 1, func(c mqtt.Client, m mqtt.Message) {
		args := string(m.Payload())
		if args == "" {
			args = "null"
		}
		c.Publish(strings.Replace(m.Topic(), "/request/", "/response/", 1), 1, false, `{"status":"Completed","result":`+args+`}`)
	})
	if !done.WaitTimeout(10*time.Second) || done.Error() != nil {
		b.t.Fatal(done.Error())
	}
}

func (b *bench) await(c central.Service, device, id, status string) central.Command {
	b.t.Helper()
	var got central.Command
	b.eventually("command "+status, func() bool {
		var err error
		if got, err = c.CommandStatus(b.t.Context(), device, id); err != nil {
			b.t.Fatal(err)
		}
		return got.Status == status
	})
	return got
}

func TestLocalAPIConforms(t *testing.T) {
	t.Parallel()
	can := centraltest.Everything
	can.TopicNames = true
	centraltest.Run(t, centraltest.Suite{Capabilities: can, New: func(t *testing.T) centraltest.Target {
		b := setup(t, alone)
		c := b.api(access.Admin, centraltest.NewValidator(t, nil))
		return centraltest.Target{Service: c, FinishCommands: func(t *testing.T) {
			t.Helper()
			b.obey("device001")
			b.eventually("commands completed", func() bool { return b.gateway.Commands().Stats().Ended["Completed"] == 2 })
		}}
	}})
}

func TestLocalTelemetryTakesTheUsualWay(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	c := b.api(access.Admin, nil)
	if err := c.SendTelemetry(t.Context(), "plc-1", json.RawMessage(`{"t":1}`), "r1"); central.StatusOf(err) != 404 {
		t.Errorf("a device that nobody knows: %v", err)
	}
	if _, err := c.CreateDevice(t.Context(), "plc-1", central.DeviceCreate{DisplayName: "PLC"}, "r2"); err != nil {
		t.Fatal(err)
	}
	b.eventually("the application has the device", func() bool {
		d, err := b.application.Device(t.Context(), "plc-1")
		return err == nil && d.DisplayName == "PLC"
	})
	for range 3 {
		if err := c.SendTelemetry(t.Context(), "plc-1", json.RawMessage(`{"t": 21.50, "timestamp":"2026-01-02T03:04:05.5+01:00", "u":[1, 2]}`), "r3"); err != nil {
			t.Fatal(err)
		}
	}
	b.eventually("delivered", func() bool { return len(b.bodies("plc-1")) == 1 })
	if got, want := b.bodies("plc-1")[0], `{"t":21.50,"u":[1,2],"timestamp":"2026-01-02T02:04:05.5Z"}`; got != want {
		t.Errorf("the application got %s, want %s", got, want)
	}
	b.eventually("registered", func() bool { d, err := c.Device(t.Context(), "plc-1"); return err == nil && d.Provisioned })
	if n := len(b.bodies("plc-1")); n != 1 {
		t.Errorf("%d events of one request", n)
	}
}

// A request that was answered is remembered over a restart.
func TestRequestIDsSurvive(t *testing.T) {
	t.Parallel()
	b := setup(t, alone)
	send := func() {
		c := b.api(access.Admin, nil)
		if _, err := c.CreateDevice(t.Context(), "d1", central.DeviceCreate{}, "r1"); err != nil {
			t.Fatal(err)
		}
		if err := c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{"t":1}`), "r2"); err != nil {
			t.Fatal(err)
		}
	}
	send()
	b.stop()
	b.start()
	send()
	if n := b.gateway.Figures().Waiting; n != 1 {
		t.Errorf("%v records wait, want 1", n)
	}
}

func TestReportAndDesiredValue(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) { c.Bridge.Registry.SyncInterval = 0 })
	operator, child := b.api(access.Operator, nil), b.api(access.Gateway, nil)
	if _, err := child.CreateDevice(t.Context(), "d1", central.DeviceCreate{}, ""); err != nil {
		t.Fatal(err)
	}
	desired := make(chan string, 10)
	device := b.connect("d1", "", "")
	if s := device.Subscribe("devices/d1/properties/+/desired", 1, func(_ mqtt.Client, m mqtt.Message) { desired <- string(m.Payload()) }); !s.WaitTimeout(10 * time.Second) {
		t.Fatal("not subscribed")
	}
	if _, err := child.UpdateProperty(t.Context(), "d1", "firmwareVersion", json.RawMessage(`"1.2"`), "r1"); err != nil {
		t.Fatal(err)
	}
	b.eventually("the report went up", func() bool {
		p, err := b.application.Property(t.Context(), "d1", "firmwareVersion")
		return err == nil && string(p.Value) == `"1.2"`
	})
	if d, err := operator.Device(t.Context(), "d1"); err != nil || d.FirmwareVersion != "1.2" {
		t.Errorf("%+v, %v", d, err)
	}
	if p, err := operator.UpdateProperty(t.Context(), "d1", "interval", json.RawMessage(`60`), "r2"); err != nil || string(p.Value) != "60" {
		t.Fatalf("%+v, %v", p, err)
	}
	if got := <-desired; got != `{"value":60,"version":1}` {
		t.Errorf("the device was told %s", got)
	}
	if _, err := b.application.Property(t.Context(), "d1", "interval"); central.StatusOf(err) != 404 {
		t.Errorf("a desired value of the device's own property went up: %v", err)
	}
	// The device takes it over and then changes it itself.
	for _, v := range []string{"60", "61"} {
		if !publish(device, "devices/d1/properties/interval", v) {
			t.Fatal("not acknowledged")
		}
	}
	if p, err := operator.Property(t.Context(), "d1", "interval"); err != nil || string(p.Value) != "61" || p.LastReportedTime.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestCommandReachesTheDevice(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) { alone(c); c.Bridge.DeviceCommands.MaxWaiting = 2 })
	c := b.api(access.Operator, nil)
	if _, err := c.TriggerCommand(t.Context(), "valve", "open", nil, "r0"); central.StatusOf(err) != 404 {
		t.Errorf("a device that was never seen: %v", err)
	}
	b.obey("valve") // known by that it listens
	cmd, err := c.TriggerCommand(t.Context(), "valve", "open", json.RawMessage(`{"degrees":90}`), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if got := b.await(c, "valve", cmd.CommandID, central.StatusCompleted); string(got.Result) != `{"degrees":90}` || got.CompletedTime.IsZero() {
		t.Errorf("%+v", got)
	}
	again, err := c.TriggerCommand(t.Context(), "valve", "open", json.RawMessage(`{"degrees":90}`), "r1")
	if err != nil || again.CommandID != cmd.CommandID || again.Status != central.StatusCompleted {
		t.Errorf("sent again: %+v, %v", again, err)
	}

	admin := b.api(access.Admin, nil)
	if _, err := admin.CreateDevice(t.Context(), "away", central.DeviceCreate{}, ""); err != nil {
		t.Fatal(err)
	}
	var waiting central.Command
	for range 2 {
		if waiting, err = c.TriggerCommand(t.Context(), "away", "go", nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.TriggerCommand(t.Context(), "away", "go", nil, ""); central.StatusOf(err) != 429 {
		t.Errorf("one too many: %v", err)
	}
	if _, err := admin.UpdateDevice(t.Context(), "away", central.DeviceUpdate{Enabled: new(false)}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TriggerCommand(t.Context(), "away", "go", nil, ""); central.StatusOf(err) != 409 {
		t.Errorf("a disabled device: %v", err)
	}
	if _, err := admin.UpdateDevice(t.Context(), "away", central.DeviceUpdate{Enabled: new(true)}, ""); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b.start()
	c = b.api(access.Operator, nil)
	b.await(c, "away", waiting.CommandID, central.StatusPending)
	b.obey("away")
	b.await(c, "away", waiting.CommandID, central.StatusCompleted)
}

func TestCommandArgumentsAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) {
		alone(c)
		c.Mapping.TemplatesDir, c.Mapping.DefaultTemplate = "testdata/templates", "dtmi:test:valve;1"
	})
	c := b.api(access.Admin, nil)
	if _, err := c.CreateDevice(t.Context(), "v1", central.DeviceCreate{}, ""); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, args string
		status     int
		says       string
	}{
		{"open", `{"degrees":45}`, 0, ""},
		{"open", `{"degrees":"wide"}`, 400, "degrees"},
		{"open", `{"angle":4}`, 400, "degrees"},
		{"close", `{"x":1}`, 400, "no arguments"},
		{"close", ``, 0, ""},
		{"burst", ``, 404, "burst"},
	} {
		_, err := c.TriggerCommand(t.Context(), "v1", x.name, json.RawMessage(x.args), "")
		if central.StatusOf(err) != x.status || err != nil && !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s %s: %v, want %d and %q", x.name, x.args, err, x.status, x.says)
		}
	}
	if err := c.SendTelemetry(t.Context(), "v1", json.RawMessage(`{"position":"left"}`), ""); central.StatusOf(err) != 400 || !strings.Contains(err.Error(), "position") {
		t.Errorf("telemetry: %v", err)
	}
	if _, err := c.UpdateProperty(t.Context(), "v1", "limit", json.RawMessage(`"high"`), ""); central.StatusOf(err) != 400 {
		t.Errorf("property: %v", err)
	}
	if _, err := c.UpdateProperty(t.Context(), "v1", "none", json.RawMessage(`1`), ""); central.StatusOf(err) != 404 {
		t.Errorf("unknown property: %v", err)
	}
}

// A token is for its devices also in lists, and revoked at once.
func TestTokensAtTheLocalAPI(t *testing.T) {
	t.Parallel()
	b := setup(t, alone)
	admin := b.api(access.Admin, nil)
	for _, id := range []string{"hall-1", "hall-2", "yard-1"} {
		if _, err := admin.CreateDevice(t.Context(), id, central.DeviceCreate{}, ""); err != nil {
			t.Fatal(err)
		}
	}
	secret := b.token(access.Reader, "hall-*")
	get := func(path string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.gateway.ConsoleAddr().String()+"/api/"+path+"?api-version=2022-07-31", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+secret)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := get("devices"); status != 200 || strings.Contains(body, "yard") || strings.Count(body, "hall-") < 2 {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get("devices/yard-1"); status != 403 {
		t.Errorf("another device: %d", status)
	}
	tokens, err := access.Open(app.TokensFile(filepath.Join(b.dir, "data")), access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range tokens.List() {
		if known.Role == access.Reader {
			if _, err := tokens.Revoke(known.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if status, _ := get("devices"); status != 401 {
		t.Errorf("revoked: %d", status)
	}
}
