package template

import (
	"fmt"
	"slices"
	"strings"
)

// content is one element of an interface.
type content struct {
	class     string
	name      string
	node      *node
	origin    *definition // where it is defined
	value     *Value
	command   *Command
	component string // the interface's identifier
}

var contentClasses = []string{"Telemetry", "Property", "Command", "Component", "Relationship"}

// The keys that elements may have. What an unknown type on the element adds is not known, so an unknown key is a warning, and
// only where no such type stands.
var (
	interfaceKeys = []string{"@context", "@id", "@type", "comment", "contents", "description", "displayName", "extends", "schemas"}
	contentKeys   = []string{
		"@id", "@type", "@context", "comment", "description", "displayName", "name", "schema", "unit", "writable", "commandType",
		"request", "response", "target", "properties", "minMultiplicity", "maxMultiplicity",
	}
)

// compile reads the contents of an interface itself.
func (l *loader) compile(d *definition) {
	n := d.node
	l.keys(n, interfaceKeys, "Interface")
	l.texts(n)
	if system(d.id) {
		l.warn(n.get("@id"), "", "the identifier %s has a segment that begins with an underscore, which is reserved", clip(d.id))
	}
	d.result = &Template{id: d.id, file: n.src.name, displayName: english(n.get("displayName"))}
	for _, s := range n.get("schemas").list() {
		l.interfaceSchema(d, s)
	}
	names := map[string]*node{}
	for _, e := range n.get("contents").list() {
		c, ok := l.content(d, e)
		if !ok {
			continue
		}
		if first := names[c.name]; first != nil {
			line, _ := first.src.position(first.off)
			l.at(e, "names are unique within an interface, whatever the kind of element", "the name %q is taken by the element of line %d", c.name, line)
			continue
		}
		names[c.name] = e
		d.own = append(d.own, c)
	}
}

// interfaceSchema checks a schema that an interface offers for use by its elements, whether one uses it or not.
func (l *loader) interfaceSchema(d *definition, s *node) {
	if s.kind != objectNode || complexClass(s) == "" {
		l.at(s, "its \"@type\" is Array, Enum, Map or Object", "an element of \"schemas\" is no complex schema")
		return
	}
	if _, ok := s.get("@id").str(); !ok {
		l.at(s, `add "@id"`, "a schema of \"schemas\" needs an identifier")
		return
	}
	l.schema(d, s, 0, "", nil)
}

// content reads one element of an interface.
func (l *loader) content(d *definition, e *node) (content, bool) {
	c := content{node: e, origin: d}
	if e.kind != objectNode {
		l.at(e, `such as {"@type": "Telemetry", "name": "temperature", "schema": "double"}`, "found %s where an element should stand", e.describe())
		return c, false
	}
	words := types(e)
	for _, w := range words {
		if slices.Contains(contentClasses, w) {
			if c.class != "" && c.class != w {
				l.at(e.get("@type"), "make two elements of it", "the element is both a %s and a %s", c.class, w)
				return c, false
			}
			c.class = w
		}
	}
	if c.class == "" {
		l.noClass(e, words)
		return c, false
	}
	if id, ok := e.get("@id").str(); ok {
		if fault := dtmiFault(id, d.version); fault != "" {
			l.warn(e.get("@id"), `such as "dtmi:com:example:Thing:part;1"`, "the identifier %q %s", clip(id), fault)
		}
	}
	var ok bool
	if c.name, ok = l.name(e, d.version, c.class); !ok {
		return c, false
	}
	l.keys(e, contentKeys, contentClasses...)
	l.texts(e)
	switch c.class {
	case "Telemetry", "Property":
		c.value = l.value(d, e, c.name)
		if c.class == "Property" {
			l.property(e, c.value)
		}
	case "Command":
		c.command = l.command(d, e, c.name)
	case "Component":
		c.component = l.component(e)
	}
	return c, true
}

func (l *loader) noClass(e *node, words []string) {
	if len(words) == 0 {
		l.at(e, "one of "+strings.Join(contentClasses, ", "), `the element has no "@type"`)
		return
	}
	for _, w := range words {
		if near := nearest(w, contentClasses); near != "" {
			l.at(e.get("@type"), fmt.Sprintf("did you mean %q?", near), "%q is no type of element", clip(w))
			return
		}
	}
	l.at(e.get("@type"), "one of "+strings.Join(contentClasses, ", "), "%q is no type of element", clip(words[0]))
}

