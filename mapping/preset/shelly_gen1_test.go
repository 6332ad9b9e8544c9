package preset_test

import (
	"testing"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
)

const (
	shellyPlug = "shellyplug-s-C18B12"
	shellyBase = "shellies/" + shellyPlug + "/"
)

func newShellyGen1Stage(t *testing.T, prefix string) *stage {
	t.Helper()
	family, err := preset.ShellyGen1(mapping.Preset{Name: "shelly", Prefix: prefix})
	return newStage(t, family, err)
}

func TestShellyGen1Values(t *testing.T) {
	t.Parallel()
	s := newShellyGen1Stage(t, "")
	const p = `telemetry ` + shellyPlug + ` `
	s.publish(shellyBase+"relay/0", `on`, `property `+shellyPlug+` relay_0 true`)
	s.publish(shellyBase+"relay/0", `on`, `unchanged 1`)
	s.publish(shellyBase+"relay/0", `overpower`, p+`{"relay_0_overpower":true}`, `property `+shellyPlug+` relay_0 false`)
	s.publish(shellyBase+"relay/0/power", `20.50`, p+`{"relay_0_power":20.50}`)
	s.publish(shellyBase+"relay/0/energy", `94736`, p+`{"relay_0_energy":1578.933}`)
	s.publish(shellyBase+"relay/power", `3.1`, p+`{"relay_power":3.1}`)
	s.publish(shellyBase+"relay/energy", `60`, p+`{"relay_energy":1}`)
	s.publish(shellyBase+"temperature", `31.97`, p+`{"temperature":31.97}`)
	s.publish(shellyBase+"temperature_f", `89.55`)
	s.publish(shellyBase+"overtemperature", `0`, p+`{"overtemperature":false}`)
	s.publish(shellyBase+"temperature_status", `Normal`, p+`{"temperature_status":"Normal"}`)
	s.publish(shellyBase+"voltage", `238.14`, p+`{"voltage":238.14}`)
	s.publish(shellyBase+"input/0", `1`, p+`{"input_0":true}`)
	s.publish(shellyBase+"longpush/0", `0`, p+`{"longpush_0":false}`)
	s.publish(shellyBase+"input_event/0", `{"event":"","event_cnt":0}`, `empty 1`)
	s.publish(shellyBase+"input_event/0", `{"event":"S","event_cnt":2}`, p+`{"input_0_event":"S","input_0_event_cnt":2}`)
	s.publish(shellyBase+"input_event/0", `{"event":"S","event_cnt":2}`, `repeated 1`)
	s.publish(shellyBase+"input_event/0", `{"event":"S","event_cnt":3}`, p+`{"input_0_event":"S","input_0_event_cnt":3}`)
	s.publish(shellyBase+"ext_temperature/0", `21.5`, p+`{"ext_temperature_0":21.5}`)
	s.publish(shellyBase+"ext_temperature_f/0", `70.7`)
	s.publish(shellyBase+"emeter/0/power", `-12.5`, p+`{"emeter_0_power":-12.5}`)
	s.publish(shellyBase+"emeter/0/total", `1234.5`, p+`{"emeter_0_total":1234.5}`)
	s.publish(shellyBase+"emeter/0/returned_energy", `30`, p+`{"emeter_0_returned_energy":0.5}`)
	s.publish(shellyBase+"adc/0", `11.9`, p+`{"adc_0":11.9}`)
	s.publish(shellyBase+"roller/0", `stop`, `property `+shellyPlug+` roller_0 "stop"`)
	s.publish(shellyBase+"roller/0/pos", `42`, p+`{"roller_0_pos":42}`)
}

func TestShellyGen1Sensors(t *testing.T) {
	t.Parallel()
	s := newShellyGen1Stage(t, "")
	for topic, c := range map[string][2]string{
		"temperature": {`22.25`, `{"temperature":22.25}`},
		"humidity":    {`54.5`, `{"humidity":54.5}`},
		"battery":     {`1`, `{"battery":1}`},
		"lux":         {`0`, `{"lux":0}`},
		"motion":      {`true`, `{"motion":true}`},
		"flood":       {`false`, `{"flood":false}`},
		"vibration":   {`1`, `{"vibration":true}`},
		"state":       {`open`, `{"state":"open"}`},
		"act_reasons": {`["sensor","periodic"]`, `{"act_reasons":"sensor,periodic"}`},
		"timestamp":   {`1772273632`, `{"timestamp_value":1772273632}`},
	} {
		s.publish("shellies/shellyht-1A2B3C/sensor/"+topic, c[0], `telemetry shellyht-1A2B3C `+c[1])
	}
	s.publish("shellies/shellyht-1A2B3C/sensor/act_reasons", `[`, `undecodable: shelly gen1: sensor/act_reasons: json: line 1, column 2: the payload ends where a value was expected`)
}

