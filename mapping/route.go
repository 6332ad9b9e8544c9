package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"iotc-gateway/mapping/payload"
)

// Route is one line of the user's mapping: which topics, and what becomes of them. Expressions see payload, the captures of
// match, topic, client, user, qos, retain, properties (MQTT 5 user properties) and received (seconds since 1970); numbers in
// them are doubles. A member of the payload that is missing gives no value, not an error.
type Route struct {
	Name       string            `yaml:"name" doc:"Name in logs and errors; routes[n] if empty."`
	Match      string            `yaml:"match" doc:"Topic pattern: words, {name} for one level, {name...} for several at the front or the end, + and #."`
	When       string            `yaml:"when" doc:"Expression; the route is passed over unless it is true."`
	Payload    string            `yaml:"payload" doc:"Format of the payload: json, number, string, boolean, cbor, senml, influx, csv, binary ...; empty: JSON, else text."`
	Decode     payload.Options   `yaml:"decode" doc:"Options of the payload's format."`
	Device     string            `yaml:"device" doc:"Expression for the device id; empty: the capture {device}."`
	Time       string            `yaml:"time" doc:"Expression for the time (RFC 3339, or seconds or milliseconds since 1970); empty: the payload's timestamp, else receipt."`
	Telemetry  Outputs           `yaml:"telemetry" doc:"all, a list of keys of the payload, or a map of names to expressions."`
	Properties Outputs           `yaml:"properties" doc:"Reported properties: all, a list of keys of the payload, or a map of names to expressions."`
	Except     []string          `yaml:"except" doc:"Keys that all leaves out."`
	Rename     map[string]string `yaml:"rename" doc:"New names for keys of the payload that are passed on."`
	Flatten    string            `yaml:"flatten" doc:"Pass nested objects on as single values, their keys joined by this text, such as _."`
	Units      map[string]string `yaml:"units" doc:"Conversions by name, such as temperature: F -> C."`
	Command    *RouteCommand     `yaml:"command" doc:"A command that the application is asked to run."`
	Report     Report            `yaml:"report" doc:"Send less: report on change, for every telemetry value of the route."`
	Reports    map[string]Report `yaml:"reports" doc:"Report on change by name of a telemetry value, instead of report."`
	Drop       bool              `yaml:"drop" doc:"Nothing becomes of it; it is counted."`
	Continue   bool              `yaml:"continue" doc:"Look for further routes after this one."`
	Source     RouteSource       `yaml:"-"`
}

// RouteSource is where a route stands, for errors.
type RouteSource struct {
	File string
	Line int
}

// RouteCommand makes a command of a publication. As with the native trigger, the publisher needs the operator's role.
type RouteCommand struct {
	Name string `yaml:"name" doc:"The command's name; {captures} are filled in."`
	Args string `yaml:"args" doc:"Expression for the arguments, an object; empty: none."`
}

// Report thins out telemetry. The zero value sends everything.
type Report struct {
	OnChange        bool          `yaml:"on_change" doc:"Send a value only if it differs from the one sent last."`
	DeadBand        float64       `yaml:"dead_band" doc:"A number differs if it is farther away than this."`
	DeadBandPercent float64       `yaml:"dead_band_percent" doc:"A number differs if it is farther away than this share of the one sent last."`
	Heartbeat       time.Duration `yaml:"heartbeat" doc:"Send an unchanged value nevertheless after this time."`
	MinInterval     time.Duration `yaml:"min_interval" doc:"Send no value sooner after the last than this."`
}

// active tells whether there is anything to do.
func (r Report) active() bool {
	return r.OnChange || r.DeadBand > 0 || r.DeadBandPercent > 0 || r.MinInterval > 0
}

func (r Report) validate(path string, report func(path, message string)) {
	if !(r.DeadBand >= 0 && r.DeadBand < 1e300) {
		report(path+".dead_band", "must not be negative")
	}
	if !(r.DeadBandPercent >= 0 && r.DeadBandPercent <= 1000) {
		report(path+".dead_band_percent", "must lie between 0 and 1000")
	}
	const year = 366 * 24 * time.Hour
	if r.Heartbeat < 0 || r.Heartbeat > year {
		report(path+".heartbeat", "must lie between 0 and a year")
	}
	if r.MinInterval < 0 || r.MinInterval > year {
		report(path+".min_interval", "must lie between 0 and a year")
	}
	if r.Heartbeat > 0 && r.Heartbeat < r.MinInterval {
		report(path+".heartbeat", "is shorter than min_interval, which would always win")
	}
}

// Outputs says which values a route makes. Written as the word all, as a list of the payload's keys, or as a map of names to
// expressions.
type Outputs struct {
	All    bool
	Keys   []string
	Values map[string]string
}

// empty tells whether nothing was said.
func (o Outputs) empty() bool { return !o.All && len(o.Keys) == 0 && len(o.Values) == 0 }

// UnmarshalJSON reads one of the three forms.
func (o *Outputs) UnmarshalJSON(text []byte) error {
	*o = Outputs{}
	text = bytes.TrimSpace(text)
	switch {
	case string(text) == "null":
		return nil
	case string(text) == `"all"`:
		o.All = true
		return nil
	case len(text) > 0 && text[0] == '[':
		if err := json.Unmarshal(text, &o.Keys); err != nil {
			return fmt.Errorf("want a list of keys of the payload: %w", err)
		}
		return nil
	case len(text) > 0 && text[0] == '{':
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(text, &raw); err != nil {
			return fmt.Errorf("want a map of names to expressions: %w", err)
		}
		o.Values = make(map[string]string, len(raw))
		for _, name := range slices.Sorted(maps.Keys(raw)) {
			var source string
			if json.Unmarshal(raw[name], &source) != nil {
				if c := raw[name][0]; c == '{' || c == '[' {
					return fmt.Errorf("%s: want an expression", name)
				}
				source = string(raw[name]) // a number, true or false is an expression as it stands
			}
			o.Values[name] = source
		}
		return nil
	default:
		return fmt.Errorf("want all, a list of keys, or a map of names to expressions")
	}
}

// MarshalJSON writes the form it was read from.
func (o Outputs) MarshalJSON() ([]byte, error) {
	switch {
	case o.All:
		return []byte(`"all"`), nil
	case len(o.Keys) > 0:
		return json.Marshal(o.Keys)
	case len(o.Values) > 0:
		return json.Marshal(o.Values)
	default:
		return []byte("null"), nil
	}
}

// Preset names a device family. Written as a word, or as {name, prefix} for devices under another prefix than the usual one.
type Preset struct {
	Name   string `yaml:"name" doc:"The family: chirpstack, esphome, homeassistant, shelly, sparkplug or tasmota."`
	Prefix string `yaml:"prefix" doc:"The prefix of its topics, where it is not the family's usual one."`
}

// UnmarshalText reads a preset that is written as a word.
func (p *Preset) UnmarshalText(text []byte) error {
	*p = Preset{Name: string(text)}
	return nil
}
