package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/configs"
	"iotc-gateway/mapping"
)

const token = "the-right-token"

// bench is a gateway below an emulated application, on loopback.
type bench struct {
	t           testing.TB
	dir         string
	application *emulator.Application
	url         string
	cfg         *configs.Config
	gateway     *app.Gateway
	notify      app.Notifier
	freeSpace   func(string) (free, total int64, err error)
	stop        func()
	mu          sync.Mutex
	received    map[string][]string
}

// setup starts an application and a gateway. change may alter the
// configuration first.
func setup(t testing.TB, change func(*configs.Config)) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), received: make(map[string][]string)}
	b.application = &emulator.Application{OnTelemetry: func(device string, body json.RawMessage, _ string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.received[device] = append(b.received[device], string(body))
	}}
	server := httptest.NewServer(emulator.NewServer(b.application, emulator.ServerOptions{Authorizer: central.StaticTokens(token)}))
	t.Cleanup(server.Close)
	b.url = server.URL
	b.writeToken(token)
	cfg, err := configs.Load("", nil, map[string]string{
		"gateway.id": "gw", "gateway.data_dir": filepath.Join(b.dir, "data"), "gateway.report": "off",
		"central.url": server.URL + "/api", "central.token_file": filepath.Join(b.dir, "token"), "central.rate": "0",
		"console.address": "127.0.0.1:0", "buffer.min_free_bytes": "1MiB",
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Broker.Listeners[0].Address = "127.0.0.1:0"
	cfg.Broker.Auth.RefusalDelay = 10 * time.Millisecond
	if change != nil {
		change(cfg)
	}
	b.cfg = cfg
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bench) writeToken(text string) {
	if err := os.WriteFile(filepath.Join(b.dir, "token"), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) start() {
	b.t.Helper()
	log := zaptest.NewLogger(b.t, zaptest.Level(zap.InfoLevel))
	if _, measured := b.t.(*testing.B); measured {
		log = zap.NewNop()
	}
	g, err := app.New(b.cfg, app.Options{Log: log, Version: "test", Notify: b.notify, FreeSpace: b.freeSpace})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	b.gateway = g
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("run: %v", err)
		}
	})
}

// connect opens an MQTT 3.1.1 connection.
func (b *bench) connect(id, user, password string) mqtt.Client {
	b.t.Helper()
	o := mqtt.NewClientOptions().AddBroker("tcp://" + b.gateway.BrokerAddr("local").String()).SetClientID(id)
	o.SetAutoReconnect(false).SetUsername(user).SetPassword(password)
	c := mqtt.NewClient(o)
	t := c.Connect()
	if !t.WaitTimeout(10*time.Second) || t.Error() != nil {
		b.t.Fatalf("connect as %s: %v", id, t.Error())
	}
	b.t.Cleanup(func() { c.Disconnect(0) })
	return c
}

// publish sends at QoS 1 and reports whether a PUBACK came.
func publish(c mqtt.Client, topic, payload string) bool {
	t := c.Publish(topic, 1, false, payload)
	return t.WaitTimeout(5*time.Second) && t.Error() == nil
}

// eventually waits for a condition that another goroutine brings about.
func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: did not come about", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (b *bench) bodies(device string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.received[device]...)
}

