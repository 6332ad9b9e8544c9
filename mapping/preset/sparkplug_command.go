package preset

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
	"iotc-gateway/mapping/payload/sparkplug"
)

// sparkplugCommand is a command that waits for the metric that it wrote to come back.
type sparkplugCommand struct {
	Device string `json:"d"` // behind the node; "" for the node
	Metric string `json:"m"`
	Name   string `json:"n"`
	ID     string `json:"i"`
	For    string `json:"f"` // device id
}

func (s *sparkplugStore) pending() []sparkplugCommand {
	data, ok := s.Get("pending")
	if !ok {
		return nil
	}
	var list []sparkplugCommand
	if json.Unmarshal(data, &list) != nil {
		return nil // of another version; the commands run into their time limit
	}
	return list
}

func (s *sparkplugStore) setPending(list []sparkplugCommand) error {
	if len(list) == 0 {
		s.Put("pending", nil)
		return nil
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	s.Put("pending", data)
	return nil
}

// answers completes the commands whose metric the message carries, and rebirth with the BIRTH of the node.
func (m *sparkplugMessage) answers(store *sparkplugStore, out *sparkplug.Outcome) {
	waiting := store.pending()
	if len(waiting) == 0 {
		return
	}
	left := slices.DeleteFunc(slices.Clone(waiting), func(w sparkplugCommand) bool {
		done := mapping.CommandResponse{Device: w.For, Name: w.Name, ID: w.ID, Status: mapping.StatusCompleted}
		if w.Metric == sparkplug.RebirthName {
			if m.topic.Type != sparkplug.NBirth {
				return false
			}
			m.res.Events = append(m.res.Events, done)
			return true
		}
		for _, v := range out.Values {
			if v.Device == w.Device && v.Name == w.Metric {
				done.Result, _ = mapping.Encode(v.Value) // a value that has no JSON form was refused before
				m.res.Events = append(m.res.Events, done)
				return true
			}
		}
		return false
	})
	if len(left) < len(waiting) {
		_ = store.setPending(left) // strings alone, which always marshal
	}
}

// Command writes the metric that is named like the command.
func (f *sparkplugFamily) Command(c *mapping.CommandCall) (mapping.Result, error) {
	topic, store, err := f.target(c.Address, c.State)
	if err != nil {
		return mapping.Result{}, err
	}
	waiting := sparkplugCommand{Device: topic.Device, Name: c.Name, ID: c.ID, For: c.Device}
	var message mapping.Message
	if c.Name == sparkplugRebirth {
		topic.Device, waiting.Metric = "", sparkplug.RebirthName
		message = mapping.Message{Topic: topic.Command().String(), Payload: sparkplug.Rebirth(c.Now)}
	} else if message, waiting.Metric, err = f.write(topic, store, c.Name, commandValue(c.Args), c.Now); err != nil {
		return mapping.Result{}, err
	}
	list := append(store.pending(), waiting)
	if len(list) > sparkplugPending {
		list = list[len(list)-sparkplugPending:]
	}
	if err := store.setPending(list); err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{Publish: []mapping.Message{message}, Changes: store.changes}, nil
}

// Desired writes the metric that is named like the property.
func (f *sparkplugFamily) Desired(c *mapping.DesiredCall) (mapping.Result, error) {
	if c.Value == nil {
		return mapping.Result{}, mapping.ErrNotSupported
	}
	topic, store, err := f.target(c.Address, c.State)
	if err != nil {
		return mapping.Result{}, err
	}
	message, _, err := f.write(topic, store, c.Name, c.Value, c.Now)
	if err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{Publish: []mapping.Message{message}}, nil
}

// target finds the node behind an address. It must be alive: commands travel at QoS 0, nobody keeps them for it.
func (f *sparkplugFamily) target(address []byte, state mapping.State) (sparkplug.Topic, *sparkplugStore, error) {
	parts := strings.Split(string(address), "/")
	if len(parts) < 2 {
		return sparkplug.Topic{}, nil, &mapping.Error{Code: mapping.CodeState, Message: "no BIRTH of the device was seen"}
	}
	topic := sparkplug.Topic{Group: parts[0], Edge: parts[1]}
	if len(parts) > 2 {
		topic.Device = parts[2]
	}
	store := newSparkplugStore(state, topic.Group, topic.Edge)
	if !sparkplug.Online(store, topic.Device) {
		return sparkplug.Topic{}, nil, &mapping.Error{Code: mapping.CodeState, Message: "the device is offline"}
	}
	return topic, store, nil
}

func (f *sparkplugFamily) write(topic sparkplug.Topic, store *sparkplugStore, name string, value json.RawMessage, now time.Time) (mapping.Message, string, error) {
	metric, ok := sparkplug.FindMetric(store, topic.Device, func(known string) bool { return known == name || valueName(known) == name })
	if !ok {
		return mapping.Message{}, "", &mapping.Error{Code: mapping.CodeBadName, Message: fmt.Sprintf("the BIRTH has no metric named %s", name)}
	}
	var v any
	if len(value) > 0 {
		var err error
		if v, err = payload.ParseJSON(value); err != nil {
			return mapping.Message{}, "", &mapping.Error{Code: mapping.CodeUndecodable, Message: err.Error()}
		}
	} else if metric.Type == sparkplug.Boolean {
		v = true // a button
	}
	m := sparkplug.Metric{Name: metric.Name, Time: now}
	if err := m.Set(metric.Type, v); err != nil {
		return mapping.Message{}, "", &mapping.Error{Code: mapping.CodeUndecodable, Message: fmt.Sprintf("metric %s: %v", metric.Name, err)}
	}
	if metric.HasAlias { // which then has to stand in place of the name (Sparkplug 3.0 §6.4.6)
		m.Name, m.Alias, m.HasAlias = "", metric.Alias, true
	}
	p := sparkplug.Payload{Time: now, Metrics: []sparkplug.Metric{m}}
	return mapping.Message{Topic: topic.Command().String(), Payload: sparkplug.Encode(&p)}, metric.Name, nil
}

// commandValue takes the arguments of a command for the value to write, and of {"value": x} the x.
func commandValue(args json.RawMessage) json.RawMessage {
	var wrapped map[string]json.RawMessage
	if json.Unmarshal(args, &wrapped) == nil && len(wrapped) == 1 && wrapped["value"] != nil {
		return wrapped["value"]
	}
	return args
}
