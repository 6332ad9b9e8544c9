package preset

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
	"iotc-gateway/mapping/payload/sparkplug"
)

// sparkplugFamily maps Eclipse Sparkplug B, host side.
//
// An edge node becomes the device <edge>, a device behind it <edge>:<device>. The prefix of the preset, if there is one, is a
// group: the preset takes the topics of that group alone, and devices are <group>:<edge> and <group>:<edge>:<device>. That is
// for sites where two groups have nodes of the same name. What cannot stand in a device id becomes a hyphen.
//
// Metrics become telemetry, those of one time in one reading, under their names with anything but letters, digits, hyphens and
// underscores replaced by an underscore: "Inputs/Temp 1" is Inputs_Temp_1. BIRTH certificates carry values too. Controls
// ("Node Control/...", "Device Control/...", bdSeq) are none. BIRTH and DEATH become the property online. Historical metrics
// keep that mark; null metrics tell nothing.
//
// A command or a desired property named like a metric writes that metric (NCMD, DCMD) in the type of its BIRTH, and is
// answered by the next message that carries the metric; the command rebirth asks for BIRTH certificates. The preset asks for
// them by itself when messages are missing, as package payload/sparkplug describes. While the gateway runs it announces itself
// as the host application iotc-gateway.
type sparkplugFamily struct {
	group   string
	decoder sparkplug.Limits
}

// Sparkplug returns the family of Sparkplug B.
func Sparkplug(p mapping.Preset) (mapping.Family, error) {
	if strings.ContainsAny(p.Prefix, "/+#{}") {
		return nil, fmt.Errorf("sparkplug: the prefix %q is no group: it holds more than one level", p.Prefix)
	}
	return &sparkplugFamily{group: p.Prefix, decoder: sparkplug.Limits(payload.DefaultLimits())}, nil
}

const (
	sparkplugHost    = sparkplug.Namespace + "/STATE/iotc-gateway"
	sparkplugRebirth = "rebirth"

	// Commands that wait for their answer, a node.
	sparkplugPending = 32
	// Values and bytes of one reading: a BIRTH may carry thousands of metrics.
	sparkplugValues = 256
	sparkplugBytes  = 64 << 10
)

func (f *sparkplugFamily) Name() string {
	if f.group != "" {
		return "sparkplug " + f.group
	}
	return "sparkplug"
}

func (f *sparkplugFamily) Patterns() []string {
	group := "{group}"
	if f.group != "" {
		group = f.group
	}
	return []string{
		sparkplug.Namespace + "/STATE/{host}",
		sparkplug.Namespace + "/" + group + "/{type}/{edge}",
		sparkplug.Namespace + "/" + group + "/{type}/{edge}/{device}",
	}
}

// Scopes opens a node's own topics to the user that is named like the node. With a group the device id is not a level of the
// topic, and users need topic patterns of their own.
func (f *sparkplugFamily) Scopes() []mapping.Scope {
	scopes := []mapping.Scope{{Pattern: sparkplug.Namespace + "/STATE/+", Subscribe: true}}
	if f.group != "" {
		return scopes
	}
	for _, kind := range []string{sparkplug.NBirth, sparkplug.NDeath, sparkplug.NData} {
		scopes = append(scopes, mapping.Scope{Pattern: sparkplug.Namespace + "/+/" + kind + "/{device}", Publish: true})
	}
	for _, kind := range []string{sparkplug.DBirth, sparkplug.DDeath, sparkplug.DData} {
		scopes = append(scopes, mapping.Scope{Pattern: sparkplug.Namespace + "/+/" + kind + "/{device}/+", Publish: true})
	}
	return append(
		scopes,
		mapping.Scope{Pattern: sparkplug.Namespace + "/+/" + sparkplug.NCmd + "/{device}", Subscribe: true},
		mapping.Scope{Pattern: sparkplug.Namespace + "/+/" + sparkplug.DCmd + "/{device}/+", Subscribe: true},
	)
}

