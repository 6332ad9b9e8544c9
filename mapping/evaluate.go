package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"iotc-gateway/mapping/payload"
)

// condition evaluates when; what has no value is false.
func (x *routeRun) condition() (bool, error) {
	v, ok, err := x.eval("when", x.r.when)
	if err != nil || !ok {
		return false, err
	}
	truth, _ := v.(bool)
	return truth, nil
}

// collect finds the members that expressions name in a decoded tree.
func collect(n *pathNode, v any, values []any) {
	object, ok := v.(map[string]any)
	if !ok {
		return
	}
	for _, c := range n.children {
		member, ok := object[c.key]
		if !ok {
			continue
		}
		if c.node.index >= 0 {
			values[c.node.index] = member
		}
		collect(c.node, member, values)
	}
}

// path returns a member of the payload for an expression; nil: it is missing, or null.
func (x *routeRun) path(i int) (any, error) {
	if !x.isJSON {
		if x.values == nil {
			return nil, nil
		}
		return operand(x.values[i]), nil
	}
	if x.found[i] == nil {
		return nil, nil
	}
	return textOperand(x.found[i])
}

// pathJSON returns a member of the payload as JSON text; false: it is missing, or null.
func (x *routeRun) pathJSON(i int) (json.RawMessage, bool, error) {
	if x.isJSON {
		text := x.found[i]
		if text == nil || string(text) == "null" {
			return nil, false, nil
		}
		return x.tight(text), true, nil
	}
	if x.values == nil || x.values[i] == nil {
		return nil, false, nil
	}
	text, err := Encode(x.values[i])
	return text, true, err
}

// tight removes white space from a piece of the payload.
func (x *routeRun) tight(text []byte) []byte {
	if x.spaced && (text[0] == '{' || text[0] == '[') {
		return compact(text)
	}
	return text
}

// textOperand makes a value for expressions of JSON text.
func textOperand(text []byte) (any, error) {
	switch text[0] {
	case '"':
		return unquote(text), nil
	case 't':
		return true, nil
	case 'f':
		return false, nil
	case 'n':
		return nil, nil
	case '{', '[':
		v, err := payload.ParseJSON(text)
		if err != nil {
			return nil, payloadError(err)
		}
		return operand(v), nil
	default:
		f, err := strconv.ParseFloat(string(text), 64)
		return f, err
	}
}

// unquote returns what a JSON string says.
func unquote(text []byte) string {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1])
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return ""
	}
	return s
}

// operand makes the numbers of a decoded tree doubles, on every platform alike: an int has 32 bits on some. The tree itself stays
// as it is, for exact numbers are passed on from it.
func operand(v any) any {
	switch t := v.(type) {
	case int64:
		return float64(t)
	case uint64:
		return float64(t)
	case json.Number:
		f, err := t.Float64()
		if err != nil {
			return nil
		}
		return f
	case time.Time:
		return t.UTC().Format(time.RFC3339Nano)
	case []any:
		list := make([]any, len(t))
		for i := range t {
			list[i] = operand(t[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(t))
		for k, e := range t {
			object[k] = operand(e)
		}
		return object
	default:
		return v
	}
}

// eval runs an expression. ok is false when it has no value: it gave nil, or needs a member that the payload lacks.
func (x *routeRun) eval(key string, e *expression) (v any, ok bool, err error) {
	if e.bare >= 0 {
		v, err := x.path(e.bare)
		return v, v != nil, err
	}
	if err := x.prepare(); err != nil {
		return nil, false, err
	}
	if e.whole {
		if err := x.wholePayload(); err != nil {
			return nil, false, err
		}
	}
	missing := false
	for _, p := range e.paths {
		v, err := x.path(p.index)
		if err != nil {
			return nil, false, err
		}
		missing = missing || v == nil
		x.mc.env[p.name] = v
	}
	if missing && e.strict {
		return nil, false, nil
	}
	if v, err = x.mc.run(e); err != nil {
		if missing {
			return nil, false, nil
		}
		return nil, false, &Error{Code: CodeExpression, Message: key + ": " + err.Error()}
	}
	return v, v != nil, nil
}

// prepare sets the variables that the route's expressions share.
func (x *routeRun) prepare() error {
	if x.mc != nil {
		return nil
	}
	mc, ok := machines.Get().(*machine)
	if !ok {
		return errors.New("no machine to run an expression")
	}
	x.mc = mc
	x.variables()
	return nil
}

// variables sets what expressions know besides the payload.
func (x *routeRun) variables() {
	mc, pub := x.mc, x.in.pub
	for _, name := range x.r.uses {
		switch name {
		case "topic":
			mc.env[name] = pub.Topic
		case "client":
			mc.env[name] = pub.Client
		case "user":
			mc.env[name] = pub.User
		case "qos":
			mc.env[name] = int(pub.QoS)
		case "retain":
			mc.env[name] = pub.Retain
		case "received":
			mc.env[name] = float64(x.in.now.UnixMilli()) / 1000
		case "properties":
			all := make(map[string]string, len(pub.Properties))
			for _, p := range pub.Properties {
				if _, twice := all[p.Key]; !twice {
					all[p.Key] = p.Value
				}
			}
			mc.env[name] = all
		default:
			mc.env[name], _ = x.match.named(name)
		}
	}
}

// wholePayload sets the payload for the expressions that look at it as a whole.
func (x *routeRun) wholePayload() error {
	if x.payloadSet {
		return nil
	}
	x.payloadSet = true
	if x.isJSON {
		v, err := textOperand(bytes.TrimSpace(x.text))
		if err != nil {
			return err
		}
		x.mc.env[payloadName] = v
		return nil
	}
	x.mc.env[payloadName] = operand(x.doc.Value)
	return nil
}

// evalJSON runs an expression for its JSON text. A member of the payload that stands alone keeps its text.
func (x *routeRun) evalJSON(key string, e *expression) (json.RawMessage, bool, error) {
	if e.bare >= 0 {
		return x.pathJSON(e.bare)
	}
	v, ok, err := x.eval(key, e)
	if err != nil || !ok {
		return nil, false, err
	}
	text, err := Encode(v)
	if err != nil {
		return nil, false, &Error{Code: CodeExpression, Name: key, Message: key + ": " + err.Error()}
	}
	return text, true, nil
}

// evalText runs an expression for a text: a string, or a whole number as digits.
func (x *routeRun) evalText(key string, e *expression) (string, bool, error) {
	if e.bare >= 0 {
		text, ok, err := x.pathJSON(e.bare)
		if err != nil || !ok {
			return "", false, err
		}
		if text[0] == '"' {
			return unquote(text), true, nil
		}
		return string(text), true, nil
	}
	v, ok, err := x.eval(key, e)
	if err != nil || !ok {
		return "", false, err
	}
	if s, is := v.(string); is {
		return s, true, nil
	}
	text, err := Encode(v)
	if err != nil {
		return "", false, &Error{Code: CodeExpression, Message: key + ": " + err.Error()}
	}
	return string(text), true, nil
}
