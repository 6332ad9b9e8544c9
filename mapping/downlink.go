package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Command returns what is to be done for a command to reach its device: messages to publish, changes of state to commit with the
// command's entry in the ledger, and events such as the completion of a command that its device never answers. A device that
// a family has brought in is addressed in the family's way, any other by the native scheme. args may be nil. Arguments that the
// device's template does not allow are an *Error with CodeTemplate, and what is behind it with errors.Is and errors.As.
func (m *Mapper) Command(device, name, id string, args json.RawMessage, now time.Time, state State) (Result, error) {
	if err := ValidDeviceID(device); err != nil {
		return Result{}, err
	}
	if err := ValidName(name); err != nil {
		return Result{}, err
	}
	if id == "" || strings.ContainsAny(id, "/+#\x00") {
		return Result{}, fmt.Errorf("command id %q cannot stand in a topic", clip(id))
	}
	if t := m.templateOf(device); t != nil {
		fitted, err := t.Command(name, args)
		if err != nil {
			return Result{}, templateError(err, device, name)
		}
		args = fitted
	}
	if entry, address := m.owner(device, state); entry != nil {
		got, err := entry.family.Command(&CommandCall{
			Device: device, Name: name, ID: id, Args: args, Now: now.UTC(), Address: address, State: familyState{state, entry.prefix},
		})
		return m.downward(entry, got, err, device, name)
	}
	base := "devices/" + device + "/commands/" + name
	return Result{Route: native, Publish: []Message{{
		// A device that subscribes with QoS 2 gets a command exactly once, also over a connection that breaks.
		Topic: base + "/request/" + id, Payload: args, QoS: 2,
		ResponseTopic: base + "/response/" + id, CorrelationData: []byte(id),
	}}}, nil
}

// templateOf returns the template of a device, or nil.
func (m *Mapper) templateOf(device string) Template {
	if m.template == nil {
		return nil
	}
	return m.template(device)
}

// downward puts a family's changes under its own keys and its errors into shape.
func (m *Mapper) downward(entry *familyEntry, got Result, err error, device, name string) (Result, error) {
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			e.Device, e.Name, e.Route = device, name, entry.name
			return Result{}, e
		}
		return Result{}, fmt.Errorf("%s: %s of device %s: %w", entry.name, name, device, err)
	}
	got.Route = entry.name
	for i := range got.Changes {
		got.Changes[i].Key = entry.prefix + got.Changes[i].Key
	}
	return got, nil
}

// Desired returns what tells a device the desired value of a property: in the native scheme {"value": ..., "version": n},
// retained, so that a device that connects later reads it too. A nil value clears it.
func (m *Mapper) Desired(device, name string, value json.RawMessage, version uint64, now time.Time, state State) (Result, error) {
	if err := ValidDeviceID(device); err != nil {
		return Result{}, err
	}
	if err := ValidName(name); err != nil {
		return Result{}, err
	}
	if t := m.templateOf(device); t != nil && value != nil {
		fitted, err := t.Property(name, value)
		if err != nil {
			return Result{}, templateError(err, device, name)
		}
		value = fitted
	}
	if entry, address := m.owner(device, state); entry != nil {
		got, err := entry.family.Desired(&DesiredCall{
			Device: device, Name: name, Value: value, Version: version, Now: now.UTC(), Address: address, State: familyState{state, entry.prefix},
		})
		return m.downward(entry, got, err, device, name)
	}
	msg := Message{Topic: "devices/" + device + "/properties/" + name + "/desired", QoS: 1, Retain: true}
	if value != nil {
		b := make([]byte, 0, len(value)+40)
		b = append(b, `{"value":`...)
		b = append(b, value...)
		b = append(b, `,"version":`...)
		b = strconv.AppendUint(b, version, 10)
		msg.Payload = append(b, '}')
	}
	return Result{Route: native, Publish: []Message{msg}}, nil
}

// Answer returns the answer to a PropertyQuery: the value where the device asked for it, else on the property's desired topic.
func (m *Mapper) Answer(q PropertyQuery, value json.RawMessage, version uint64, now time.Time, state State) (Result, error) {
	res, err := m.Desired(q.Device, q.Name, value, version, now, state)
	if err != nil || q.Response == nil {
		return res, err
	}
	for i := range res.Publish {
		res.Publish[i].Topic, res.Publish[i].Retain = q.Response.Topic, false
		res.Publish[i].CorrelationData = q.Response.Correlation
	}
	return res, nil
}
