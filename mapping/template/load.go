package template

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// LoadDir reads every *.json file of a folder and the folders below it. Hidden files and folders are left out.
func LoadDir(dir string) (*Set, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	if !info.IsDir() {
		return LoadFiles(dir)
	}
	return load(os.DirFS(dir), func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) })
}

// Load reads every *.json file of a file system. The error is Problems when the templates are at fault.
func Load(fsys fs.FS) (*Set, error) {
	return load(fsys, func(name string) string { return name })
}

func load(fsys fs.FS, shown func(string) string) (*Set, error) {
	var names []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(path.Base(name), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case !d.IsDir() && strings.EqualFold(path.Ext(name), ".json"):
			names = append(names, name)
			if len(names) > MaxFiles {
				return fmt.Errorf("more than %d files: is it the right folder?", MaxFiles)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	l := newLoader()
	for _, name := range names {
		l.read(fsys, name, shown(name))
	}
	return l.finish()
}

// LoadFiles reads the files of the given names.
func LoadFiles(names ...string) (*Set, error) {
	l := newLoader()
	for _, name := range names {
		l.read(os.DirFS(filepath.Dir(name)), filepath.Base(name), name)
	}
	return l.finish()
}

// loader gathers what the files define before anything is compiled, because a file may need any other.
type loader struct {
	problems
	total      int64
	interfaces map[string]*definition
	order      []*definition
	schemas    map[string]reusable
	aliases    map[string]string // device template of IoT Central -> interface
}

// definition is an interface on its way to a Template.
type definition struct {
	id      string
	node    *node
	version int
	schemas map[string]reusable
	named   map[string]*schema // compiled, by identifier

	state    state
	own      []content
	contents []content // with what is inherited
	depth    int
	result   *Template
}

type state uint8

const (
	untouched state = iota
	underway
	done
)

// reusable is a complex schema that has an identifier.
type reusable struct {
	node    *node
	version int
}

func newLoader() *loader {
	return &loader{interfaces: map[string]*definition{}, schemas: map[string]reusable{}, aliases: map[string]string{}}
}

func (l *loader) read(fsys fs.FS, name, shown string) {
	whole := func(message, hint string) {
		l.add(Problem{File: shown, Message: message, Hint: hint})
	}
	info, err := fs.Stat(fsys, name)
	if err == nil && info.Size() > MaxFileBytes {
		whole(fmt.Sprintf("is larger than %d MiB", MaxFileBytes>>20), "split it: the models of a folder see one another")
		return
	}
	var data []byte
	if err == nil {
		data, err = fs.ReadFile(fsys, name)
	}
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		whole("cannot be read: "+err.Error(), "")
		return
	}
	if l.total += int64(len(data)); l.total > MaxTotalBytes {
		whole(fmt.Sprintf("comes after %d MiB of templates, which is the limit", MaxTotalBytes>>20), "is it the right folder?")
		return
	}
	src := newSource(shown, data)
	if root := parse(src, &l.problems); root != nil {
		l.document(root)
	}
}

// document takes in the value of a file: an interface, a device template of IoT Central, an array, or a list of them.
func (l *loader) document(root *node) {
	before := len(l.order) + len(l.errors) + l.more
	switch {
	case root.kind == objectNode && root.get("value") != nil && root.get("@type") == nil:
		l.roots(root.get("value"), 0)
	default:
		l.roots(root, 0)
	}
	if len(l.order)+len(l.errors)+l.more == before {
		l.at(root, `a template file holds {"@context": "dtmi:dtdl:context;3", "@type": "Interface", ...}, or an array of them`,
			"the file holds no interface")
	}
}

func (l *loader) roots(n *node, version int) {
	if n.kind == arrayNode {
		for _, e := range n.elems {
			l.roots(e, version)
		}
		return
	}
	if graph := n.get("@graph"); graph != nil {
		l.roots(graph, max(version, contextVersion(n)))
		return
	}
	l.root(n, version)
}

func (l *loader) root(n *node, version int) {
	if n.kind != objectNode {
		l.at(n, "each interface is a JSON object", "found %s where an interface should stand", n.describe())
		return
	}
	model := n.get("capabilityModel")
	if model == nil {
		if !isA(n, "Interface") {
			l.at(n, `"@type" must be "Interface"`, "the object is no interface")
			return
		}
		l.index(n, version, nil)
		return
	}
	if model.kind != objectNode {
		l.at(model, "export the device template anew", `"capabilityModel" is %s and no object`, model.describe())
		return
	}
	l.index(model, max(version, contextVersion(n)), nil)
	inner, _ := model.get("@id").str()
	if outer, ok := n.get("@id").str(); ok && outer != inner {
		if other, taken := l.aliases[outer]; taken && other != inner {
			l.at(n.get("@id"), "export each device template once", "the device template %q is defined twice", clip(outer))
		}
		l.aliases[outer] = inner
	}
}

// index registers the interfaces and reusable schemas of a value and all that it holds. d is the interface around it.
func (l *loader) index(n *node, version int, d *definition) {
	switch n.kind {
	default:
	case arrayNode:
		for _, e := range n.elems {
			l.index(e, version, d)
		}
	case objectNode:
		if v := contextVersion(n); v != 0 {
			version = v
		}
		if isA(n, "Interface") {
			d = l.register(n, version)
		} else if complexClass(n) != "" && d != nil {
			if id, ok := n.get("@id").str(); ok {
				l.registerSchema(n, id, version, d)
			}
		}
		for i := range n.members {
			if m := &n.members[i]; m.val.kind >= arrayNode && m.key != "@context" && m.key != "displayName" {
				l.index(m.val, version, d)
			}
		}
	}
}

// register takes in an interface. It returns nil for one that cannot be, or has been, taken in.
func (l *loader) register(n *node, version int) *definition {
	id, ok := n.get("@id").str()
	if !ok {
		l.at(n, `add "@id": "dtmi:com:example:Thing;1"`, "the interface has no identifier")
		return nil
	}
	if version == 0 {
		if c := n.get("@context"); c != nil {
			l.at(c, `use "dtmi:dtdl:context;2" or "dtmi:dtdl:context;3"`, "the context of %s is of no version of DTDL from 2 to 4", clip(id))
		} else {
			l.at(n, `add "@context": "dtmi:dtdl:context;3"`, "the interface %s has no context, so the version of DTDL is unknown", clip(id))
		}
		return nil
	}
	if fault := dtmiFault(id, version); fault != "" {
		l.at(n.get("@id"), `such as "dtmi:com:example:Thing;1"`, "the identifier %q %s", clip(id), fault)
		return nil
	}
	if len(id) > maxInterfaceID {
		l.at(n.get("@id"), "", "the identifier of an interface is longer than %d characters", maxInterfaceID)
		return nil
	}
	if first, taken := l.interfaces[id]; taken {
		if first.node.same(n) {
			return nil // exports repeat an inherited interface in every template that uses it
		}
		line, _ := first.node.src.position(first.node.off)
		l.at(n.get("@id"), "give the newer one another version, or remove one",
			"the interface %s is defined already, differently, in %s:%d", clip(id), first.node.src.name, line)
		return nil
	}
	d := &definition{id: id, node: n, version: version, schemas: map[string]reusable{}, named: map[string]*schema{}}
	l.interfaces[id] = d
	l.order = append(l.order, d)
	return d
}

// registerSchema takes in a schema for its own interface; two interfaces may give the same identifier to different schemas, as
// the versions of a public model often do. Others find the first one.
func (l *loader) registerSchema(n *node, id string, version int, d *definition) {
	if version != 0 {
		if fault := dtmiFault(id, version); fault != "" {
			l.at(n.get("@id"), `such as "dtmi:com:example:Thing:schema;1"`, "the identifier %q %s", clip(id), fault)
			return
		}
	}
	if first, taken := d.schemas[id]; taken {
		if !first.node.same(n) {
			line, _ := first.node.src.position(first.node.off)
			l.at(n.get("@id"), "give one of them another identifier",
				"the schema %s is defined already, differently, on line %d", clip(id), line)
		}
		return
	}
	d.schemas[id] = reusable{node: n, version: version}
	if _, taken := l.schemas[id]; !taken {
		l.schemas[id] = d.schemas[id]
	}
}

// finish compiles what was read.
func (l *loader) finish() (*Set, error) {
	for _, d := range l.order {
		l.compile(d)
	}
	for _, d := range l.order {
		l.inherit(d)
	}
	for _, d := range l.order {
		l.assemble(d)
	}
	if err := l.result(); err != nil {
		return nil, err
	}
	s := &Set{templates: make(map[string]*Template, len(l.order)+len(l.aliases)), warnings: sorted(l.warnings)}
	for id, d := range l.interfaces {
		s.templates[id] = d.result
	}
	for alias, id := range l.aliases {
		if _, taken := s.templates[alias]; !taken {
			s.templates[alias] = s.templates[id]
		}
	}
	s.ids = slices.Sorted(maps.Keys(l.interfaces))
	return s, nil
}

// contextVersion returns the version of DTDL that the context of an object names, 0 for none.
func contextVersion(n *node) int {
	for _, c := range n.get("@context").list() {
		s, _ := c.str()
		s, _, _ = strings.Cut(s, "#")
		switch s {
		case "dtmi:dtdl:context;2":
			return 2
		case "dtmi:dtdl:context;3":
			return 3
		case "dtmi:dtdl:context;4":
			return 4
		}
	}
	return 0
}

// types returns the types of an element as plain words: "dtmi:dtdl:class:Telemetry;2" is Telemetry.
func types(n *node) []string {
	var words []string
	for _, t := range n.get("@type").list() {
		if s, ok := t.str(); ok {
			words = append(words, plainWord(s, "dtmi:dtdl:class:"))
		}
	}
	return words
}

// plainWord cuts a namespace and a version off a term that is written in full.
func plainWord(s, space string) string {
	rest, ok := strings.CutPrefix(s, space)
	if !ok {
		return s
	}
	rest, _, _ = strings.Cut(rest, ";")
	return rest[strings.LastIndexByte(rest, ':')+1:]
}

func isA(n *node, class string) bool {
	t := n.get("@type")
	if t == nil {
		return false
	}
	if t.kind == stringNode {
		return plainWord(t.text, "dtmi:dtdl:class:") == class
	}
	return slices.Contains(types(n), class)
}

// complexClass returns which kind of complex schema an element is, or "".
func complexClass(n *node) string {
	if n.get("@type") == nil {
		return ""
	}
	for _, class := range complexClasses {
		if isA(n, class) {
			return class
		}
	}
	return ""
}

var complexClasses = []string{"Array", "Enum", "Map", "Object"}
