package template

import (
	"encoding/json"
	"maps"
	"slices"
)

// Telemetry holds a telemetry object, without its timestamp, against the template. What is modelled and does not fit is an
// *Error; what is not modelled passes and is counted. The result is the object itself unless something was coerced. It takes no
// hold of body.
func (t *Template) Telemetry(body json.RawMessage) (fitted json.RawMessage, unknown int, err error) {
	return t.check(t.body, "", body)
}

// TelemetryValue holds one value against the telemetry of that name. known is false for a name that the template does not
// have; the value passes as it is then.
func (t *Template) TelemetryValue(name string, value json.RawMessage) (fitted json.RawMessage, known bool, err error) {
	s := t.body.fields[name]
	if s == nil {
		return value, false, nil
	}
	fitted, _, err = t.check(s, name, value)
	return fitted, true, err
}

// Property holds a value against a property, named as it is, as component.name or component*name, or by the component alone
// with an object of several. The error is an *Error, or an *UnknownNameError.
func (t *Template) Property(name string, value json.RawMessage) (json.RawMessage, error) {
	s := t.propertySchema(name)
	if s == nil {
		return nil, t.unknown("property", name, slices.Sorted(maps.Keys(t.properties)))
	}
	fitted, _, err := t.check(s, name, value)
	return fitted, err
}

func (t *Template) propertySchema(name string) *schema {
	if v := t.properties[name]; v != nil {
		return v.schema
	}
	if c := t.components[name]; c != nil {
		return c.properties
	}
	return nil
}

// Command holds the arguments of a command against its request. They come as an object with the name of the request, as an
// object {"request": ...} (IoT Central's own API writes that), or as the bare value; no arguments are nothing, null or {}.
// The error is an *Error, or an *UnknownNameError.
func (t *Template) Command(name string, args json.RawMessage) (json.RawMessage, error) {
	c := t.commands[name]
	if c == nil {
		return nil, t.unknown("command", name, slices.Sorted(maps.Keys(t.commands)))
	}
	shape := outline(args)
	if c.Request == nil {
		if shape.none {
			return args, nil
		}
		return nil, &Error{Template: t.id, Faults: []Fault{{Path: name, Expected: "no arguments", Found: describe(args)}}}
	}
	s := c.Request.schema
	switch {
	case shape.none && s.kind != objectKind && s.kind != mapKind:
		return nil, &Error{Template: t.id, Faults: []Fault{{Path: name, Expected: "the argument " + c.Request.Name, Found: "none"}}}
	case !shape.object || shape.empty:
	case s.kind == objectKind && s.fields[shape.first] != nil:
	case shape.only && shape.first == c.Request.Name:
		s = c.wrapped
	case shape.only && shape.first == "request":
		s = c.generic
	case s.kind != objectKind && s.kind != mapKind:
		s = c.wrapped
	}
	fitted, _, err := t.check(s, name, args)
	return fitted, err
}

// Response holds the result of a command against its response. A command without one takes any result.
func (t *Template) Response(name string, result json.RawMessage) (json.RawMessage, error) {
	c := t.commands[name]
	if c == nil {
		return nil, t.unknown("command", name, slices.Sorted(maps.Keys(t.commands)))
	}
	if c.Response == nil {
		return result, nil
	}
	fitted, _, err := t.check(c.Response.schema, name, result)
	return fitted, err
}

func (t *Template) unknown(what, name string, known []string) error {
	return &UnknownNameError{Template: t.id, What: what, Name: name, Near: nearest(name, known)}
}

// check runs one scan.
func (t *Template) check(s *schema, name string, text []byte) (json.RawMessage, int, error) {
	c := checker{b: text, name: name}
	c.space()
	if ok := c.value(s, 0); ok {
		c.space()
		if c.i < len(c.b) {
			c.malformed("the end of the value")
		}
	}
	if c.faults != nil {
		return nil, 0, &Error{Template: t.id, Faults: c.faults, More: c.more}
	}
	if c.out == nil {
		return text, c.unknown, nil
	}
	return append(c.out, c.b[c.copied:]...), c.unknown, nil
}

// shape is what can be seen of a command's arguments without a schema.
type shape struct {
	none   bool // nothing, null or {}
	object bool
	empty  bool
	only   bool // the object has one member
	first  string
}

func outline(args []byte) shape {
	c := checker{b: args}
	c.space()
	rest := args[c.i:]
	if len(rest) == 0 || string(trimEnd(rest)) == "null" {
		return shape{none: true}
	}
	if rest[0] != '{' {
		return shape{}
	}
	s := shape{object: true}
	c.i++
	c.space()
	if c.peek() == '}' {
		s.none, s.empty = true, true
		return s
	}
	key, ok := c.key()
	if !ok {
		return s
	}
	s.first = string(key)
	c.space()
	c.i++ // the colon; what is malformed is found by the check
	if c.i < len(c.b) && c.skip(1) {
		c.space()
		s.only = c.peek() == '}'
	}
	return s
}

func trimEnd(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\n' || b[len(b)-1] == '\t' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}
