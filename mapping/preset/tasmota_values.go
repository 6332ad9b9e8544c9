package preset

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"iotc-gateway/mapping"
)

const (
	tasmotaElements = 64  // of one array
	tasmotaValues   = 512 // of one message
)

// tasmotaLight are the members of STATE and RESULT that describe a light and can be set: state, and no series of measurements.
func tasmotaLight(name string) bool {
	switch strings.TrimRight(name, "0123456789") {
	case "Dimmer", "Color", "HSBColor", "White", "CT", "Channel", "Scheme", "Fade", "Speed", "LedTable", "Width", "FanSpeed":
		return true
	}
	return false
}

// tasmotaFixed are words about a sensor that say what it is and not what it measured.
func tasmotaFixed(name string) bool {
	return name == "Id" || name == "TotalStartTime" || strings.HasSuffix(name, "Unit")
}

// tasmotaLeaf is one value of a message with its path.
type tasmotaLeaf struct {
	name string   // for the application, unique in the message
	path []string // as the device writes it
	v    any      // a number, a boolean or a string
}

// leaves takes an object apart, in the order of its keys. Members of objects are joined with an underscore, elements of arrays are
// counted from 1 as Tasmota counts relays and phases: ENERGY_Power_2. A member that is null was not measured.
//
// A sensor that is there more than once has a number behind a hyphen, DS18B20-1, which no template could name: it becomes
// DS18B20_1. Where two names become the same, the second one gets a number.
func (m *tasmotaMessage) leaves(object map[string]any) []tasmotaLeaf {
	var out []tasmotaLeaf
	taken := map[string]bool{}
	var walk func(path []string, v any)
	add := func(path []string, v any) {
		name := modelName(path...)
		if len(name) > mapping.MaxNameBytes-4 || len(out) >= tasmotaValues {
			m.res.Tally.Unsupported++
			return
		}
		for n := 2; taken[name]; n++ {
			name = modelName(append(slices.Clone(path), strconv.Itoa(n))...)
		}
		taken[name] = true
		out = append(out, tasmotaLeaf{name, slices.Clone(path), v})
	}
	walk = func(path []string, v any) {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if len(path) == 0 && (key == "Time" || key == "Epoch") {
					continue
				}
				walk(append(path, key), v[key])
			}
		case []any:
			if len(v) > tasmotaElements {
				m.res.Tally.Unsupported++
				v = v[:tasmotaElements]
			}
			for i, e := range v {
				walk(append(path, strconv.Itoa(i+1)), e)
			}
		default:
			add(path, v)
		}
	}
	walk(nil, object)
	return out
}

func (l tasmotaLeaf) key() string { return l.path[len(l.path)-1] }

// property tells a value as a property, ON and OFF as a boolean.
func (m *tasmotaMessage) property(name string, v any) {
	if word, ok := v.(string); ok {
		if on, switched := tasmotaSwitch(word); switched {
			v = on
		}
	}
	text, err := mapping.Encode(v)
	if err != nil {
		m.res.Tally.Unsupported++
		return
	}
	m.said.tell(&m.res, name, text, m.at)
}

// sensors is SENSOR and whatever else has JSON below tele: measurements, and events such as a received infrared code.
func (m *tasmotaMessage) sensors(object map[string]any) error {
	values := map[string]any{}
	leaves := m.leaves(object)
	for _, l := range leaves {
		if word, ok := l.v.(string); ok {
			if tasmotaFixed(l.key()) {
				m.property(l.name, word)
				continue
			}
			if on, switched := tasmotaSwitch(word); switched {
				l.v = on
			}
		}
		values[l.name] = l.v
	}
	if len(values) == 0 {
		if len(leaves) == 0 {
			m.res.Tally.Empty++
		}
		return nil
	}
	return m.telemetry(values)
}

// state is STATE: how the device is and what it is switched to.
func (m *tasmotaMessage) state(object map[string]any) {
	values := map[string]any{}
	for _, l := range m.leaves(object) {
		_, word := l.v.(string)
		switch {
		case l.name == "Uptime": // the same in words: 0T18:36:12
			if _, ok := object["UptimeSec"]; !ok && word {
				if seconds, ok := tasmotaUptime(l.v); ok {
					values["UptimeSec"] = seconds
				}
			}
		case word, tasmotaRelay(l.name), tasmotaLight(l.path[0]):
			m.property(l.name, l.v)
		default:
			values[l.name] = l.v
		}
	}
	if len(values) == 0 {
		return
	}
	if err := m.telemetry(values); err != nil {
		m.res.Tally.Unsupported++
	}
}

// tasmotaUptime reads days, hours, minutes and seconds: 0T18:36:12.
func tasmotaUptime(v any) (int64, bool) {
	text, _ := v.(string)
	days, clock, ok := strings.Cut(text, "T")
	parts := strings.Split(clock, ":")
	if !ok || len(parts) != 3 {
		return 0, false
	}
	var total int64
	for i, part := range append([]string{days}, parts...) {
		n, err := strconv.ParseUint(part, 10, 20)
		if err != nil {
			return 0, false
		}
		total += int64(n) * []int64{86400, 3600, 60, 1}[i]
	}
	return total, true
}

// tasmotaAbout names what a device tells of itself, by the keys of INFO1 to INFO3 and of Status 2 and Status 5.
var tasmotaAbout = [][2]string{
	{"Version", "firmware"},
	{"Module", "model"},
	{"Hostname", "hostname"},
	{"IPAddress", "ip"},
	{"Mac", "mac"},
	{"RestartReason", "restart_reason"},
}

// info is INFO1 to INFO3, with or without {"Info1": ...} around.
func (m *tasmotaMessage) info(object map[string]any) {
	if len(object) == 1 {
		for _, inner := range object {
			if o, ok := inner.(map[string]any); ok {
				object = o
			}
		}
	}
	for _, about := range tasmotaAbout {
		if word, ok := object[about[0]].(string); ok && word != "" {
			m.property(about[1], word)
		}
	}
}

// discovery is what a device publishes about itself for others to find it. Only a device of one of this instance's layouts is
// taken; its sender must be allowed to write as it.
func (m *tasmotaMessage) discovery(f *tasmotaFamily) error {
	text := m.call.Pub.Payload
	if m.what != "config" || len(strings.TrimSpace(string(text))) == 0 {
		return nil // the other one repeats SENSOR
	}
	var d struct {
		Topic    string   `json:"t"`
		Full     string   `json:"ft"`
		Prefixes []string `json:"tp"`
		IP       string   `json:"ip"`
		Host     string   `json:"hn"`
		MAC      string   `json:"mac"`
		Model    string   `json:"md"`
		Firmware string   `json:"sw"`
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return m.fault("no introduction of a Tasmota device")
	}
	m.device = d.Topic
	at := slices.Index(f.layouts, tasmotaLayout{strings.TrimSuffix(d.Full, "/")})
	if at < 0 || !slices.Equal(d.Prefixes, []string{tasmotaCmnd, tasmotaStat, tasmotaTele}) {
		m.res.Tally.Unsupported++
		return nil
	}
	m.res.Addresses = []mapping.Address{{Device: m.device, Data: []byte(f.layouts[at].topic(tasmotaCmnd, m.device))}}
	m.said = newReported(m.call.State, m.device, m.call.Now)
	for _, about := range [][2]string{{"firmware", d.Firmware}, {"hostname", d.Host}, {"ip", d.IP}, {"mac", d.MAC}, {"model", d.Model}} {
		if about[1] != "" {
			m.property(about[0], about[1])
		}
	}
	return nil
}
