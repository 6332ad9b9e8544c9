package preset_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
)

func newHomieStage(t *testing.T, domain string) *stage {
	t.Helper()
	family, err := preset.Homie(mapping.Preset{Name: "homie", Prefix: domain})
	return newStage(t, family, err)
}

// superCar is the device of the convention's examples, with a property of every type.
const superCar = `{"homie":"5.0","name":"Supercar","version":7,"nodes":{
	"engine":{"name":"Car engine","properties":{
		"temperature":{"name":"Engine temperature","unit":"°C","datatype":"float","format":"-20:120"},
		"max-speed":{"datatype":"integer","settable":true,"unit":"km/h"},
		"direction":{"datatype":"enum","format":"forward,back ward","settable":true},
		"on":{"datatype":"boolean","settable":true},
		"started":{"datatype":"datetime"},"run-time":{"datatype":"duration"},
		"serial":{"datatype":"string"},"horn":{"datatype":"string","retained":false},
		"map":{"datatype":"json","settable":true},
		"ignite":{"datatype":"enum","format":"go","settable":true,"retained":false},
		"odd":{"datatype":"matrix"},"BAD":{"datatype":"float"}}},
	"lights":{"properties":{"color":{"datatype":"color","format":"rgb,hsv","settable":true},"label":{"datatype":"string","settable":true}}}}}`

// homieReady is a stage on which the car has introduced itself.
func homieReady(t *testing.T) *stage {
	t.Helper()
	s := newHomieStage(t, "")
	s.publish("homie/5/super-car/$state", "init", `property super-car online true`, `property super-car state "init"`)
	s.publish("homie/5/super-car/$description", superCar, `property super-car name "Supercar"`, `unchanged 2`, `unsupported 2`)
	s.publish("homie/5/super-car/$state", "ready", `property super-car state "ready"`, `unchanged 1`)
	return s
}

func TestHomieValues(t *testing.T) {
	t.Parallel()
	s := homieReady(t)
	const car = "homie/5/super-car/"
	for topic, want := range map[string][]string{
		"engine/temperature 21.50":                 {`telemetry super-car {"engine_temperature":21.50}`},
		"engine/temperature -2.5E-3":               {`telemetry super-car {"engine_temperature":-2.5E-3}`},
		"engine/temperature .5":                    {`telemetry super-car {"engine_temperature":0.5}`},
		"engine/max-speed 9223372036854775807":     {`property super-car engine_max_speed 9223372036854775807`},
		"engine/direction back ward":               {`property super-car engine_direction "back ward"`},
		"engine/on true":                           {`property super-car engine_on true`},
		"engine/started 1970-01-01T00:00:12Z":      {`telemetry super-car {"engine_started":"1970-01-01T00:00:12Z"}`}, // a value, never the time
		"engine/run-time PT12H5M46S":               {`telemetry super-car {"engine_run_time":"PT12H5M46S"}`},
		"engine/serial 007":                        {`property super-car engine_serial "007"`},
		"engine/horn \x00":                         {`telemetry super-car {"engine_horn":""}`},
		`engine/map {"a":[1,{"b":null}]}`:          {`property super-car engine_map {"a":[1,{"b":null}]}`},
		"lights/color rgb,100,100,100":             {`property super-car lights_color "rgb,100,100,100"`},
		"engine/direction/$target forward":         {`property super-car engine_direction_target "forward"`},
		"$alert/battery Battery is low, at 8%":     {`property super-car alert_battery "Battery is low, at 8%"`},
		"$alert/battery ":                          {`property super-car alert_battery ""`},
		"engine/temperature ":                      nil, // taken back
		"engine/odd 1":                             {`unsupported 1`},
		"engine/unknown 1":                         {`unsupported 1`},
		"$log/warn battery low":                    nil,
		"$implementation/version 1.2":              {`unsupported 1`},
		"engine/on/set true":                       nil,
		"engine/temperature NaN":                   {`undecodable: homie: engine/temperature: "NaN" is no number`},
		"engine/temperature 1e999":                 {`undecodable: homie: engine/temperature: "1e999" is no number`},
		"engine/temperature 0x1p-2":                {`undecodable: homie: engine/temperature: "0x1p-2" is no number`},
		"engine/max-speed 21.5":                    {`undecodable: homie: engine/max-speed: "21.5" is no integer`},
		"engine/max-speed +5":                      {`undecodable: homie: engine/max-speed: "+5" is no integer`},
		"engine/on TRUE":                           {`undecodable: homie: engine/on: "TRUE" is neither true nor false`},
		"engine/direction up":                      {`undecodable: homie: engine/direction: "up" is none of forward, back ward`},
		"engine/serial \xff":                       {`undecodable: homie: engine/serial: the value is no UTF-8`},
		"engine/map {":                             {`undecodable: homie: engine/map: json: line 1, column 2: the payload ends where a key in double quotes was expected`},
		"$state away":                              {`undecodable: homie: "away" is no state of a device`},
		"$description [":                           {`undecodable: homie: $description: unexpected end of JSON input`},
		`$description {"homie":"4.0","version":1}`: {`undecodable: homie: $description is for version "4.0" of the convention, not 5`},
	} {
		one := &stage{t: t, m: s.m, state: maps.Clone(s.state), now: s.now}
		topic, payload, _ := strings.Cut(topic, " ")
		one.publish(car+topic, payload, want...)
	}
	// Said again, a value that holds is not told again, one that is retained by the broker neither; a series needs a time.
	s.publish(car+"engine/on", "true", `property super-car engine_on true`)
	s.publish(car+"engine/on", "true", `unchanged 1`)
	s.replay(car+"engine/on", "false", `property super-car engine_on false`)
	s.replay(car+"engine/temperature", "21.5", `replayed 1`)
	s.publish(car+"engine/ignite", "go", `property super-car engine_ignite "go"`)
	s.publish(car+"engine/ignite", "go", `property super-car engine_ignite "go"`) // not retained: an event each time
	s.publish("homie/5/$broadcast/alert", "Intruder detected")
}

