package preset_test

import (
	"fmt"
	"strings"
	"testing"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
)

const (
	z2mPlug  = "0x00158d00018255df"
	z2mBulb  = "0x90fd9ffffe6494fc"
	z2mCoord = "0x00124b00120144ae"
	z2mHint  = " (bridge/devices tells it when Zigbee2MQTT starts: restart it, and retry the dead letter then)"
)

func newZ2MStage(t *testing.T, base string) *stage {
	t.Helper()
	family, err := preset.Zigbee2MQTT(mapping.Preset{Name: "zigbee2mqtt", Prefix: base})
	return newStage(t, family, err)
}

func z2mEntry(address, kind, name, definition string) string {
	return fmt.Sprintf(`{"ieee_address":%q,"type":%q,"network_address":29159,"supported":true,"friendly_name":%q,"endpoints":{"1":{"clusters":{"input":["genOnOff"]}}},"definition":%s,"power_source":"Mains (single phase)","model_id":"lumi.plug"}`,
		address, kind, name, definition)
}

// The definitions have every kind of capability that the documentation of exposes has.
const (
	z2mPlugDefinition = `{"model":"ZNCZ02LM","vendor":"Xiaomi","description":"Mi power plug","options":[],"exposes":[
		{"type":"switch","features":[{"type":"binary","name":"state","property":"state","value_on":"ON","value_off":"OFF","value_toggle":"TOGGLE","access":7}]},
		{"type":"numeric","name":"power","property":"power","unit":"W","access":5},{"type":"numeric","name":"linkquality","property":"linkquality","access":1}]}`
	z2mBulbDefinition = `{"model":"LED1624G9","vendor":"IKEA","exposes":[{"type":"light","features":[
		{"type":"binary","name":"state","property":"state","access":7},{"type":"numeric","name":"brightness","property":"brightness","access":7},
		{"type":"composite","name":"color_xy","property":"color","features":[{"type":"numeric","name":"x","property":"x","access":7},{"type":"numeric","name":"y","property":"y","access":7}]}]},
		{"type":"enum","name":"effect","property":"effect","values":["blink"],"access":2}]}`
)

func z2mDevices(plug, bulb string) string {
	return "[" + strings.Join([]string{
		z2mEntry(z2mPlug, "Router", plug, z2mPlugDefinition), z2mEntry(z2mBulb, "Router", bulb, z2mBulbDefinition),
		z2mEntry(z2mCoord, "Coordinator", "Coordinator", "null"),
	}, ",") + "]"
}

// z2mStarted is a stage on which the bridge has told who is there.
func z2mStarted(t *testing.T) *stage {
	t.Helper()
	s := newZ2MStage(t, "")
	s.publish("zigbee2mqtt/bridge/state", `{"state":"online"}`)
	s.publish(
		"zigbee2mqtt/bridge/devices", z2mDevices("my_plug", "kitchen/floor/light"),
		`property `+z2mPlug+` friendly_name "my_plug"`, `property `+z2mPlug+` model "ZNCZ02LM"`, `property `+z2mPlug+` vendor "Xiaomi"`, `property `+z2mPlug+` power_source "Mains (single phase)"`,
		`property `+z2mPlug+` online true`,
		`property `+z2mBulb+` friendly_name "kitchen/floor/light"`, `property `+z2mBulb+` model "LED1624G9"`, `property `+z2mBulb+` vendor "IKEA"`, `property `+z2mBulb+` power_source "Mains (single phase)"`,
		`property `+z2mBulb+` online true`,
		`property `+z2mCoord+` friendly_name "Coordinator"`, `property `+z2mCoord+` model "lumi.plug"`, `property `+z2mCoord+` power_source "Mains (single phase)"`, `property `+z2mCoord+` online true`,
	)
	return s
}

