package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// field is a named value on its way into a record.
type field struct {
	name  string
	value json.RawMessage
}

// fields makes the values of an output, in order.
func (x *routeRun) fields(kind string, o *outputs) ([]field, error) {
	var out []field
	if o.passes() {
		var err error
		if out, err = x.pass(o); err != nil {
			return nil, err
		}
	} else {
		out = make([]field, 0, len(o.values))
	}
	for i := range o.values {
		v := &o.values[i]
		name := v.name.text
		if v.name.parts != nil {
			name = v.name.fill(&x.match)
			if err := validOutput(name); err != nil {
				return nil, err
			}
		}
		text, ok, err := x.evalJSON(name, v.expr)
		if err != nil {
			e := asError(err)
			e.Name, e.Message = name, kind+"."+e.Message
			return nil, e
		}
		if ok {
			out = append(out, field{name, text})
		}
	}
	return out, x.convert(out)
}

// convert changes units.
func (x *routeRun) convert(list []field) error {
	if x.r.units == nil {
		return nil
	}
	for i := range list {
		conv, ok := x.r.units[list[i].name]
		if !ok {
			continue
		}
		text := string(list[i].value)
		if text[0] == '"' {
			text = unquote(list[i].value)
		}
		f, ok := parseNumber(text)
		if !ok {
			return &Error{Code: CodeUndecodable, Name: list[i].name, Message: fmt.Sprintf("%s: %s is no number to convert", list[i].name, clip(text))}
		}
		b, err := appendFloat(nil, conv.apply(f))
		if err != nil {
			return err
		}
		list[i].value = b
	}
	return nil
}

// pass passes keys of the payload on.
func (x *routeRun) pass(o *outputs) ([]field, error) {
	p := passing{spec: x.r.spec, keys: o.keys, x: x}
	if x.isJSON {
		if !looksLikeObject(x.text) {
			return nil, &Error{Code: CodeUndecodable, Message: "the payload is no object, so it has no keys to pass on"}
		}
		err := p.text("", x.text)
		return p.out, err
	}
	object, ok := x.doc.Value.(map[string]any)
	if !ok {
		return nil, &Error{Code: CodeUndecodable, Message: "the payload is no object, so it has no keys to pass on"}
	}
	err := p.tree("", object)
	return p.out, err
}

func looksLikeObject(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	return len(text) > 0 && text[0] == '{'
}

// passing collects the keys that are passed on.
type passing struct {
	x    *routeRun
	spec *Route
	keys []string
	out  []field
}

// text walks JSON text, in its order.
func (p *passing) text(prefix string, object []byte) error {
	s := scanners.get(object)
	defer scanners.put(s)
	s.space()
	return s.object(0, func(m member) error {
		key := prefix + string(m.key)
		if p.spec.Flatten != "" && m.value[0] == '{' && p.passed(key, true) {
			return p.text(key+p.spec.Flatten, m.value)
		}
		if string(m.value) == "null" || !p.passed(key, false) {
			return nil
		}
		return p.add(key, p.x.tight(m.value))
	}, nil)
}

// tree walks a decoded tree, in the order of its keys.
func (p *passing) tree(prefix string, object map[string]any) error {
	for _, k := range slices.Sorted(maps.Keys(object)) {
		key, v := prefix+k, object[k]
		if inner, ok := v.(map[string]any); ok && p.spec.Flatten != "" && p.passed(key, true) {
			if err := p.tree(key+p.spec.Flatten, inner); err != nil {
				return err
			}
			continue
		}
		if v == nil || !p.passed(key, false) {
			continue
		}
		text, err := Encode(v)
		if err != nil {
			return &Error{Code: CodeUndecodable, Name: key, Message: key + ": " + err.Error()}
		}
		if err := p.add(key, text); err != nil {
			return err
		}
	}
	return nil
}

// passed tells whether a key is wanted; of an object that is flattened, whether its members may be.
func (p *passing) passed(key string, inner bool) bool {
	if slices.Contains(p.spec.Except, key) || key == timestampKey {
		return false
	}
	if len(p.keys) == 0 || slices.Contains(p.keys, key) {
		return true
	}
	for _, k := range p.keys {
		// A chosen object brings all its members, a chosen member needs its object to be opened.
		if strings.HasPrefix(key, k+p.spec.Flatten) && p.spec.Flatten != "" || inner && strings.HasPrefix(k, key+p.spec.Flatten) {
			return true
		}
	}
	return false
}

func (p *passing) add(key string, value json.RawMessage) error {
	name := key
	if to, ok := p.spec.Rename[key]; ok {
		name = to
	}
	if fault := nameFault(name); fault != "" {
		e := asError(ValidName(name))
		e.Hint = "give it another name with rename, or leave it out with except"
		return e
	}
	for _, f := range p.out {
		if f.name == name {
			return &Error{Code: CodeBadName, Name: name, Message: fmt.Sprintf("two values would have the name %q", clip(name))}
		}
	}
	p.out = append(p.out, field{name, value})
	return nil
}

// joined makes an object of fields.
func joined(list []field) json.RawMessage {
	n := 2
	for _, f := range list {
		n += len(f.name) + len(f.value) + 4
	}
	b := append(make([]byte, 0, n), '{')
	for i, f := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, f.name)
		b = append(b, ':')
		b = append(b, f.value...)
	}
	return append(b, '}')
}
