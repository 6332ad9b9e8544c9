package preset_test

import (
	"fmt"
	"strings"
	"testing"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
)

func newHomeAssistantStage(t *testing.T, prefix string) *stage {
	t.Helper()
	family, err := preset.HomeAssistant(mapping.Preset{Name: "homeassistant", Prefix: prefix})
	return newStage(t, family, err)
}

// TestHomeAssistantEntities takes the examples of the integration's documentation.
func TestHomeAssistantEntities(t *testing.T) {
	t.Parallel()
	s := newHomeAssistantStage(t, "")
	// A motion detector without a device.
	s.publish("homeassistant/binary_sensor/garden/config", `{"name":null,"device_class":"motion","state_topic":"homeassistant/binary_sensor/garden/state","unique_id":"motion01ad","device":{"identifiers":["01ad"],"name":"Garden"}}`)
	s.publish("homeassistant/binary_sensor/garden/state", "ON", `telemetry 01ad {"garden":true}`)
	s.publish("homeassistant/binary_sensor/garden/state", "OFF", `telemetry 01ad {"garden":false}`)
	s.publish("homeassistant/binary_sensor/garden/state", "maybe", `undecodable: homeassistant: binary_sensor garden: "maybe" is neither ON nor OFF`)
	// Two sensors on one topic.
	s.publish("homeassistant/sensor/sensorBedroomT/config", `{"device_class":"temperature","state_topic":"homeassistant/sensor/sensorBedroom/state","unit_of_measurement":"°C","value_template":"{{ value_json.temperature}}","unique_id":"temp01ae","device":{"identifiers":["bedroom01ae"]}}`)
	s.publish("homeassistant/sensor/sensorBedroomH/config", `{"device_class":"humidity","state_topic":"homeassistant/sensor/sensorBedroom/state","unit_of_measurement":"%","value_template":"{{ value_json['air'][0].humidity | round(1) }}","unique_id":"hum01ae","device":{"identifiers":["bedroom01ae"]}}`)
	s.publish("homeassistant/sensor/sensorBedroom/state", `{"temperature":23.20,"air":[{"humidity":"43.7"}],"other":1}`, `telemetry bedroom01ae {"sensorBedroomH":43.7,"sensorBedroomT":23.2}`)
	s.publish("homeassistant/sensor/sensorBedroom/state", `{"temperature":"unknown","air":[]}`, `empty 2`)
	s.publish("homeassistant/sensor/sensorBedroom/state", `{"temperature":"hot","air":[{"humidity":1}]}`, `telemetry bedroom01ae {"sensorBedroomH":1}`, `unsupported 1`)
	s.publish("homeassistant/sensor/sensorBedroom/state", `{"temperature":`, `undecodable: homeassistant: no JSON: json: line 1, column 16: the payload ends where a value was expected`)
	// A switch with abbreviations and a base, and no device: it is one itself.
	s.publish("homeassistant/switch/irrigation/config", `{"~":"homeassistant/switch/irrigation","name":"garden","cmd_t":"~/set","stat_t":"~/state"}`)
	s.publish("homeassistant/switch/irrigation/state", "ON", `property irrigation switch true`)
	s.command("irrigation", "switch", "c1", `false`, `publish homeassistant/switch/irrigation/set OFF`)
	s.publish("homeassistant/switch/irrigation/state", "OFF", `property irrigation switch false`, `response irrigation switch c1 Completed false`)
	s.command("irrigation", "switch", "c2", `{"value":"ON"}`, `publish homeassistant/switch/irrigation/set ON`)
	s.command("irrigation", "switch", "c2", `"TOGGLE"`, `undecodable: homeassistant: "TOGGLE" is no value for a switch`)
	s.command("irrigation", "pump", "c2", `true`, `bad_name: homeassistant: no discovery message tells how to set pump`)
	s.desired("irrigation", "switch", `true`, `publish homeassistant/switch/irrigation/set ON`)
	// An empty message gives the topics back.
	s.publish("homeassistant/switch/irrigation/config", ``)
	s.publish("homeassistant/switch/irrigation/state", "ON", `unmapped: nothing maps the topic homeassistant/switch/irrigation/state`)
	s.command("irrigation", "switch", "c3", `true`, `bad_name: homeassistant: no discovery message tells how to set switch`)
	s.publish("homeassistant/switch/irrigation/config", ``)
}