func TestShellyGen1Lamp(t *testing.T) {
	t.Parallel()
	s := newShellyGen1Stage(t, "")
	const lamp = "shellies/shellyrgbw2-25A0D8/"
	s.publish(lamp+"color/0/status", `{"ison":true,"source":"http","has_timer":false,"timer_remaining":0,"mode":"color","red":255,"green":0,"blue":12,"white":0,"gain":100,"effect":0,"power":8.20,"overpower":false}`,
		`property shellyrgbw2-25A0D8 color_0_mode "color"`, `property shellyrgbw2-25A0D8 color_0_red 255`, `property shellyrgbw2-25A0D8 color_0_green 0`,
		`property shellyrgbw2-25A0D8 color_0_blue 12`, `property shellyrgbw2-25A0D8 color_0_white 0`, `property shellyrgbw2-25A0D8 color_0_gain 100`,
		`property shellyrgbw2-25A0D8 color_0_effect 0`, `telemetry shellyrgbw2-25A0D8 {"color_0_power":8.2}`, `property shellyrgbw2-25A0D8 color_0 true`)
	s.command("shellyrgbw2-25A0D8", "color_0", "c1", `{"red":1,"turn":"on"}`, `publish `+lamp+`color/0/set {"red":1,"turn":"on"}`)
	s.publish(lamp+"color/0/status", `{"ison":true,"red":1}`, `property shellyrgbw2-25A0D8 color_0_red 1`, `response shellyrgbw2-25A0D8 color_0 c1 Completed true`, `unchanged 1`)
	s.command("shellyrgbw2-25A0D8", "color_0", "c2", `false`, `publish `+lamp+`color/0/command off`)
	s.publish(lamp+"color/0", `off`, `property shellyrgbw2-25A0D8 color_0 false`, `response shellyrgbw2-25A0D8 color_0 c2 Completed false`)
	s.publish(lamp+"color/0/status", `[1]`, `undecodable: shelly gen1: color/0/status: no JSON object`)
}

func TestShellyGen1AvailabilityAndIntroduction(t *testing.T) {
	t.Parallel()
	s := newShellyGen1Stage(t, "")
	s.publish(shellyBase+"online", `true`, `property `+shellyPlug+` online true`)
	const hello = `{"id":"` + shellyPlug + `","model":"SHPLG-S","mac":"C0FFEEC18B12","ip":"192.0.2.9","new_fw":false,"fw_ver":"20230913-113421/v1.14.0-gcb84623"}`
	s.publish("shellies/announce", hello,
		`property `+shellyPlug+` firmware "20230913-113421/v1.14.0-gcb84623"`, `property `+shellyPlug+` ip "192.0.2.9"`, `property `+shellyPlug+` mac "C0FFEEC18B12"`,
		`property `+shellyPlug+` model "SHPLG-S"`, `property `+shellyPlug+` update_available false`)
	s.publish(shellyBase+"announce", hello, `unchanged 5`)
	s.publish(shellyBase+"relay/0", `on`, `property `+shellyPlug+` relay_0 true`)
	// A device that comes back tells all anew.
	s.publish(shellyBase+"online", `false`, `property `+shellyPlug+` online false`)
	s.replay(shellyBase+"online", `false`, `unchanged 1`)
	s.publish(shellyBase+"online", `true`, `property `+shellyPlug+` online true`)
	s.publish(shellyBase+"relay/0", `on`, `property `+shellyPlug+` relay_0 true`)
	s.publish(shellyBase+"relay/0", `on`, `unchanged 1`)
	s.now = s.now.Add(24 * time.Hour)
	s.publish(shellyBase+"relay/0", `on`, `property `+shellyPlug+` relay_0 true`)

	s.publish(shellyBase+"info", `{"wifi_sta":{"connected":true,"ssid":"hall","ip":"192.0.2.9","rssi":-61},"time":"10:13","unixtime":0,"has_update":false,"uptime":90061,"ram_free":38940,"bat":{"value":81,"voltage":3.9}}`,
		`property `+shellyPlug+` ssid "hall"`, `property `+shellyPlug+` ip "192.0.2.9"`, `property `+shellyPlug+` update_available false`,
		`telemetry `+shellyPlug+` {"battery":81,"ram_free":38940,"uptime":90061,"wifi_rssi":-61}`)
	s.publish("shellies/shellytrv-1/info", `{"thermostats":[{"pos":33,"target_t":{"enabled":true,"value":21},"tmp":{"value":19.5,"is_valid":true}}]}`,
		`property shellytrv-1 thermostat_0_target 21`, `telemetry shellytrv-1 {"thermostat_0_position":33,"thermostat_0_temperature":19.5}`)
	s.publish(shellyBase+"info", `{}`)
	// The second generation introduces itself here too, with other members.
	s.publish("shellies/announce", `{"name":"x","id":"shellyplus2pm-fcb4670eb340","mac":"FCB4670EB340","gen":2,"fw_id":"1"}`)
	s.publish("shellies/announce", `{"model":"SHSW-1"}`, `undecodable: shelly gen1: announce: the announcement has no id`)
	s.publish("shellies/announce", `announce`, `undecodable: shelly gen1: announce: no JSON: json: line 1, column 1: expected a value, found "announce"`)
	s.check("start", mapping.Result{Publish: s.m.Start(onStage)}, nil, []string{`publish shellies/command announce`})
}

