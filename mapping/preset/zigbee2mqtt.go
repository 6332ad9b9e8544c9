package preset

import (
	"encoding/json"
	"fmt"
	"strings"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// z2mFamily maps Zigbee2MQTT, one client for all devices of a Zigbee network.
//
// A device is the device of its IEEE address, 0x00158d00018255df, whatever its friendly name is, today and after it is
// renamed. The retained <base>/bridge/devices tells which name is whose; it comes when Zigbee2MQTT starts and each time a device
// joins, leaves or is renamed. A message under a name that it did not tell yet is a dead letter, to be mapped again once it
// did; groups and the topics below <base>/bridge are no devices.
//
// What the device's definition says can be set (state, brightness, color, setpoints, options) is a property, and a command or
// a desired property of the same name sets it; everything else is telemetry, members of objects joined by _. last_seen, where
// it is switched on, is the time. friendly_name, model, vendor, power_source and firmware are properties. A device is online
// while the bridge is, unless its availability (plain or JSON) says otherwise.
//
// Further commands of a device: set and get, with {"state": "ON"} and {"state": ""}; they are answered by the next message that
// carries what was set or asked for. The coordinator is a device too, it stands for the bridge: version, channel and permit_join
// are its properties, permit_join, restart, health_check and request {"path": "device/rename", "payload": {...}} its commands.
//
// The output mode must be json, which it is unless the owner changed it.
type z2mFamily struct {
	name string
	base string
}

// Zigbee2MQTT returns the family of a Zigbee2MQTT bridge; the prefix is its base topic.
func Zigbee2MQTT(p mapping.Preset) (mapping.Family, error) {
	name, base, err := instance("zigbee2mqtt", p, "zigbee2mqtt")
	if err != nil {
		return nil, err
	}
	return &z2mFamily{name: name, base: base}, nil
}

// The patterns, in their order.
const (
	z2mDirectory = iota
	z2mGroups
	z2mState
	z2mInfo
	z2mResponse
	z2mBridge
	z2mEntity
)

func (f *z2mFamily) Name() string { return f.name }

func (f *z2mFamily) Patterns() []string {
	bridge := f.base + "/bridge/"
	return []string{
		bridge + "devices", bridge + "groups", bridge + "state", bridge + "info", bridge + "response/{request...}", bridge + "#",
		f.base + "/{name...}",
	}
}

// Scopes open the topics of a device that bears its IEEE address for a name. Other names are no devices that the access list could
// know, so the bridge's user needs the topics <base>/# of its own, and its devices, 0x*, say for whom it may speak.
func (f *z2mFamily) Scopes() []mapping.Scope {
	device := f.base + "/{device}"
	return []mapping.Scope{
		{Pattern: device, Publish: true},
		{Pattern: device + "/availability", Publish: true},
		{Pattern: device + "/set", Subscribe: true},
		{Pattern: device + "/set/+", Subscribe: true},
		{Pattern: device + "/get", Subscribe: true},
	}
}

// The keys of the state: whose a name is, what is known of a device, all that bridge/devices and bridge/groups told, the last word
// of bridge/state, and a device whose availability says that it is away.
func z2mNameKey(name string) string     { return "n/" + name }
func z2mDeviceKey(device string) string { return "d/" + device }
func z2mAwayKey(device string) string   { return "o/" + device }

const (
	z2mIndexKey  = "names"
	z2mBridgeKey = "bridge"

	z2mGroup = "group" // instead of an address, in the place of a name's owner
)

// z2mDevice is what is known of a device.
type z2mDevice struct {
	Name        string   `json:"n"`
	Settable    []string `json:"s,omitempty"`
	Coordinator bool     `json:"c,omitempty"`
}

// z2mIndex is the directory of everything that has a name.
type z2mIndex struct {
	Devices []string `json:"d,omitempty"` // addresses
	Groups  []string `json:"g,omitempty"` // names
}

func z2mLoad(state mapping.State, key string, v any) bool {
	data, ok := state.Get(key)
	return ok && json.Unmarshal(data, v) == nil
}

// z2mAddress tells whether a text is an IEEE address, and writes it as Zigbee2MQTT does.
func z2mAddress(text string) (string, bool) {
	text = strings.ToLower(text)
	digits, ok := strings.CutPrefix(text, "0x")
	return text, ok && len(digits) > 0 && len(digits) <= 16 && strings.Trim(digits, "0123456789abcdef") == ""
}

// z2mMessage is the work on one message.
type z2mMessage struct {
	call *mapping.Call
	res  mapping.Result
}

// Map takes one message of the bridge.
func (f *z2mFamily) Map(c *mapping.Call) (mapping.Result, error) {
	m := z2mMessage{call: c}
	var err error
	switch c.Pattern {
	case z2mDirectory:
		err = m.directory()
	case z2mGroups:
		err = m.groups()
	case z2mState:
		err = m.bridgeState()
	case z2mInfo:
		err = m.info()
	case z2mResponse:
		err = m.response()
	case z2mEntity:
		err = m.entity(c.Capture("name"))
	}
	if err != nil {
		return mapping.Result{}, err
	}
	return m.res, nil
}

func (m *z2mMessage) set(key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("keep %s: %w", key, err)
	}
	m.put(key, data)
	return nil
}

