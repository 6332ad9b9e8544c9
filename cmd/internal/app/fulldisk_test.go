package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/control"
	"iotc-gateway/cmd/internal/downlink"
	"iotc-gateway/configs"
)

// disk is a file system that has as much space as a test wants.
type disk struct{ free atomic.Int64 }

const roomy, crammed = 1 << 40, 1 << 20

func (d *disk) space(string) (free, total int64, err error) { return d.free.Load(), 1 << 41, nil }

// resume connects with a session that outlives the connection and reports
// whether there was one, and why not.
func (b *bench) resume(id string, seen func(mqtt.Message)) (c mqtt.Client, present bool, err error) {
	b.t.Helper()
	o := mqtt.NewClientOptions().AddBroker("tcp://" + b.gateway.BrokerAddr("local").String()).SetClientID(id)
	o.SetAutoReconnect(false).SetCleanSession(false).SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { seen(m) })
	c = mqtt.NewClient(o)
	done := c.Connect()
	if !done.WaitTimeout(10 * time.Second) {
		b.t.Fatalf("connect as %s: no answer", id)
	}
	if done.Error() != nil {
		return nil, false, done.Error()
	}
	b.t.Cleanup(func() { c.Disconnect(0) })
	return c, done.(*mqtt.ConnectToken).SessionPresent(), nil //nolint:forcetypeassert // what Connect returns
}

func page(t testing.TB, url string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// A gateway that starts without space runs, tells so, refuses, and works with
// all that it knew as soon as there is space.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *configs.Config) { cfg.Bridge.Registry.Unknown = "create" })
	b.stop()
	d := &disk{}
	d.free.Store(roomy)
	b.freeSpace = d.space
	b.start()

	// What there is to remember: a session with a message for it, a retained
	// message, a device, a command for it, and records that wait.
	device, _, err := b.resume("sensor", func(mqtt.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	if s := device.Subscribe("site/note", 1, nil); !s.WaitTimeout(10*time.Second) || s.Error() != nil {
		t.Fatal(s.Error())
	}
	if !publish(device, "devices/sensor/telemetry", `{"n":0}`) {
		t.Fatal("no PUBACK")
	}
	b.eventually("delivery", func() bool { return len(b.bodies("sensor")) == 1 })
	b.application.Faults.SetDown(true)
	if !publish(device, "devices/sensor/telemetry", `{"n":1}`) {
		t.Fatal("no PUBACK")
	}
	device.Disconnect(100)
	b.eventually("the session waits", func() bool { return b.metric("mqtt_clients") == 0 })
	if done := b.connect("other", "", "").Publish("site/note", 1, true, "kept"); !done.WaitTimeout(10*time.Second) || done.Error() != nil {
		t.Fatal(done.Error())
	}
	command, err := b.gateway.Commands().Trigger(t.Context(), downlink.Request{Device: "sensor", Name: "blink"})
	if err != nil {
		t.Fatal(err)
	}
	b.stop()
	b.application.Faults.SetDown(false)

	d.free.Store(crammed)
	m := newManager()
	b.notify = m
	for range 2 { // it can be stopped and started again meanwhile
		b.start()
		m.until(t, "feeding", func() bool { return m.feeds >= 2 })
		b.fullDisk()
		b.stop()
		m.note(func() { m.feeds = 0 })
	}
	if m.said[0] != "ready" || !slices.ContainsFunc(m.said, func(s string) bool { return strings.Contains(s, "the disk is full") }) {
		t.Errorf("the service manager was told %q", m.said)
	}

	b.start()
	b.fullDisk()
	d.free.Store(roomy)
	var got atomic.Pointer[string]
	var present bool
	b.eventually("clients are let in", func() bool {
		device, present, err = b.resume("sensor", func(m mqtt.Message) { got.Store(new(string(m.Payload()))) })
		return err == nil
	})
	if !present {
		t.Error("the session is lost")
	}
	b.eventually("the message for the session", func() bool { s := got.Load(); return s != nil && *s == "kept" })
	if b.metric("mqtt_retained_messages") == 0 {
		t.Error("no retained message")
	}
	if e, err := b.gateway.Commands().Command("sensor", command.ID); err != nil || e.Status != central.StatusPending {
		t.Errorf("the command: %+v, %v", e, err)
	}
	if known, ok := b.gateway.Registry().Device("sensor"); !ok || !known.Local {
		t.Errorf("the device: %+v", known)
	}
	if !publish(device, "devices/sensor/telemetry", `{"n":2}`) {
		t.Error("no PUBACK with space")
	}
	b.eventually("delivery", func() bool { return len(b.bodies("sensor")) == 3 })
	for i, body := range b.bodies("sensor") {
		if !strings.HasPrefix(body, fmt.Sprintf(`{"n":%d,`, i)) {
			t.Errorf("call %d: %s", i, body)
		}
	}
	if status := page(t, "http://"+b.gateway.ConsoleAddr().String()+"/readyz"); status != http.StatusOK {
		t.Errorf("readyz answers %d", status)
	}
}

// fullDisk checks what a gateway answers that could not open its store.
func (b *bench) fullDisk() {
	b.t.Helper()
	t := b.t
	console := "http://" + b.gateway.ConsoleAddr().String()
	if status := page(t, console+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz answers %d", status)
	}
	if status := page(t, console+"/healthz"); status != http.StatusOK {
		t.Errorf("healthz answers %d: a restart would not help", status)
	}
	if _, _, err := b.resume("sensor", nil); err == nil || !strings.Contains(err.Error(), "erver") {
		t.Errorf("connect: %v, want that the server is unavailable", err)
	}
	if body := get(t, console+"/healthz"); !strings.Contains(body, "FAULT  disk") || !strings.Contains(body, "waits for space") {
		t.Errorf("health %s", body)
	}
	b.eventually("the refusal is counted", func() bool { return b.metric(`mqtt_refused_total{reason="starting"}`) >= 1 })
	if err := b.api(access.Admin, nil).DeleteDevice(t.Context(), "sensor", ""); central.StatusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("the local API: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := control.Dial(ctx, b.cfg.Gateway.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	var st control.QueueStats
	if err := c.Call(ctx, http.MethodGet, "/v1/buffer", nil, &st); err != nil || !st.DiskFull || !st.NotOpen || !st.Running {
		t.Errorf("stats %+v, %v", st, err)
	}
	var answer json.RawMessage
	if err := c.Call(ctx, http.MethodPost, "/v1/devices/sensor/disable", nil, &answer); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("a change: %s, %v", answer, err)
	}
}

// A disk that was full before the first start has room to open the store and
// none for what is to be written down then.
func TestFirstStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *configs.Config) { alone(cfg); cfg.Buffer.MinFreeBytes = 1 << 60 })
	if _, err := b.api(access.Admin, nil).Application(t.Context()); err != nil {
		t.Error(err)
	}
}
