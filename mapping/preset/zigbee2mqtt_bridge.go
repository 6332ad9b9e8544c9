package preset

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"iotc-gateway/mapping"
)

const (
	// z2mMost bounds the devices and the groups of one bridge; a Zigbee network has a few hundred.
	z2mMost = 1000
	// z2mSettable bounds what can be set of one device.
	z2mSettable = 128
)

// z2mEntry is what is read of a device in bridge/devices.
type z2mEntry struct {
	Address    string `json:"ieee_address"`
	Type       string `json:"type"`
	Name       string `json:"friendly_name"`
	Firmware   string `json:"software_build_id"`
	Power      string `json:"power_source"`
	ModelID    string `json:"model_id"`
	Definition *struct {
		Model   string      `json:"model"`
		Vendor  string      `json:"vendor"`
		Exposes []z2mExpose `json:"exposes"`
	} `json:"definition"`
}

// z2mExpose is one capability, or several of them.
type z2mExpose struct {
	Property string      `json:"property"`
	Access   int         `json:"access"`
	Features []z2mExpose `json:"features"`
}

// z2mMaySet is the bit of access that says so.
const z2mMaySet = 2

// settable gathers the keys of the state that can be set.
func (e *z2mExpose) settable(keys []string, depth int) []string {
	if depth > z2mDepth || len(keys) >= z2mSettable {
		return keys
	}
	if e.Property == "" { // a lamp, a switch: its features are the values
		for i := range e.Features {
			keys = e.Features[i].settable(keys, depth+1)
		}
		return keys
	}
	may := e.Access&z2mMaySet != 0
	for i := range e.Features { // of a composite, whose own access older versions do not tell
		may = may || e.Features[i].Access&z2mMaySet != 0
	}
	if may && !slices.Contains(keys, e.Property) {
		keys = append(keys, e.Property)
	}
	return keys
}

// parse reads one of the bridge's messages. A member that is not of the expected type, of a later version or of one device, does
// not take the others along: it is left out and counted.
func (m *z2mMessage) parse(what string, v any) error {
	err := json.Unmarshal(m.call.Pub.Payload, v)
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case ok && wrong.Field != "":
		m.res.Tally.Unsupported++
		return nil
	case ok:
		return undecodable("%s: %s instead of what Zigbee2MQTT publishes there", what, wrong.Value)
	case err != nil:
		return undecodable("%s: %v", what, err)
	}
	return nil
}

