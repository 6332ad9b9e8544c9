package template

import (
	"fmt"
	"strconv"
)

// enumSchema compiles an Enum: its values are all integers or all strings.
func (l *loader) enumSchema(d *definition, n *node, owner string) *schema {
	e := &enum{names: map[string]string{}}
	s := &schema{kind: enumKind, word: "Enum", enum: e}
	integer := l.enumType(n, owner)
	if integer {
		e.integers = map[int64]struct{}{}
	} else {
		e.texts = map[string]string{}
	}
	values := n.get("enumValues")
	if len(values.list()) == 0 && d.version == 2 {
		l.at(n, `add "enumValues": [{"name": "on", "enumValue": 1}]`, "the enum%s has no values", of(owner))
	}
	var shown []string
	for _, v := range values.list() {
		if v.kind != objectNode {
			l.at(v, `such as {"name": "on", "enumValue": 1}`, "a value of the enum%s is %s", of(owner), v.describe())
			continue
		}
		name, ok := l.name(v, d.version, "enum value")
		if !ok {
			continue
		}
		text, ok := l.enumValue(v, e, name)
		if !ok {
			continue
		}
		if _, taken := e.names[name]; taken {
			l.at(v, "rename one of them", "the enum%s has two values named %q", of(owner), name)
			continue
		}
		e.names[name] = text
		if text == strconv.Quote(name) {
			shown = append(shown, text)
		} else {
			shown = append(shown, text+" ("+name+")")
		}
	}
	s.expected = "one of " + few(shown)
	return s
}

// enumType tells whether the values are integers; that is also what it says when the template does not.
func (l *loader) enumType(n *node, owner string) bool {
	t := n.get("valueSchema")
	if t == nil {
		l.at(n, `add "valueSchema": "integer" or "string"`, "the enum%s has no valueSchema", of(owner))
		return true
	}
	word, _ := t.str()
	switch s := builtin(word); {
	case s == primitives["string"]:
		return false
	case s != primitives["integer"]:
		l.at(t, `use "integer" or "string"`, "the valueSchema of the enum%s is %s", of(owner), t.describe())
	}
	return true
}

// enumValue registers the value of one element and returns its JSON text.
func (l *loader) enumValue(v *node, e *enum, name string) (string, bool) {
	value := v.get("enumValue")
	if value == nil {
		l.at(v, `add "enumValue"`, "the enum value %s has no enumValue", name)
		return "", false
	}
	twice := func() (string, bool) {
		l.at(value, "each value has one name", "%s stands for two values of the enum", value.describe())
		return "", false
	}
	if e.integers == nil {
		if value.kind != stringNode {
			l.at(value, "put it in quotes, or make the valueSchema integer", "the enumValue of %s is %s and no string", name, value.describe())
			return "", false
		}
		if _, taken := e.texts[value.text]; taken {
			return twice()
		}
		text := string(appendString(nil, []byte(value.text)))
		e.texts[value.text] = text
		return text, true
	}
	i, err := strconv.ParseInt(value.text, 10, 32)
	if value.kind != numberNode || err != nil {
		l.at(value, "an integer of 32 bits, or make the valueSchema string", "the enumValue of %s is %s", name, value.describe())
		return "", false
	}
	if _, taken := e.integers[i]; taken {
		return twice()
	}
	e.integers[i] = struct{}{}
	return fmt.Sprint(i), true
}
