package preset

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"iotc-gateway/mapping"
)

// homieMost bounds the properties of one device.
const homieMost = 512

// homieProperty is what is known of one property.
type homieProperty struct {
	Name     string   `json:"n"` // of the value
	Type     string   `json:"t"`
	Settable bool     `json:"s,omitempty"`
	Volatile bool     `json:"v,omitempty"` // not retained
	Words    []string `json:"w,omitempty"` // of an enum
}

// asProperty tells whether the value is one that holds until the next, and not a series.
func (p *homieProperty) asProperty() bool { return p.Settable || p.Type == homieString && !p.Volatile }

// The data types.
const (
	homieInteger = "integer"
	homieFloat   = "float"
	homieBoolean = "boolean"
	homieString  = "string"
	homieEnum    = "enum"
	homieColor   = "color"
	homieDate    = "datetime"
	homieSpan    = "duration"
	homieJSON    = "json"
)

// homieID tells whether a text can be a level of a topic (Homie 5, "Topic IDs").
func homieID(id string) bool {
	return id != "" && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// describe takes $description. A property that is not understood is left out, and the others stay, as the convention wants it.
func (m *homieMessage) describe() error {
	if len(m.call.Pub.Payload) == 0 {
		return nil // $state says whether the device was removed
	}
	var told struct {
		Homie    string   `json:"homie"`
		Name     string   `json:"name"`
		Type     string   `json:"type"`
		Root     string   `json:"root"`
		Children []string `json:"children"`
		Nodes    map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal(m.call.Pub.Payload, &told); err != nil {
		return undecodable("$description: %v", err)
	}
	if !strings.HasPrefix(told.Homie, "5.") {
		return undecodable("$description is for version %.20q of the convention, not 5", told.Homie)
	}
	d := homieDevice{Root: told.Root}
	for _, child := range told.Children {
		if homieID(child) && len(d.Children) < homieMostChildren {
			d.Children = append(d.Children, child)
		}
	}
	known := map[string]homieProperty{}
	for _, node := range slices.Sorted(maps.Keys(told.Nodes)) {
		properties := told.Nodes[node].Properties
		for _, id := range slices.Sorted(maps.Keys(properties)) {
			p, ok := homieRead(properties[id])
			if !ok || !homieID(node) || !homieID(id) {
				m.res.Tally.Unsupported++
				continue
			}
			p.Name = modelName(node, id)
			path := node + "/" + id
			for other, o := range known {
				if o.Name == p.Name { // a-b/c and a/b-c: the hyphens keep them apart
					o.Name, p.Name = strings.ReplaceAll(other, "/", "_"), strings.ReplaceAll(path, "/", "_")
					known[other] = o
				}
			}
			known[path] = p
		}
	}
	if len(known) > homieMost {
		return &mapping.Error{Code: mapping.CodeTooLarge, Message: fmt.Sprintf("$description has %d properties, at most %d are mapped", len(known), homieMost)}
	}
	d.Properties = slices.Sorted(maps.Keys(known))
	if err := m.remember(&d, known); err != nil {
		return err
	}
	for _, about := range [][2]string{{"name", told.Name}, {"type", told.Type}} {
		if about[1] == "" {
			continue
		}
		body, err := mapping.Encode(about[1])
		if err != nil {
			return err
		}
		m.said.tell(&m.res, about[0], body, time.Time{})
	}
	if own := m.word(m.call.State); own != "" { // the description may have named a root
		return m.available(m.said, m.effective(m.call.State, &d, own))
	}
	return nil
}

// homieRead reads what the description says of one property.
func homieRead(text json.RawMessage) (p homieProperty, ok bool) {
	told := struct {
		Type     string `json:"datatype"`
		Format   string `json:"format"`
		Settable bool   `json:"settable"`
		Retained bool   `json:"retained"`
	}{Retained: true}
	if json.Unmarshal(text, &told) != nil {
		return p, false
	}
	p = homieProperty{Type: told.Type, Settable: told.Settable, Volatile: !told.Retained}
	switch told.Type {
	case homieEnum:
		p.Words = strings.Split(told.Format, ",")
		return p, told.Format != ""
	case homieInteger, homieFloat, homieBoolean, homieString, homieColor, homieDate, homieSpan, homieJSON:
		return p, true
	}
	return p, false
}

// remember keeps the description, and forgets the properties that it no longer has.
func (m *homieMessage) remember(d *homieDevice, known map[string]homieProperty) error {
	old, _ := m.load(m.call.State)
	for _, path := range old.Properties {
		if _, stays := known[path]; !stays {
			m.put(m.property(path), nil)
		}
	}
	for _, path := range d.Properties {
		data, err := json.Marshal(known[path])
		if err != nil {
			return fmt.Errorf("keep the property %s: %w", path, err)
		}
		m.put(m.property(path), data)
	}
	data, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("keep the description: %w", err)
	}
	m.put(m.description(), data)
	return nil
}