func TestHomieStates(t *testing.T) {
	t.Parallel()
	s := homieReady(t)
	const state = "homie/5/super-car/$state"
	s.publish(state, "sleeping", `property super-car state "sleeping"`, `unchanged 1`)
	s.publish(state, "lost", `property super-car online false`, `property super-car state "lost"`)
	s.command("super-car", "engine_on", "c1", `true`, `state: homie: the device is offline`)
	s.publish(state, "ready", `property super-car online true`, `property super-car state "ready"`)
	s.publish(state, "disconnected", `property super-car online false`, `property super-car state "disconnected"`)
	s.replay(state, "ready", `property super-car online true`, `property super-car state "ready"`)
	// Removed: nothing is known of it any more.
	s.publish(state, "", `property super-car online false`)
	s.publish("homie/5/super-car/engine/temperature", "1", `state: homie: engine/temperature: the device did not tell its $description yet (it does when it starts: restart it, and retry the dead letter then)`)
	for key := range s.state {
		if !strings.HasPrefix(key, "a/") && !strings.HasPrefix(key, "f/homie/r/") {
			t.Errorf("%s is left of a device that was removed", key)
		}
	}
}

// TestHomieChildren plays the convention's example: a bridge, a relay behind it, two lights behind that.
func TestHomieChildren(t *testing.T) {
	t.Parallel()
	s := newHomieStage(t, "")
	introduce := func(id, more string) {
		s.publish("homie/5/"+id+"/$state", "ready", `property `+id+` online true`, `property `+id+` state "ready"`)
		s.publish("homie/5/"+id+"/$description", `{"homie":"5.0","version":1,"nodes":{"n":{"properties":{"p":{"datatype":"integer","settable":true}}}}`+more+`}`, `unchanged 2`)
	}
	introduce("bridge", `,"children":["dualrelay","stranger","bridge"]`)
	introduce("dualrelay", `,"children":["light1","light2"],"root":"bridge"`)
	introduce("light1", `,"root":"bridge","parent":"dualrelay"`)
	introduce("light2", `,"root":"bridge","parent":"dualrelay"`)
	introduce("stranger", ``)                 // which the bridge says is its child, and which does not say so
	introduce("claimant", `,"root":"bridge"`) // which says that it is, and the bridge does not
	s.publish("homie/5/light2/$state", "disconnected", `property light2 online false`, `property light2 state "disconnected"`)
	s.publish("homie/5/bridge/$state", "lost",
		`property bridge online false`, `property bridge state "lost"`, `property dualrelay online false`, `property dualrelay state "lost"`,
		`property light1 online false`, `property light1 state "lost"`, `property light2 state "lost"`, `unchanged 1`)
	s.command("light1", "n_p", "c1", `1`, `state: homie: the device is offline`)
	// What a child says meanwhile is heard when the root is back.
	s.publish("homie/5/light1/$state", "sleeping", `unchanged 2`)
	s.publish("homie/5/bridge/$state", "ready",
		`property bridge online true`, `property bridge state "ready"`, `property dualrelay online true`, `property dualrelay state "ready"`,
		`property light1 online true`, `property light1 state "sleeping"`, `property light2 state "disconnected"`, `unchanged 1`)
}

