package preset

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"iotc-gateway/mapping"
)

// homeAssistantFamily takes the discovery messages that many devices and bridges publish for Home Assistant for a
// description of their topics: <prefix>/<component>/[<node>/]<object>/config for one entity, and <prefix>/device/[<node>/]<object>/config
// for a whole device. The prefix is homeassistant unless the preset names another.
//
// The device is the node of the topic; without a node it is the object of a device's message, else the first identifier in
// "device", else the object. The value's name is the object, or the component's key, without the device's name in front.
// sensor and binary_sensor become telemetry (binary ones a boolean); switch, number, select and text become properties, which a
// command or a desired property of the same name sets; button becomes a command. Availability topics become the property online.
// Other components are counted as unsupported.
//
// Of templates {{ value }}, {{ value_json.a.b }} and {{ value_json['a'][0] }} are understood, with the filters float, round (the
// value is passed on as it is) and is_defined behind. An entity with another template is refused: a route has to take its place.
//
// A discovery message claims topics, and only those that its sender may publish; an empty one gives them back. When the gateway
// starts, it publishes online on <prefix>/status, upon which devices introduce themselves again.
type homeAssistantFamily struct {
	name   string
	prefix string
}

// HomeAssistant returns the family of Home Assistant's MQTT discovery.
func HomeAssistant(p mapping.Preset) (mapping.Family, error) {
	f := &homeAssistantFamily{name: "homeassistant", prefix: "homeassistant"}
	if p.Prefix != "" {
		if strings.ContainsAny(p.Prefix, "+#{}") {
			return nil, fmt.Errorf("homeassistant: the prefix %q holds a wildcard", p.Prefix)
		}
		f.prefix = strings.Trim(p.Prefix, "/")
		f.name += " " + strings.ReplaceAll(f.prefix, "/", ".")
	}
	return f, nil
}

func (f *homeAssistantFamily) Name() string { return f.name }

func (f *homeAssistantFamily) Patterns() []string {
	return []string{f.prefix + "/status", f.prefix + "/{component}/{object}/config", f.prefix + "/{component}/{node}/{object}/config"}
}

// Scopes let a device introduce itself under its own name. The topics that it then speaks of are its own affair: native ones, or
// topic patterns of its user.
func (f *homeAssistantFamily) Scopes() []mapping.Scope {
	return []mapping.Scope{
		{Pattern: f.prefix + "/+/{device}/config", Publish: true},
		{Pattern: f.prefix + "/+/{device}/+/config", Publish: true},
		{Pattern: f.prefix + "/status", Subscribe: true},
	}
}

// Start asks devices to introduce themselves, as Home Assistant does with its birth message.
func (f *homeAssistantFamily) Start(time.Time) []mapping.Message {
	return []mapping.Message{{Topic: f.prefix + "/status", Payload: []byte("online")}}
}

// Stop says nothing: a Home Assistant beside the gateway may still be there.
func (f *homeAssistantFamily) Stop(time.Time) []mapping.Message { return nil }

// The keys of the state: what a discovery message bound, the bindings of a topic, how to set an entity, which command waits for
// an entity, and the last word of each availability topic of a device.
func haConfigKey(topic string) string         { return "c/" + topic }
func haTopicKey(topic string) string          { return "t/" + topic }
func haEntityKey(device, name string) string  { return "e/" + device + "/" + name }
func haPendingKey(device, name string) string { return "p/" + device + "/" + name }
func haOnlineKey(device string) string        { return "a/" + device }

// haBinding is what one entity wants to know of a topic.
type haBinding struct {
	Config    string   `json:"c"` // topic of the discovery message
	Device    string   `json:"d"`
	Name      string   `json:"n,omitempty"` // of the value; "" for availability
	Component string   `json:"p,omitempty"`
	Path      []string `json:"j,omitempty"` // into the JSON payload
	JSON      bool     `json:"o,omitempty"` // the payload is JSON, even without a path
	Number    bool     `json:"u,omitempty"` // a number, because it has a unit
	On        string   `json:"1,omitempty"`
	Off       string   `json:"0,omitempty"`
	Mode      string   `json:"m,omitempty"` // of availability: latest, all or any
	Topics    []string `json:"t,omitempty"` // of availability: all of the entity's
}

// haEntity tells how to set an entity.
type haEntity struct {
	Topic     string `json:"t"`
	Component string `json:"p"`
	On        string `json:"1,omitempty"`
	Off       string `json:"0,omitempty"`
	QoS       byte   `json:"q,omitempty"`
	Retain    bool   `json:"r,omitempty"`
	Answers   bool   `json:"a,omitempty"` // there is a state topic
}

// haConfig is what a discovery message bound, to be taken back.
type haConfig struct {
	Device string   `json:"d"`
	Topics []string `json:"t"`
	Names  []string `json:"n"` // of entities that can be set
}

const (
	haMaxBindings   = 1024 // of one topic
	haMaxComponents = 256  // of one message
)

// Map takes a discovery message, or a message on a topic that one claimed.
func (f *homeAssistantFamily) Map(c *mapping.Call) (mapping.Result, error) {
	switch c.Pattern {
	case 0:
		return mapping.Result{}, nil
	case -1:
		return f.values(c)
	}
	return f.discovery(c)
}

