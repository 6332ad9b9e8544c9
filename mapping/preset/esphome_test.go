package preset_test

import (
	"fmt"
	"testing"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
)

func newESPHomeStage(t *testing.T, prefix string) *stage {
	t.Helper()
	family, err := preset.ESPHome(mapping.Preset{Name: "esphome", Prefix: prefix})
	return newStage(t, family, err)
}

func TestESPHomeValues(t *testing.T) {
	t.Parallel()
	s := newESPHomeStage(t, "")
	s.publish("shed/sensor/temperature/state", `21.50`, `telemetry shed {"temperature":21.50}`)
	s.publish("shed/sensor/temperature/state", `nan`, `empty 1`)
	s.publish("shed/sensor/temperature/state", `None`, `empty 1`)
	s.publish("shed/binary_sensor/motion/state", `ON`, `telemetry shed {"motion":true}`)
	s.publish("shed/event/doorbell/state", `{"event_type":"press"}`, `telemetry shed {"doorbell":"press"}`)
	s.publish("shed/event/doorbell/state", `{"event_type":"press"}`, `telemetry shed {"doorbell":"press"}`)
	s.publish("shed/switch/relay_1/state", `ON`, `property shed relay_1 true`)
	s.publish("shed/switch/relay_1/state", `ON`, `unchanged 1`)
	s.publish("shed/number/setpoint/state", `19.5`, `property shed setpoint 19.5`)
	s.publish("shed/select/mode/state", `eco`, `property shed mode "eco"`)
	s.publish("shed/text/label/state", `12`, `property shed label "12"`)
	s.publish("shed/lock/door/state", `LOCKED`, `property shed door "LOCKED"`)
	s.publish("shed/cover/blind/state", `open`, `property shed blind "open"`)
	s.publish("shed/cover/blind/position/state", `40`, `property shed blind_position 40`)
	s.publish("shed/fan/vent/state", `ON`, `property shed vent true`)
	s.publish("shed/fan/vent/speed_level/state", `2`, `property shed vent_speed_level 2`)
	s.publish("shed/fan/vent/oscillation/state", `oscillate_off`, `property shed vent_oscillation false`)
	s.publish("shed/climate/heater/mode/state", `heat`, `property shed heater_mode "heat"`)
	s.publish("shed/climate/heater/current_temperature/state", `18.2`, `telemetry shed {"heater_current_temperature":18.2}`)
	s.publish("shed/climate/heater/target_temperature/state", `21.0`, `property shed heater_target_temperature 21.0`)
	s.publish("shed/light/lamp/state", `{"color_mode":"rgb","state":"ON","brightness":128,"color":{"r":255,"g":0,"b":10},"effect":null,"x":[1]}`,
		`property shed lamp true`, `property shed lamp_brightness 128`, `property shed lamp_color_b 10`, `property shed lamp_color_g 0`,
		`property shed lamp_color_r 255`, `property shed lamp_color_mode "rgb"`, `unsupported 1`)
	s.publish("shed/datetime/alarm/state", `{"year":2026,"month":3}`, `property shed alarm {"month":3,"year":2026}`)
	s.publish("shed/update/firmware/state", `{"installed_version":"1","latest_version":"2"}`,
		`property shed firmware_installed_version "1"`, `property shed firmware_latest_version "2"`)
	s.publish("shed/debug", "\x1b[0;32m[I][wifi:123]: connected\x1b[0m")
	s.publish("shed/sensor/temperature/state", ``, `empty 1`)
	// A reading that a broker kept has no time.
	s.replay("shed/sensor/temperature/state", `21.50`, `replayed 1`)
}

func TestESPHomeNames(t *testing.T) {
	t.Parallel()
	s := newESPHomeStage(t, "")
	s.publish("shed/sensor/door/state", `1`, `telemetry shed {"door":1}`)
	s.publish("shed/binary_sensor/door/state", `OFF`, `telemetry shed {"binary_sensor_door":false}`)
	s.publish("shed/sensor/door/state", `2`, `telemetry shed {"door":2}`)
	s.publish("shed/sensor/2nd-floor/state", `3`, `telemetry shed {"v2nd_floor":3}`)
	// A text sensor stays one, whatever its text looks like.
	s.publish("shed/sensor/version/state", `7`, `telemetry shed {"version":7}`)
	s.publish("shed/sensor/version/state", `2024.6.0`, `property shed version "2024.6.0"`)
	s.publish("shed/sensor/version/state", `7`, `property shed version "7"`)
	// What is remembered of a device has an end; what is told has not.
	for i := range 256 - 4 {
		s.publish(fmt.Sprintf("shed/sensor/s%d/state", i), `1`, fmt.Sprintf(`telemetry shed {"s%d":1}`, i))
	}
	s.publish("shed/sensor/more/state", `1`, `telemetry shed {"sensor_more":1}`)
}