func TestHomieCommands(t *testing.T) {
	t.Parallel()
	s := homieReady(t)
	const car = "homie/5/super-car/"
	// The target closes the loop, if it is the command's; so does the value.
	s.command("super-car", "engine_max_speed", "c1", `{"value":100}`, `publish `+car+`engine/max-speed/set 100`)
	s.publish(car+"engine/max-speed/$target", "90", `property super-car engine_max_speed_target 90`)
	s.publish(car+"engine/max-speed/$target", "100", `property super-car engine_max_speed_target 100`, `response super-car engine_max_speed c1 Completed 100`)
	s.publish(car+"engine/max-speed", "20", `property super-car engine_max_speed 20`)
	s.command("super-car", "engine_max_speed", "c2", `"20"`, `publish `+car+`engine/max-speed/set 20`)
	s.publish(car+"engine/max-speed", "20", `property super-car engine_max_speed 20`, `response super-car engine_max_speed c2 Completed 20`)
	s.command("super-car", "engine_on", "c3", `false`, `publish `+car+`engine/on/set false`)
	s.command("super-car", "engine_direction", "c3", `"back ward"`, `publish `+car+`engine/direction/set back ward`)
	s.command("super-car", "engine_map", "c3", `{"value":{"a":1}}`, `publish `+car+`engine/map/set {"a":1}`)
	s.command("super-car", "engine_ignite", "c3", `"go"`, `publish `+car+`engine/ignite/set go`)
	s.command("super-car", "lights_label", "c3", `""`, `publish `+car+`lights/label/set 00`)
	s.command("super-car", "lights_color", "c3", `"rgb,1,2,3"`, `publish `+car+`lights/color/set rgb,1,2,3`)
	s.desired("super-car", "engine_on", `true`, `publish `+car+`engine/on/set true`)

	s.command("super-car", "engine_temperature", "c4", `1`, `bad_name: homie: the $description has no property engine_temperature that can be set`)
	s.command("super-car", "engine_max_speed", "c4", `21.5`, `undecodable: homie: engine/max-speed: "21.5" is no integer`)
	s.command("super-car", "engine_max_speed", "c4", ``, `undecodable: homie: engine/max-speed: there is no value`)
	s.command("super-car", "engine_direction", "c4", `"up"`, `undecodable: homie: engine/direction: "up" is none of forward, back ward`)
	s.command("super-car", "engine_direction", "c4", `1`, `undecodable: homie: engine/direction: 1 is no text`)
	s.command("super-car", "engine_map", "c4", `"x"`, `undecodable: homie: engine/map: "x" is no object and no array`)
	s.publish("homie/5/other/$state", "ready", `property other online true`, `property other state "ready"`)
	s.command("other", "engine_on", "c4", `true`, `state: homie: the device did not tell its $description yet`)
}