func TestZigbee2MQTTValues(t *testing.T) {
	t.Parallel()
	s := z2mStarted(t)
	s.publish("zigbee2mqtt/my_plug", `{"state":"ON","power":27.34,"linkquality":120,"update":{"state":"idle","installed_version":6},"update_available":false,"action":"","voltage":null}`,
		`property `+z2mPlug+` state "ON"`, `property `+z2mPlug+` update_state "idle"`, `property `+z2mPlug+` update_available false`,
		`telemetry `+z2mPlug+` {"linkquality":120,"power":27.34}`)
	// What did not change is not told again, neither as a property nor with a name that has slashes.
	s.publish("zigbee2mqtt/my_plug", `{"state":"ON","power":0}`, `telemetry `+z2mPlug+` {"power":0}`, `unchanged 1`)
	s.publish("zigbee2mqtt/kitchen/floor/light", `{"state":"OFF","brightness":215,"color":{"x":0.123,"y":0.5},"color_mode":"xy","level_config":{"on_level":"previous"},"last_seen":"2026-03-01T12:59:59+01:00"}`,
		`property `+z2mBulb+` brightness 215 @2026-03-01T11:59:59Z`, `property `+z2mBulb+` color {"x":0.123,"y":0.5} @2026-03-01T11:59:59Z`, `property `+z2mBulb+` state "OFF" @2026-03-01T11:59:59Z`,
		`telemetry `+z2mBulb+` {"color_mode":"xy","level_config_on_level":"previous"} @2026-03-01T11:59:59Z`)
	// A name that is an address needs no directory.
	s.publish("zigbee2mqtt/0x00169a00022256da", `{"temperature":21.5,"last_seen":1772366399000}`, `telemetry 0x00169a00022256da {"temperature":21.5} @2026-03-01T11:59:59Z`)
	// Clocks: none, not set, nonsense.
	s.publish("zigbee2mqtt/my_plug", `{"power":1,"last_seen":null}`, `telemetry `+z2mPlug+` {"power":1}`)
	s.publish("zigbee2mqtt/my_plug", `{"power":1,"last_seen":"1970-01-01T00:00:12.000Z"}`, `telemetry `+z2mPlug+` {"power":1}`, `implausible 1`)
	s.publish("zigbee2mqtt/my_plug", `{"power":1,"last_seen":"N/A"}`, `telemetry `+z2mPlug+` {"power":1}`, `implausible 1`)
	// Retained messages, where the owner switched them on.
	s.replay("zigbee2mqtt/my_plug", `{"power":1,"state":"OFF"}`, `property `+z2mPlug+` state "OFF"`, `replayed 1`)
	s.replay("zigbee2mqtt/my_plug", `{"power":1,"last_seen":1772366399000}`, `telemetry `+z2mPlug+` {"power":1} @2026-03-01T11:59:59Z historical`)
	s.publish("zigbee2mqtt/my_plug", ``)
}

func TestZigbee2MQTTAvailability(t *testing.T) {
	t.Parallel()
	s := z2mStarted(t)
	s.publish("zigbee2mqtt/my_plug/availability", `{"state":"offline"}`, `property `+z2mPlug+` online false`)
	s.publish("zigbee2mqtt/kitchen/floor/light/availability", `offline`, `property `+z2mBulb+` online false`)
	s.publish("zigbee2mqtt/kitchen/floor/light/availability", `online`, `property `+z2mBulb+` online true`)
	s.publish("zigbee2mqtt/my_plug/availability", `maybe`, `undecodable: zigbee2mqtt: "maybe" is neither online nor offline`)
	// The bridge's last will takes all along, and it brings back those that are not away by their own word.
	s.publish("zigbee2mqtt/bridge/state", `offline`, `property `+z2mBulb+` online false`, `property `+z2mCoord+` online false`, `unchanged 1`)
	s.replay("zigbee2mqtt/kitchen/floor/light/availability", `online`, `unchanged 1`)
	s.publish("zigbee2mqtt/bridge/state", `{"state":"online"}`, `property `+z2mBulb+` online true`, `property `+z2mCoord+` online true`, `unchanged 1`)
	s.publish("zigbee2mqtt/my_plug/availability", ``)
}