func TestESPHomeAvailabilityAndIntroduction(t *testing.T) {
	t.Parallel()
	s := newESPHomeStage(t, "")
	s.publish("shed/status", `online`, `property shed online true`)
	s.publish("shed/switch/relay/state", `ON`, `property shed relay true`)
	s.publish("shed/status", `offline`, `property shed online false`)
	s.replay("shed/status", `offline`, `unchanged 1`)
	s.publish("shed/status", `online`, `property shed online true`)
	s.publish("shed/switch/relay/state", `ON`, `property shed relay true`)
	s.now = s.now.Add(24 * time.Hour)
	s.publish("shed/switch/relay/state", `ON`, `property shed relay true`)
	// Others have a topic of that name too.
	s.publish("pump/status", `running`, `unmapped: esphome: the status is neither online nor offline, so it is not ESPHome's (a device that is not ESPHome's needs a route)`)
	s.publish("homeassistant/status", `online`)
	s.publish("esphome/discover/shed", `{"ip":"192.0.2.4","name":"shed","friendly_name":"Shed","port":6053,"version":"2024.6.0","mac":"c0ffee001122","platform":"ESP32","board":"esp32dev","network":"wifi"}`,
		`property shed model "esp32dev"`, `property shed friendly_name "Shed"`, `property shed ip "192.0.2.4"`, `property shed mac "c0ffee001122"`, `property shed firmware "2024.6.0"`)
	s.publish("esphome/discover/shed", `[]`, `undecodable: esphome: no introduction of an ESPHome device`)
	s.check("start", mapping.Result{Publish: s.m.Start(onStage)}, nil, []string{`publish esphome/discover `})
}