// directory takes bridge/devices: who bears which name.
func (m *z2mMessage) directory() error {
	var entries []z2mEntry
	if err := m.parse("bridge/devices", &entries); err != nil {
		return err
	}
	if len(entries) > z2mMost {
		return &mapping.Error{Code: mapping.CodeTooLarge, Message: fmt.Sprintf("bridge/devices has %d devices, at most %d are mapped", len(entries), z2mMost)}
	}
	var old, index z2mIndex
	z2mLoad(m.call.State, z2mIndexKey, &old)
	index.Groups = old.Groups
	owners := map[string]string{}
	for i := range entries {
		e := &entries[i]
		device, ok := z2mAddress(e.Address)
		if !ok || e.Name == "" || strings.ContainsAny(e.Name, "+#\x00") || slices.Contains(index.Devices, device) { // no topic could have the name
			m.res.Tally.Unsupported++
			continue
		}
		index.Devices = append(index.Devices, device)
		owners[e.Name] = device
		if err := m.introduce(device, e, slices.Contains(old.Devices, device)); err != nil {
			return err
		}
	}
	for _, device := range old.Devices {
		if err := m.rename(device, owners, slices.Contains(index.Devices, device)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(owners)) {
		m.put(z2mNameKey(name), []byte(owners[name]))
	}
	return m.set(z2mIndexKey, index)
}

// introduce tells what a device is.
func (m *z2mMessage) introduce(device string, e *z2mEntry, known bool) error {
	d := z2mDevice{Name: e.Name, Coordinator: e.Type == "Coordinator"}
	model, vendor := e.ModelID, ""
	if e.Definition != nil {
		model, vendor = e.Definition.Model, e.Definition.Vendor
		for i := range e.Definition.Exposes {
			d.Settable = e.Definition.Exposes[i].settable(d.Settable, 0)
		}
	}
	m.res.Addresses = append(m.res.Addresses, mapping.Address{Device: device, Data: []byte(e.Name)})
	said := newReported(m.call.State, device, m.call.Now)
	for _, about := range [][2]string{{"friendly_name", e.Name}, {"model", model}, {"vendor", vendor}, {"power_source", e.Power}, {"firmware", e.Firmware}} {
		if about[1] == "" {
			continue
		}
		body, err := mapping.Encode(about[1])
		if err != nil {
			return err
		}
		said.tell(&m.res, about[0], body, time.Time{})
	}
	if bridge, ok := m.call.State.Get(z2mBridgeKey); ok && !known {
		_, away := m.call.State.Get(z2mAwayKey(device))
		said.online(&m.res, string(bridge) == "online" && !away)
	}
	if err := said.keep(&m.res); err != nil {
		return err
	}
	return m.set(z2mDeviceKey(device), d)
}

// rename takes the old name of a device back, and forgets a device that has left.
func (m *z2mMessage) rename(device string, owners map[string]string, stays bool) error {
	var d z2mDevice
	z2mLoad(m.call.State, z2mDeviceKey(device), &d)
	if _, taken := owners[d.Name]; !taken && d.Name != "" {
		m.put(z2mNameKey(d.Name), nil)
	}
	if stays {
		return nil
	}
	// The sender must be one that may speak for the device.
	m.res.Addresses = append(m.res.Addresses, mapping.Address{Device: device, Data: []byte(d.Name)})
	said := newReported(m.call.State, device, m.call.Now)
	said.online(&m.res, false)
	m.put(z2mDeviceKey(device), nil)
	m.put(z2mAwayKey(device), nil)
	return said.keep(&m.res)
}

// groups takes bridge/groups: names that are no devices.
func (m *z2mMessage) groups() error {
	var entries []struct {
		Name string `json:"friendly_name"`
	}
	if err := m.parse("bridge/groups", &entries); err != nil {
		return err
	}
	if len(entries) > z2mMost {
		return &mapping.Error{Code: mapping.CodeTooLarge, Message: fmt.Sprintf("bridge/groups has %d groups, at most %d are mapped", len(entries), z2mMost)}
	}
	var index z2mIndex
	z2mLoad(m.call.State, z2mIndexKey, &index)
	old := index.Groups
	index.Groups = nil
	for _, e := range entries {
		if e.Name == "" || slices.Contains(index.Groups, e.Name) {
			continue
		}
		if owner, ok := m.call.State.Get(z2mNameKey(e.Name)); ok && string(owner) != z2mGroup {
			continue // a device's; no message takes it from one but bridge/devices
		}
		index.Groups = append(index.Groups, e.Name)
		m.put(z2mNameKey(e.Name), []byte(z2mGroup))
	}
	for _, name := range old {
		if owner, _ := m.call.State.Get(z2mNameKey(name)); string(owner) == z2mGroup && !slices.Contains(index.Groups, name) {
			m.put(z2mNameKey(name), nil)
		}
	}
	return m.set(z2mIndexKey, index)
}

// bridgeState takes bridge/state: while the bridge is away, so are its devices.
func (m *z2mMessage) bridgeState() error {
	if len(m.call.Pub.Payload) == 0 {
		return nil
	}
	here, err := z2mOnline(m.call.Pub.Payload)
	if err != nil {
		return err
	}
	word := "offline"
	if here {
		word = "online"
	}
	m.put(z2mBridgeKey, []byte(word))
	var index z2mIndex
	z2mLoad(m.call.State, z2mIndexKey, &index)
	for _, device := range index.Devices {
		_, away := m.call.State.Get(z2mAwayKey(device))
		said := newReported(m.call.State, device, m.call.Now)
		said.online(&m.res, here && !away)
		if err := said.keep(&m.res); err != nil {
			return err
		}
	}
	return nil
}

// info takes bridge/info: what the coordinator has to say of the bridge.
func (m *z2mMessage) info() error {
	var info struct {
		Version     string `json:"version"`
		Coordinator struct {
			Address string `json:"ieee_address"`
			Type    string `json:"type"`
		} `json:"coordinator"`
		Network struct {
			Channel int `json:"channel"`
		} `json:"network"`
		PermitJoin *bool `json:"permit_join"`
	}
	if err := m.parse("bridge/info", &info); err != nil {
		return err
	}
	device, ok := z2mAddress(info.Coordinator.Address)
	if !ok {
		m.res.Tally.Unsupported++
		return nil
	}
	about := map[string]any{}
	if info.Version != "" {
		about["version"] = info.Version
	}
	if info.Network.Channel != 0 {
		about["channel"] = info.Network.Channel
	}
	if info.PermitJoin != nil {
		about["permit_join"] = *info.PermitJoin
	}
	said := newReported(m.call.State, device, m.call.Now)
	for _, name := range []string{"version", "channel", "permit_join"} {
		if v, ok := about[name]; ok {
			body, err := mapping.Encode(v)
			if err != nil {
				return err
			}
			said.tell(&m.res, name, body, time.Time{})
		}
	}
	return said.keep(&m.res)
}

// response completes the command whose transaction it names.
func (m *z2mMessage) response() error {
	var answer struct {
		Data        json.RawMessage `json:"data"`
		Status      string          `json:"status"`
		Error       json.RawMessage `json:"error"`
		Transaction json.RawMessage `json:"transaction"`
	}
	if err := m.parse("bridge/response", &answer); err != nil {
		return err
	}
	device, ok := z2mCoordinator(m.call.State)
	if !ok || len(answer.Transaction) == 0 {
		return nil // somebody else's request
	}
	status, result := mapping.StatusCompleted, answer.Data
	if answer.Status != "ok" {
		status, result = mapping.StatusFailed, answer.Error
	}
	return answered(&m.res, m.call.State, device, m.call.Now, status, result, func(w pending) bool { return string(w.Want) == string(answer.Transaction) })
}

// z2mCoordinator finds the device that stands for the bridge.
func z2mCoordinator(state mapping.State) (string, bool) {
	var index z2mIndex
	z2mLoad(state, z2mIndexKey, &index)
	for _, device := range index.Devices {
		var d z2mDevice
		if z2mLoad(state, z2mDeviceKey(device), &d) && d.Coordinator {
			return device, true
		}
	}
	return "", false
}
