package preset

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// tasmotaFamily maps devices that run Tasmota. A device is its %topic%. These FullTopics are understood:
//
//	%prefix%/%topic%/           the default
//	%topic%/%prefix%/
//	tasmota/%topic%/%prefix%/
//
// and with {name: tasmota, prefix: attic/east} instead of the last one attic/east/%prefix%/%topic%/, attic/east/%topic%/%prefix%/ and
// %prefix%/attic/east/%topic%/. The prefixes tele, stat and cmnd must be the default ones.
//
//	tele/x/SENSOR       telemetry, sensor and value joined: ENERGY_Power, DS18B20_1_Temperature (see tasmota_values.go)
//	tele/x/STATE        numbers are telemetry (Wifi_RSSI, UptimeSec); relays, lights and words are properties (POWER: true)
//	tele/x/LWT          the property online
//	tele/x/INFO1..3     the properties firmware, model, hostname, ip, restart_reason
//	stat/x/RESULT       relays, lights and settings are properties, buttons are telemetry; what was asked for is answered
//	stat/x/POWER        the same relay without JSON
//	stat/x/STATUS...    the sensors, the state, the firmware and the network that it tells of
//	tasmota/discovery/  the properties firmware, model, hostname, ip, mac
//
// Time without a zone is local time of a place that nobody names (the settings Timezone and TimeDst of the device), so it is not
// used: Tasmota publishes what it measures at once and keeps nothing, hence the time of receipt is the better one. A time with a
// zone (SetOption52 1), seconds since 1970 (Time 3) and the member Epoch (Time 2) are used.
//
// Every command of Tasmota is a command here: POWER1 with ON, OFF, TOGGLE, true or false; Dimmer with 40; Status with 8. Its result
// is what the device answers on RESULT, or with SetOption4 1 on a topic of the command's name. A desired property is sent in the same
// way: POWER, Dimmer, TelePeriod. What a device reports as properties is told when it changes, when the device comes back, and once
// a day.
type tasmotaFamily struct {
	name    string
	layouts []tasmotaLayout
}

// tasmotaLayout is a FullTopic without its last slash.
type tasmotaLayout struct{ full string }

// topic writes the layout with a prefix and a device, which may be a capture.
func (l tasmotaLayout) topic(prefix, device string) string {
	return strings.NewReplacer("%prefix%", prefix, "%topic%", device).Replace(l.full)
}

const (
	tasmotaTele = "tele"
	tasmotaStat = "stat"
	tasmotaCmnd = "cmnd"
	// tasmotaDiscovery is where devices introduce themselves, whatever their FullTopic (SetOption19 0).
	tasmotaDiscovery = "tasmota/discovery"
)

// Tasmota returns the family of devices that run Tasmota.
func Tasmota(p mapping.Preset) (mapping.Family, error) {
	name, prefix, err := instance("tasmota", p, "")
	if err != nil {
		return nil, err
	}
	f := &tasmotaFamily{name: name}
	full := []string{"%prefix%/%topic%", "%topic%/%prefix%", "tasmota/%topic%/%prefix%"}
	if prefix != "" {
		full = []string{prefix + "/%prefix%/%topic%", prefix + "/%topic%/%prefix%", "%prefix%/" + prefix + "/%topic%"}
	}
	for _, layout := range full {
		f.layouts = append(f.layouts, tasmotaLayout{layout})
	}
	return f, nil
}

func (f *tasmotaFamily) Name() string { return f.name }

// Patterns are two for each layout, and the one of discovery last.
func (f *tasmotaFamily) Patterns() []string {
	var out []string
	for _, l := range f.layouts {
		out = append(out, l.topic(tasmotaTele, "{device}")+"/{what}", l.topic(tasmotaStat, "{device}")+"/{what}")
	}
	return append(out, tasmotaDiscovery+"/{mac}/{what}")
}

// Scopes let a device publish below its own topic and read its own commands, and those for all Tasmota devices of the site. An
// introduction is published under the MAC address, which is no device of anybody's: the mapping looks at who it speaks of.
func (f *tasmotaFamily) Scopes() []mapping.Scope {
	var out []mapping.Scope
	for _, l := range f.layouts {
		out = append(
			out,
			mapping.Scope{Pattern: l.topic(tasmotaTele, "{device}") + "/+", Publish: true},
			mapping.Scope{Pattern: l.topic(tasmotaStat, "{device}") + "/+", Publish: true},
			mapping.Scope{Pattern: l.topic(tasmotaCmnd, "{device}") + "/#", Subscribe: true},
			mapping.Scope{Pattern: l.topic(tasmotaCmnd, "tasmotas") + "/#", Subscribe: true},
		)
	}
	return append(
		out,
		mapping.Scope{Pattern: tasmotaDiscovery + "/+/config", Publish: true},
		mapping.Scope{Pattern: tasmotaDiscovery + "/+/sensors", Publish: true},
	)
}