// metric reads one series from the page that an operator's Prometheus reads.
func (b *bench) metric(series string) float64 {
	b.t.Helper()
	name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	page := get(b.t, "http://"+b.gateway.ConsoleAddr().String()+"/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		b.t.Fatal(err)
	}
	family := families["iotc_gateway_"+name]
	if family == nil {
		return 0
	}
	sum := 0.0
	for _, m := range family.GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			have = append(have, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
		if labels == "" || strings.Contains(strings.Join(have, ","), labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func TestTelemetryGoesUpInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	c := b.connect("sensor", "", "")
	for i := range 50 {
		if !publish(c, "devices/sensor/telemetry", fmt.Sprintf(`{"temperature":%d.50,"timestamp":"2026-11-22T10:00:%02dZ"}`, i, i)) {
			t.Fatalf("publish %d: no PUBACK", i)
		}
	}
	b.eventually("delivery", func() bool { return len(b.bodies("sensor")) == 50 })
	for i, body := range b.bodies("sensor") {
		if want := fmt.Sprintf(`{"temperature":%d.50,"timestamp":"2026-11-22T10:00:%02dZ"}`, i, i); body != want {
			t.Fatalf("call %d has body %s, want %s", i, body, want)
		}
	}
}

func TestOutageLosesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	c := b.connect("sensor", "", "")
	publish(c, "devices/sensor/telemetry", `{"n":0}`)
	b.eventually("delivery", func() bool { return len(b.bodies("sensor")) == 1 })
	b.application.Faults.SetDown(true)
	for i := range 20 {
		if !publish(c, "devices/sensor/telemetry", fmt.Sprintf(`{"n":%d}`, i+1)) {
			t.Fatalf("publish %d during the outage: no PUBACK", i)
		}
	}
	// A restart in the middle of the outage.
	b.stop()
	b.start()
	t.Cleanup(func() { b.stop() })
	b.application.Faults.SetDown(false)
	b.eventually("delivery after the outage", func() bool { return len(b.bodies("sensor")) == 21 })
	for i, body := range b.bodies("sensor") {
		if !strings.HasPrefix(body, fmt.Sprintf(`{"n":%d,`, i)) {
			t.Errorf("call %d has body %s", i, body)
		}
	}
}

// TestBadInput holds the table of what is answered to input that cannot be
// used: whether it is acknowledged, and where it is counted.
func TestBadInput(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	tests := []struct {
		name, topic, payload string
		acked                bool
		counter              string
	}{
		{"malformed JSON", "devices/sensor/telemetry", `{"temperature":`, true, `ingest_reasons_total{reason="undecodable"}`},
		{"telemetry that is no object", "devices/sensor/telemetry", `"text"`, true, `ingest_reasons_total{reason="undecodable"}`},
		{"unmapped topic", "plant/hall/7/temp", `1`, true, `publications_unmapped_total`},
		{"device id that IoT Central refuses", "devices/sen sor/telemetry", `{"a":1}`, false, `mqtt_refused_total{reason="publish_device_id"}`},
		{"topic with ..", "devices/../telemetry", `{"a":1}`, false, `mqtt_refused_total{reason="publish_device_id"}`},
		{"a topic of the gateway's", "devices/sensor/properties/p/desired", `{"value":1}`, false, `mqtt_refused_total{reason="publish_acl"}`},
		{"1 MiB payload", "devices/sensor/telemetry", `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, false, `mqtt_refused_total{reason="max_packet_bytes"}`},
	}
	for _, tc := range tests {
		before := b.metric(tc.counter)
		c := b.connect("sensor", "", "")
		if acked := publish(c, tc.topic, tc.payload); acked != tc.acked {
			t.Errorf("%s: acknowledged %v, want %v", tc.name, acked, tc.acked)
		}
		if after := b.metric(tc.counter); after != before+1 {
			t.Errorf("%s: %s went from %v to %v, want one more", tc.name, tc.counter, before, after)
		}
		// It cost nothing else.
		if !publish(b.connect("sensor", "", ""), "devices/sensor/telemetry", `{"well":1}`) {
			t.Errorf("%s: the next publish was not acknowledged", tc.name)
		}
	}
	b.eventually("delivery of the good ones", func() bool { return len(b.bodies("sensor")) == len(tests) })
	if n := b.metric("dead_letters"); n != 2 {
		t.Errorf("%v dead letters, want the 2 undecodable ones", n)
	}
}

func TestDeviceCannotWriteAsAnother(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) {
		c.Broker.Auth.Anonymous = "never"
		users, err := broker.OpenUsers(app.UsersFile(c.Gateway.DataDir))
		if err == nil {
			err = os.MkdirAll(c.Gateway.DataDir, 0o700)
		}
		if err == nil {
			err = users.Add(broker.User{Name: "one"}, []byte("secret"), false)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if publish(b.connect("one", "one", "secret"), "devices/two/telemetry", `{"a":1}`) {
		t.Error("a publish as another device was acknowledged")
	}
	if !publish(b.connect("one", "one", "secret"), "devices/one/telemetry", `{"a":1}`) {
		t.Error("a publish as itself was not acknowledged")
	}
	b.eventually("delivery", func() bool { return len(b.bodies("one")) == 1 })
	if n := len(b.bodies("two")); n != 0 {
		t.Errorf("%d records of the other device went up", n)
	}
}

func TestWrongTokenPausesAndTheRightOneGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) {
		if err := os.WriteFile(c.Central.TokenFile, []byte("wrong"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	c := b.connect("sensor", "", "")
	if !publish(c, "devices/sensor/telemetry", `{"a":1}`) {
		t.Fatal("no PUBACK while the token is wrong")
	}
	b.eventually("unauthorised state", func() bool { return b.metric(`uplink_state{state="unauthorised"}`) == 1 })
	health := get(t, "http://"+b.gateway.ConsoleAddr().String()+"/healthz")
	if !strings.Contains(health, "unauthorised") || strings.Contains(health, "wrong") {
		t.Errorf("the health page does not tell of the refused token, or shows it:\n%s", health)
	}
	b.writeToken(token)
	if err := b.gateway.ReloadToken(); err != nil {
		t.Fatal(err)
	}
	b.eventually("delivery with the right token", func() bool { return len(b.bodies("sensor")) == 1 })
}

func TestSecondGatewayOnTheSameDataIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	if _, err := app.New(b.cfg, app.Options{Log: zaptest.NewLogger(t)}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second gateway on the same data directory: %v, want a refusal", err)
	}
}

func TestReloadIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	c := b.connect("sensor", "", "")
	publish(c, "plant/sensor/temp", "21.5")
	load := func(text string) error {
		cfg, err := configs.Parse("new.yaml", []byte(text), nil, map[string]string{"gateway.data_dir": b.cfg.Gateway.DataDir})
		if err != nil {
			return err
		}
		return b.gateway.Reload(cfg)
	}
	const good = "mapping:\n  routes:\n    - match: plant/{device}/temp\n      payload: number\n      telemetry: {temperature: payload}\n"
	if err := load(good); err != nil {
		t.Fatal(err)
	}
	publish(c, "plant/sensor/temp", "22.5")
	b.eventually("delivery by the new route", func() bool { return len(b.bodies("sensor")) == 1 })
	if body := b.bodies("sensor")[0]; !strings.HasPrefix(body, `{"temperature":22.5,`) {
		t.Errorf("body %s, want the temperature", body)
	}
	if err := load(strings.Replace(good, "payload}", "payload +}", 1)); err == nil {
		t.Error("a reload with a broken expression was accepted")
	}
	publish(c, "plant/sensor/temp", "23.5")
	b.eventually("delivery by the route that stayed", func() bool { return len(b.bodies("sensor")) == 2 })
}

func TestGatewayReportsItsOwnHealth(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) {
		c.Gateway.Report, c.Gateway.ReportInterval = "on", 20*time.Millisecond
	})
	b.eventually("a report", func() bool { return len(b.bodies("gw")) > 0 })
	var report struct {
		Backlog *int   `json:"backlog"`
		Uplink  string `json:"uplink"`
		Version string `json:"version"`
	}
	if err := json.Unmarshal([]byte(b.bodies("gw")[0]), &report); err != nil {
		t.Fatal(err)
	}
	if report.Backlog == nil || report.Uplink == "" || report.Version != "test" {
		t.Errorf("the report is %s", b.bodies("gw")[0])
	}
}

func TestOnlyOperatorsCommandWhateverTheRoute(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) {
		c.Mapping.Routes = []mapping.Route{{Match: "plant/{device}/stop", Command: &mapping.RouteCommand{Name: "stop"}}}
	})
	before := b.metric(`ingest_reasons_total{reason="foreign_device"}`)
	if !publish(b.connect("sensor", "", ""), "plant/pump/stop", `{}`) {
		t.Fatal("no PUBACK: poison would come back for ever")
	}
	if after := b.metric(`ingest_reasons_total{reason="foreign_device"}`); after != before+1 {
		t.Errorf("a command by somebody who is no operator was counted %v times as foreign, want once", after-before)
	}
	if n := b.metric(`queue_stored_total{class="command"}`); n != 0 {
		t.Errorf("%v commands were stored", n)
	}
}

func TestResponseThatNobodyAwaitsIsCounted(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	if !publish(b.connect("sensor", "", ""), "devices/sensor/commands/reboot/response/1", `{"status":"Completed"}`) {
		t.Fatal("no PUBACK")
	}
	if n := b.metric(`ingest_reasons_total{reason="response_not_awaited"}`); n != 1 {
		t.Errorf("%v responses counted as not awaited, want 1", n)
	}
}

func TestPropertyQueryIsAnsweredForTheDevicesOwnPropertiesOnly(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) { c.Bridge.Properties.Desired = []string{"target"} })
	c := b.connect("sensor", "", "")
	answers := make(chan string, 4)
	sub := c.Subscribe("devices/sensor/properties/+/desired", 1, func(_ mqtt.Client, m mqtt.Message) { answers <- m.Topic() })
	if !sub.WaitTimeout(5*time.Second) || sub.Error() != nil {
		t.Fatalf("subscribe: %v", sub.Error())
	}
	for _, name := range []string{"target", "firmware"} {
		publish(c, "devices/sensor/properties/"+name, `"1"`)
	}
	for _, name := range []string{"target", "firmware"} {
		publish(c, "devices/sensor/properties/"+name+"/get", "")
	}
	// The queries are answered in order, so an answer to the first would be here first.
	if topic := <-answers; topic != "devices/sensor/properties/firmware/desired" {
		t.Errorf("answered on %s, want the firmware alone", topic)
	}
	if n := b.metric("properties_acknowledged_total"); n != 1 {
		t.Errorf("%v reports of the cloud's property counted, want 1", n)
	}
}
