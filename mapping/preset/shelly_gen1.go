package preset

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// shellyGen1Family maps the first generation of Shelly devices, which publish bare values below shellies/<id>. The device is the id,
// such as shellyplug-s-C18B12, or what its owner has put in its place. The preset's prefix stands in front of shellies, which no setting changes. Ids of later
// generations are left alone: such a device has its id for a prefix, unless its owner made it look like one of the first.
//
//	relay/0                 the property relay_0, a boolean; overpower is false, and the telemetry relay_0_overpower
//	relay/0/power           telemetry relay_0_power in watts; emeter, light and roller likewise
//	relay/0/energy          telemetry relay_0_energy in watt-hours: the device counts watt-minutes. emeter/0/total has watt-hours already
//	roller/0                the property roller_0: open, close or stop; roller/0/pos is telemetry
//	color/0, white/0        a property, and from .../status the properties color_0_red, color_0_brightness and so on
//	sensor/temperature      telemetry under its own name: temperature, humidity, battery, lux, motion ...
//	temperature, voltage    telemetry; temperature_f and the like say the same in Fahrenheit and are left out
//	ext_temperature/0       telemetry ext_temperature_0; ext_humidity, ext_switch, adc likewise
//	input/0, longpush/0     telemetry, a boolean
//	input_event/0           telemetry input_0_event and input_0_event_cnt; one that the device repeats is left out by its count
//	online                  the property online
//	announce                the properties model, mac, ip, firmware, update_available; also from shellies/announce
//	info                    network and memory of the device, and the thermostat of a TRV
//
// No message tells a time, so it is that of receipt. Devices repeat all of this every half minute: a property is told when it
// changes, when the device comes back, and once a day.
//
// Commands, each also as a desired property: relay_0, light_0, color_0 and white_0 take on, off, toggle or a boolean, the last three
// also an object with what .../set takes; roller_0 takes open, close, stop or a position. They are answered when the device reports
// what was asked for. The commands announce, update and update_fw go to shellies/<id>/command.
type shellyGen1Family struct {
	name   string
	prefix string
}

// ShellyGen1 returns the family of Shelly devices of the first generation.
func ShellyGen1(p mapping.Preset) (mapping.Family, error) {
	name, prefix, err := instance("shelly gen1", p, "")
	if err != nil {
		return nil, err
	}
	if prefix != "" {
		prefix += "/"
	}
	return &shellyGen1Family{name: name, prefix: prefix + "shellies"}, nil
}

// shellyAnnounce is the topic, the command and its answer.
const shellyAnnounce = "announce"

// The groups of topics below a device: plain ones have one value a topic, numbered ones a number behind, and metered ones further
// values behind that. They are named one by one, for devices of the second generation may have topics below shellies too.
var (
	shellyPlain = []string{
		"temperature", "temperature_f", "temperature_status", "overtemperature", "overpower", "voltage", "overload", "loaderror",
		"online", shellyAnnounce, "info",
	}
	shellyNumbered = []string{"input", "input_event", "longpush", "ext_temperature", "ext_temperature_f", "ext_humidity", "ext_switch", "adc", "sensor"}
	shellyMetered  = []string{"relay", "roller", "light", "color", "white", "emeter"}
)

func (f *shellyGen1Family) Name() string { return f.name }

func (f *shellyGen1Family) Patterns() []string {
	out := []string{f.prefix + "/" + shellyAnnounce}
	for _, word := range shellyPlain {
		out = append(out, f.prefix+"/{device}/"+word)
	}
	for _, word := range slices.Concat(shellyNumbered, shellyMetered) {
		out = append(out, f.prefix+"/{device}/"+word+"/{of}")
	}
	for _, word := range shellyMetered {
		out = append(out, f.prefix+"/{device}/"+word+"/{of}/{what}")
	}
	return out
}

// Scopes let a device use what is below its own id, introduce itself, and hear what is said to all.
func (f *shellyGen1Family) Scopes() []mapping.Scope {
	return []mapping.Scope{
		{Pattern: f.prefix + "/{device}/#", Publish: true, Subscribe: true},
		{Pattern: f.prefix + "/" + shellyAnnounce, Publish: true},
		{Pattern: f.prefix + "/command", Subscribe: true},
	}
}

// Start asks the devices to introduce themselves.
func (f *shellyGen1Family) Start(time.Time) []mapping.Message {
	return []mapping.Message{{Topic: f.prefix + "/command", Payload: []byte(shellyAnnounce)}}
}

// Stop says nothing: the devices see that the broker goes away.
func (f *shellyGen1Family) Stop(time.Time) []mapping.Message { return nil }

// shellyMessage is the work on one publication.
type shellyMessage struct {
	call   *mapping.Call
	res    mapping.Result
	device string
	topic  string // below the device
	text   string
	said   *reported
}

// Map takes one publication.
func (f *shellyGen1Family) Map(c *mapping.Call) (mapping.Result, error) {
	m := &shellyMessage{call: c, device: c.Capture("device"), text: strings.Trim(string(c.Pub.Payload), " \t\r\n\x00")}
	if m.text == "" { // a retained message was taken back
		m.res.Tally.Empty++
		return m.res, nil
	}
	var err error
	if shellyLater(m.device) {
		m.res.Tally.Unsupported++
		return m.res, nil
	}
	if c.Pattern == 0 {
		err = m.announce()
	} else {
		m.topic = strings.TrimPrefix(c.Pub.Topic, f.prefix+"/"+m.device+"/")
		m.said = newReported(c.State, m.device, c.Now)
		err = m.take(c.Capture("of"), c.Capture("what"))
	}
	if err == nil && m.said != nil {
		err = m.said.keep(&m.res)
	}
	if err != nil {
		return mapping.Result{}, err
	}
	return m.res, nil
}

