package configs

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Marshal writes the configuration as it is in effect, defaults included, as
// YAML that [Load] reads again. Secrets are redacted.
func (c *Config) Marshal() ([]byte, error) {
	whole := *c
	whole.Mapping.RoutesDir = "" // its routes are in the list already
	node, err := encode(reflect.ValueOf(&whole).Elem(), field{})
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(node); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return out.Bytes(), nil
}

// encode is the opposite of decoder.decode.
func encode(v reflect.Value, f field) (*yaml.Node, error) {
	t := v.Type()
	switch {
	case f.secret && t.Kind() == reflect.String:
		return plain("!!str", redact(v.String())), nil
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			return plain("!!null", "null"), nil
		}
		return encode(v.Elem(), field{bytes: f.bytes, item: true})
	case t.Kind() == reflect.Interface && v.IsNil():
		return plain("!!null", "null"), nil
	case t == durationType:
		return plain("!!str", FormatDuration(v.Interface().(time.Duration))), nil
	case f.bytes && v.CanInt():
		return plain("!!str", FormatBytes(v.Int())), nil
	case t == rawMessageType || implements[json.Marshaler](v) || t.Kind() == reflect.Interface:
		return encodeJSON(v)
	case implements[encoding.TextMarshaler](v):
		text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		return plain("!!str", string(text)), err
	case t.Kind() == reflect.Struct:
		return encodeStruct(v, f.item)
	case t.Kind() == reflect.Map:
		return encodeMap(v, f)
	case t.Kind() == reflect.Slice:
		out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			item, err := encode(v.Index(i), field{bytes: f.bytes, secret: f.secret, item: true})
			if err != nil {
				return nil, err
			}
			out.Content = append(out.Content, item)
		}
		if v.Len() == 0 {
			out.Style = yaml.FlowStyle
		}
		return out, nil
	}
	return encodeScalar(v)
}

// redact hides a text, but not whether there is one.
func redact(text string) string {
	if text == "" {
		return ""
	}
	return "[redacted]"
}

// encodeStruct writes a section. Items of lists and maps have no defaults that
// would be worth showing: what is zero in them was not given.
func encodeStruct(v reflect.Value, item bool) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, f := range fieldsOf(v.Type()) {
		if item && v.FieldByIndex(f.index).IsZero() {
			continue
		}
		f.item = item
		value, err := encode(v.FieldByIndex(f.index), f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.key, err)
		}
		out.Content = append(out.Content, plain("!!str", f.key), value)
	}
	if len(out.Content) == 0 {
		out.Style = yaml.FlowStyle
	}
	return out, nil
}

func encodeMap(v reflect.Value, f field) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
	for _, k := range keys {
		value, err := encode(v.MapIndex(k), field{bytes: f.bytes, secret: f.secret, item: true})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		out.Content = append(out.Content, plain("!!str", k.String()), value)
	}
	if len(keys) == 0 {
		out.Style = yaml.FlowStyle
	}
	return out, nil
}

// encodeJSON goes through JSON, which YAML contains.
func encodeJSON(v reflect.Value) (*yaml.Node, error) {
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if len(doc.Content) == 0 {
		return plain("!!null", "null"), nil
	}
	block(doc.Content[0])
	return doc.Content[0], nil
}

// block undoes the flow style that JSON has.
func block(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		block(c)
	}
}

func encodeScalar(v reflect.Value) (*yaml.Node, error) {
	switch {
	case v.Kind() == reflect.String:
		return plain("!!str", v.String()), nil
	case v.Kind() == reflect.Bool:
		return plain("!!bool", strconv.FormatBool(v.Bool())), nil
	case v.CanInt():
		return plain("!!int", strconv.FormatInt(v.Int(), 10)), nil
	case v.CanUint():
		return plain("!!int", strconv.FormatUint(v.Uint(), 10)), nil
	case v.CanFloat():
		text := strconv.FormatFloat(v.Float(), 'f', -1, 64)
		if !strings.Contains(text, ".") {
			return plain("!!int", text), nil // as people write it
		}
		return plain("!!float", text), nil
	}
	return nil, fmt.Errorf("a %s cannot be written", v.Type())
}

// plain is a scalar. The tag makes the writer quote a text that would read as
// something else.
func plain(tag, text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
}

func implements[T any](v reflect.Value) bool {
	_, ok := reflect.TypeAssert[T](v)
	return ok
}