func TestShellyGen1Commands(t *testing.T) {
	t.Parallel()
	s := newShellyGen1Stage(t, "")
	s.publish(shellyBase+"relay/0", `off`, `property `+shellyPlug+` relay_0 false`)
	s.command(shellyPlug, "relay_0", "c1", `"on"`, `publish `+shellyBase+`relay/0/command on`)
	// What it says every half minute is no answer until it says what was asked for.
	s.publish(shellyBase+"relay/0", `off`, `unchanged 1`)
	s.publish(shellyBase+"relay/0/command", `on`)
	s.publish(shellyBase+"relay/0", `on`, `property `+shellyPlug+` relay_0 true`, `response `+shellyPlug+` relay_0 c1 Completed true`)
	s.command(shellyPlug, "relay_0", "c2", `"toggle"`, `publish `+shellyBase+`relay/0/command toggle`)
	s.publish(shellyBase+"relay/0", `off`, `property `+shellyPlug+` relay_0 false`, `response `+shellyPlug+` relay_0 c2 Completed false`)
	s.command(shellyPlug, "roller_0", "c3", `{"value":"open"}`, `publish `+shellyBase+`roller/0/command open`)
	s.publish(shellyBase+"roller/0", `open`, `property `+shellyPlug+` roller_0 "open"`, `response `+shellyPlug+` roller_0 c3 Completed "open"`)
	s.desired(shellyPlug, "roller_0", `40`, `publish `+shellyBase+`roller/0/command/pos 40`)
	s.publish(shellyBase+"roller/0/command/pos", `40`, `unmapped: nothing maps the topic `+shellyBase+`roller/0/command/pos`)
	s.desired(shellyPlug, "relay_0", `true`, `publish `+shellyBase+`relay/0/command on`)
	s.command(shellyPlug, "announce", "c4", ``, `publish `+shellyBase+`command announce`)
	s.publish(shellyBase+"announce", `{"id":"`+shellyPlug+`"}`, `response `+shellyPlug+` announce c4 Completed {"id":"`+shellyPlug+`"}`)
	s.command(shellyPlug, "update_fw", "c5", ``, `response `+shellyPlug+` update_fw c5 Completed`, `publish `+shellyBase+`command update_fw`)
	s.command(shellyPlug, "relay_0", "c6", `true`, `publish `+shellyBase+`relay/0/command on`)
	s.now = s.now.Add(time.Minute) // nobody waits so long
	s.publish(shellyBase+"relay/0", `on`, `property `+shellyPlug+` relay_0 true`)

	const hint = ` (a relay or lamp takes true, false or toggle, a lamp also an object, a roller open, close, stop or 0 to 100)`
	s.command(shellyPlug, "relay_0", "c7", `{"turn":"on"}`, `undecodable: shelly gen1: that is nothing to set relay_0 to`+hint)
	s.command(shellyPlug, "roller_0", "c7", `101`, `undecodable: shelly gen1: that is nothing to set roller_0 to`+hint)
	s.command(shellyPlug, "roller_0", "c7", `"0x10"`, `undecodable: shelly gen1: that is nothing to set roller_0 to`+hint)
	s.command(shellyPlug, "relay_0", "c7", ``, `undecodable: shelly gen1: that is nothing to set relay_0 to`+hint)
	s.command(shellyPlug, "relay_x", "c7", `true`, `bad_name: shelly gen1: the device has no output of that name (relay_0, light_0, color_0, white_0, roller_0, and the commands announce, update and update_fw)`)
	s.publish(shellyBase+"online", `false`, `property `+shellyPlug+` online false`)
	s.command(shellyPlug, "relay_0", "c8", `true`, `state: shelly gen1: the device is offline`)
}

