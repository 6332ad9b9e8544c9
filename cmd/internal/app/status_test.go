package app_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"iotc-gateway/bridge/central"
	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/app"
)

// watch collects what is published below a filter.
func (b *bench) watch(user, filter string) (last func(topic string) string) {
	b.t.Helper()
	var mu sync.Mutex
	seen := map[string]string{}
	c := b.connect("watcher-"+user, user, "secret")
	s := c.Subscribe(filter, 1, func(_ mqtt.Client, m mqtt.Message) {
		mu.Lock()
		defer mu.Unlock()
		seen[m.Topic()] = string(m.Payload())
	})
	if !s.WaitTimeout(10*time.Second) || s.Error() != nil {
		b.t.Fatal(s.Error())
	}
	return func(topic string) string {
		mu.Lock()
		defer mu.Unlock()
		return seen[topic]
	}
}

func TestStatusTopics(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	users, err := broker.OpenUsers(app.UsersFile(b.cfg.Gateway.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []broker.User{{Name: "op", Role: broker.RoleOperator}, {Name: "d1"}} {
		if err := users.Add(u, []byte("secret"), false); err != nil {
			t.Fatal(err)
		}
	}
	b.stop()
	b.start()
	last := b.watch("op", "gateway/#")
	has := func(topic string, parts ...string) {
		t.Helper()
		b.eventually(topic+" "+strings.Join(parts, " "), func() bool {
			text := last("gateway/gw/status/" + topic)
			for _, p := range parts {
				if !strings.Contains(text, p) {
					return false
				}
			}
			return text != ""
		})
	}
	has("state", `"state":"running"`, `"version":"test"`)
	has("uplink", `"state":"`)
	has("backlog", `"records":0`)
	has("health", `"ok":true`, `"name":"store"`)
	has("devices", `"connected":`)
	has("commands", `"waiting":0`)

	device := b.connect("d1", "d1", "secret")
	if publish(device, "gateway/gw/status/uplink", `{"state":"fine"}`) {
		t.Error("a device published the gateway's status")
	}
	device = b.connect("d1", "d1", "secret")
	if !publish(device, "devices/d1/telemetry", `{"t":1}`) {
		t.Fatal("not acknowledged")
	}
	has("devices/d1", `"connected":true`)
	b.eventually("delivered", func() bool { return len(b.bodies("d1")) == 1 })
	b.application.Faults.SetDown(true)
	if !publish(device, "devices/d1/telemetry", `{"t":2}`) {
		t.Fatal("not acknowledged")
	}
	has("uplink", `"state":"offline"`)
	has("backlog", `"records":1`)
	device.Disconnect(0)
	has("devices/d1", `"connected":false`, `"reason":"`)

	// A device that is forgotten leaves nothing behind.
	if err := b.api(access.Admin, nil).DeleteDevice(t.Context(), "d1", ""); err != nil {
		t.Fatal(err)
	}
	b.eventually("cleared", func() bool { return last("gateway/gw/status/devices/d1") == "" })
	b.stop()
	has("state", `"state":"stopped"`)
}

// What is retained of a gateway that was killed is not believed by the next.
func TestConnectionsOfThePastAreDisowned(t *testing.T) {
	t.Parallel()
	b := setup(t, alone)
	device := b.connect("d1", "", "")
	publish(device, "devices/d1/telemetry", `{"t":1}`)
	if err := b.gateway.Publish("gateway/gw/status/devices/d2", []byte(`{"connected":true}`), true); err != nil {
		t.Fatal(err)
	}
	if _, err := b.api(access.Admin, nil).CreateDevice(t.Context(), "d2", central.DeviceCreate{}, ""); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b.start()
	last := b.watch("", "gateway/gw/status/devices/#")
	b.eventually("disowned", func() bool {
		var s struct {
			Connected bool
			Reason    string
		}
		return json.Unmarshal([]byte(last("gateway/gw/status/devices/d2")), &s) == nil && !s.Connected && s.Reason == "gateway_restarted"
	})
}

func TestCommandsAreTold(t *testing.T) {
	t.Parallel()
	b := setup(t, alone)
	b.obey("valve")
	last := b.watch("", "devices/valve/commands/+/status/+")
	c := b.api(access.Operator, nil)
	cmd, err := c.TriggerCommand(t.Context(), "valve", "open", json.RawMessage(`{"n":1}`), "")
	if err != nil {
		t.Fatal(err)
	}
	topic := "devices/valve/commands/open/status/" + cmd.CommandID
	b.eventually("told", func() bool {
		return strings.Contains(last(topic), `"status":"Completed","result":{"n":1},"completedTime":"`)
	})
	if n := b.metric(`device_commands_ended_total{status="Completed"}`); n != 1 {
		t.Errorf("the metric says %v", n)
	}
	if n := b.metric(`api_calls_total{operation="triggerCommand",status="200"}`); n != 1 {
		t.Errorf("the metric says %v calls", n)
	}
}
