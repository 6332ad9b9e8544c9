package preset_test

import (
	"strings"
	"testing"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
)

const plug = "shellyplus1pm-a8032abe54dc"

func newShelly2Stage(t *testing.T, prefix string) *stage {
	t.Helper()
	family, err := preset.ShellyGen2(mapping.Preset{Name: "shelly", Prefix: prefix})
	return newStage(t, family, err)
}

// notify wraps components in a notification as a device sends it.
func notify(method, params string) string {
	return `{"src":"` + plug + `","dst":"` + plug + `/events","method":"` + method + `","params":` + params + `}`
}

func TestShellyGen2Notifications(t *testing.T) {
	t.Parallel()
	s := newShelly2Stage(t, "")
	// Partial: what is there is told, once.
	s.publish(plug+"/events/rpc", notify("NotifyStatus", `{"ts":1772366390.50,"switch:0":{"id":0,"apower":918.63}}`),
		`telemetry `+plug+` {"switch0_apower":918.63} @2026-03-01T11:59:50.5Z`)
	s.publish(plug+"/events/rpc", notify("NotifyStatus", `{"ts":1772366391.00,"switch:0":{"id":0,"output":true,"source":"button"},"cloud":{"connected":false}}`),
		`property `+plug+` cloud_connected false @2026-03-01T11:59:51Z`,
		`property `+plug+` switch0_output true @2026-03-01T11:59:51Z`,
		`telemetry `+plug+` {"switch0_source":"button"} @2026-03-01T11:59:51Z`)
	s.publish(plug+"/events/rpc", notify("NotifyStatus", `{"ts":1772366400.00,"switch:0":{"id":0,"aenergy":{"by_minute":[15300.1,0.0,0.0],"minute_ts":1772366399,"total":11.67},"errors":null}}`),
		`telemetry `+plug+` {"switch0_aenergy_total":11.67} @2026-03-01T12:00:00Z`)
	// Whole, with every kind of component.
	s.publish(plug+"/events/rpc", notify("NotifyFullStatus", `{"ts":1772366400,"ble":{},"cloud":{"connected":true},"devicepower:0":{"id":0,"battery":{"V":6.13,"percent":100},"external":{"present":false}},
		"humidity:0":{"id":0,"rh":50.8},"input:0":{"id":0,"state":null},"mqtt":{"connected":true},"em1:0":{"id":0,"act_power":-7.5,"errors":["power_meter_failure","out_of_range:voltage"]},
		"sys":{"mac":"A8032ABE54DC","restart_required":false,"time":"10:20","unixtime":1772366400,"uptime":2,"ram_size":255892,"ram_free":166676,"fs_size":1048576,"fs_free":757760,"cfg_rev":15,"available_updates":{"stable":{"version":"1.7.0"}},"wakeup_reason":{"boot":"deepsleep_wake","cause":"status_update"}},
		"temperature:0":{"id":0,"tC":20.10,"tF":68.3},"wifi":{"sta_ip":"192.168.1.20","status":"got ip","ssid":"Hall","rssi":-47}}`),
		`property `+plug+` cloud_connected true @2026-03-01T12:00:00Z`,
		`property `+plug+` mac "A8032ABE54DC" @2026-03-01T12:00:00Z`,
		`property `+plug+` restart_required false @2026-03-01T12:00:00Z`,
		`property `+plug+` firmware_available "1.7.0" @2026-03-01T12:00:00Z`,
		`property `+plug+` ip "192.168.1.20" @2026-03-01T12:00:00Z`,
		`property `+plug+` ssid "Hall" @2026-03-01T12:00:00Z`,
		`telemetry `+plug+` {"devicepower0_battery_V":6.13,"devicepower0_battery_percent":100,"devicepower0_external_present":false,"em1_0_act_power":-7.5,`+
			`"em1_0_errors":"power_meter_failure,out_of_range:voltage","humidity0_rh":50.8,"ram_free":166676,"rssi":-47,"temperature0_tC":20.1,"temperature0_tF":68.3,"uptime":2,`+
			`"wakeup_boot":"deepsleep_wake","wakeup_cause":"status_update"} @2026-03-01T12:00:00Z`)
	// Events, each with its time.
	s.publish(plug+"/events/rpc", notify("NotifyEvent", `{"ts":1772366399.2,"events":[{"component":"input:0","id":0,"event":"single_push","ts":1772366399.19},{"component":"sys","event":"config_changed","restart_required":false,"cfg_rev":5},{"component":"sys"}]}`),
		`telemetry `+plug+` {"input0_event":"single_push"} @2026-03-01T11:59:59.19Z`,
		`telemetry `+plug+` {"sys_event":"config_changed","sys_event_cfg_rev":5,"sys_event_restart_required":false} @2026-03-01T11:59:59.2Z`,
		`unsupported 1`)
	// Status topics, which have no time.
	s.publish(plug+"/status/switch:0", `{"id":0,"output":false,"apower":0.0,"temperature":{"tC":42.5,"tF":108.5}}`,
		`property `+plug+` switch0_output false`, `telemetry `+plug+` {"switch0_apower":0,"switch0_temperature_tC":42.5,"switch0_temperature_tF":108.5}`)
	s.publish(plug+"/announce", `{"id":"`+plug+`","mac":"A8032ABE54DC","model":"SNSW-001P16EU","gen":2,"fw_id":"x","ver":"1.4.4","app":"Plus1PM"}`,
		`property `+plug+` model "SNSW-001P16EU"`, `property `+plug+` firmware "1.4.4"`, `unchanged 1`)
}