// discovery replaces what an earlier message on the topic bound.
func (f *homeAssistantFamily) discovery(c *mapping.Call) (mapping.Result, error) {
	var res mapping.Result
	topic := c.Pub.Topic
	found := haDiscovery{topic: topic, component: c.Capture("component"), node: c.Capture("node"), object: c.Capture("object")}
	if len(strings.TrimSpace(string(c.Pub.Payload))) > 0 {
		if err := found.read(c.Pub.Payload); err != nil {
			return res, err
		}
		res.Addresses = append(res.Addresses, mapping.Address{Device: found.device})
		res.Tally.Unsupported += found.unsupported
	}
	var old haConfig
	if data, ok := c.State.Get(haConfigKey(topic)); ok && json.Unmarshal(data, &old) == nil && old.Device != found.device && old.Device != "" {
		// The sender must be allowed to take it from the device that had it.
		res.Addresses = append(res.Addresses, mapping.Address{Device: old.Device})
	}
	topics := slices.Clone(old.Topics)
	for _, b := range found.bindings {
		topics = append(topics, b.topic)
	}
	slices.Sort(topics)
	for _, bound := range slices.Compact(topics) {
		if err := f.bind(c, &res, &found, bound); err != nil {
			return mapping.Result{}, err
		}
	}
	for _, name := range old.Names {
		if _, kept := found.entities[name]; !kept || old.Device != found.device {
			res.Changes = append(res.Changes, mapping.Change{Key: haEntityKey(old.Device, name)})
		}
	}
	for _, name := range found.settable() {
		if err := haSet(&res, haEntityKey(found.device, name), found.entities[name]); err != nil {
			return mapping.Result{}, err
		}
	}
	if len(found.bindings) == 0 && len(found.entities) == 0 {
		if old.Device != "" {
			res.Changes = append(res.Changes, mapping.Change{Key: haConfigKey(topic)})
		}
		return res, nil
	}
	return res, haSet(&res, haConfigKey(topic), haConfig{Device: found.device, Topics: found.topics(), Names: found.settable()})
}

// bind replaces the message's bindings of one topic, and claims the topic or gives it back.
func (f *homeAssistantFamily) bind(c *mapping.Call, res *mapping.Result, found *haDiscovery, topic string) error {
	list := slices.DeleteFunc(haBindings(c.State, topic), func(b haBinding) bool { return b.Config == found.topic })
	for _, b := range found.bindings {
		// Every entity of a device names the same availability topic: once a device is enough.
		told := b.Name == "" && slices.ContainsFunc(list, func(o haBinding) bool { return o.Name == "" && o.Device == b.Device })
		if b.topic == topic && !told {
			list = append(list, b.haBinding)
		}
	}
	switch {
	case len(list) > haMaxBindings:
		return &mapping.Error{Code: mapping.CodeTooLarge, Message: fmt.Sprintf("more than %d entities on the topic %s", haMaxBindings, topic)}
	case len(list) == 0:
		res.Claims = append(res.Claims, mapping.Claim{Topic: topic})
		res.Changes = append(res.Changes, mapping.Change{Key: haTopicKey(topic)})
		return nil
	}
	res.Claims = append(res.Claims, mapping.Claim{Topic: topic, Data: []byte{}})
	return haSet(res, haTopicKey(topic), list)
}

func haBindings(state mapping.State, topic string) []haBinding {
	var list []haBinding
	if data, ok := state.Get(haTopicKey(topic)); !ok || json.Unmarshal(data, &list) != nil {
		return nil
	}
	return list
}

func haSet(res *mapping.Result, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	res.Changes = append(res.Changes, mapping.Change{Key: key, Value: data})
	return nil
}

// Command sets an entity, or presses a button. It is answered by the entity's next state, or at once where there is none.
func (f *homeAssistantFamily) Command(c *mapping.CommandCall) (mapping.Result, error) {
	message, e, err := f.set(c.State, c.Device, c.Name, commandValue(c.Args))
	if err != nil {
		return mapping.Result{}, err
	}
	res := mapping.Result{Publish: []mapping.Message{message}}
	if e.Answers {
		res.Changes = []mapping.Change{{Key: haPendingKey(c.Device, c.Name), Value: []byte(c.ID)}}
	} else {
		res.Events = []mapping.Event{mapping.CommandResponse{Device: c.Device, Name: c.Name, ID: c.ID, Status: mapping.StatusCompleted}}
	}
	return res, nil
}

// Desired sets an entity.
func (f *homeAssistantFamily) Desired(c *mapping.DesiredCall) (mapping.Result, error) {
	if c.Value == nil {
		return mapping.Result{}, mapping.ErrNotSupported
	}
	message, _, err := f.set(c.State, c.Device, c.Name, c.Value)
	if err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{Publish: []mapping.Message{message}}, nil
}

func (f *homeAssistantFamily) set(state mapping.State, device, name string, value json.RawMessage) (mapping.Message, haEntity, error) {
	var e haEntity
	data, ok := state.Get(haEntityKey(device, name))
	if !ok || json.Unmarshal(data, &e) != nil {
		return mapping.Message{}, e, &mapping.Error{Code: mapping.CodeBadName, Message: "no discovery message tells how to set " + name}
	}
	text, ok := e.text(value)
	if !ok {
		return mapping.Message{}, e, &mapping.Error{Code: mapping.CodeUndecodable, Message: fmt.Sprintf("%s is no value for a %s", value, e.Component)}
	}
	return mapping.Message{Topic: e.Topic, Payload: []byte(text), QoS: e.QoS, Retain: e.Retain}, e, nil
}

// text writes a value as the entity wants to read it.
func (e haEntity) text(value json.RawMessage) (string, bool) {
	if e.Component == haButton {
		return e.On, true
	}
	var v any
	if json.Unmarshal(value, &v) != nil {
		return "", false
	}
	if e.Component == haSwitch {
		switch v := v.(type) {
		case bool:
			if v {
				return e.On, true
			}
			return e.Off, true
		case string:
			return v, v == e.On || v == e.Off
		}
		return "", false
	}
	switch v := v.(type) {
	case string:
		return v, e.Component != haNumber
	case float64:
		return string(value), true
	}
	return "", false
}