func TestHomieDescriptions(t *testing.T) {
	t.Parallel()
	s := newHomieStage(t, "")
	describe := func(device, nodes string, want ...string) {
		s.publish("homie/5/"+device+"/$description", `{"homie":"5.0","version":1,"nodes":{`+nodes+`}}`, want...)
	}
	// Two properties whose names would be the same keep their hyphens.
	describe("d", `"a-b":{"properties":{"c":{"datatype":"float"}}},"a":{"properties":{"b-c":{"datatype":"float"},"d":{"datatype":"float"}}}`)
	s.publish("homie/5/d/a-b/c", "1", `telemetry d {"a-b_c":1}`)
	s.publish("homie/5/d/a/b-c", "2", `telemetry d {"a_b-c":2}`)
	s.publish("homie/5/d/a/d", "3", `telemetry d {"a_d":3}`)
	// A new description takes the place of the old one.
	describe("d", `"a":{"properties":{"d":{"datatype":"string"}}}`)
	s.publish("homie/5/d/a/d", "3", `property d a_d "3"`)
	s.publish("homie/5/d/a-b/c", "1", `unsupported 1`)
	var many strings.Builder
	for i := range 513 {
		fmt.Fprintf(&many, `,"p%d":{"datatype":"float"}`, i)
	}
	describe("e", `"n":{"properties":{`+many.String()[1:]+`}}`, `too_large: homie: $description has 513 properties, at most 512 are mapped`)
	describe("f", `"n":{"properties":{"a":{"datatype":"enum"},"b":7,"c/d":{"datatype":"float"}}}`, `unsupported 3`)
}

func TestHomieDomains(t *testing.T) {
	t.Parallel()
	s := newHomieStage(t, "")
	s.publish("house/5/d/$state", "ready", `property d online true`, `property d state "ready"`)
	s.publish("yard/5/d/$state", "lost", `bad_device: homie: the device d is one of the domain house already (take the preset for one domain: {name: homie, prefix: house})`)
	s.publish("house/4/d/$state", "ready", `unmapped: nothing maps the topic house/4/d/$state`)
	s.publish("house/5/D E/$state", "ready", `bad_device: homie: device id "D E" holds ' ' (1 to 128 of A-Z a-z 0-9 - . _ : ending in a letter, a digit or -)`)
	s = newHomieStage(t, "yard")
	s.publish("yard/5/d/$state", "ready", `property d online true`, `property d state "ready"`)
	s.publish("house/5/d/$state", "ready", `unmapped: nothing maps the topic house/5/d/$state`)
	if _, err := preset.Homie(mapping.Preset{Prefix: "a/b"}); err == nil {
		t.Error("two levels were taken for a domain")
	}
}

func FuzzHomie(f *testing.F) {
	for _, seed := range [][2]string{
		{"homie/5/super-car/$description", superCar},
		{"homie/5/super-car/$state", "lost"},
		{"homie/5/super-car/$state", ""},
		{"homie/5/super-car/engine/temperature", "21.5"},
		{"homie/5/super-car/engine/max-speed/$target", "100"},
		{"homie/5/super-car/engine/map", `{"a":[1e400]}`},
		{"homie/5/super-car/$alert/a", "x"},
		{"x/5/y/$description", `{"homie":"5.","children":["y","super-car"],"root":"y"}`},
	} {
		f.Add(seed[0], seed[1])
	}
	family, err := preset.Homie(mapping.Preset{})
	fuzzFamily(f, family, err, func(state mapping.MemoryState, m *mapping.Mapper) {
		for _, pub := range [][2]string{{"$state", "ready"}, {"$description", superCar}} {
			if res, err := m.Map(&mapping.Publication{Topic: "homie/5/super-car/" + pub[0], Payload: []byte(pub[1])}, onStage, state); err == nil {
				state.Apply(res.Changes)
			}
		}
		if res, err := m.Command("super-car", "engine_max_speed", "c1", []byte(`100`), onStage, state); err == nil {
			state.Apply(res.Changes)
		}
	})
}
