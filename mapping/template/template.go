package template

import (
	"maps"
	"slices"
)

// Set is every template of a load. It is immutable and safe for concurrent use; a nil Set is empty.
type Set struct {
	templates map[string]*Template // by interface, and by device template of IoT Central
	ids       []string             // of interfaces, sorted
	warnings  Problems
}

// Get returns the template of an identifier: that of an interface, or that of the device template it was exported in.
func (s *Set) Get(id string) (*Template, bool) {
	if s == nil {
		return nil, false
	}
	t, ok := s.templates[id]
	return t, ok
}

// IDs returns the identifiers of all interfaces, sorted.
func (s *Set) IDs() []string {
	if s == nil {
		return nil
	}
	return slices.Clone(s.ids)
}

// Len returns the number of interfaces.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.ids)
}

// Warnings returns what was found and does not keep the templates from working, in the order of files and lines.
func (s *Set) Warnings() Problems {
	if s == nil {
		return nil
	}
	return slices.Clone(s.warnings)
}

// Template is one interface with everything that it inherits, compiled.
type Template struct {
	id          string
	displayName string
	file        string

	values     map[string]*Value // telemetry
	properties map[string]*Value // also component.property and component*property
	commands   map[string]*Command
	components map[string]*Component
	body       *schema // a telemetry object
}

// ID returns the identifier of the interface.
func (t *Template) ID() string { return t.id }

// DisplayName returns the English display name, or "".
func (t *Template) DisplayName() string { return t.displayName }

// File returns the file that defines the interface.
func (t *Template) File() string { return t.file }

// Value is a telemetry value, a property, or an argument or result of a command.
type Value struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName,omitempty"`
	Schema      string `json:"schema"`             // its word in DTDL: double, Enum, ...
	Semantic    string `json:"semantic,omitempty"` // such as Temperature
	Unit        string `json:"unit,omitempty"`     // such as degreeCelsius
	Writable    bool   `json:"writable,omitempty"` // property: the application sets it, the device obeys
	Cloud       bool   `json:"cloud,omitempty"`    // property: IoT Central's own, the device never hears of it

	schema *schema
}

// Command is a command with what it takes and returns, nil for nothing.
type Command struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName,omitempty"`
	Request     *Value `json:"request,omitempty"`
	Response    *Value `json:"response,omitempty"`

	wrapped *schema // {"name of the request": value}
	generic *schema // {"request": value}
}

// Component is another interface that is part of this one under a name.
type Component struct {
	Name        string    `json:"name"`
	DisplayName string    `json:"displayName,omitempty"`
	Template    *Template `json:"-"`

	properties *schema // an object of properties
}

// TelemetryValues returns the telemetry of the template itself, without that of its components, by name.
func (t *Template) TelemetryValues() []*Value { return byName(t.values) }

// Properties returns the properties of the template itself, by name.
func (t *Template) Properties() []*Value { return byName(t.properties) }

// Commands returns the commands of the template itself, by name.
func (t *Template) Commands() []*Command { return byName(t.commands) }

// Components returns the components, by name.
func (t *Template) Components() []*Component { return byName(t.components) }

// byName leaves out the entries that a component has added under its own name and a separator.
func byName[V any](m map[string]V) []V {
	list := make([]V, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if nameOfComponent(name) == "" {
			list = append(list, m[name])
		}
	}
	return list
}

// nameOfComponent returns what stands before the separator of a qualified name, or "".
func nameOfComponent(name string) string {
	for i := range len(name) {
		if name[i] == '.' || name[i] == '*' {
			return name[:i]
		}
	}
	return ""
}

// FindProperty returns a property by its name, or by component.name or component*name.
func (t *Template) FindProperty(name string) (*Value, bool) {
	v, ok := t.properties[name]
	return v, ok
}

// FindCommand returns a command by its name, or by component.name or component*name.
func (t *Template) FindCommand(name string) (*Command, bool) {
	c, ok := t.commands[name]
	return c, ok
}

// FindTelemetry returns a telemetry value by its name, or by component.name or component*name.
func (t *Template) FindTelemetry(name string) (*Value, bool) {
	v, ok := t.values[name]
	return v, ok
}

// Writable tells whether a property exists and belongs to the application: it is writable, or one of IoT Central's own.
func (t *Template) Writable(name string) bool {
	v, ok := t.properties[name]
	return ok && (v.Writable || v.Cloud)
}