func TestZigbee2MQTTNames(t *testing.T) {
	t.Parallel()
	s := newZ2MStage(t, "")
	s.publish("zigbee2mqtt/my_plug", `{"state":"ON"}`, `state: zigbee2mqtt: whose name "my_plug" is was not told yet`+z2mHint)
	s.publish("zigbee2mqtt/my_plug/availability", `online`, `state: zigbee2mqtt: whose name "my_plug" is was not told yet`+z2mHint)
	s.publish("zigbee2mqtt/my_plug", `{"power":3,"device":{"friendlyName":"my_plug","ieeeAddr":"`+z2mPlug+`"}}`, `telemetry `+z2mPlug+` {"power":3}`)
	s = z2mStarted(t)
	// Renamed, and the two names changed places.
	s.publish("zigbee2mqtt/bridge/devices", z2mDevices("attic", "my_plug"),
		`property `+z2mPlug+` friendly_name "attic"`, `property `+z2mBulb+` friendly_name "my_plug"`, `unchanged 9`)
	s.publish("zigbee2mqtt/my_plug", `{"linkquality":1}`, `telemetry `+z2mBulb+` {"linkquality":1}`)
	s.publish("zigbee2mqtt/attic", `{"linkquality":2}`, `telemetry `+z2mPlug+` {"linkquality":2}`)
	s.publish("zigbee2mqtt/kitchen/floor/light", `{"linkquality":3}`, `state: zigbee2mqtt: whose name "kitchen/floor/light" is was not told yet`+z2mHint)
	// One has left.
	s.publish("zigbee2mqtt/bridge/devices", "["+z2mEntry(z2mPlug, "Router", "attic", z2mPlugDefinition)+"]",
		`property `+z2mBulb+` online false`, `property `+z2mCoord+` online false`, `unchanged 4`)
	s.command(z2mBulb, "state", "c1", `"ON"`, `state: zigbee2mqtt: bridge/devices did not tell the name of the device yet`)
	// Groups and what is below bridge are no devices; one attribute alone is not understood.
	s.publish("zigbee2mqtt/bridge/groups", `[{"id":1,"friendly_name":"lamps","members":[]},{"id":2,"friendly_name":"attic"}]`)
	s.publish("zigbee2mqtt/lamps", `{"state":"ON"}`)
	s.publish("zigbee2mqtt/lamps/availability", `{"state":"online"}`)
	s.publish("zigbee2mqtt/attic", `{"linkquality":2}`, `telemetry `+z2mPlug+` {"linkquality":2}`)
	s.publish("zigbee2mqtt/attic/power", `27.3`, `unsupported 1`)
	s.publish("zigbee2mqtt/attic/set", `{"state":"ON"}`)
	s.publish("zigbee2mqtt/attic/set/state", `ON`)
	s.publish("zigbee2mqtt/bridge/logging", `{"level":"info","message":"x"}`)
	s.publish("zigbee2mqtt/bridge/groups", `[]`)
	s.publish("zigbee2mqtt/lamps", `{"state":"ON"}`, `state: zigbee2mqtt: whose name "lamps" is was not told yet`+z2mHint)
	// The base topic is the owner's.
	s = newZ2MStage(t, "house/zigbee")
	s.publish("house/zigbee/"+z2mPlug, `{"power":3}`, `telemetry `+z2mPlug+` {"power":3}`)
	s.publish("zigbee2mqtt/"+z2mPlug, `{"power":3}`, `unmapped: nothing maps the topic zigbee2mqtt/`+z2mPlug)
}