func TestShellyGen2OnlineAsksForStatus(t *testing.T) {
	t.Parallel()
	s := newShelly2Stage(t, "")
	s.publish(plug+"/online", "true", `property `+plug+` online true`,
		`publish `+plug+`/rpc {"id":1,"method":"Shelly.GetDeviceInfo","src":"`+plug+`/gateway"}`,
		`publish `+plug+`/rpc {"id":2,"method":"Shelly.GetStatus","src":"`+plug+`/gateway"}`)
	s.publish(plug+"/gateway/rpc", `{"id":1,"src":"`+plug+`","dst":"`+plug+`/gateway","result":{"id":"`+plug+`","model":"SNSW-001P16EU","ver":"1.4.4"}}`,
		`property `+plug+` model "SNSW-001P16EU"`, `property `+plug+` firmware "1.4.4"`)
	s.publish(plug+"/gateway/rpc", `{"id":2,"src":"`+plug+`","dst":"`+plug+`/gateway","result":{"switch:0":{"id":0,"output":true},"sys":{"unixtime":1772366399}}}`,
		`property `+plug+` switch0_output true @2026-03-01T11:59:59Z`)
	s.publish(plug+"/online", "false", `property `+plug+` online false`) // its last will
	s.publish(plug+"/online", "")
	s.replay(plug+"/online", "true", `property `+plug+` online true`)
}

