package template

import (
	"strings"
)

// inherit completes the contents of an interface with those of the interfaces that it extends.
func (l *loader) inherit(d *definition) {
	if d.state != untouched {
		return
	}
	d.state = underway
	d.contents = append(d.contents, d.own...)
	names := make(map[string]content, len(d.own))
	for _, c := range d.own {
		names[c.name] = c
	}
	list := d.node.get("extends").list()
	if d.version == 2 && len(list) > 2 {
		l.warn(d.node.get("extends"), "use DTDL v3, or a chain of interfaces", "DTDL v2 lets an interface extend two others, here are %d", len(list))
	}
	for _, e := range list {
		up := l.super(d, e)
		if up == nil {
			continue
		}
		d.depth = max(d.depth, up.depth+1)
		for _, c := range up.contents {
			first, taken := names[c.name]
			switch {
			case !taken:
				names[c.name] = c
				d.contents = append(d.contents, c)
			case first.node != c.node && !first.node.same(c.node):
				line, _ := first.node.src.position(first.node.off)
				l.at(e, "rename one of them", "%s inherits %q from %s, but has one from %s:%d",
					d.id, c.name, c.origin.id, first.node.src.name, line)
			}
		}
	}
	if most := extendsDepth(d.version); d.depth > most {
		l.at(d.node.get("extends"), "flatten the hierarchy", "%s extends more than %d levels of interfaces", d.id, most)
	}
	if len(d.contents) > MaxContents {
		l.at(d.node, "split the interface into components", "%s has more than %d elements", d.id, MaxContents)
	} else if d.version == 2 && len(d.contents) > 300 {
		l.warn(d.node, "", "%s has %d elements; DTDL v2 ends at 300", d.id, len(d.contents))
	}
	d.state = done
}

// super returns the interface that an element of extends names, itself complete.
func (l *loader) super(d *definition, e *node) *definition {
	id, ok := reference(e)
	if !ok {
		l.at(e, "the identifier of an interface, or the interface itself", "%s extends %s", d.id, e.describe())
		return nil
	}
	up := l.interfaces[id]
	if up == nil {
		l.missing(e, id, d.id+" extends")
		return nil
	}
	if up.state == underway {
		l.at(e, "an interface cannot be its own ancestor: break the circle", "%s extends %s, which extends it in turn", d.id, id)
		return nil
	}
	l.inherit(up)
	return up
}

// missing reports an interface that no file defines.
func (l *loader) missing(n *node, id, who string) {
	if strings.HasPrefix(id, "dtmi:") {
		if fault := dtmiFault(id, 3); fault != "" {
			l.at(n, `such as "dtmi:com:example:Thing;1"`, "%s %q, which %s", who, clip(id), fault)
			return
		}
	}
	if len(l.errors) >= MaxProblems {
		l.more++
		return
	}
	known := make([]string, 0, len(l.order))
	for _, d := range l.order {
		known = append(known, d.id)
	}
	hint := "put the file that defines it into the folder"
	if near := nearest(id, known); near != "" {
		hint = "did you mean " + near + "? else " + hint
	}
	l.at(n, hint, "%s %s, which no file defines", who, clip(id))
}

// assemble makes the template of an interface, and those of its components first.
func (l *loader) assemble(d *definition) {
	t := d.result
	if t == nil || t.body != nil {
		return
	}
	t.values, t.properties = map[string]*Value{}, map[string]*Value{}
	t.commands, t.components = map[string]*Command{}, map[string]*Component{}
	t.body = &schema{kind: objectKind, word: "Object", expected: "an object of telemetry", fields: map[string]*schema{}}
	for _, c := range d.contents {
		switch c.class {
		case "Telemetry":
			t.values[c.name] = c.value
			t.body.fields[c.name] = c.value.schema
		case "Property":
			t.properties[c.name] = c.value
		case "Command":
			t.commands[c.name] = c.command
		}
	}
	for _, c := range d.contents {
		if c.class == "Component" && c.component != "" {
			l.join(d, c)
		}
	}
}

// join puts a component's interface under its name.
func (l *loader) join(d *definition, c content) {
	part := l.interfaces[c.component]
	at := c.node.get("schema")
	switch {
	case part == nil:
		if c.origin == d {
			l.missing(at, c.component, "the component "+c.name+" is")
		}
		return
	case part.result == nil:
		return
	}
	for _, inner := range part.contents {
		if inner.class == "Component" {
			if c.origin == d {
				l.at(at, "list its components in the interface itself", "the component %s has a component of its own (%s), which DTDL does not allow", c.name, inner.name)
			}
			return
		}
	}
	l.assemble(part)
	t, p := d.result, part.result
	component := &Component{
		Name: c.name, DisplayName: english(c.node.get("displayName")), Template: p,
		properties: &schema{kind: objectKind, word: "Object", expected: "an object of the properties of " + c.name, fields: map[string]*schema{}, closed: true},
	}
	t.components[c.name] = component
	t.body.fields[c.name] = p.body
	for _, separator := range [...]string{".", "*"} {
		prefix := c.name + separator
		for name, v := range p.values {
			t.values[prefix+name] = v
			t.body.fields[prefix+name] = v.schema
		}
		for name, v := range p.properties {
			t.properties[prefix+name] = v
			component.properties.fields[name] = v.schema
		}
		for name, cmd := range p.commands {
			t.commands[prefix+name] = cmd
		}
	}
}