func TestZigbee2MQTTCommands(t *testing.T) {
	t.Parallel()
	s := z2mStarted(t)
	s.command(z2mBulb, "state", "c1", `"TOGGLE"`, `publish zigbee2mqtt/kitchen/floor/light/set {"state":"TOGGLE"}`)
	s.command(z2mBulb, "set", "c2", `{"brightness":10,"transition":2}`, `publish zigbee2mqtt/kitchen/floor/light/set {"brightness":10,"transition":2}`)
	s.command(z2mBulb, "get", "c3", `{"color":""}`, `publish zigbee2mqtt/kitchen/floor/light/get {"color":""}`)
	s.publish("zigbee2mqtt/kitchen/floor/light", `{"linkquality":1}`, `telemetry `+z2mBulb+` {"linkquality":1}`)
	s.publish("zigbee2mqtt/kitchen/floor/light", `{"state":"ON","brightness":10}`,
		`property `+z2mBulb+` brightness 10`, `property `+z2mBulb+` state "ON"`,
		`response `+z2mBulb+` state c1 Completed "ON"`, `response `+z2mBulb+` set c2 Completed {"brightness":10}`)
	s.publish("zigbee2mqtt/kitchen/floor/light", `{"state":"ON","color":{"x":1}}`, `property `+z2mBulb+` color {"x":1}`, `response `+z2mBulb+` get c3 Completed {"color":{"x":1}}`, `unchanged 1`)
	s.desired(z2mPlug, "state", `"OFF"`, `publish zigbee2mqtt/my_plug/set {"state":"OFF"}`)
	s.desired(z2mPlug, "power", `1`, `error: zigbee2mqtt: power of device `+z2mPlug+`: the device family has no way to do that`)
	s.command(z2mPlug, "power", "c4", `1`, `bad_name: zigbee2mqtt: power cannot be set (what can: set, get, state)`)
	s.command(z2mPlug, "state", "c4", ``, `undecodable: zigbee2mqtt: state needs a value`)
	s.command(z2mPlug, "set", "c4", `"ON"`, `undecodable: zigbee2mqtt: set needs the values to set (the arguments are {"state": "ON", "brightness": 120})`)

	// The coordinator stands for the bridge.
	s.publish("zigbee2mqtt/bridge/info", `{"version":"2.1.0","coordinator":{"ieee_address":"`+z2mCoord+`","type":"zStack30x"},"network":{"channel":15},"permit_join":false,"config":{"devices":{}}}`,
		`property `+z2mCoord+` version "2.1.0"`, `property `+z2mCoord+` channel 15`, `property `+z2mCoord+` permit_join false`)
	s.command(z2mCoord, "permit_join", "c5", `true`, `publish zigbee2mqtt/bridge/request/permit_join {"time":254,"transaction":"c5","value":true}`)
	s.publish("zigbee2mqtt/bridge/response/permit_join", `{"data":{"value":true},"status":"ok","transaction":"other"}`)
	s.publish("zigbee2mqtt/bridge/response/permit_join", `{"data":{"value":true},"status":"ok","transaction":"c5"}`, `response `+z2mCoord+` permit_join c5 Completed {"value":true}`)
	s.command(z2mCoord, "request", "c6", `{"path":"device/rename","payload":{"from":"a","to":"b"}}`, `publish zigbee2mqtt/bridge/request/device/rename {"from":"a","to":"b","transaction":"c6"}`)
	s.publish("zigbee2mqtt/bridge/response/device/rename", `{"data":{},"error":"Device 'a' does not exist","status":"error","transaction":"c6"}`, `response `+z2mCoord+` request c6 Failed "Device 'a' does not exist"`)
	s.command(z2mCoord, "restart", "c7", ``, `publish zigbee2mqtt/bridge/request/restart {"transaction":"c7"}`)
	s.command(z2mCoord, "state", "c8", `"ON"`, `bad_name: zigbee2mqtt: the bridge has no command state (there are permit_join, restart, health_check and request)`)
	s.command(z2mCoord, "request", "c8", `{}`, `undecodable: zigbee2mqtt: the arguments name no request (the arguments are {"path": "device/rename", "payload": {"from": "a", "to": "b"}})`)
	s.publish("zigbee2mqtt/bridge/state", `offline`, `property `+z2mPlug+` online false`, `property `+z2mBulb+` online false`, `property `+z2mCoord+` online false`)
	s.command(z2mPlug, "state", "c9", `"ON"`, `state: zigbee2mqtt: Zigbee2MQTT is offline`)
}