func TestShellyGen2Commands(t *testing.T) {
	t.Parallel()
	s := newShelly2Stage(t, "")
	s.publish(plug+"/online", "false", `property `+plug+` online false`)
	request := func(rest string) string { return `publish ` + plug + `/rpc ` + rest }
	const src = `,"src":"` + plug + `/gateway"}`
	s.command(plug, "switch0_output", "c1", `true`, request(`{"id":1752897765,"method":"Switch.Set","params":{"id":0,"on":true}`+src))
	s.command(plug, "switch0_output", "c1", `"toggle"`, request(`{"id":1752897765,"method":"Switch.Toggle","params":{"id":0}`+src))
	s.publish(plug+"/gateway/rpc", `{"id":1752897765,"src":"`+plug+`","dst":"x","result":{"was_on":false}}`, `response `+plug+` switch0_output c1 Completed {"was_on":false}`)
	s.command(plug, "Switch_Set", "c2", `{"id":7,"on":true}`, request(`{"id":1308974888,"method":"Switch.Set","params":{"id":7,"on":true}`+src))
	s.publish(plug+"/gateway/rpc", `{"id":1308974888,"error":{"code":-105,"message":"Argument 'id', value 7 not found!"}}`,
		`response `+plug+` Switch_Set c2 Failed {"code":-105,"message":"Argument 'id', value 7 not found!"}`)
	s.publish(plug+"/gateway/rpc", `{"id":1308974888,"result":null}`)
	s.command(plug, "rpc", "c3", `{"method":"Shelly.Reboot"}`, request(`{"id":1041124335,"method":"Shelly.Reboot"`+src))
	s.publish(plug+"/gateway/rpc", `{"id":1041124335,"result":null}`, `response `+plug+` rpc c3 Completed`)
	s.command(plug, "cover1_current_pos", "c3", `{"value":40}`, request(`{"id":1041124335,"method":"Cover.GoToPosition","params":{"id":1,"pos":40}`+src))
	s.command(plug, "cover1_state", "c3", `"stop"`, request(`{"id":1041124335,"method":"Cover.Stop","params":{"id":1}`+src))
	s.command(plug, "light0_brightness", "c3", `55`, request(`{"id":1041124335,"method":"Light.Set","params":{"brightness":55,"id":0}`+src))
	s.command(plug, "rgbw0_rgb", "c3", `[1,2,3]`, request(`{"id":1041124335,"method":"RGBW.Set","params":{"id":0,"rgb":[1,2,3]}`+src))
	s.command(plug, "number200_value", "c3", `7`, request(`{"id":1041124335,"method":"Number.Set","params":{"id":200,"value":7}`+src))
	s.desired(plug, "switch0_output", `false`, request(`{"id":3,"method":"Switch.Set","params":{"id":0,"on":false}`+src))
	s.desired(plug, "switch0_apower", `1`, `error: shelly gen2: switch0_apower of device `+plug+`: the device family has no way to do that`)

	s.command(plug, "switch0_output", "c4", `"up"`, `undecodable: shelly gen2: switch0_output is true, false or "toggle"`)
	s.command(plug, "switch0_output", "c4", ``, `undecodable: shelly gen2: switch0_output needs a value`)
	s.command(plug, "cover0_state", "c4", `"up"`, `undecodable: shelly gen2: cover0_state is "open", "close" or "stop"`)
	s.command(plug, "Switch.Set", "c4", `[1]`, `undecodable: shelly gen2: the params of Switch.Set are no object`)
	s.command(plug, "rpc", "c4", `{}`, `undecodable: shelly gen2: the arguments name no method (the arguments are {"method": "Switch.Set", "params": {"id": 0, "on": true}})`)
	s.command(plug, "reboot", "c4", ``, `bad_name: shelly gen2: reboot is no method and no value that can be set (methods are named as in Switch.Set or Switch_Set, values as in switch0_output)`)
}

// TestShellyGen2Clock takes a captured frame of a device that has not heard the time yet, and others without a believable one.
func TestShellyGen2Clock(t *testing.T) {
	t.Parallel()
	s := newShelly2Stage(t, "")
	for ts, want := range map[string][]string{
		`1.61`:        {`telemetry ` + plug + ` {"switch0_apower":1}`, `implausible 1`},
		`null`:        {`telemetry ` + plug + ` {"switch0_apower":1}`},
		`"noon"`:      {`telemetry ` + plug + ` {"switch0_apower":1}`, `implausible 1`},
		`4102444800`:  {`telemetry ` + plug + ` {"switch0_apower":1}`, `implausible 1`},
		`1772366399`:  {`telemetry ` + plug + ` {"switch0_apower":1} @2026-03-01T11:59:59Z`},
		`-1772366399`: {`telemetry ` + plug + ` {"switch0_apower":1}`, `implausible 1`},
	} {
		s.publish(plug+"/events/rpc", notify("NotifyStatus", `{"ts":`+ts+`,"switch:0":{"apower":1}}`), want...)
	}
	s.replay(plug+"/status/switch:0", `{"apower":1}`, `replayed 1`)
	s.replay(plug+"/events/rpc", notify("NotifyStatus", `{"ts":1772366399,"switch:0":{"apower":1}}`), `telemetry `+plug+` {"switch0_apower":1} @2026-03-01T11:59:59Z historical`)
}

func TestShellyGen2Faults(t *testing.T) {
	t.Parallel()
	s := newShelly2Stage(t, "")
	s.publish(plug+"/events/rpc", `{"src":`, `undecodable: shelly gen2: no Shelly message: json: line 1, column 8: the payload ends where a value was expected`)
	s.publish(plug+"/events/rpc", `[]`, `undecodable: shelly gen2: no Shelly message: want an object`)
	s.publish(plug+"/events/rpc", `{"method":"NotifyStatus"}`, `undecodable: shelly gen2: no Shelly notification: params is missing or no object`)
	s.publish(plug+"/events/rpc", `{"method":"NotifyEvent","params":{}}`, `undecodable: shelly gen2: no Shelly notification: events is missing or no array`)
	s.publish(plug+"/events/rpc", `{"method":"NotifyMore","params":{}}`, `unsupported 1`)
	s.publish(plug+"/events/rpc", `{"method":"NotifyStatus","params":{"switch:0":5,"a":{"b":`+strings.Repeat(`{"c":`, 12)+`1`+strings.Repeat(`}`, 13)+`}}`, `unsupported 2`)
	s.publish(plug+"/online", "maybe", `undecodable: shelly gen2: "maybe" is neither true nor false`)
	s.publish("a b/online", "true", `bad_device: shelly gen2: device id "a b" holds ' ' (1 to 128 of A-Z a-z 0-9 - . _ : ending in a letter, a digit or -)`)
	// What others publish for a device is not from it.
	s.publish(plug+"/rpc", `{"id":1}`)
	s.publish(plug+"/command/switch:0", `on`)
	if _, err := preset.ShellyGen2(mapping.Preset{Prefix: "hall/+"}); err == nil {
		t.Error("a prefix with a wildcard was taken")
	}
}

