package configs

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// generic turns a node into plain Go values: map[string]any, []any, string,
// bool, int64, float64 or nil.
func (d *decoder) generic(n *yaml.Node, path string, depth int) any {
	text := d.appendJSON(nil, n, path, depth)
	if text == nil {
		return nil
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil
	}
	return value
}

// appendJSON writes a node as JSON, in the order in which the keys were
// written, and returns nil after a fault. Every path below is noted, so that
// what a package finds wrong inside can be shown with its line.
func (d *decoder) appendJSON(out []byte, n *yaml.Node, path string, depth int) []byte {
	if !d.enter(n, path, depth) {
		return nil
	}
	switch n.Kind {
	case yaml.AliasNode:
		return d.appendJSON(out, n.Alias, path, depth+1)
	case yaml.MappingNode:
		out = append(out, '{')
		first, ok := true, true
		d.pairs(n, path, func(key, value *yaml.Node) {
			if !ok {
				return
			}
			if !first {
				out = append(out, ',')
			}
			first = false
			out = append(appendString(out, key.Value), ':')
			next := d.appendJSON(out, value, join(path, printable(key.Value)), depth+1)
			if ok = next != nil; ok {
				out = next
			}
		})
		if !ok {
			return nil
		}
		return append(out, '}')
	case yaml.SequenceNode:
		out = append(out, '[')
		for i, item := range n.Content {
			if i > 0 {
				out = append(out, ',')
			}
			if out = d.appendJSON(out, item, fmt.Sprintf("%s[%d]", path, i), depth+1); out == nil {
				return nil
			}
		}
		return append(out, ']')
	default:
		return appendScalar(out, n)
	}
}

// appendScalar writes numbers and booleans as such when JSON knows them, and
// all the rest as text.
func appendScalar(out []byte, n *yaml.Node) []byte {
	switch n.ShortTag() {
	case "!!null":
		return append(out, "null"...)
	case "!!bool":
		return strconv.AppendBool(out, n.Value == "true" || n.Value == "True" || n.Value == "TRUE")
	case "!!int":
		if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
			return strconv.AppendInt(out, i, 10)
		}
	case "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(out, f, 'g', -1, 64)
		}
	}
	return appendString(out, n.Value)
}

func appendString(out []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return append(out, `""`...)
	}
	return append(out, text...)
}

// describe names what a node is, in words for a person; the content is shown
// only when it is short, and never of what could be a secret.
func describe(n *yaml.Node) string {
	switch n.Kind {
	default:
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "the boolean " + printable(n.Value)
	case "!!int", "!!float":
		return "the number " + printable(n.Value)
	case "!!str":
		return "the text " + strconv.Quote(printable(n.Value))
	}
	return strconv.Quote(printable(n.Value))
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	default:
		return "a value"
	}
}
