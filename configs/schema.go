package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// schemaWriter lets a type that reads JSON say what it takes; without it any
// value passes the schema and is judged by the loader alone.
type schemaWriter interface {
	JSONSchema() map[string]any
}

// Schema is the JSON schema (draft 2020-12) of a configuration file, for
// editors and other people's tools. The loader does not use it; both are made
// from the same struct tags.
func Schema() ([]byte, error) {
	defs := Default()
	schema := schemaOf(reflect.ValueOf(defs).Elem(), field{})
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Configuration of iotc-gateway"
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(schema); err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return out.Bytes(), nil
}

const (
	durationPattern = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+)$`
	bytesPattern    = `^[0-9]+(\.[0-9]+)? *(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$`
)

// schemaOf describes a value; what it holds becomes the default.
func schemaOf(v reflect.Value, f field) map[string]any {
	s := shapeOf(v, f)
	if f.doc != "" {
		s["description"] = f.doc
	}
	return s
}

func shapeOf(v reflect.Value, f field) map[string]any {
	t := v.Type()
	if w, ok := reflect.TypeAssert[schemaWriter](reflect.New(t)); ok {
		return w.JSONSchema()
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return map[string]any{"anyOf": []any{shapeOf(reflect.New(t.Elem()).Elem(), f), map[string]any{"type": "null"}}}
	case t == durationType:
		// Without quotes 0 is a number, and the only one that needs no unit.
		s := map[string]any{"type": []string{"string", "integer"}, "pattern": durationPattern, "maximum": 0, "minimum": 0}
		if v.Int() != 0 {
			s["default"] = FormatDuration(time.Duration(v.Int()))
		}
		return s
	case f.bytes && v.CanInt():
		s := map[string]any{"type": []string{"integer", "string"}, "pattern": bytesPattern, "minimum": 0}
		if v.Int() != 0 {
			s["default"] = FormatBytes(v.Int())
		}
		return s
	case t == rawMessageType || readsJSON(t) || t.Kind() == reflect.Interface:
		return map[string]any{}
	case readsText(t) && t.Kind() == reflect.Struct:
		return map[string]any{"anyOf": []any{map[string]any{"type": "string"}, sectionShape(v)}}
	case readsText(t):
		return map[string]any{"type": []string{"string", "number", "boolean", "null"}}
	case t.Kind() == reflect.Struct:
		return sectionShape(v)
	case t.Kind() == reflect.Map:
		return map[string]any{
			"type":                 []string{"object", "null"},
			"additionalProperties": shapeOf(reflect.New(t.Elem()).Elem(), field{bytes: f.bytes, enum: f.enum}),
		}
	case t.Kind() == reflect.Slice:
		return map[string]any{
			"type":  []string{"array", "null"},
			"items": shapeOf(reflect.New(t.Elem()).Elem(), field{bytes: f.bytes, enum: f.enum}),
		}
	}
	return scalarShape(v, f)
}

func sectionShape(v reflect.Value) map[string]any {
	properties := make(map[string]any)
	for _, inner := range fieldsOf(v.Type()) {
		properties[inner.key] = schemaOf(v.FieldByIndex(inner.index), inner)
	}
	return map[string]any{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

func scalarShape(v reflect.Value, f field) map[string]any {
	s := make(map[string]any)
	switch {
	case v.Kind() == reflect.String:
		// A text may be written without quotes, so 042 and 2022-07-31 are texts too.
		s["type"] = []string{"string", "number", "boolean", "null"}
		if len(f.enum) > 0 {
			s["type"], s["enum"] = "string", f.enum
		}
		if v.String() != "" {
			s["default"] = v.String()
		}
	case v.Kind() == reflect.Bool:
		s["type"], s["default"] = "boolean", v.Bool()
	case v.CanInt():
		s["type"] = "integer"
		if v.Int() != 0 {
			s["default"] = v.Int()
		}
	case v.CanUint():
		s["type"], s["minimum"] = "integer", 0
		if v.Uint() != 0 {
			s["default"] = v.Uint()
		}
	case v.CanFloat():
		s["type"] = "number"
		if v.Float() != 0 {
			s["default"] = v.Float()
		}
	}
	return s
}