// TestShellyGen2Prefixes takes devices whose owner gave them a topic prefix of several levels.
func TestShellyGen2Prefixes(t *testing.T) {
	t.Parallel()
	s := newShelly2Stage(t, "")
	s.publish("hall/plug/online", "true", `unmapped: nothing maps the topic hall/plug/online`)
	s.publish("hall/plug/events/rpc", notify("NotifyStatus", `{"ts":1772366399,"switch:0":{"apower":1}}`),
		`property hall:plug online true`, `telemetry hall:plug {"switch0_apower":1} @2026-03-01T11:59:59Z`,
		`publish hall/plug/rpc {"id":1,"method":"Shelly.GetDeviceInfo","src":"hall/plug/gateway"}`,
		`publish hall/plug/rpc {"id":2,"method":"Shelly.GetStatus","src":"hall/plug/gateway"}`)
	s.publish("hall/plug/events/rpc", notify("NotifyStatus", `{"ts":1772366399,"switch:0":{"apower":2}}`), `telemetry hall:plug {"switch0_apower":2} @2026-03-01T11:59:59Z`)
	s.publish("hall/plug/online", "false", `property hall:plug online false`)
	s.command("hall:plug", "switch0_output", "c1", `true`, `publish hall/plug/rpc {"id":1752897765,"method":"Switch.Set","params":{"id":0,"on":true},"src":"hall/plug/gateway"}`)
	s.publish("hall/plug/gateway/rpc", `{"id":1752897765,"result":{}}`, `response hall:plug switch0_output c1 Completed {}`)
	// A sender that may not publish the other topics is mapped all the same, and claims nothing.
	s.mayPublish = func(topic string) bool { return topic == "yard/pump/events/rpc" }
	s.publish("yard/pump/events/rpc", notify("NotifyStatus", `{"switch:0":{"apower":1}}`), `telemetry yard:pump {"switch0_apower":1}`)

	s = newShelly2Stage(t, "/hall/")
	s.publish("hall/plug/events/rpc", notify("NotifyStatus", `{"switch:0":{"apower":1}}`), `telemetry plug {"switch0_apower":1}`)
	s.publish("hall/plug/online", "false", `property plug online false`)
	s.command("plug", "Switch.Toggle", "c1", `{"id":0}`, `publish hall/plug/rpc {"id":1752897765,"method":"Switch.Toggle","params":{"id":0},"src":"hall/plug/gateway"}`)
	s.publish(plug+"/online", "true", `unmapped: nothing maps the topic `+plug+`/online`)
}

func FuzzShellyGen2(f *testing.F) {
	f.Add("d/events/rpc", notify("NotifyStatus", `{"ts":1.61,"switch:0":{"id":0,"output":true,"errors":["a",1]},"x":{"y":[{"z":null}]}}`))
	f.Add("a/b/events/rpc", notify("NotifyEvent", `{"ts":1772366399.2,"events":[{"component":"input:0","event":"single_push","ts":1e300}]}`))
	f.Add("d/gateway/rpc", `{"id":1752897765,"error":{"code":1}}`)
	f.Add("d/gateway/rpc", `{"id":2,"result":{"sys":{"unixtime":null},"wifi":{"rssi":-1e400}}}`)
	f.Add("d/status/em1:0", `{"timestamp":1,"":{"_":2}}`)
	f.Add("d/online", `true`)
	family, err := preset.ShellyGen2(mapping.Preset{})
	fuzzFamily(f, family, err, func(state mapping.MemoryState, m *mapping.Mapper) {
		if res, err := m.Command("d", "switch0_output", "c1", []byte("true"), onStage, state); err == nil {
			state.Apply(res.Changes)
		}
	})
}