func TestESPHomeCommands(t *testing.T) {
	t.Parallel()
	s := newESPHomeStage(t, "home")
	const refused = `bad_name: esphome home: the device has shown nothing of that name that can be set (a button is button_ and its name)`
	s.publish("home/shed/status", `online`, `property shed online true`)
	s.command("shed", "relay", "c0", `true`, refused)
	s.publish("home/shed/switch/relay/state", `OFF`, `property shed relay false`)
	s.command("shed", "relay", "c1", `true`, `publish home/shed/switch/relay/command ON`)
	s.publish("home/shed/switch/relay/state", `OFF`, `unchanged 1`)
	s.publish("home/shed/switch/relay/state", `ON`, `property shed relay true`, `response shed relay c1 Completed true`)
	// What is so already is not said again by the device.
	s.command("shed", "relay", "c2", `"on"`, `response shed relay c2 Completed true`, `publish home/shed/switch/relay/command ON`)
	s.command("shed", "relay", "c3", `{"value":"TOGGLE"}`, `publish home/shed/switch/relay/command TOGGLE`)
	s.publish("home/shed/switch/relay/state", `OFF`, `property shed relay false`, `response shed relay c3 Completed false`)
	s.command("shed", "relay", "c4", `"perhaps"`, `undecodable: esphome home: that is nothing to set a switch to`)
	s.command("shed", "relay", "c4", `1`, `undecodable: esphome home: that is nothing to set a switch to`)
	s.command("shed", "relay", "c4", ``, `undecodable: esphome home: that is nothing to set a switch to`)

	s.publish("home/shed/light/lamp/state", `{"state":"OFF"}`, `property shed lamp false`)
	s.command("shed", "lamp", "c5", `true`, `publish home/shed/light/lamp/command {"state":"ON"}`)
	s.publish("home/shed/light/lamp/state", `{"state":"ON","brightness":9}`, `property shed lamp true`, `property shed lamp_brightness 9`, `response shed lamp c5 Completed true`)
	s.desired("shed", "lamp", `{"state":"ON","brightness":80}`, `publish home/shed/light/lamp/command {"state":"ON","brightness":80}`)
	s.publish("home/shed/cover/blind/position/state", `40`, `property shed blind_position 40`)
	s.command("shed", "blind_position", "c6", `50`, `publish home/shed/cover/blind/position/command 50`)
	s.publish("home/shed/cover/blind/position/state", `50`, `property shed blind_position 50`, `response shed blind_position c6 Completed 50`)
	s.publish("home/shed/cover/blind/state", `open`, `property shed blind "open"`)
	s.desired("shed", "blind", `false`, `publish home/shed/cover/blind/command CLOSE`)
	s.desired("shed", "blind", `"STOP"`, `publish home/shed/cover/blind/command STOP`)
	s.publish("home/shed/lock/door/state", `LOCKED`, `property shed door "LOCKED"`)
	s.desired("shed", "door", `false`, `publish home/shed/lock/door/command UNLOCK`)
	s.publish("home/shed/number/setpoint/state", `19`, `property shed setpoint 19`)
	s.desired("shed", "setpoint", `20.5`, `publish home/shed/number/setpoint/command 20.5`)
	s.publish("home/shed/fan/vent/oscillation/state", `oscillate_on`, `property shed vent_oscillation true`)
	s.desired("shed", "vent_oscillation", `false`, `publish home/shed/fan/vent/oscillation/command oscillate_off`)
	s.command("shed", "button_restart", "c7", ``, `response shed button_restart c7 Completed`, `publish home/shed/button/restart/command PRESS`)
	s.publish("home/shed/sensor/temperature/state", `19`, `telemetry shed {"temperature":19}`)
	s.command("shed", "temperature", "c8", `1`, refused)
	s.publish("home/shed/status", `offline`, `property shed online false`)
	s.command("shed", "relay", "c9", `true`, `state: esphome home: the device is offline`)
	s.publish("shed/status", `online`, `unmapped: nothing maps the topic shed/status`)
}

func TestESPHomeFaults(t *testing.T) {
	t.Parallel()
	s := newESPHomeStage(t, "")
	s.publish("shed/switch/relay/state", `maybe`, `undecodable: esphome: switch: maybe is neither ON nor OFF`)
	s.publish("shed/binary_sensor/motion/state", `1`, `undecodable: esphome: binary_sensor: 1 is neither ON nor OFF`)
	s.publish("shed/light/lamp/state", `ON`, `undecodable: esphome: light lamp: no JSON object`)
	s.publish("shed/light/lamp/state", `{"state":`, `undecodable: esphome: light: no JSON: json: line 1, column 10: the payload ends where a value was expected`)
	s.publish("shed/event/bell/state", `{}`, `undecodable: esphome: the event has no event_type`)
	s.publish("shed/sensor/t/state", `1e999`, `undecodable: esphome: the number 1e999 does not fit a double`)
	s.publish("shed/pump/p1/state", `ON`, `unmapped: nothing maps the topic shed/pump/p1/state`)
	s.publish("a b/status", `online`, `bad_device: esphome: device id "a b" holds ' ' (1 to 128 of A-Z a-z 0-9 - . _ : ending in a letter, a digit or -)`)
	if _, err := preset.ESPHome(mapping.Preset{Name: "esphome", Prefix: "+"}); err == nil {
		t.Error("a prefix with a wildcard was taken")
	}
}

func FuzzESPHome(f *testing.F) {
	f.Add("shed/sensor/t/state", `21.5`)
	f.Add("shed/sensor/t/state", `text`)
	f.Add("shed/light/lamp/state", `{"state":"ON","color":{"r":1}}`)
	f.Add("shed/lamp/lamp/state", `{"state":"ON"}`)
	f.Add("shed/event/lamp/state", `{"event_type":"press"}`)
	f.Add("shed/climate/lamp/current_temperature/state", `18`)
	f.Add("shed/switch/lamp/state", `ON`)
	f.Add("shed/status", `online`)
	f.Add("esphome/discover/shed", `{"version":"1"}`)
	family, err := preset.ESPHome(mapping.Preset{})
	fuzzDevice(f, family, err, "shed", "lamp")
}