func TestShellyGen1Faults(t *testing.T) {
	t.Parallel()
	s := newShellyGen1Stage(t, "site/hall")
	const base = "site/hall/shellies/shelly1-AABB/"
	s.publish(base+"online", `true`, `property shelly1-AABB online true`)
	s.publish(base+"online", `maybe`, `undecodable: shelly gen1 site.hall: online: neither true nor false`)
	s.publish(base+"online", ``, `empty 1`)
	s.publish(base+"relay/0", `maybe`, `undecodable: shelly gen1 site.hall: relay/0: neither on nor off`)
	s.publish(base+"roller/0", `up`, `undecodable: shelly gen1 site.hall: roller/0: neither open nor close nor stop`)
	s.publish(base+"relay/0/power", `1e999`, `undecodable: shelly gen1 site.hall: the number 1e999 does not fit a double`)
	s.publish(base+"relay/0/power", `lots`, `undecodable: shelly gen1 site.hall: relay/0/power: expected a number, found "lots"`)
	s.publish(base+"temperature", `nan`, `undecodable: shelly gen1 site.hall: temperature: expected a number, found "nan"`)
	s.publish(base+"relay/0/energy", `1e999`, `undecodable: shelly gen1 site.hall: relay/0/energy: strconv.ParseFloat: parsing "1e999": value out of range`)
	s.publish(base+"input_event/0", `{"event":"S","event_cnt":"123456789012345678901"}`, `undecodable: shelly gen1 site.hall: input_event/0: event_cnt is no count`)
	s.publish(shellyBase+"online", `true`, `unmapped: nothing maps the topic `+shellyBase+`online`)
	s.publish("site/hall/shellies/a b/online", `true`, `bad_device: shelly gen1 site.hall: device id "a b" holds ' ' (1 to 128 of A-Z a-z 0-9 - . _ : ending in a letter, a digit or -)`)
	// Topics of a device of the second generation whose owner put it here.
	s.publish(base+"events/rpc", `{}`, `unmapped: nothing maps the topic `+base+`events/rpc`)
	s.publish("site/hall/shellies/shellyplus1pm-a8032abe54dc/online", `true`, `unsupported 1`)
	s.publish("site/hall/shellies/shelly1minig3-84fce63ac9f4/online", `true`, `unsupported 1`)
	// A replay of a reading tells nothing, for it has no time.
	s.replay(base+"temperature", `31.97`, `replayed 1`)
	if _, err := preset.ShellyGen1(mapping.Preset{Name: "shelly", Prefix: "a/#"}); err == nil {
		t.Error("a prefix with a wildcard was taken")
	}
}

func FuzzShellyGen1(f *testing.F) {
	f.Add(shellyBase+"relay/0", `overpower`)
	f.Add(shellyBase+"relay/0/energy", `94736`)
	f.Add(shellyBase+"sensor/act_reasons", `["sensor"]`)
	f.Add(shellyBase+"color/0/status", `{"ison":true,"red":255,"power":8.2}`)
	f.Add(shellyBase+"input_event/0", `{"event":"S","event_cnt":2}`)
	f.Add(shellyBase+"info", `{"wifi_sta":{"ip":"x","rssi":-61},"bat":{"value":81},"thermostats":[{"pos":33,"tmp":{"value":1}}]}`)
	f.Add("shellies/announce", `{"id":"`+shellyPlug+`","fw_ver":"1"}`)
	f.Add(shellyBase+"roller/0", `true`)
	family, err := preset.ShellyGen1(mapping.Preset{})
	fuzzDevice(f, family, err, shellyPlug, "color_0")
}
