package preset

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// shelly2Depth is how deep a component's members are looked for; real ones have three levels.
const shelly2Depth = 8

// shelly2Name makes the beginning of a value's name of a component: switch:0 is switch0, em1:0 is em1_0.
func shelly2Name(component string) string {
	kind, id, numbered := strings.Cut(component, ":")
	if !numbered {
		return valueName(kind)
	}
	if n := len(kind); n > 0 && kind[n-1] >= '0' && kind[n-1] <= '9' {
		kind += "_"
	}
	return valueName(kind + id)
}

// status takes the components of a status, whole or in part.
func (m *shelly2Message) status(components map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(components)) {
		if key == "ts" {
			continue
		}
		if members, ok := components[key].(map[string]any); ok {
			m.component(key, members)
		} else if components[key] != nil { // null: the component was removed
			m.res.Tally.Unsupported++
		}
	}
}

// component takes the members of one component.
func (m *shelly2Message) component(key string, members map[string]any) {
	switch key {
	case "sys":
		m.system(members)
		return
	case "wifi":
		m.texts(members, "sta_ip", "ip", "ssid", "ssid")
		if rssi := members["rssi"]; rssi != nil {
			m.telemetry["rssi"] = rssi
		}
		return
	case "eth":
		m.texts(members, "ip", "ip")
		return
	case "cloud":
		if connected, ok := members["connected"].(bool); ok {
			m.property("cloud_connected", connected)
		}
		return
	case "mqtt", "ble", "ws", "knx", "matter", "modbus", "bthome", "ht_ui", "plugs_ui", "wd_ui":
		return // other ways into the device, and its display
	}
	kind, _, _ := strings.Cut(key, ":")
	for _, member := range slices.Sorted(maps.Keys(members)) {
		v, name := members[member], valueName(shelly2Name(key)+"_"+member)
		_, settable := shelly2Setter(kind, member)
		switch {
		case member == "id" || v == nil: // null: the member is gone, or not known yet
		case settable:
			m.property(name, v)
		default:
			m.flatten(name, v, 0)
		}
	}
}

// flatten gathers telemetry. The energy of single minutes is left out: the total has it.
func (m *shelly2Message) flatten(name string, v any, depth int) {
	if depth > shelly2Depth {
		m.res.Tally.Unsupported++
		return
	}
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if key != "by_minute" && key != "minute_ts" {
				m.flatten(name+"_"+key, v[key], depth+1)
			}
		}
	case []any:
		words := make([]string, 0, len(v))
		for _, item := range v {
			word, ok := item.(string)
			if !ok {
				m.telemetry[valueName(name)] = v
				return
			}
			words = append(words, word)
		}
		m.telemetry[valueName(name)] = strings.Join(words, ",") // errors and flags, mostly
	default:
		m.telemetry[valueName(name)] = v
	}
}

// texts makes properties of members that are text: pairs of member and name.
func (m *shelly2Message) texts(members map[string]any, pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if text, ok := members[pairs[i]].(string); ok {
			m.property(pairs[i+1], text)
		}
	}
}

// system takes what the device says of its own state.
func (m *shelly2Message) system(sys map[string]any) {
	m.texts(sys, "mac", "mac")
	if restart, ok := sys["restart_required"].(bool); ok {
		m.property("restart_required", restart)
	}
	if updates, ok := sys["available_updates"].(map[string]any); ok {
		version := ""
		if stable, ok := updates["stable"].(map[string]any); ok {
			version, _ = stable["version"].(string)
		}
		m.property("firmware_available", version)
	}
	for _, key := range []string{"uptime", "ram_free"} {
		if v := sys[key]; v != nil {
			m.telemetry[key] = v
		}
	}
	if reason, ok := sys["wakeup_reason"].(map[string]any); ok {
		m.flatten("wakeup", reason, 0)
	}
}

// shelly2Set is how a member of a component is set.
type shelly2Set struct {
	class string // namespace of the method
	param string
}

// shelly2Setter tells how a member is set; ok is false for one that is only measured.
func shelly2Setter(kind, member string) (set shelly2Set, ok bool) {
	class, ok := map[string]string{
		"switch": "Switch", "light": "Light", "rgb": "RGB", "rgbw": "RGBW", "cct": "CCT", "cover": "Cover",
		"boolean": "Boolean", "number": "Number", "text": "Text", "enum": "Enum",
	}[kind]
	if !ok {
		return shelly2Set{}, false
	}
	members := map[string]string{}
	switch class {
	case "Switch":
		members["output"] = "on"
	case "Light", "RGB", "RGBW", "CCT":
		members["output"], members["brightness"] = "on", "brightness"
		switch class {
		case "RGB":
			members["rgb"] = "rgb"
		case "RGBW":
			members["rgb"], members["white"] = "rgb", "white"
		case "CCT":
			members["ct"] = "ct"
		}
	case "Cover":
		members["current_pos"], members["state"] = "pos", "state"
	default:
		members["value"] = "value"
	}
	param, ok := members[member]
	return shelly2Set{class, param}, ok
}

// shelly2Member takes the name of a settable value apart: switch0_output is switch, 0 and output.
func shelly2Member(name string) (kind string, id int, member string, ok bool) {
	component, member, ok := strings.Cut(name, "_")
	digits := len(component)
	for digits > 0 && component[digits-1] >= '0' && component[digits-1] <= '9' {
		digits--
	}
	id, err := strconv.Atoi(component[digits:])
	return component[:digits], id, member, ok && err == nil
}
