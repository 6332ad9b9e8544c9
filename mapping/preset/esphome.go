package preset

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// espHomeFamily maps devices that run ESPHome with its mqtt component. A device is its topic_prefix, which is the node's name unless
// its configuration names another one. With {name: esphome, prefix: home} it is the level below home.
//
//	x/sensor/<name>/state           telemetry, a number; what a text sensor publishes there is a property
//	x/binary_sensor/<name>/state    telemetry, a boolean
//	x/event/<name>/state            telemetry, the type of the event
//	x/switch/<name>/state           a property, a boolean; fan likewise
//	x/light/<name>/state            the property <name>, a boolean, and <name>_brightness, <name>_color_r and so on
//	x/number|select|text|lock|cover|valve|climate|.../<name>/state              a property
//	x/climate/<name>/current_temperature/state                                   telemetry <name>_current_temperature
//	x/cover/<name>/position/state, x/fan/<name>/speed_level/state and the like    a property <name>_position
//	x/status                        the property online
//	esphome/discover/x              the properties firmware, model, ip, mac, friendly_name, project
//	x/debug                         the log, which is left alone
//
// Where entities of two components share a name, the second one has its component in front: binary_sensor_door. A sensor that has
// published text once is a text sensor from then on, whatever its text looks like. No message tells a time.
//
// What can be set takes a command and a desired property of its name: a boolean, ON, OFF, TOGGLE, a number, a word, for a light also
// an object. A command is answered by the entity's next state that is what was asked for, or at once when it was so already:
// ESPHome says nothing then. A button has no state; its command is button_<name>.
type espHomeFamily struct {
	name   string
	prefix string // with its slash
}

// The components whose topics are understood.
const (
	espSensor  = "sensor"
	espText    = "text_sensor" // publishes as sensor
	espBinary  = "binary_sensor"
	espEvent   = "event"
	espSwitch  = "switch"
	espFan     = "fan"
	espLight   = "light"
	espLock    = "lock"
	espCover   = "cover"
	espValve   = "valve"
	espClimate = "climate"
	espButton  = "button"
)

// espComponents are the components with a state, in the order of the patterns.
var espComponents = []string{
	espSensor, espBinary, espEvent, espSwitch, espFan, espLight, espLock, espCover, espValve, espClimate,
	"number", "select", "text", "date", "time", "datetime", "update", "alarm_control_panel", "water_heater", "media_player",
}

// espFirst is the first pattern of a component; each has two, without and with a part.
const espFirst = 3

const (
	espDiscover = "esphome/discover"
	// espEntities bounds what is remembered of one device: no ESP has room for as many.
	espEntities = 256
)

// ESPHome returns the family of devices that run ESPHome.
func ESPHome(p mapping.Preset) (mapping.Family, error) {
	name, prefix, err := instance("esphome", p, "")
	if err != nil {
		return nil, err
	}
	if prefix != "" {
		prefix += "/"
	}
	return &espHomeFamily{name: name, prefix: prefix}, nil
}

func (f *espHomeFamily) Name() string { return f.name }

func (f *espHomeFamily) Patterns() []string {
	out := []string{f.prefix + "{device}/status", f.prefix + "{device}/debug", espDiscover + "/{device}"}
	for _, c := range espComponents {
		out = append(out, f.prefix+"{device}/"+c+"/{entity}/state", f.prefix+"{device}/"+c+"/{entity}/{part}/state")
	}
	return out
}

// Scopes let a device publish its states and introduce itself, here and to Home Assistant, which it does unless it was told not
// to; without the right it would be disconnected again and again.
func (f *espHomeFamily) Scopes() []mapping.Scope {
	device := f.prefix + "{device}"
	return []mapping.Scope{
		{Pattern: device + "/status", Publish: true},
		{Pattern: device + "/debug", Publish: true},
		{Pattern: device + "/+/+/state", Publish: true},
		{Pattern: device + "/+/+/+/state", Publish: true},
		{Pattern: device + "/+/+/command", Subscribe: true},
		{Pattern: device + "/+/+/+/command", Subscribe: true},
		{Pattern: espDiscover + "/{device}", Publish: true},
		{Pattern: espDiscover, Subscribe: true},
		{Pattern: "esphome/ping/{device}", Subscribe: true},
		{Pattern: "homeassistant/+/{device}/+/config", Publish: true},
	}
}

// Start asks the devices to introduce themselves.
func (f *espHomeFamily) Start(time.Time) []mapping.Message {
	return []mapping.Message{{Topic: espDiscover}}
}

// Stop says nothing: the devices see that the broker goes away.
func (f *espHomeFamily) Stop(time.Time) []mapping.Message { return nil }

// espMessage is the work on one publication.
type espMessage struct {
	call      *mapping.Call
	res       mapping.Result
	device    string
	component string
	text      string
	said      *reported
}

