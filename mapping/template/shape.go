package template

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// Shape describes a schema to whoever makes values of it, as a simulated device does.
type Shape struct {
	// Schema is its word in DTDL: double, integer, Enum, Object, Array, Map, geopoint, ...; "any" takes everything.
	Schema string
	// Low and High bound an integral schema; both are 0 for others.
	Low, High int64
	// Values are all that an Enum takes.
	Values []json.RawMessage
	// Fields are those of an Object or of a well-known object such as geopoint, by name.
	Fields []Field
	// Element is that of an Array or the value of a Map, and Least how many an Array has at the least.
	Element *Shape
	Least   int
}

// Field is a field of an Object.
type Field struct {
	Name  string
	Shape Shape
}

// Shape describes the value's schema.
func (v *Value) Shape() Shape { return v.schema.shape() }

func (s *schema) shape() Shape {
	if s == nil {
		return Shape{Schema: anything.word}
	}
	out := Shape{Schema: s.word, Low: s.low, High: s.high, Least: s.least}
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		out.Fields = append(out.Fields, Field{name, s.fields[name].shape()})
	}
	if s.element != nil {
		out.Element = new(s.element.shape())
	}
	if s.enum != nil {
		for _, n := range slices.Sorted(maps.Keys(s.enum.integers)) {
			out.Values = append(out.Values, strconv.AppendInt(nil, n, 10))
		}
		for _, value := range slices.Sorted(maps.Keys(s.enum.texts)) {
			out.Values = append(out.Values, json.RawMessage(s.enum.texts[value]))
		}
	}
	return out
}
