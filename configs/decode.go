package configs

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxFileBytes bounds one configuration file.
	maxFileBytes = 8 << 20
	// maxNodes bounds the nodes that are visited, each alias counted as often
	// as it is used: ten lines of nested aliases stand for billions of values.
	maxNodes = 500_000
	// maxDepth bounds nesting; an alias inside its own anchor has no end.
	maxDepth = 64
)

// decoder fills Go values from YAML nodes. It does not use the library's own
// decoding, which stops at types, reports neither column nor path, and
// converts words (yes, 0x10, 2022-07-31) on the way into a string.
type decoder struct {
	source string // the file, variable or flag that is being read
	report *report
	nodes  int
	spent  bool // the limit on nodes or depth was reported
}

// parseYAML returns the one document of a file, or nil for an empty one.
func (d *decoder) parseYAML(data []byte) *yaml.Node {
	if len(data) > maxFileBytes {
		d.report.add(Position{File: d.source}, "", "the file is larger than %s", FormatBytes(maxFileBytes))
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			d.syntax(err)
		}
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		d.report.add(d.position(&second), "", "a second document begins here; a configuration is one document")
	case !errors.Is(err, io.EOF):
		d.syntax(err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax reports an error of the YAML reader, whose line is inside its text.
func (d *decoder) syntax(err error) {
	at := Position{File: d.source}
	message := err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		message = m[2]
		if line, err := strconv.Atoi(m[1]); err == nil {
			at.Line, at.Column = line, 1
		}
	}
	d.report.add(at, "", "not valid YAML: %s", message)
}

// position is where a node stands; environment variables and flags are one
// line of text and have no lines to point at.
func (d *decoder) position(n *yaml.Node) Position {
	return Position{File: d.source, Line: n.Line, Column: n.Column}
}

func (d *decoder) fault(n *yaml.Node, path, format string, args ...any) {
	d.report.add(d.position(n), path, format, args...)
}

// decode puts a node into v, reporting what does not fit. What was already in
// v stays where the node says nothing, which is how layers are laid over one
// another.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, f field, path string, depth int) {
	if !d.enter(n, path, depth) {
		return
	}
	if n.Kind == yaml.AliasNode {
		d.decode(n.Alias, v, f, path, depth+1)
		return
	}
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		if isNull(n) {
			v.SetZero()
			return
		}
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		d.decode(n, v.Elem(), f, path, depth+1)
	case t == durationType:
		d.duration(n, v, path)
	case f.bytes && v.CanInt():
		d.bytes(n, v, path)
	case t == rawMessageType || readsJSON(t):
		d.json(n, v, path, depth)
	case n.Kind == yaml.ScalarNode && readsText(t):
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(scalarText(n))); err != nil {
			d.fault(n, path, "%v", err)
		}
	case t.Kind() == reflect.Struct:
		d.section(n, v, path, depth)
	case t.Kind() == reflect.Map:
		d.mapping(n, v, f, path, depth)
	case t.Kind() == reflect.Slice:
		d.list(n, v, f, path, depth)
	case t.Kind() == reflect.Interface:
		if value := d.generic(n, path, depth); value != nil {
			v.Set(reflect.ValueOf(value))
		} else {
			v.SetZero()
		}
	default:
		d.scalar(n, v, f, path)
	}
}

// enter counts a node against the limits and notes where it stands. Once a
// limit is passed that is said once, and every further node ends here.
func (d *decoder) enter(n *yaml.Node, path string, depth int) bool {
	d.nodes++
	if d.spent || d.nodes > maxNodes || depth > maxDepth {
		if !d.spent {
			d.spent = true
			d.fault(n, path, "too many or too deeply nested values; is an alias inside its own anchor?")
		}
		return false
	}
	d.report.at[path] = d.position(n)
	return true
}

// section decodes a mapping into a struct.
func (d *decoder) section(n *yaml.Node, v reflect.Value, path string, depth int) {
	if isNull(n) {
		return // a section of which every line is commented out
	}
	fields := fieldsOf(v.Type())
	d.pairs(n, path, func(key, value *yaml.Node) {
		for _, f := range fields {
			if f.key == key.Value {
				d.decode(value, v.FieldByIndex(f.index), f, join(path, f.key), depth+1)
				return
			}
		}
		known := make([]string, len(fields))
		for i, f := range fields {
			known[i] = f.key
		}
		d.fault(key, join(path, printable(key.Value)), "unknown key%s", suggest(key.Value, known))
	})
}