// Start announces the host application, as nodes that wait for it expect (Sparkplug 3.0 §5.14).
func (f *sparkplugFamily) Start(now time.Time) []mapping.Message { return sparkplugState(true, now) }

// Stop takes the announcement back.
func (f *sparkplugFamily) Stop(now time.Time) []mapping.Message { return sparkplugState(false, now) }

func sparkplugState(online bool, now time.Time) []mapping.Message {
	return []mapping.Message{{
		Topic: sparkplugHost, QoS: 1, Retain: true,
		Payload: fmt.Appendf(nil, `{"online":%t,"timestamp":%d}`, online, now.UnixMilli()),
	}}
}

// sparkplugStore shows Step the node's keys and gathers what it writes.
type sparkplugStore struct {
	state   mapping.State
	prefix  string
	changes []mapping.Change
}

func newSparkplugStore(state mapping.State, group, edge string) *sparkplugStore {
	return &sparkplugStore{state: state, prefix: "n/" + group + "/" + edge + "/"}
}

func (s *sparkplugStore) Get(key string) ([]byte, bool) { return s.state.Get(s.prefix + key) }

func (s *sparkplugStore) Put(key string, value []byte) {
	s.changes = append(s.changes, mapping.Change{Key: s.prefix + key, Value: value})
}

// Map takes one message of a node.
func (f *sparkplugFamily) Map(c *mapping.Call) (mapping.Result, error) {
	var res mapping.Result
	topic, ok := sparkplug.ParseTopic(c.Pub.Topic)
	if c.Pattern == 0 || !ok {
		return res, nil // a host application's own topic, or none of Sparkplug's
	}
	switch {
	case topic.Type == sparkplug.NCmd || topic.Type == sparkplug.DCmd:
		return res, nil // for the node, not from it
	case c.Pub.Replayed:
		// Nothing in Sparkplug is retained, and an old message would break the sequence.
		res.Tally.Replayed++
		return res, nil
	}
	p, err := sparkplug.Decode(c.Pub.Payload, f.decoder)
	if err != nil {
		return res, sparkplugError(err)
	}
	store := newSparkplugStore(c.State, topic.Group, topic.Edge)
	out, err := sparkplug.Step(store, topic, p, c.Now)
	if err != nil {
		return res, sparkplugError(err)
	}
	m := sparkplugMessage{family: f, topic: topic, state: c.State, res: &res}
	if err := m.own(topic.Device); err != nil {
		return mapping.Result{}, err
	}
	m.availability(out.Availability)
	if err := m.values(out.Values); err != nil {
		return mapping.Result{}, err
	}
	m.answers(store, &out)
	res.Changes = append(res.Changes, store.changes...)
	res.Tally.Unresolved += out.Unresolved
	if out.Rebirth {
		node := sparkplug.Topic{Group: topic.Group, Edge: topic.Edge}
		res.Publish = append(res.Publish, mapping.Message{Topic: node.Command().String(), Payload: sparkplug.Rebirth(c.Now)})
	}
	return res, nil
}

func sparkplugError(err error) error {
	code := mapping.CodeUndecodable
	if errors.Is(err, sparkplug.ErrTooLarge) || errors.Is(err, sparkplug.ErrTooDeep) {
		code = mapping.CodeTooLarge
	}
	return &mapping.Error{Code: code, Message: strings.TrimPrefix(err.Error(), "sparkplug: ")}
}

// sparkplugMessage turns what a message means into a result.
type sparkplugMessage struct {
	family *sparkplugFamily
	topic  sparkplug.Topic
	state  mapping.State
	res    *mapping.Result
}

// id returns the device id of the node, or of a device behind it.
func (f *sparkplugFamily) id(group, edge, device string) string {
	var parts []string
	if f.group != "" {
		parts = append(parts, idPart(group))
	}
	parts = append(parts, idPart(edge))
	if device != "" {
		parts = append(parts, idPart(device))
	}
	id := strings.Join(parts, ":")
	if last := id[len(id)-1]; last == '.' || last == '_' {
		id = id[:len(id)-1] + "-"
	}
	return id
}

