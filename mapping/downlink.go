package mapping

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Command returns what is to be done for a command to reach its device: messages to publish, changes of state to commit with the
// command's entry in the ledger, and events such as the completion of a command that its device never answers. A device that
// a family has brought in is addressed in the family's way, any other by the native scheme. args may be nil.
func (m *Mapper) Command(device, name, id string, args json.RawMessage, state State) (Result, error) {
	if err := ValidDeviceID(device); err != nil {
		return Result{}, err
	}
	if err := ValidName(name); err != nil {
		return Result{}, err
	}
	if id == "" || strings.ContainsAny(id, "/+#\x00") {
		return Result{}, fmt.Errorf("command id %q cannot stand in a topic", clip(id))
	}
	base := "devices/" + device + "/commands/" + name
	return Result{Route: native, Publish: []Message{{
		Topic: base + "/request/" + id, Payload: args, QoS: 1,
		ResponseTopic: base + "/response/" + id, CorrelationData: []byte(id),
	}}}, nil
}

// Desired returns what tells a device the desired value of a property: in the native scheme {"value": ..., "version": n},
// retained, so that a device that connects later reads it too. A nil value clears it.
func (m *Mapper) Desired(device, name string, value json.RawMessage, version uint64, state State) (Result, error) {
	if err := ValidDeviceID(device); err != nil {
		return Result{}, err
	}
	if err := ValidName(name); err != nil {
		return Result{}, err
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
func (m *Mapper) Answer(q PropertyQuery, value json.RawMessage, version uint64, state State) (Result, error) {
	res, err := m.Desired(q.Device, q.Name, value, version, state)
	if err != nil || q.Response == nil {
		return res, err
	}
	for i := range res.Publish {
		res.Publish[i].Topic, res.Publish[i].Retain = q.Response.Topic, false
		res.Publish[i].CorrelationData = q.Response.Correlation
	}
	return res, nil
}
