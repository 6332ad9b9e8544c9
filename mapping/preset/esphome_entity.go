package preset

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// espKnown are the entities of a device: their topics, without the device in front, by the names of their values.
type espKnown map[string]string

func espKey(device string) string { return "e/" + device }

func espEntitiesOf(state mapping.State, device string) espKnown {
	known := espKnown{}
	if data, ok := state.Get(espKey(device)); !ok || json.Unmarshal(data, &known) != nil || known == nil {
		return espKnown{}
	}
	return known
}

func (k espKnown) has(path string) bool {
	_, entity, _ := strings.Cut(path, "/")
	return k[modelName(entity)] == path || k[modelName(path)] == path
}

// name finds the name of an entity's value, or gives it one: its own, and if another component was first its component's and its own.
func (k espKnown) name(path string) (name string, changed bool) {
	component, entity, _ := strings.Cut(path, "/")
	full := modelName(path)
	for _, name := range []string{modelName(entity), full} {
		switch was, taken := k[name]; {
		case was == path:
			return name, false
		case taken && !(component == espText && was == espSensor+"/"+entity): // a sensor that turns out to publish text
			continue
		case !taken && len(k) >= espEntities:
			return full, false
		}
		k[name] = path
		return name, true
	}
	return full, false
}

func (k espKnown) keep(res *mapping.Result, device string) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	res.Changes = append(res.Changes, mapping.Change{Key: espKey(device), Value: data})
	return nil
}

// object is a state in JSON: of a light, an event, a date, an update.
func (m *espMessage) object(name string) error {
	tree, err := payload.ParseJSON([]byte(m.text))
	if err != nil {
		return m.fault(m.component + ": no JSON: " + err.Error())
	}
	object, _ := tree.(map[string]any) // begins with a brace
	switch m.component {
	case espEvent:
		kind, ok := object["event_type"].(string)
		if !ok {
			return m.fault("the event has no event_type")
		}
		return m.telemetry(name, kind)
	case espLight:
		word, ok := object["state"].(string)
		if ok {
			on := word == "ON"
			m.property(name, on)
			delete(object, "state")
			m.members(name, object, 1)
			return m.answered(name, boolean(on))
		}
	case "date", "time", "datetime":
		return m.set(name, object)
	}
	m.members(name, object, 1)
	return nil
}

// members tells each member as a property.
func (m *espMessage) members(name string, object map[string]any, depth int) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		inner := modelName(name, key)
		switch v := object[key].(type) {
		case nil:
		case map[string]any:
			if depth < 3 {
				m.members(inner, v, depth+1)
				continue
			}
			m.res.Tally.Unsupported++
		case []any:
			m.res.Tally.Unsupported++
		default:
			m.property(inner, v)
		}
	}
}

// Command sets an entity, or presses a button.
func (f *espHomeFamily) Command(c *mapping.CommandCall) (mapping.Result, error) {
	value := commandValue(c.Args)
	message, want, err := f.set(c.State, c.Device, c.Name, value)
	if err != nil {
		return mapping.Result{}, err
	}
	res := mapping.Result{Publish: []mapping.Message{message}}
	said, known := newReported(c.State, c.Device, c.Now).value(c.Name)
	already := known && want != nil && bytes.Equal(said, want)
	if !already && !espIsButton(message.Topic) {
		return res, awaitAnswer(&res, c, want)
	}
	done := mapping.CommandResponse{Device: c.Device, Name: c.Name, ID: c.ID, Status: mapping.StatusCompleted}
	if already {
		done.Result = want
	}
	res.Events = []mapping.Event{done}
	return res, nil
}

func espIsButton(topic string) bool {
	levels := strings.Split(topic, "/")
	return len(levels) > 2 && levels[len(levels)-3] == espButton
}

// Desired sets an entity.
func (f *espHomeFamily) Desired(c *mapping.DesiredCall) (mapping.Result, error) {
	if c.Value == nil {
		return mapping.Result{}, mapping.ErrNotSupported
	}
	message, _, err := f.set(c.State, c.Device, c.Name, c.Value)
	if err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{Publish: []mapping.Message{message}}, nil
}

// set makes the message to an entity, and says which value answers it; nil if that cannot be told.
func (f *espHomeFamily) set(state mapping.State, device, name string, value json.RawMessage) (mapping.Message, json.RawMessage, error) {
	path, ok := espEntitiesOf(state, device)[name]
	component, entity, _ := strings.Cut(path, "/")
	if button, is := strings.CutPrefix(name, espButton+"_"); !ok && is && button != "" {
		component, entity, ok, value = espButton, button, true, json.RawMessage(`"PRESS"`)
		path = component + "/" + entity
	}
	switch {
	case !ok, slices.Contains([]string{espSensor, espText, espBinary, espEvent}, component):
		return mapping.Message{}, nil, &mapping.Error{
			Code: mapping.CodeBadName, Message: "the device has shown nothing of that name that can be set",
			Hint: "a button is button_ and its name",
		}
	case offline(state, device):
		return mapping.Message{}, nil, errOffline()
	}
	text, want, ok := espPayload(component, entity, value)
	if !ok {
		return mapping.Message{}, nil, &mapping.Error{Code: mapping.CodeUndecodable, Message: "that is nothing to set a " + component + " to"}
	}
	return mapping.Message{Topic: f.prefix + device + "/" + path + "/command", Payload: text, QoS: 1}, want, nil
}

// espPayload writes a value as a component reads it.
func espPayload(component, entity string, value json.RawMessage) (text []byte, want json.RawMessage, ok bool) {
	value = bytes.TrimSpace(value)
	var word string
	switch {
	case len(value) == 0 || value[0] == '[' || string(value) == "null":
		return nil, nil, false
	case string(value) == "true" || string(value) == "false":
		yes := string(value) == "true"
		word = espWord(component, entity, yes)
		if component == espSwitch || component == espFan || component == espLight {
			want = boolean(yes)
		}
	case value[0] == '{':
		return bytes.Clone(value), nil, true
	case value[0] == '"':
		if json.Unmarshal(value, &word) != nil || word == "" {
			return nil, nil, false
		}
		if component == espSwitch || component == espFan && !strings.Contains(entity, "/") || component == espLight {
			switch word = strings.ToUpper(word); word {
			case "ON", "OFF":
				want = boolean(word == "ON")
			case "TOGGLE":
			default:
				return nil, nil, false
			}
		}
	default:
		return bytes.Clone(value), nil, component != espSwitch && component != espLight
	}
	if component == espLight {
		word = `{"state":"` + word + `"}`
	}
	return []byte(word), want, true
}

// espWord is what a component calls yes and no.
func espWord(component, entity string, yes bool) string {
	words := [2]string{"OFF", "ON"}
	switch {
	case component == espLock:
		words = [2]string{"UNLOCK", "LOCK"}
	case component == espCover, component == espValve:
		words = [2]string{"CLOSE", "OPEN"}
	case strings.HasSuffix(entity, "/oscillation"):
		words = [2]string{"oscillate_off", "oscillate_on"}
	}
	if yes {
		return words[1]
	}
	return words[0]
}
