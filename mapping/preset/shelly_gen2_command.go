package preset

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"iotc-gateway/mapping"
)

// Command calls a method of the device's RPC interface, or sets a value. It is answered by the device's reply.
func (f *shelly2Family) Command(c *mapping.CommandCall) (mapping.Result, error) {
	base, err := shelly2Base(c.Address)
	if err != nil {
		return mapping.Result{}, err
	}
	method, params, err := shelly2Call(c.Name, c.Args)
	if err != nil {
		return mapping.Result{}, err
	}
	// A command that is sent twice has the same number.
	sum := sha256.Sum256([]byte(c.ID))
	number := max(binary.BigEndian.Uint32(sum[:])>>1, shelly2FirstID)
	message, err := shelly2Request(base, number, method, params)
	if err != nil {
		return mapping.Result{}, err
	}
	res := mapping.Result{Publish: []mapping.Message{message}}
	if err := awaitAnswer(&res, c, json.RawMessage(fmt.Sprint(number))); err != nil {
		return mapping.Result{}, err
	}
	return res, nil
}

// Desired sets a value.
func (f *shelly2Family) Desired(c *mapping.DesiredCall) (mapping.Result, error) {
	kind, id, member, ok := shelly2Member(c.Name)
	set, settable := shelly2Setter(kind, member)
	if !ok || !settable || c.Value == nil {
		return mapping.Result{}, mapping.ErrNotSupported
	}
	base, err := shelly2Base(c.Address)
	if err != nil {
		return mapping.Result{}, err
	}
	method, params, err := set.call(id, c.Name, c.Value)
	if err != nil {
		return mapping.Result{}, err
	}
	message, err := shelly2Request(base, shelly2Quiet, method, params)
	if err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{Publish: []mapping.Message{message}}, nil
}

func shelly2Base(address []byte) (string, error) {
	if len(address) == 0 {
		return "", &mapping.Error{Code: mapping.CodeState, Message: "no message of the device was seen, so its topic is not known"}
	}
	return string(address), nil
}

// shelly2Call finds the method and its params that a command stands for.
func shelly2Call(name string, args json.RawMessage) (method string, params json.RawMessage, err error) {
	if kind, id, member, ok := shelly2Member(name); ok {
		if set, ok := shelly2Setter(kind, member); ok {
			return set.call(id, name, commandValue(args))
		}
	}
	method, params = name, args
	switch {
	case name == "rpc":
		var call struct {
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
		}
		if json.Unmarshal(args, &call) != nil || call.Method == "" {
			return "", nil, &mapping.Error{
				Code: mapping.CodeUndecodable, Message: "the arguments name no method",
				Hint: `the arguments are {"method": "Switch.Set", "params": {"id": 0, "on": true}}`,
			}
		}
		method, params = call.Method, call.Params
	case name[0] >= 'A' && name[0] <= 'Z' && !strings.Contains(name, "."):
		method = strings.Replace(name, "_", ".", 1)
	}
	if !strings.Contains(method, ".") {
		return "", nil, &mapping.Error{
			Code: mapping.CodeBadName, Message: fmt.Sprintf("%s is no method and no value that can be set", method),
			Hint: "methods are named as in Switch.Set or Switch_Set, values as in switch0_output",
		}
	}
	if len(params) > 0 && string(params) != "null" && params[0] != '{' {
		return "", nil, undecodable("the params of %s are no object", method)
	}
	return method, params, nil
}

// call makes a method's call of a value to set.
func (s shelly2Set) call(id int, name string, value json.RawMessage) (method string, params json.RawMessage, err error) {
	var v any
	if json.Unmarshal(value, &v) != nil || v == nil {
		return "", nil, undecodable("%s needs a value", name)
	}
	word, isWord := v.(string)
	members := map[string]any{"id": id, s.param: value}
	method = s.class + ".Set"
	switch s.param {
	case "on":
		switch {
		case isWord && word == "toggle":
			method = s.class + ".Toggle"
			delete(members, "on")
		case isWord && (word == "on" || word == "off"):
			members["on"] = word == "on"
		case v != true && v != false:
			return "", nil, undecodable("%s is true, false or \"toggle\"", name)
		}
	case "pos":
		method = s.class + ".GoToPosition"
	case "state":
		method = map[string]string{"open": "Cover.Open", "close": "Cover.Close", "closed": "Cover.Close", "stop": "Cover.Stop", "stopped": "Cover.Stop"}[word]
		if method == "" {
			return "", nil, undecodable("%s is \"open\", \"close\" or \"stop\"", name)
		}
		delete(members, "state")
	}
	if params, err = mapping.Encode(members); err != nil {
		return "", nil, fmt.Errorf("write the params of %s: %w", method, err)
	}
	return method, params, nil
}