// Map takes one publication.
func (f *espHomeFamily) Map(c *mapping.Call) (mapping.Result, error) {
	m := &espMessage{call: c, device: c.Capture("device"), text: strings.Trim(string(c.Pub.Payload), " \t\r\n\x00")}
	if c.Pattern == 1 || m.device == "homeassistant" { // which says on homeassistant/status that it is there
		return mapping.Result{}, nil
	}
	if m.text == "" { // a retained message was taken back
		m.res.Tally.Empty++
		return m.res, nil
	}
	m.said = newReported(c.State, m.device, c.Now)
	var err error
	switch c.Pattern {
	case 0:
		err = m.availability()
	case 2:
		err = m.discovery()
	default:
		m.component = espComponents[(c.Pattern-espFirst)/2]
		err = m.state(c.Capture("entity"), c.Capture("part"))
	}
	if err == nil {
		err = m.said.keep(&m.res)
	}
	if err != nil {
		return mapping.Result{}, err
	}
	return m.res, nil
}

func (m *espMessage) fault(message string) error {
	return &mapping.Error{Code: mapping.CodeUndecodable, Device: m.device, Message: message}
}

// availability leaves a status with other words to whoever has such a topic: it is a usual name.
func (m *espMessage) availability() error {
	switch m.text {
	case "online", "offline":
		m.said.online(&m.res, m.text == "online")
		return nil
	}
	return &mapping.Error{
		Code: mapping.CodeUnmapped, Device: m.device, Message: "the status is neither online nor offline, so it is not ESPHome's",
		Hint: "a device that is not ESPHome's needs a route",
	}
}

// discovery is how a device introduces itself.
func (m *espMessage) discovery() error {
	tree, err := payload.ParseJSON([]byte(m.text))
	object, ok := tree.(map[string]any)
	if err != nil || !ok {
		return m.fault("no introduction of an ESPHome device")
	}
	for _, about := range [][2]string{
		{"board", "model"},
		{"friendly_name", "friendly_name"},
		{"ip", "ip"},
		{"mac", "mac"},
		{"project_name", "project"},
		{"project_version", "project_version"},
		{"version", "firmware"},
	} {
		if word, ok := object[about[0]].(string); ok && word != "" {
			m.property(about[1], word)
		}
	}
	return nil
}

// property tells a property, and answers the command that asked for it.
func (m *espMessage) property(name string, v any) {
	text, err := mapping.Encode(v)
	if err != nil {
		m.res.Tally.Unsupported++
		return
	}
	m.said.tell(&m.res, name, text, time.Time{})
}

func (m *espMessage) telemetry(name string, v any) error {
	body, err := mapping.Encode(map[string]any{name: v})
	if err != nil {
		return m.fault(err.Error())
	}
	m.res.Records = append(m.res.Records, mapping.Record{Kind: mapping.KindTelemetry, Device: m.device, Value: body})
	return nil
}

// state is the state of an entity, or of a part of one.
func (m *espMessage) state(entity, part string) error {
	if slices.Contains([]string{"nan", "NaN", "None", "unknown", "unavailable"}, m.text) { // a sensor without a reading
		m.res.Tally.Empty++
		return nil
	}
	number, isNumber := bareNumber(m.text)
	path := m.component + "/" + entity
	if part != "" {
		path += "/" + part
	}
	known := espEntitiesOf(m.call.State, m.device)
	textual := m.component == espSensor && part == "" && (!isNumber || known.has(espText+"/"+entity))
	if textual {
		path = espText + "/" + entity
	}
	name, changed := known.name(path)
	if changed {
		if err := known.keep(&m.res, m.device); err != nil {
			return err
		}
	}
	switch {
	case textual:
		m.property(name, m.text)
		return nil
	case m.component == espSensor && part == "", strings.HasPrefix(part, "current_") && isNumber:
		return m.telemetry(name, number)
	case part != "":
		return m.part(name, part, number)
	case m.component == espBinary:
		on, err := m.onOff()
		if err != nil {
			return err
		}
		return m.telemetry(name, on)
	case m.component == espSwitch, m.component == espFan:
		on, err := m.onOff()
		if err != nil {
			return err
		}
		m.property(name, on)
		return m.answered(name, boolean(on))
	case m.text[0] == '{':
		return m.object(name)
	case m.component == espLight, m.component == espEvent:
		return m.fault(m.component + " " + entity + ": no JSON object")
	case isNumber && m.component == "number":
		return m.set(name, number)
	}
	return m.set(name, m.text)
}

// onOff reads ON and OFF.
func (m *espMessage) onOff() (bool, error) {
	switch m.text {
	case "ON":
		return true, nil
	case "OFF":
		return false, nil
	}
	return false, m.fault(m.component + ": " + m.text[:min(len(m.text), 40)] + " is neither ON nor OFF")
}

// part is a number or a word about an entity: position, speed_level, mode.
func (m *espMessage) part(name, part string, number json.RawMessage) error {
	switch {
	case number != nil:
		return m.set(name, number)
	case part == "oscillation" || part == "away":
		return m.set(name, m.text == "oscillate_on" || m.text == "ON")
	}
	return m.set(name, m.text)
}

// set tells what an entity is set to.
func (m *espMessage) set(name string, v any) error {
	text, err := mapping.Encode(v)
	if err != nil {
		return m.fault(err.Error())
	}
	m.said.tell(&m.res, name, text, time.Time{})
	return m.answered(name, text)
}

func (m *espMessage) answered(name string, value json.RawMessage) error {
	return answered(&m.res, m.call.State, m.device, m.call.Now, mapping.StatusCompleted, value, func(w pending) bool {
		return w.Name == name && (len(w.Want) == 0 || string(w.Want) == string(value))
	})
}