// TestHomeAssistantDevice takes a message of a whole device, with shared topics, a changed component and one taken back.
func TestHomeAssistantDevice(t *testing.T) {
	t.Parallel()
	s := newHomeAssistantStage(t, "")
	config := func(components string) string {
		return `{"dev":{"ids":"ea334450945afc","name":"Kitchen","mf":"Bla electronics","mdl":"xya","sw":"1.0","sn":"ea334450945afc","hw":"1.0rev2"},` +
			`"o":{"name":"bla2mqtt","sw":"2.1"},"cmps":{` + components + `},"state_topic":"kitchen/state","qos":1,` +
			`"avty":[{"t":"kitchen/lwt"},{"t":"bridge/state","val_tpl":"{{ value_json.state }}","pl_avail":"up","pl_not_avail":"down"}],"avty_mode":"all"}`
	}
	both := `"ea334450945afc_temp":{"p":"sensor","device_class":"temperature","unit_of_measurement":"°C","value_template":"{{ value_json.temperature }}","unique_id":"t"},` +
		`"relay":{"p":"switch","val_tpl":"{{ value_json.relay }}","cmd_t":"kitchen/relay/set","pl_on":1,"pl_off":0,"ret":true},` +
		`"level":{"p":"number","val_tpl":"{{ value_json[\"level\"] }}","cmd_t":"kitchen/level/set"},` +
		`"mode":{"p":"select","val_tpl":"{{ value_json.mode }}","cmd_t":"kitchen/mode/set","ops":["eco","boost"]},` +
		`"restart":{"p":"button","cmd_t":"kitchen/cmd","pl_prs":"restart"},` +
		`"lamp":{"p":"light","cmd_t":"kitchen/lamp"},` +
		`"odd":{"p":"sensor","val_tpl":"{{ value_json.a + 1 }}"}`
	s.publish("homeassistant/device/ea334450945afc/config", config(both), `unsupported 2`)
	s.publish("kitchen/state", `{"temperature":21.5,"relay":1,"level":7,"mode":"eco"}`,
		`property ea334450945afc level 7`, `property ea334450945afc mode "eco"`, `property ea334450945afc relay true`, `telemetry ea334450945afc {"temp":21.5}`)
	s.publish("kitchen/lwt", "online", `property ea334450945afc online false`)
	s.publish("bridge/state", `{"state":"up"}`, `property ea334450945afc online true`)
	s.publish("kitchen/lwt", "offline", `property ea334450945afc online false`)
	s.publish("kitchen/lwt", "gone", `undecodable: homeassistant: availability of ea334450945afc: "gone" is neither online nor offline`)
	s.command("ea334450945afc", "relay", "c1", `true`, `publish kitchen/relay/set 1 retained`)
	s.command("ea334450945afc", "level", "c2", `{"value":8.5}`, `publish kitchen/level/set 8.5`)
	s.command("ea334450945afc", "level", "c2", `"x"`, `undecodable: homeassistant: "x" is no value for a number`)
	s.command("ea334450945afc", "mode", "c3", `"boost"`, `publish kitchen/mode/set boost`)
	s.command("ea334450945afc", "restart", "c4", ``, `response ea334450945afc restart c4 Completed`, `publish kitchen/cmd restart`)
	s.publish("kitchen/state", `{"level":8.5,"mode":"boost"}`, `property ea334450945afc level 8.5`, `property ea334450945afc mode "boost"`,
		`response ea334450945afc level c2 Completed 8.5`, `response ea334450945afc mode c3 Completed "boost"`, `empty 2`)
	// The relay is taken back, the level moves to another topic.
	s.publish("homeassistant/device/ea334450945afc/config", config(`"relay":{"p":"switch"},"level":{"p":"number","stat_t":"kitchen/level","cmd_t":"kitchen/level/set"}`))
	s.publish("kitchen/state", `{"relay":1}`, `unmapped: nothing maps the topic kitchen/state`)
	s.publish("kitchen/level", `9`, `property ea334450945afc level 9`)
	s.command("ea334450945afc", "relay", "c5", `true`, `bad_name: homeassistant: no discovery message tells how to set relay`)
}

func TestHomeAssistantNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ topic, config, payload, want string }{
		{"sensor/0x00158d0001/temperature", `{"stat_t":"z/1","unit_of_meas":"°C","dev":{"ids":["zigbee2mqtt_0x00158d0001"]}}`, "21.50", `0x00158d0001 {"temperature":21.5}`},
		{"sensor/ABCDEF_status", `{"stat_t":"z/1","dev":{"ids":["ABCDEF"]}}`, "ok", `ABCDEF {"status":"ok"}`},
		{"sensor/plug", `{"stat_t":"z/1","dev_cla":"power","unit_of_meas":"W"}`, "60", `plug {"power":60}`},
		{"sensor/plug", `{"stat_t":"z/1","val_tpl":"{{ value_json.energy.today | float }}"}`, `{"energy":{"today":"1.5"}}`, `plug {"today":1.5}`},
		{"sensor/plug", `{"stat_t":"z/1","val_tpl":"{{ value }}"}`, `1.10`, `plug {"sensor":1.1}`},
		{"sensor/my plug_/firm ware", `{"stat_t":"z/1"}`, `1.2.3`, `my-plug- {"firm_ware":"1.2.3"}`},
		{"binary_sensor/n/door", `{"stat_t":"z/1","pl_on":true,"pl_off":false,"val_tpl":"{{ value_json.open }}"}`, `{"open":true}`, `n {"door":true}`},
		{"sensor/n/all", `{"stat_t":"z/1","val_tpl":"{{ value_json }}"}`, `{"a":1}`, `n {"all":{"a":1}}`},
	} {
		s := newHomeAssistantStage(t, "")
		s.publish("homeassistant/"+tc.topic+"/config", tc.config)
		s.publish("z/1", tc.payload, "telemetry "+tc.want)
	}
}

func TestHomeAssistantClaims(t *testing.T) {
	t.Parallel()
	s := newHomeAssistantStage(t, "")
	s.mayPublish = func(topic string) bool { return !strings.HasPrefix(topic, "vault/") }
	s.publish("homeassistant/sensor/thief/config", `{"stat_t":"vault/temperature"}`,
		`foreign_topic: homeassistant: the sender claims the topic vault/temperature, which it may not publish`)
	s.mayPublish = nil
	s.publish("homeassistant/sensor/vault/config", `{"stat_t":"vault/temperature","avty_t":"vault/lwt"}`)
	s.mayPublish = func(topic string) bool { return !strings.HasPrefix(topic, "vault/") }
	s.publish("homeassistant/sensor/vault/config", ``, `foreign_topic: homeassistant: the sender claims the topic vault/lwt, which it may not publish`)
	// Taking over a discovery message speaks of the device that had it, so that the sender's rights to it are asked.
	s.mayPublish = nil
	res, err := s.m.Map(&mapping.Publication{Topic: "homeassistant/sensor/vault/config", Payload: []byte(`{"stat_t":"x","dev":{"ids":["thief"]}}`)}, onStage, s.state)
	if err != nil {
		t.Fatal(err)
	}
	if device, foreign := res.Foreign(func(d string) bool { return d == "thief" }); !foreign || device != "vault" {
		t.Errorf("the device %q is foreign: %v", device, foreign)
	}
}

func TestHomeAssistantFaults(t *testing.T) {
	t.Parallel()
	s := newHomeAssistantStage(t, "ha/garden")
	for _, tc := range []struct{ topic, config, want string }{
		{"sensor/a", `{"stat_t":`, `undecodable: homeassistant ha.garden: no discovery message: json: line 1, column 11: the payload ends where a value was expected`},
		{"sensor/a", `[]`, `undecodable: homeassistant ha.garden: a discovery message is an object`},
		{"sensor/a", `{}`, `undecodable: homeassistant ha.garden: the sensor a has no state_topic`},
		{"sensor/a", `{"stat_t":"a/+"}`, `undecodable: homeassistant ha.garden: "a/+" is no topic`},
		{"switch/a", `{"cmd_t":"a/#"}`, `undecodable: homeassistant ha.garden: "a/#" is no topic`},
		{"switch/a", `{"cmd_t":"a","cmd_tpl":"{{ value_json.x }}"}`, `undecodable: homeassistant ha.garden: the command_template "{{ value_json.x }}" is not supported`},
		{"device/a", `{"dev":{}}`, `undecodable: homeassistant ha.garden: the message of a device has no components`},
		{"device/a", `{"cmps":{"x":1}}`, `undecodable: homeassistant ha.garden: the component "x" is no object`},
		{"sensor/a", `{"stat_t":"a","avty":[{"t":""}]}`, `undecodable: homeassistant ha.garden: "" is no topic`},
		{"vacuum/a", `{}`, `unsupported 1`},
	} {
		s.publish("ha/garden/"+tc.topic+"/config", tc.config, tc.want)
	}
	const hint = `({{ value_json.a.b }} is; a route can take the place of the entity)`
	for _, template := range []string{"{{ states('x') }}", "{% if value %}1{% endif %}", "{{ value_json.a + 1 }}", "{{ value_json.a | int }}", "value_json.a", "{{ value_json[a] }}", "{{ value_json. }}", "{{ value_json['a' }}"} {
		s.publish("ha/garden/sensor/a/config", fmt.Sprintf(`{"stat_t":"a","val_tpl":%q}`, template), fmt.Sprintf("undecodable: homeassistant ha.garden: the template %q is not supported %s", template, hint))
	}
	if _, err := preset.HomeAssistant(mapping.Preset{Prefix: "a/#"}); err == nil {
		t.Error("a prefix with a wildcard was taken")
	}
}