// shellyLater tells whether an id is one of a later generation: shellyplus1pm-..., shellypro4pm-..., shelly1minig3-...
func shellyLater(id string) bool {
	model, _, _ := strings.Cut(strings.ToLower(id), "-")
	return strings.HasPrefix(model, "shellyplus") || strings.HasPrefix(model, "shellypro") || strings.HasPrefix(model, "shellyblu") ||
		strings.HasPrefix(model, "shelly") && (strings.HasSuffix(model, "g3") || strings.HasSuffix(model, "g4"))
}

// take finds out what the publication is.
func (m *shellyMessage) take(of, what string) error {
	group, _, _ := strings.Cut(m.topic, "/")
	switch {
	case what == "command", what == "set", of == "command": // what somebody says to the device
		return nil
	case strings.HasSuffix(group, "_f"):
		return nil
	case group == mapping.PropertyOnline:
		here, ok := shellyBoolean(m.text)
		if !ok {
			return m.fault("neither true nor false")
		}
		m.said.online(&m.res, here)
		return nil
	case group == shellyAnnounce:
		return m.announce()
	case group == "info":
		return m.info()
	case group == "input_event":
		return m.inputEvent(of)
	case what == "status":
		return m.light(modelName(group, of))
	case what == "" && slices.Contains(shellyMetered, group) && group != "emeter":
		return m.output(group, of)
	case group == "sensor":
		return m.telemetry(modelName(of))
	}
	return m.telemetry(modelName(group, of, what))
}

func (m *shellyMessage) fault(message string) error {
	return &mapping.Error{Code: mapping.CodeUndecodable, Device: m.device, Message: m.topic + ": " + message}
}

// shellyBoolean reads the words that devices have for yes and no.
func shellyBoolean(text string) (yes, ok bool) {
	switch text {
	case "true", "on", "1":
		return true, true
	case "false", "off", "0":
		return false, true
	}
	return false, false
}

// telemetry is one bare value.
func (m *shellyMessage) telemetry(name string) error {
	group, _, _ := strings.Cut(m.topic, "/")
	var value any = m.text
	number, isNumber := bareNumber(m.text)
	yes, isBoolean := shellyBoolean(m.text)
	switch {
	case isBoolean && (!isNumber || slices.Contains([]string{"input", "longpush", "ext_switch", "overtemperature", "overpower", "overload", "loaderror"}, group)):
		value = yes
	case isBoolean && group == "sensor" && slices.Contains([]string{"flood", "motion", "vibration", "smoke", "charger"}, name):
		value = yes
	case isNumber && strings.HasSuffix(m.topic, "energy"):
		var err error
		if value, err = shellyWattHours(number); err != nil {
			return m.fault(err.Error())
		}
	case isNumber:
		value = number
	case group != "sensor" && strings.Contains(m.topic, "/"), group == "temperature", group == "voltage":
		return m.fault("expected a number, found " + strconv.Quote(m.text[:min(len(m.text), 40)]))
	case m.text[0] == '[':
		list, err := payload.ParseJSON([]byte(m.text))
		if err != nil {
			return m.fault(err.Error())
		}
		value = shellyJoined(list)
	}
	return m.record(map[string]any{name: value})
}

func (m *shellyMessage) record(values map[string]any) error {
	body, err := mapping.Encode(values)
	if err != nil {
		return m.fault(err.Error())
	}
	m.res.Records = append(m.res.Records, mapping.Record{Kind: mapping.KindTelemetry, Device: m.device, Value: body})
	return nil
}

// shellyWattHours makes watt-hours of watt-minutes, to the thousandth.
func shellyWattHours(minutes json.RawMessage) (float64, error) {
	f, err := strconv.ParseFloat(string(minutes), 64)
	return math.Round(f/60*1000) / 1000, err
}

// shellyJoined writes a list of words as one: ["sensor","button"] is sensor,button.
func shellyJoined(v any) string {
	list, _ := v.([]any)
	words := make([]string, 0, len(list))
	for _, e := range list {
		if word, ok := e.(string); ok {
			words = append(words, word)
		}
	}
	return strings.Join(words, ",")
}

// output is a relay, a lamp or a roller.
func (m *shellyMessage) output(group, of string) error {
	name := modelName(group, of)
	if group == "roller" {
		if !slices.Contains([]string{"open", "close", "stop"}, m.text) {
			return m.fault("neither open nor close nor stop")
		}
		return m.switched(name, json.RawMessage(strconv.Quote(m.text)))
	}
	if strings.Trim(of, "0123456789") != "" {
		return m.telemetry(name) // relay/power of devices that have one meter for all relays
	}
	on, ok := shellyBoolean(m.text)
	if !ok && m.text != "overpower" {
		return m.fault("neither on nor off")
	}
	if !ok {
		if err := m.record(map[string]any{name + "_overpower": true}); err != nil {
			return err
		}
	}
	return m.switched(name, boolean(on))
}

// switched tells the state of an output, and answers the command that asked for it. A state that nobody asked for answers nothing:
// devices repeat theirs every half minute.
func (m *shellyMessage) switched(name string, value json.RawMessage) error {
	m.said.tell(&m.res, name, value, time.Time{})
	return answered(&m.res, m.call.State, m.device, m.call.Now, mapping.StatusCompleted, value, func(w pending) bool {
		return w.Name == name && (len(w.Want) == 0 || bytes.Equal(w.Want, value))
	})
}
