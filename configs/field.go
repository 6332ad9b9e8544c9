package configs

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// field is one key of a section, as the struct tags describe it:
//
//	yaml:"max_bytes"   the key; "-" hides a field, ",inline" lifts its keys up
//	unit:"bytes"       an integer written as a size
//	enum:"a,b,c"       the only texts allowed; one may be empty
//	secret:"true"      a text, or a map of texts, that is not to be shown
//	path:"true"        a path in the file system; keys that end in _file, _dir
//	                   or _path are paths without the tag
//	doc:"..."          one sentence for the JSON schema and the printed file
type field struct {
	key    string
	doc    string
	bytes  bool
	path   bool
	enum   []string
	secret bool
	// item says that the value stands inside a list or a map.
	item  bool
	index []int
	typ   reflect.Type
}

// fieldsOf lists the keys of a struct type in the order of its declaration.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("yaml")
		key, options, _ := strings.Cut(tag, ",")
		if !f.IsExported() || key == "-" {
			continue
		}
		if options == "inline" || (f.Anonymous && !ok) {
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
			continue
		}
		if key == "" {
			continue
		}
		one := field{
			key:    key,
			doc:    f.Tag.Get("doc"),
			bytes:  f.Tag.Get("unit") == "bytes",
			secret: f.Tag.Get("secret") == "true",
			path:   f.Tag.Get("path") == "true" || isPathKey(key),
			index:  []int{i},
			typ:    f.Type,
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			one.enum = strings.Split(enum, ",")
		}
		out = append(out, one)
	}
	return out
}

func isPathKey(key string) bool {
	for _, suffix := range []string{"_file", "_dir", "_path"} {
		if strings.HasSuffix(key, suffix) {
			return true
		}
	}
	return false
}

var (
	durationType        = reflect.TypeFor[time.Duration]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonUnmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	rawMessageType      = reflect.TypeFor[json.RawMessage]()
)

// readsText tells whether a value of t takes a scalar's text by itself.
func readsText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textUnmarshalerType) }

// readsJSON tells whether a value of t takes any value, given to it as JSON.
// That is how a package reads a key that may be a word, a list or a map
// without knowing a YAML library.
func readsJSON(t reflect.Type) bool { return reflect.PointerTo(t).Implements(jsonUnmarshalerType) }

// join puts a key under a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
