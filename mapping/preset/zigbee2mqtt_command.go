package preset

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"iotc-gateway/mapping"
)

// The commands of a device besides those that are named like a value.
const (
	z2mSet = "set"
	z2mGet = "get"

	// z2mJoinTime is how long devices may join when nobody says how long: the most that Zigbee has, in seconds.
	z2mJoinTime = 254
)

// Command sets or asks for values of a device, or makes a request to the bridge.
func (f *z2mFamily) Command(c *mapping.CommandCall) (mapping.Result, error) {
	d, err := z2mTarget(c.State, c.Device)
	if err != nil {
		return mapping.Result{}, err
	}
	var message mapping.Message
	var want json.RawMessage
	if d.Coordinator {
		want, err = mapping.Encode(c.ID)
		if err == nil {
			message, err = f.request(c.Name, c.Args, want)
		}
	} else {
		message, want, err = f.write(&d, c.Name, c.Args)
	}
	if err != nil {
		return mapping.Result{}, err
	}
	res := mapping.Result{Publish: []mapping.Message{message}}
	if err := awaitAnswer(&res, c, want); err != nil {
		return mapping.Result{}, err
	}
	return res, nil
}

// Desired sets a value.
func (f *z2mFamily) Desired(c *mapping.DesiredCall) (mapping.Result, error) {
	d, err := z2mTarget(c.State, c.Device)
	if err != nil {
		return mapping.Result{}, err
	}
	if _, ok := d.key(c.Name); !ok || c.Value == nil {
		return mapping.Result{}, mapping.ErrNotSupported
	}
	message, _, err := f.write(&d, c.Name, c.Value)
	if err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{Publish: []mapping.Message{message}}, nil
}

// z2mTarget finds a device. The bridge must be there; whether the device is awake the bridge knows better.
func z2mTarget(state mapping.State, device string) (z2mDevice, error) {
	var d z2mDevice
	if !z2mLoad(state, z2mDeviceKey(device), &d) {
		return d, &mapping.Error{Code: mapping.CodeState, Message: "bridge/devices did not tell the name of the device yet"}
	}
	if bridge, ok := state.Get(z2mBridgeKey); ok && string(bridge) == "offline" {
		return d, &mapping.Error{Code: mapping.CodeState, Message: "Zigbee2MQTT is offline"}
	}
	return d, nil
}

// key finds the key of the state that a command or a property is named like.
func (d *z2mDevice) key(name string) (string, bool) {
	for _, key := range d.Settable {
		if key == name || modelName(key) == name {
			return key, true
		}
	}
	return "", false
}

// write makes the message that sets or asks for values, and tells which keys answer it.
func (f *z2mFamily) write(d *z2mDevice, name string, args json.RawMessage) (mapping.Message, json.RawMessage, error) {
	verb := z2mSet
	var keys []string
	var body json.RawMessage
	var members map[string]json.RawMessage
	switch name {
	case z2mGet, z2mSet:
		verb = name
		if json.Unmarshal(args, &members) != nil || len(members) == 0 {
			return mapping.Message{}, nil, &mapping.Error{
				Code: mapping.CodeUndecodable, Message: fmt.Sprintf("%s needs the values to %s", name, name),
				Hint: map[string]string{z2mSet: `the arguments are {"state": "ON", "brightness": 120}`, z2mGet: `the arguments are {"state": ""}`}[name],
			}
		}
		body, keys = args, slices.Sorted(maps.Keys(members))
	default:
		key, ok := d.key(name)
		if !ok {
			return mapping.Message{}, nil, &mapping.Error{
				Code: mapping.CodeBadName, Message: fmt.Sprintf("%s cannot be set", name),
				Hint: "what can: " + strings.Join(append([]string{z2mSet, z2mGet}, d.Settable...), ", "),
			}
		}
		value := commandValue(args)
		if len(value) == 0 || string(value) == "null" {
			return mapping.Message{}, nil, undecodable("%s needs a value", name)
		}
		var err error
		if body, err = mapping.Encode(map[string]any{key: value}); err != nil {
			return mapping.Message{}, nil, err
		}
		keys = []string{key}
	}
	want, err := mapping.Encode(keys)
	if err != nil {
		return mapping.Message{}, nil, err
	}
	return mapping.Message{Topic: f.base + "/" + d.Name + "/" + verb, Payload: body, QoS: 1}, want, nil
}

// request makes a request to the bridge, which its response names by the transaction.
func (f *z2mFamily) request(name string, args, transaction json.RawMessage) (mapping.Message, error) {
	path, body := name, args
	switch name {
	case "permit_join", "restart", "health_check":
	case "request":
		var call struct {
			Path    string          `json:"path"`
			Payload json.RawMessage `json:"payload"`
		}
		if json.Unmarshal(args, &call) != nil || call.Path == "" || strings.ContainsAny(call.Path, "+#\x00") {
			return mapping.Message{}, &mapping.Error{
				Code: mapping.CodeUndecodable, Message: "the arguments name no request",
				Hint: `the arguments are {"path": "device/rename", "payload": {"from": "a", "to": "b"}}`,
			}
		}
		path, body = call.Path, call.Payload
	default:
		return mapping.Message{}, &mapping.Error{
			Code: mapping.CodeBadName, Message: fmt.Sprintf("the bridge has no command %s", name), Hint: "there are permit_join, restart, health_check and request",
		}
	}
	members := map[string]any{}
	var given map[string]json.RawMessage
	switch {
	case len(body) == 0 || string(body) == "null":
	case json.Unmarshal(body, &given) == nil:
		for key, v := range given {
			members[key] = v
		}
	case name == "permit_join" && string(body) == "true": // value for version 1, time for version 2
		members["value"], members["time"] = body, z2mJoinTime
	case name == "permit_join" && string(body) == "false":
		members["value"], members["time"] = body, 0
	case name == "permit_join":
		members["value"], members["time"] = true, body
	default:
		members["value"] = body
	}
	members["transaction"] = transaction
	text, err := mapping.Encode(members)
	if err != nil {
		return mapping.Message{}, err
	}
	return mapping.Message{Topic: f.base + "/bridge/request/" + path, Payload: text, QoS: 1}, nil
}