// TestHomeAssistantReplay: discovery is retained by its nature, values are not history.
func TestHomeAssistantReplay(t *testing.T) {
	t.Parallel()
	s := newHomeAssistantStage(t, "")
	s.replay("homeassistant/sensor/n/t/config", `{"stat_t":"n/t","avty_t":"n/lwt","unit_of_meas":"W"}`)
	s.replay("n/t", "5", `replayed 1`)
	s.replay("n/lwt", "online", `property n online true`)
	// There is no time in the messages: receipt is all there is.
	s.publish("n/t", "5", `telemetry n {"t":5}`)
	s.publish("homeassistant/status", "online")
	s.check("start", mapping.Result{Publish: s.m.Start(onStage)}, nil, []string{`publish homeassistant/status online`})
}

// TestHomeAssistantLargeNetwork: hundreds of entities share a bridge's availability topic.
func TestHomeAssistantLargeNetwork(t *testing.T) {
	t.Parallel()
	s := newHomeAssistantStage(t, "")
	for i := range 100 {
		for _, entity := range []string{"a", "b", "c"} {
			s.publish(fmt.Sprintf("homeassistant/sensor/dev%d/%s/config", i, entity), fmt.Sprintf(`{"stat_t":"z/%d","val_tpl":"{{ value_json.%s }}","avty_t":"z/bridge"}`, i, entity))
		}
	}
	res, err := s.m.Map(&mapping.Publication{Topic: "z/bridge", Payload: []byte("offline")}, onStage, s.state)
	if err != nil || len(res.Records) != 100 {
		t.Errorf("%d records, %v", len(res.Records), err)
	}
	s.publish("z/7", `{"a":1,"b":2,"c":3}`, `telemetry dev7 {"a":1,"b":2,"c":3}`)
}

func FuzzHomeAssistantDiscovery(f *testing.F) {
	f.Add("device", `{"dev":{"ids":"e"},"cmps":{"x":{"p":"sensor","val_tpl":"{{ value_json.a['b'][0] | round(1) }}"}},"state_topic":"t","avty":[{"t":"t"}]}`, `{"a":{"b":[1]}}`)
	f.Add("switch", `{"~":"h","cmd_t":"~/set","stat_t":"t","pl_on":1}`, `1`)
	f.Add("sensor", `{"stat_t":"t","unit_of_meas":"W"}`, `21.5`)
	family, err := preset.HomeAssistant(mapping.Preset{})
	if err != nil {
		f.Fatal(err)
	}
	m, err := mapping.New(mapping.DefaultConfig(), mapping.Options{Families: []mapping.Family{family}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, component, config, value string) {
		state := mapping.MemoryState{}
		for _, pub := range []mapping.Publication{
			{Topic: "homeassistant/" + strings.ReplaceAll(component, "/", "") + "/n/o/config", Payload: []byte(config)},
			{Topic: "t", Payload: []byte(value)},
			{Topic: "homeassistant/device/n/o/config", Payload: []byte(config)},
			{Topic: "t", Payload: []byte(value)},
			{Topic: "homeassistant/device/n/o/config"},
		} {
			res, err := m.Map(&pub, onStage, state)
			if err == nil {
				state.Apply(res.Changes)
			}
		}
	})
}