// tasmotaMessage is the work on one publication.
type tasmotaMessage struct {
	call   *mapping.Call
	res    mapping.Result
	device string
	what   string // the last level
	object map[string]any
	at     time.Time // zero: the time of receipt
	said   *reported
}

// Map takes one publication.
func (f *tasmotaFamily) Map(c *mapping.Call) (mapping.Result, error) {
	m := &tasmotaMessage{call: c, device: c.Capture("device"), what: c.Capture("what")}
	var err error
	if c.Pattern == 2*len(f.layouts) {
		err = m.discovery(f)
	} else {
		base := f.layouts[c.Pattern/2].topic(tasmotaCmnd, m.device)
		m.res.Addresses = []mapping.Address{{Device: m.device, Data: []byte(base)}}
		m.said = newReported(c.State, m.device, c.Now)
		err = m.take(c.Pattern%2 == 1)
	}
	if err == nil && m.said != nil {
		err = m.said.keep(&m.res)
	}
	if err != nil {
		return mapping.Result{}, err
	}
	return m.res, nil
}

// take finds out what the publication is.
func (m *tasmotaMessage) take(answer bool) error {
	text := bytes.TrimRight(bytes.TrimSpace(m.call.Pub.Payload), "\x00")
	if len(text) == 0 { // a retained message was taken back
		m.res.Tally.Empty++
		return nil
	}
	if !answer && m.what == "LWT" {
		return m.availability(string(text))
	}
	if text[0] != '{' {
		return m.word(string(text), answer)
	}
	tree, err := payload.ParseJSON(text)
	if err != nil {
		return m.fault("no JSON: " + err.Error())
	}
	m.object, _ = tree.(map[string]any) // begins with a brace
	m.at = tasmotaTime(m.object)
	switch {
	case answer:
		return m.answer(text)
	case m.what == "STATE":
		m.state(m.object)
	case m.what == "INFO1", m.what == "INFO2", m.what == "INFO3":
		m.info(m.object)
	default:
		return m.sensors(m.object)
	}
	return nil
}

func (m *tasmotaMessage) fault(message string) error {
	return &mapping.Error{Code: mapping.CodeUndecodable, Device: m.device, Name: m.what, Message: message}
}

func (m *tasmotaMessage) availability(word string) error {
	switch strings.ToLower(word) {
	case "online":
		m.said.online(&m.res, true)
	case "offline":
		m.said.online(&m.res, false)
	default:
		return m.fault("LWT is neither Online nor Offline")
	}
	return nil
}

// word takes a payload without JSON: stat/x/POWER1 with ON, tele/x/POWER_LOW with ON. Other words, such as those of a log, tell
// nothing that has a name.
func (m *tasmotaMessage) word(text string, answer bool) error {
	on, switched := tasmotaSwitch(text)
	switch {
	case answer && switched && tasmotaRelay(m.what):
		m.said.tell(&m.res, m.what, boolean(on), m.at)
	case !answer && (m.what == "STATE" || m.what == "SENSOR" || strings.HasPrefix(m.what, "INFO")):
		return m.fault("the payload is no JSON object")
	case !answer && switched:
		return m.telemetry(map[string]any{modelName(m.what): on})
	default:
		m.res.Tally.Unsupported++
	}
	return nil
}

func (m *tasmotaMessage) telemetry(values map[string]any) error {
	body, err := mapping.Encode(values)
	if err != nil {
		return m.fault(err.Error())
	}
	r := mapping.Record{Kind: mapping.KindTelemetry, Device: m.device, Value: body}
	if !m.at.IsZero() {
		r.Time, r.TimeFrom = m.at, mapping.Payload
	}
	m.res.Records = append(m.res.Records, r)
	return nil
}

// tasmotaTime reads the time of a message, if it tells one that does not depend on the place: see tasmotaFamily.
func tasmotaTime(object map[string]any) time.Time {
	for _, key := range []string{"Epoch", "Time"} {
		var text string
		switch v := object[key].(type) {
		case string:
			if text = v; !strings.HasSuffix(v, "Z") && (len(v) < 6 || v[len(v)-6] != '+' && v[len(v)-6] != '-') {
				continue
			}
		case int64, float64:
			n, err := mapping.Encode(v)
			if err != nil {
				continue
			}
			text = string(n)
		default:
			continue
		}
		if at, err := mapping.ParseTime(text); err == nil {
			return at
		}
	}
	return time.Time{}
}

// tasmotaSwitch reads ON and OFF.
func tasmotaSwitch(text string) (on, ok bool) {
	switch text {
	case "ON":
		return true, true
	case "OFF":
		return false, true
	}
	return false, false
}

// tasmotaRelay tells whether a name is that of a relay: POWER, POWER1 and so on.
func tasmotaRelay(name string) bool {
	number, ok := strings.CutPrefix(name, "POWER")
	return ok && strings.Trim(number, "0123456789") == ""
}

func boolean(v bool) json.RawMessage {
	if v {
		return json.RawMessage("true")
	}
	return json.RawMessage("false")
}