func TestZigbee2MQTTFaults(t *testing.T) {
	t.Parallel()
	s := z2mStarted(t)
	s.publish("zigbee2mqtt/my_plug", `{"state":`, `undecodable: zigbee2mqtt: no state of a device: json: line 1, column 10: the payload ends where a value was expected`)
	s.publish("zigbee2mqtt/my_plug", `27.3`, `undecodable: zigbee2mqtt: no state of a device: want an object`)
	s.publish("zigbee2mqtt/bridge/devices", `{}`, `undecodable: zigbee2mqtt: bridge/devices: object instead of what Zigbee2MQTT publishes there`)
	s.publish("zigbee2mqtt/bridge/devices", strings.ReplaceAll(z2mDevices("my_plug", "kitchen/floor/light"), `"lumi.plug"`, `7`),
		`unchanged 10`, `unsupported 1`)
	s.publish("zigbee2mqtt/bridge/groups", `5`, `undecodable: zigbee2mqtt: bridge/groups: number instead of what Zigbee2MQTT publishes there`)
	s.publish("zigbee2mqtt/bridge/state", `perhaps`, `undecodable: zigbee2mqtt: "perhaps" is neither online nor offline`)
	s.publish("zigbee2mqtt/bridge/response/x", `[`, `undecodable: zigbee2mqtt: bridge/response: unexpected end of JSON input`)
	s.publish("zigbee2mqtt/bridge/devices", strings.ReplaceAll(z2mDevices("my_plug", "a/+"), z2mCoord, "here"),
		`property `+z2mBulb+` online false`, `property `+z2mCoord+` online false`, `unchanged 4`, `unsupported 2`)
	many := "[" + strings.Repeat(`{},`, 1000) + "{}]"
	s.publish("zigbee2mqtt/bridge/devices", many, `too_large: zigbee2mqtt: bridge/devices has 1001 devices, at most 1000 are mapped`)
	s.publish("zigbee2mqtt/bridge/groups", many, `too_large: zigbee2mqtt: bridge/groups has 1001 groups, at most 1000 are mapped`)
	if _, err := preset.Zigbee2MQTT(mapping.Preset{Prefix: "a//b"}); err == nil {
		t.Error("a prefix with an empty level was taken")
	}
}

// TestZigbee2MQTTForeign: who tells names must be one that may speak for all the devices, also for those it leaves out.
func TestZigbee2MQTTForeign(t *testing.T) {
	t.Parallel()
	s := z2mStarted(t)
	for _, payload := range []string{`[]`, "[" + z2mEntry(z2mPlug, "Router", "mine", "null") + "]"} {
		res, err := s.m.Map(&mapping.Publication{Topic: "zigbee2mqtt/bridge/devices", Payload: []byte(payload)}, onStage, s.state)
		if err != nil {
			t.Fatal(err)
		}
		if _, foreign := res.Foreign(func(device string) bool { return device == z2mPlug }); !foreign {
			t.Errorf("%s passed for a user that may not speak for all", payload)
		}
	}
}

func FuzzZigbee2MQTT(f *testing.F) {
	f.Add("zigbee2mqtt/my_plug", `{"state":"ON","a":{"b":{"c":[1]}},"last_seen":1e18,"update":{"state":{}},"device":{"ieeeAddr":"0x1"}}`)
	f.Add("zigbee2mqtt/my_plug/availability", `{"state":"offline"}`)
	f.Add("zigbee2mqtt/bridge/devices", z2mDevices("x", "y"))
	f.Add("zigbee2mqtt/bridge/groups", `[{"friendly_name":"my_plug"},{"friendly_name":"g"}]`)
	f.Add("zigbee2mqtt/bridge/info", `{"coordinator":{"ieee_address":"0x1"},"permit_join":true}`)
	f.Add("zigbee2mqtt/bridge/response/a/b", `{"transaction":"c1","data":null}`)
	f.Add("zigbee2mqtt/bridge/state", `offline`)
	family, err := preset.Zigbee2MQTT(mapping.Preset{})
	fuzzFamily(f, family, err, func(state mapping.MemoryState, m *mapping.Mapper) {
		res, err := m.Map(&mapping.Publication{Topic: "zigbee2mqtt/bridge/devices", Payload: []byte(z2mDevices("my_plug", "a/b"))}, onStage, state)
		if err == nil {
			state.Apply(res.Changes)
		}
		if res, err = m.Command(z2mPlug, "state", "c1", []byte(`"ON"`), onStage, state); err == nil {
			state.Apply(res.Changes)
		}
		if res, err = m.Command(z2mCoord, "restart", "c1", nil, onStage, state); err == nil {
			state.Apply(res.Changes)
		}
	})
}
