package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"iotc-gateway/mapping/template"
)

// model is what a device does, taken from its template: names with components
// before a dot.
type model struct {
	telemetry  []named
	properties []named // the device's own
	writable   []named // the application's, which the device acknowledges
	commands   map[string]*template.Command
	leftOut    []string
}

type named struct {
	name  string
	value *template.Value
}

var errNothing = errors.New("the template has neither telemetry nor properties that a device could send")

// newModel reads a template and tries a value of each schema.
func newModel(t *template.Template) (*model, error) {
	m := &model{commands: map[string]*template.Command{}}
	m.take("", t)
	for _, c := range t.Components() {
		m.take(c.Name+".", c.Template)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	fits := func(check func(name string, v json.RawMessage) error) func(named) bool {
		return func(n named) bool {
			err := check(n.name, newSource(n.value, rng).next(now))
			if err != nil {
				m.leftOut = append(m.leftOut, fmt.Sprintf("%s: %v", n.name, err))
			}
			return err != nil
		}
	}
	m.telemetry = slices.DeleteFunc(m.telemetry, fits(func(name string, v json.RawMessage) error {
		_, _, err := t.TelemetryValue(name, v)
		return err
	}))
	property := fits(func(name string, v json.RawMessage) error {
		_, err := t.Property(name, v)
		return err
	})
	m.properties = slices.DeleteFunc(m.properties, property)
	m.writable = slices.DeleteFunc(m.writable, property)
	if len(m.telemetry)+len(m.properties)+len(m.writable) == 0 {
		return nil, errNothing
	}
	return m, nil
}

func (m *model) take(prefix string, t *template.Template) {
	if t == nil {
		return
	}
	for _, v := range t.TelemetryValues() {
		m.telemetry = append(m.telemetry, named{prefix + v.Name, v})
	}
	for _, v := range t.Properties() {
		switch {
		case v.Cloud:
		case v.Writable:
			m.writable = append(m.writable, named{prefix + v.Name, v})
		default:
			m.properties = append(m.properties, named{prefix + v.Name, v})
		}
	}
	for _, c := range t.Commands() {
		m.commands[prefix+c.Name] = c
	}
}

// Choose finds the template to simulate: the one that is asked for, else the
// only one that no other refers to as a component.
func Choose(set *template.Set, id string) (*template.Template, error) {
	if id != "" {
		t, ok := set.Get(id)
		if !ok {
			return nil, fmt.Errorf("%s is not there; there are %s", id, strings.Join(set.IDs(), ", "))
		}
		return t, nil
	}
	part := map[string]bool{}
	for _, id := range set.IDs() {
		if t, ok := set.Get(id); ok {
			for _, c := range t.Components() {
				if c.Template != nil {
					part[c.Template.ID()] = true
				}
			}
		}
	}
	var whole []string
	for _, id := range set.IDs() {
		if !part[id] {
			whole = append(whole, id)
		}
	}
	if len(whole) != 1 {
		return nil, fmt.Errorf("there are several interfaces; choose one of %s", strings.Join(set.IDs(), ", "))
	}
	t, _ := set.Get(whole[0])
	return t, nil
}