// idPart replaces what cannot stand in a part of a device id.
func idPart(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
			return r
		}
		return '-'
	}, s)
}

// own binds the device id to the node or device that the topic names, and refuses a second one that would have the same id.
func (m *sparkplugMessage) own(device string) error {
	id := m.family.id(m.topic.Group, m.topic.Edge, device)
	name := m.topic.Group + "/" + m.topic.Edge
	if device != "" {
		name += "/" + device
	}
	key := "i/" + id
	known, ok := m.state.Get(key)
	if ok && string(known) != name {
		e := &mapping.Error{Code: mapping.CodeBadDevice, Device: id, Message: fmt.Sprintf("%s would be the same device as %s", name, known)}
		if m.family.group == "" {
			e.Hint = "take the preset once a group: {name: sparkplug, prefix: " + m.topic.Group + "}"
		}
		return e
	}
	if !ok {
		m.res.Changes = append(m.res.Changes, mapping.Change{Key: key, Value: []byte(name)})
	}
	m.res.Addresses = append(m.res.Addresses, mapping.Address{Device: id, Data: []byte(name)})
	return nil
}

func (m *sparkplugMessage) availability(list []sparkplug.Availability) {
	for _, a := range list {
		r := mapping.Record{
			Kind: mapping.KindProperty, Device: m.family.id(m.topic.Group, m.topic.Edge, a.Device), Name: mapping.PropertyOnline,
			Value: json.RawMessage(fmt.Sprint(a.Online)),
		}
		m.stamp(&r, a.Time)
		m.res.Records = append(m.res.Records, r)
	}
}

func (m *sparkplugMessage) stamp(r *mapping.Record, at time.Time) {
	if !at.IsZero() {
		r.Time, r.TimeFrom = at, mapping.Payload
	}
}

// values gathers the values of one time in one reading.
func (m *sparkplugMessage) values(list []sparkplug.Value) error {
	id := m.family.id(m.topic.Group, m.topic.Edge, m.topic.Device)
	type moment struct {
		at         time.Time
		historical bool
	}
	type reading struct {
		moment
		values map[string]any
		bytes  int
	}
	var order []*reading
	last := map[moment]*reading{}
	for _, v := range list {
		if sparkplug.IsControl(v.Name) {
			continue
		}
		if v.Value == nil {
			m.res.Tally.Empty++
			continue
		}
		text, err := mapping.Encode(v.Value)
		if err != nil {
			return &mapping.Error{Code: mapping.CodeUndecodable, Device: id, Name: v.Name, Message: err.Error()}
		}
		when := moment{v.Time, v.Historical}
		name := valueName(v.Name)
		r := last[when]
		full := r == nil || len(r.values) >= sparkplugValues || r.bytes+len(text) > sparkplugBytes
		if !full {
			_, full = r.values[name]
		}
		if full {
			r = &reading{moment: when, values: map[string]any{}}
			order, last[when] = append(order, r), r
		}
		r.values[name] = text
		r.bytes += len(text)
	}
	for _, r := range order {
		body, err := mapping.Encode(r.values)
		if err != nil {
			return err
		}
		rec := mapping.Record{Kind: mapping.KindTelemetry, Device: id, Value: body, Historical: r.historical}
		m.stamp(&rec, r.at)
		m.res.Records = append(m.res.Records, rec)
	}
	return nil
}

// valueName makes a metric's name one that the application takes and a device template can have.
func valueName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r > 0x7f && r != '\uFFFD' {
			return r
		}
		return '_'
	}, name)
	name = strings.TrimLeft(name, "_")
	switch name {
	case "":
		return "value"
	case "timestamp": // is the time of a reading
		return "timestamp_value"
	}
	for len(name) > mapping.MaxNameBytes {
		r := []rune(name)
		name = string(r[:len(r)-1])
	}
	return name
}