// name reads the name of an element and checks it.
func (l *loader) name(e *node, version int, what string) (string, bool) {
	n := e.get("name")
	if n == nil {
		l.at(e, `add "name"`, "the %s has no name", what)
		return "", false
	}
	name, ok := n.str()
	if !ok {
		l.at(n, "", "the name of a %s is %s and no string", what, n.describe())
		return "", false
	}
	if fault := nameFault(name, version); fault != "" {
		l.at(n, "letters, digits and underscores, beginning with a letter and not ending in an underscore", "the name %q %s", clip(name), fault)
		return "", false
	}
	return name, true
}

// value reads what has a name and a schema.
func (l *loader) value(d *definition, e *node, name string) *Value {
	v := &Value{Name: name, DisplayName: english(e.get("displayName"))}
	s := e.get("schema")
	if s == nil {
		l.at(e, `add "schema": "double", or whatever it is`, "%s has no schema", name)
		v.schema = anything
		return v
	}
	v.schema = l.schema(d, s, 0, name, nil)
	v.Schema = v.schema.word
	v.Semantic, v.Unit = l.semantic(e, d.version, v.schema)
	return v
}

func (l *loader) property(e *node, v *Value) {
	if w := e.get("writable"); w != nil {
		if w.kind != boolNode {
			l.at(w, "true or false, without quotes", `"writable" is %s and no boolean`, w.describe())
		}
		v.Writable = w.text == "true"
	}
	v.Cloud = isA(e, "Cloud")
}

func (l *loader) command(d *definition, e *node, name string) *Command {
	c := &Command{Name: name, DisplayName: english(e.get("displayName"))}
	payload := func(key string) *Value {
		p := e.get(key)
		if p == nil || p.kind == nullNode {
			return nil
		}
		if p.kind != objectNode {
			l.at(p, `such as {"name": "delay", "schema": "integer"}`, "the %s of %s is %s and no object", key, name, p.describe())
			return nil
		}
		argument, ok := l.name(p, d.version, key)
		if !ok {
			return nil
		}
		l.texts(p)
		return l.value(d, p, argument)
	}
	c.Request, c.Response = payload("request"), payload("response")
	if c.Request != nil {
		c.wrapped = wrap(c.Request.Name, c.Request.schema)
		c.generic = wrap("request", c.Request.schema)
	}
	return c
}

func (l *loader) component(e *node) string {
	s := e.get("schema")
	if s == nil {
		l.at(e, `add "schema" with the identifier of an interface`, "the component has no schema")
		return ""
	}
	id, ok := reference(s)
	if !ok {
		l.at(s, "the identifier of an interface, or the interface itself", "the schema of a component is %s", s.describe())
	}
	return id
}

// reference returns the identifier that a value names or, for an interface written in place, bears.
func reference(n *node) (string, bool) {
	if n.kind == objectNode {
		return n.get("@id").str()
	}
	return n.str()
}

// keys warns of keys that an element does not have.
func (l *loader) keys(n *node, known []string, classes ...string) {
	for i := range n.members {
		m := &n.members[i]
		if slices.Contains(known, m.key) || strings.ContainsAny(m.key, ":@") {
			continue
		}
		for _, w := range types(n) {
			if !slices.Contains(classes, w) {
				return // an unknown type may bring keys of its own
			}
		}
		at := *m.val
		at.off = m.off
		hint := "it is ignored"
		if near := nearest(m.key, known); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		l.warn(&at, hint, "the key %q is not one of DTDL's here", clip(m.key))
	}
}

// texts warns of texts for people that are none.
func (l *loader) texts(n *node) {
	if c := n.get("comment"); c != nil {
		if _, ok := c.str(); !ok {
			l.warn(c, "", `"comment" is %s and no string`, c.describe())
		}
	}
	for _, key := range [...]string{"displayName", "description"} {
		t := n.get(key)
		if t == nil || t.kind == stringNode {
			continue
		}
		if t.kind != objectNode {
			l.warn(t, "", "%q is %s and no string", key, t.describe())
			continue
		}
		for i := range t.members {
			if v := t.members[i].val; v.kind != stringNode {
				l.warn(v, "", "a language of %q is %s and no string", key, v.describe())
			}
		}
	}
}

// english returns a text for people: the string, or the English one of several languages, or the first.
func english(n *node) string {
	if s, ok := n.str(); ok {
		return s
	}
	if n == nil || n.kind != objectNode || len(n.members) == 0 {
		return ""
	}
	for i := range n.members {
		if strings.HasPrefix(strings.ToLower(n.members[i].key), "en") {
			return n.members[i].val.text
		}
	}
	return n.members[0].val.text
}