// put changes a key unless it has that value already; nil deletes.
func (m *z2mMessage) put(key string, value []byte) {
	if old, ok := m.call.State.Get(key); ok == (value != nil) && string(old) == string(value) {
		return
	}
	m.res.Changes = append(m.res.Changes, mapping.Change{Key: key, Value: value})
}

// entity takes a message below the name of a device or group.
func (m *z2mMessage) entity(topic string) error {
	if len(m.call.Pub.Payload) == 0 {
		return nil // a retained message is taken back
	}
	if owner, ok := m.owner(topic); ok {
		return m.values(owner)
	}
	name, last := topic, ""
	if i := strings.LastIndexByte(topic, '/'); i >= 0 {
		name, last = topic[:i], topic[i+1:]
	}
	switch {
	case last == "availability":
		owner, ok := m.owner(name)
		if !ok {
			return z2mUnknown(name)
		}
		return m.availability(owner)
	case last == "set" || last == "get" || strings.Contains(topic, "/set/") || strings.Contains(topic, "/get/"):
		return nil // for the bridge, not from it
	}
	if owner, ok := m.owner(name); ok {
		if owner != z2mGroup {
			m.res.Tally.Unsupported++ // a single attribute: the output mode is not json
		}
		return nil
	}
	// With include_device_information the message says itself whose it is.
	var told struct {
		Device struct {
			Address string `json:"ieeeAddr"`
		} `json:"device"`
	}
	if json.Unmarshal(m.call.Pub.Payload, &told) == nil {
		if device, ok := z2mAddress(told.Device.Address); ok {
			return m.values(device)
		}
	}
	return z2mUnknown(topic)
}

func z2mUnknown(name string) error {
	return &mapping.Error{
		Code: mapping.CodeState, Message: fmt.Sprintf("whose name %.64q is was not told yet", name),
		Hint: "bridge/devices tells it when Zigbee2MQTT starts: restart it, and retry the dead letter then",
	}
}

// owner finds the device of a name. A name that is an address needs no directory.
func (m *z2mMessage) owner(name string) (device string, ok bool) {
	if data, ok := m.call.State.Get(z2mNameKey(name)); ok {
		return string(data), true
	}
	return z2mAddress(name)
}

// availability takes a device's availability, {"state": "online"} or the word alone.
func (m *z2mMessage) availability(device string) error {
	here, err := z2mOnline(m.call.Pub.Payload)
	if err != nil || device == z2mGroup {
		return err
	}
	away := []byte(nil)
	if !here {
		away = []byte{'1'}
	}
	m.put(z2mAwayKey(device), away)
	bridge, _ := m.call.State.Get(z2mBridgeKey)
	said := newReported(m.call.State, device, m.call.Now)
	said.online(&m.res, here && string(bridge) != "offline")
	return said.keep(&m.res)
}

// z2mOnline reads online and offline, as a word or as {"state": ...}.
func z2mOnline(text []byte) (bool, error) {
	word := strings.TrimSpace(string(text))
	var told struct {
		State string `json:"state"`
	}
	if json.Unmarshal(text, &told) == nil {
		word = told.State
	}
	switch word {
	case "online":
		return true, nil
	case "offline":
		return false, nil
	}
	return false, undecodable("%.40q is neither online nor offline", text)
}

// values takes the state of a device.
func (m *z2mMessage) values(device string) error {
	if device == z2mGroup {
		return nil // its members tell the same
	}
	tree, err := payload.ParseJSON(m.call.Pub.Payload)
	if err != nil {
		return undecodable("no state of a device: %v", err)
	}
	members, ok := tree.(map[string]any)
	if !ok {
		return undecodable("no state of a device: want an object")
	}
	var known z2mDevice
	z2mLoad(m.call.State, z2mDeviceKey(device), &known)
	r := z2mReading{known: &known, values: map[string]any{}, said: newReported(m.call.State, device, m.call.Now), call: m.call, res: &m.res}
	if err := r.read(members); err != nil {
		return err
	}
	return r.said.keep(&m.res)
}
