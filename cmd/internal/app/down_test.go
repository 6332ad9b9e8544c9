package app_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/configs"
)

// inbox collects what a client is sent.
type inbox struct {
	mu   sync.Mutex
	list []string
}

func (i *inbox) take(_ mqtt.Client, m mqtt.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.list = append(i.list, m.Topic()+" "+string(m.Payload()))
}

func (i *inbox) messages() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.list)
}

func (i *inbox) has(part string) bool {
	return slices.ContainsFunc(i.messages(), func(s string) bool { return strings.Contains(s, part) })
}

// subscribe collects what comes on a filter.
func (b *bench) subscribe(c mqtt.Client, filter string) *inbox {
	b.t.Helper()
	in := &inbox{}
	if t := c.Subscribe(filter, 1, in.take); t.Wait() && t.Error() != nil {
		b.t.Fatal(t.Error())
	}
	return in
}

func (b *bench) addUser(name, password string, role broker.Role) {
	b.t.Helper()
	user := broker.User{Name: name, Role: role}
	if role == broker.RoleOperator {
		user.Devices = []string{"*"}
	}
	users, err := broker.OpenUsers(app.UsersFile(filepath.Join(b.dir, "data")))
	if err == nil {
		err = users.Add(user, []byte(password), false)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestDesiredChangeWhileTheGatewayWasDownReachesTheDeviceOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) { c.Bridge.Properties.Desired = []string{"setpoint"} })
	publish(b.connect("pump", "", ""), "devices/pump/telemetry", `{"a":1}`)
	b.eventually("the device is known to the application", func() bool { return len(b.bodies("pump")) == 1 })
	b.stop()
	if _, err := b.application.UpdateProperty(t.Context(), "pump", "setpoint", json.RawMessage("21.5"), ""); err != nil {
		t.Fatal(err)
	}
	b.start()
	c := b.connect("pump", "", "")
	in := b.subscribe(c, "devices/pump/properties/+/desired")
	const want = `devices/pump/properties/setpoint/desired {"value":21.5,"version":1}`
	b.eventually("the desired value", func() bool { return in.has(want) })
	publish(c, "devices/pump/properties/setpoint", "21.50")
	b.eventually("its acknowledgement", func() bool { return b.metric("properties_acknowledged_total") == 1 })
	c.Disconnect(0)
	b.stop()
	b.start()
	c = b.connect("pump", "", "")
	again := b.subscribe(c, "devices/pump/properties/+/desired")
	b.eventually("the retained value after a restart", func() bool { return again.has(want) })
	publish(c, "devices/pump/properties/setpoint/get", "")
	b.eventually("the answer", func() bool { return len(again.messages()) == 2 })
	if got := in.messages(); len(got) != 1 {
		t.Errorf("the device was told %q, want it once", got)
	}
	if p, err := b.application.Property(t.Context(), "pump", "setpoint"); err != nil || string(p.Value) != "21.5" {
		t.Errorf("the application has %s (%v), want its own value: a report of its property went up", p.Value, err)
	}
}

func TestTriggeredCommandGoesUpAndItsStatusComesBack(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.stop()
	b.addUser("op", "a-long-password", broker.RoleOperator)
	b.start()
	publish(b.connect("pump", "", ""), "devices/pump/telemetry", `{"a":1}`)
	b.eventually("the device is known to the application", func() bool { return len(b.bodies("pump")) == 1 })
	// A session that outlives the connection misses no status.
	connect := func(take mqtt.MessageHandler) mqtt.Client {
		o := mqtt.NewClientOptions().AddBroker("tcp://" + b.gateway.BrokerAddr("local").String()).SetClientID("op-1")
		o.SetAutoReconnect(false).SetCleanSession(false).SetUsername("op").SetPassword("a-long-password").SetDefaultPublishHandler(take)
		c := mqtt.NewClient(o)
		if t1 := c.Connect(); t1.Wait() && t1.Error() != nil {
			t.Fatal(t1.Error())
		}
		t.Cleanup(func() { c.Disconnect(0) })
		return c
	}
	op := connect(nil)
	in := b.subscribe(op, "devices/pump/commands/#")
	if !publish(op, "devices/pump/commands/reboot/trigger", `{"delay":1}`) {
		t.Fatal("the trigger was not acknowledged")
	}
	for _, status := range []string{"Queued", "Pending", "Completed"} {
		b.eventually("status "+status, func() bool { return in.has(`"status":"` + status + `"`) })
	}
	b.application.Faults.SetDown(true)
	publish(b.connect("sensor", "", ""), "devices/sensor/telemetry", `{"a":1}`)
	b.eventually("the uplink is down", func() bool { return b.metric(`uplink_state{state="offline"}`) == 1 })
	publish(op, "devices/pump/commands/stop/trigger", "")
	b.eventually("the id of a command that waits", func() bool { return in.has("commands/stop/status/") })
	b.stop()
	b.application.Faults.SetDown(false)
	b.start()
	in = &inbox{}
	connect(in.take)
	b.eventually("its end after a restart", func() bool { return in.has(`"status":"Completed"`) })
	if n := b.application.Stats().Commands; n != 2 {
		t.Errorf("%d commands ran, want 2", n)
	}
}

func TestDisabledDeviceIsDisconnectedAndRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) { c.Bridge.Registry.SyncInterval = 0 })
	b.stop()
	b.addUser("pump", "a-long-password", broker.RoleDevice)
	b.start()
	c := b.connect("pump-1", "pump", "a-long-password")
	publish(c, "devices/pump/telemetry", `{"a":1}`)
	b.eventually("the device is known to the application", func() bool { return len(b.bodies("pump")) == 1 })
	if _, err := b.application.UpdateDevice(t.Context(), "pump", central.DeviceUpdate{Enabled: new(false)}, ""); err != nil {
		t.Fatal(err)
	}
	registry := b.gateway.Registry()
	if _, _, err := registry.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.eventually("the device is disconnected", func() bool { return !c.IsConnected() })
	o := mqtt.NewClientOptions().AddBroker("tcp://" + b.gateway.BrokerAddr("local").String()).SetClientID("pump-1")
	if t1 := mqtt.NewClient(o.SetAutoReconnect(false).SetUsername("pump").SetPassword("a-long-password")).Connect(); t1.Wait() && t1.Error() == nil {
		t.Error("a disabled device was let in")
	}
	if publish(b.connect("other", "", ""), "devices/pump/telemetry", `{"a":2}`) {
		t.Error("a publication for a disabled device was acknowledged")
	}
	if s, _ := registry.Status("pump"); s.Connected || s.Enabled() || s.State != bridge.DeviceRegistered {
		t.Errorf("status %+v", s)
	}
	if _, err := b.application.UpdateDevice(t.Context(), "pump", central.DeviceUpdate{Enabled: new(true)}, ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := registry.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !publish(b.connect("pump-1", "pump", "a-long-password"), "devices/pump/telemetry", `{"a":3}`) {
		t.Error("a device that was enabled again was refused")
	}
}

func TestConnectionBecomesAPropertyWhereConfigured(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) { c.Bridge.Registry.ConnectionProperty = "connected" })
	c := b.connect("pump", "", "")
	publish(c, "devices/pump/telemetry", `{"a":1}`)
	b.eventually("the device is known to the application", func() bool { return len(b.bodies("pump")) == 1 })
	value := func() string {
		p, _ := b.application.Property(t.Context(), "pump", "connected")
		return string(p.Value)
	}
	c.Disconnect(10)
	b.eventually("the device is away", func() bool { return value() == "false" })
	b.connect("pump", "", "")
	b.eventually("the device is back", func() bool { return value() == "true" })
}

func TestGatewayDoesNotAnswerOnTopicsThatAreNotTheAskers(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, tc := range []struct {
		topic string
		want  bool
	}{
		{"devices/pump/answers", true},
		{"devices/other/answers", false},
		{"devices/pump/commands/reboot/request/1", false},
		{"devices/pump/properties/setpoint/desired", false},
		{"gateway/gw/status", false},
		{"plant/#", false},
		{"", false},
	} {
		id := broker.User{Name: "pump", Role: broker.RoleDevice}.Identity()
		if got := b.gateway.MayAnswer(id, tc.topic); got != tc.want {
			t.Errorf("answer on %q: %v, want %v", tc.topic, got, tc.want)
		}
	}
}