// mapping decodes into a map with string keys; entries that were there before
// are overlaid.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, f field, path string, depth int) {
	t := v.Type()
	if isNull(n) {
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(t))
	}
	d.pairs(n, path, func(key, value *yaml.Node) {
		k := reflect.ValueOf(key.Value).Convert(t.Key())
		entry := reflect.New(t.Elem()).Elem()
		if old := v.MapIndex(k); old.IsValid() {
			entry.Set(old)
		}
		d.decode(value, entry, field{bytes: f.bytes, enum: f.enum}, join(path, printable(key.Value)), depth+1)
		v.SetMapIndex(k, entry)
	})
}

// pairs walks a mapping and refuses keys that are no plain words, or come twice.
func (d *decoder) pairs(n *yaml.Node, path string, visit func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "expected keys with values, found %s", describe(n))
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			d.fault(key, path, "a key must be a plain word")
			continue
		}
		if line, twice := seen[key.Value]; twice {
			d.fault(key, join(path, printable(key.Value)), "the key stands twice; the first one is on line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		visit(key, value)
	}
}

// list decodes a sequence; it replaces what was in v.
func (d *decoder) list(n *yaml.Node, v reflect.Value, f field, path string, depth int) {
	if isNull(n) {
		v.SetZero()
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fault(n, path, "expected a list, found %s", describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.decode(item, out.Index(i), field{bytes: f.bytes, enum: f.enum, path: f.path}, fmt.Sprintf("%s[%d]", path, i), depth+1)
	}
	v.Set(out)
}

func (d *decoder) duration(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.fault(n, path, "expected a duration such as 15s or 30d, found %s", describe(n))
		return
	}
	value, err := ParseDuration(n.Value)
	if err != nil {
		d.fault(n, path, "%v", err)
		return
	}
	v.SetInt(int64(value))
}

func (d *decoder) bytes(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.fault(n, path, "expected a size such as 64KiB or 2GiB, found %s", describe(n))
		return
	}
	value, err := ParseBytes(n.Value)
	switch {
	case err != nil:
		d.fault(n, path, "%v", err)
	case v.OverflowInt(value):
		d.fault(n, path, "size %q is out of range", n.Value)
	default:
		v.SetInt(value)
	}
}

// scalar decodes numbers, booleans and strings. A string takes the text as it
// was written: id: 042 is the text 042, whatever YAML makes of it.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, f field, path string) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, path, "expected %s, found %s", kindName(v.Kind()), describe(n))
		return
	}
	ok := false
	switch {
	case v.Kind() == reflect.String:
		text := scalarText(n)
		if len(f.enum) > 0 && !slices.Contains(f.enum, text) {
			words := slices.DeleteFunc(slices.Clone(f.enum), func(w string) bool { return w == "" })
			d.fault(n, path, "%q is none of %s%s", text, strings.Join(words, ", "), didYouMean(text, words))
			return
		}
		v.SetString(text)
		return
	case v.Kind() == reflect.Bool:
		if ok = n.ShortTag() == "!!bool"; ok {
			v.SetBool(strings.EqualFold(n.Value, "true"))
		}
	case v.CanInt() && n.ShortTag() == "!!int":
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if ok = err == nil && !v.OverflowInt(i); ok {
			v.SetInt(i)
		}
	case v.CanUint() && n.ShortTag() == "!!int":
		u, err := strconv.ParseUint(n.Value, 10, 64)
		if ok = err == nil && !v.OverflowUint(u); ok {
			v.SetUint(u)
		}
	case v.CanFloat() && (n.ShortTag() == "!!int" || n.ShortTag() == "!!float"):
		x, err := strconv.ParseFloat(n.Value, 64)
		if ok = err == nil && !math.IsNaN(x) && !math.IsInf(x, 0); ok {
			v.SetFloat(x)
		}
	}
	if !ok {
		d.fault(n, path, "expected %s, found %s", kindName(v.Kind()), describe(n))
	}
}

// json hands a value to a type that reads JSON.
func (d *decoder) json(n *yaml.Node, v reflect.Value, path string, depth int) {
	before := len(d.report.faults)
	text := d.appendJSON(nil, n, path, depth)
	if len(d.report.faults) != before {
		return
	}
	if v.Type() == rawMessageType {
		v.SetBytes(text)
		return
	}
	fresh := reflect.New(v.Type())
	if err := fresh.Interface().(json.Unmarshaler).UnmarshalJSON(text); err != nil {
		d.fault(n, path, "%v", err)
		return
	}
	v.Set(fresh.Elem())
}

// scalarText is the text of a scalar; null is the empty text.
func scalarText(n *yaml.Node) string {
	if isNull(n) {
		return ""
	}
	return n.Value
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
