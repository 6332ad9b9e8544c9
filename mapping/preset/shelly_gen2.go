package preset

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// shelly2Family maps Shelly devices of the second generation and later: Plus, Pro, Gen3, Gen4, BLU gateways.
//
// The device is the topic prefix that its MQTT settings name, which is its own id (shellyplus1pm-a8032abe54dc) unless its owner
// wrote another one; the levels of a longer prefix are joined by colons, so hall/plug is hall:plug. With a prefix in the preset,
// devices are looked for below it, and it is no part of the device.
//
// RPC notifications (on by default) are what is read: <prefix>/events/rpc. NotifyStatus is partial, and what is there is told;
// nothing is filled up from earlier ones. A value's name is its component and the path within: switch:0 apower is
// switch0_apower, aenergy.total switch0_aenergy_total, temperature:0 tC temperature0_tC. Numbers and words are telemetry; what can be
// set (output, brightness, rgb, white, ct, cover position and state, virtual components) is a property that a command or a
// desired property of the same name sets. Of the device itself ip, ssid, mac, model, firmware, firmware_available,
// restart_required and cloud_connected are properties, rssi, uptime and ram_free telemetry. NotifyEvent becomes telemetry:
// {"input0_event": "single_push"}. <prefix>/online is the property online; a device that comes online is asked for its
// status and its firmware. Status topics (<prefix>/status/..., off by default) are understood as well; a device that has both
// switched on tells everything twice.
//
// Further commands are the methods of the RPC interface: a name with a dot or a capital letter is the method (Switch.Toggle, or
// Switch_Toggle where a template allows no dot) and the arguments are its params; rpc takes {"method": ..., "params": ...}. The
// device answers on <prefix>/gateway/rpc.
type shelly2Family struct {
	name   string
	prefix string // with its slash
}

// ShellyGen2 returns the family of Shelly's second and later generations.
func ShellyGen2(p mapping.Preset) (mapping.Family, error) {
	name, prefix, err := instance("shelly gen2", p, "")
	if err != nil {
		return nil, err
	}
	if prefix != "" {
		prefix += "/"
	}
	return &shelly2Family{name: name, prefix: prefix}, nil
}

// The patterns, in their order.
const (
	shelly2Events = iota
	shelly2Online
	shelly2Reply
	shelly2Announce
	shelly2Status
)

// The ends of topics.
const (
	shelly2EventsEnd   = "/events/rpc"
	shelly2OnlineEnd   = "/online"
	shelly2ReplyEnd    = "/gateway/rpc"
	shelly2AnnounceEnd = "/announce"
)

func (f *shelly2Family) Name() string { return f.name }

func (f *shelly2Family) Patterns() []string {
	events := f.prefix + "{device}" + shelly2EventsEnd
	if f.prefix == "" {
		// A prefix of several levels: this topic, which no other family has, claims the device's other ones.
		events = "{prefix...}" + shelly2EventsEnd
	}
	device := f.prefix + "{device}"
	return []string{
		events, device + shelly2OnlineEnd, device + shelly2ReplyEnd, device + shelly2AnnounceEnd, device + "/status/{component}",
		device + "/rpc", device + "/command", device + "/command/{component}", // for the device, not from it
	}
}

// Scopes are for a device that connects as the user named like its topic prefix.
func (f *shelly2Family) Scopes() []mapping.Scope {
	device := f.prefix + "{device}"
	var scopes []mapping.Scope
	for _, end := range []string{shelly2EventsEnd, shelly2OnlineEnd, shelly2ReplyEnd, shelly2AnnounceEnd, "/status/+"} {
		scopes = append(scopes, mapping.Scope{Pattern: device + end, Publish: true})
	}
	for _, end := range []string{"/rpc", "/command", "/command/+"} {
		scopes = append(scopes, mapping.Scope{Pattern: device + end, Subscribe: true})
	}
	return append(scopes, mapping.Scope{Pattern: "shellies/command", Subscribe: true})
}

// shelly2Message is the work on one message.
type shelly2Message struct {
	call   *mapping.Call
	base   string // topic prefix
	device string
	res    mapping.Result
	said   *reported

	at        time.Time // of the device, zero: none
	telemetry map[string]any
}

// Map takes one message of a device.
func (f *shelly2Family) Map(c *mapping.Call) (mapping.Result, error) {
	topic, kind := c.Pub.Topic, c.Pattern
	if kind > shelly2Status {
		return mapping.Result{}, nil
	}
	base := string(c.Claim)
	for i, end := range []string{shelly2EventsEnd, shelly2OnlineEnd, shelly2ReplyEnd, shelly2AnnounceEnd} {
		if rest, ok := strings.CutSuffix(topic, end); ok && (kind == i || kind < 0 && rest == base) {
			base, kind = rest, i
			break
		}
	}
	if kind == shelly2Status {
		base = f.prefix + c.Capture("device")
	}
	m := shelly2Message{
		call: c, base: base, telemetry: map[string]any{},
		device: strings.ReplaceAll(strings.TrimPrefix(base, f.prefix), "/", ":"),
	}
	m.said = newReported(c.State, m.device, c.Now)
	m.res.Addresses = []mapping.Address{{Device: m.device, Data: []byte(base)}}
	err := m.read(kind)
	if err == nil {
		err = m.tell()
	}
	if err == nil {
		err = m.said.keep(&m.res)
	}
	if err != nil {
		return mapping.Result{}, err
	}
	return m.res, nil
}

func (m *shelly2Message) read(kind int) error {
	if kind == shelly2Online {
		return m.online()
	}
	tree, err := payload.ParseJSON(m.call.Pub.Payload)
	if err != nil {
		return undecodable("no Shelly message: %v", err)
	}
	frame, ok := tree.(map[string]any)
	if !ok {
		return undecodable("no Shelly message: want an object")
	}
	switch kind {
	case shelly2Events:
		if m.call.Claim == nil && strings.Contains(m.device, ":") {
			m.claim()
		}
		return m.notification(frame)
	case shelly2Reply:
		return m.reply(frame)
	case shelly2Announce:
		m.info(frame)
		return nil
	case shelly2Status:
		m.component(m.call.Capture("component"), frame)
	}
	return nil
}

// claim takes the other topics of a device with a prefix of several levels when it is first seen, and catches up on what
// they have said before: whoever notifies is online.
func (m *shelly2Message) claim() {
	key := "b/" + m.base
	if _, known := m.call.State.Get(key); known || m.call.Pub.Replayed {
		return
	}
	ends := []string{shelly2OnlineEnd, shelly2ReplyEnd, shelly2AnnounceEnd}
	for _, end := range ends {
		if may := m.call.Pub.MayPublish; may != nil && !may(m.base+end) {
			return // the user's topics leave these out
		}
	}
	for _, end := range ends {
		m.res.Claims = append(m.res.Claims, mapping.Claim{Topic: m.base + end, Data: []byte(m.base)})
	}
	m.res.Changes = append(m.res.Changes, mapping.Change{Key: key, Value: []byte{'1'}})
	m.said.online(&m.res, true)
	m.ask()
}

func (m *shelly2Message) online() error {
	switch word := strings.TrimSpace(string(m.call.Pub.Payload)); word {
	case "": // the retained word is taken back
	case "true":
		m.said.online(&m.res, true)
		if !m.call.Pub.Replayed {
			m.ask()
		}
	case "false":
		m.said.online(&m.res, false)
	default:
		return undecodable("%.40q is neither true nor false", word)
	}
	return nil
}

// The ids of requests that the gateway makes by itself; those of commands are greater.
const (
	shelly2AskInfo   = 1
	shelly2AskStatus = 2
	shelly2Quiet     = 3 // nobody waits for the answer
	shelly2FirstID   = 16
)

// ask asks a device that has come online for what it does not tell by itself.
func (m *shelly2Message) ask() {
	for id, method := range map[uint32]string{shelly2AskInfo: "Shelly.GetDeviceInfo", shelly2AskStatus: "Shelly.GetStatus"} {
		message, err := shelly2Request(m.base, id, method, nil)
		if err == nil {
			m.res.Publish = append(m.res.Publish, message)
		}
	}
	slices.SortFunc(m.res.Publish, func(a, b mapping.Message) int { return strings.Compare(string(a.Payload), string(b.Payload)) })
}

// notification takes NotifyStatus, NotifyFullStatus and NotifyEvent.
func (m *shelly2Message) notification(frame map[string]any) error {
	params, ok := frame["params"].(map[string]any)
	if !ok {
		return undecodable("no Shelly notification: params is missing or no object")
	}
	switch method := frame["method"]; method {
	case "NotifyStatus", "NotifyFullStatus":
		m.at = m.time(params["ts"])
		m.status(params)
	case "NotifyEvent":
		return m.events(params)
	default:
		m.res.Tally.Unsupported++
	}
	return nil
}

// time reads seconds since 1970. A device that has not heard the time yet counts from its start: the mapper sees that.
func (m *shelly2Message) time(v any) time.Time {
	if v == nil {
		return time.Time{}
	}
	text, err := mapping.Encode(v)
	if err != nil {
		return time.Time{}
	}
	at, err := mapping.ParseTime(string(text))
	if err != nil {
		m.res.Tally.Implausible++
		return time.Time{}
	}
	return at
}

// events takes the events of one notification, each with its own time.
func (m *shelly2Message) events(params map[string]any) error {
	list, ok := params["events"].([]any)
	if !ok {
		return undecodable("no Shelly notification: events is missing or no array")
	}
	for _, item := range list {
		event, ok := item.(map[string]any)
		component, named := event["component"].(string)
		if !ok || !named || event["event"] == nil {
			m.res.Tally.Unsupported++
			continue
		}
		m.at = m.time(event["ts"])
		if m.at.IsZero() {
			m.at = m.time(params["ts"])
		}
		name := shelly2Name(component)
		for _, key := range slices.Sorted(maps.Keys(event)) {
			switch key {
			case "component", "id", "ts":
			case "event":
				m.telemetry[name+"_event"] = event[key]
			default:
				m.flatten(name+"_event_"+key, event[key], 0)
			}
		}
		if err := m.tell(); err != nil {
			return err
		}
	}
	return nil
}

// reply takes the answer to a request.
func (m *shelly2Message) reply(frame map[string]any) error {
	result, _ := frame["result"].(map[string]any)
	number, err := mapping.Encode(frame["id"])
	if err != nil {
		return undecodable("no Shelly answer: %v", err)
	}
	switch id := string(number); id {
	case fmt.Sprint(shelly2AskInfo):
		m.info(result)
	case fmt.Sprint(shelly2AskStatus):
		if sys, ok := result["sys"].(map[string]any); ok {
			m.at = m.time(sys["unixtime"])
		}
		m.status(result)
	default:
		return m.answer(id, frame)
	}
	return nil
}

// answer completes the command that the answer is for.
func (m *shelly2Message) answer(id string, frame map[string]any) error {
	status, outcome := mapping.StatusCompleted, frame["result"]
	if failed := frame["error"]; failed != nil {
		status, outcome = mapping.StatusFailed, failed
	}
	var result json.RawMessage
	if outcome != nil {
		var err error
		if result, err = mapping.Encode(outcome); err != nil {
			return undecodable("no Shelly answer: %v", err)
		}
	}
	return answered(&m.res, m.call.State, m.device, m.call.Now, status, result, func(w pending) bool { return string(w.Want) == id })
}

// info takes what a device says of itself.
func (m *shelly2Message) info(info map[string]any) {
	for _, member := range []struct{ key, name string }{{"mac", "mac"}, {"model", "model"}, {"ver", "firmware"}} {
		if text, ok := info[member.key].(string); ok && text != "" {
			m.property(member.name, text)
		}
	}
}

// tell makes a reading of what has been gathered.
func (m *shelly2Message) tell() error {
	if len(m.telemetry) == 0 {
		return nil
	}
	body, err := mapping.Encode(m.telemetry)
	if err != nil {
		return err
	}
	m.telemetry = map[string]any{}
	r := mapping.Record{Kind: mapping.KindTelemetry, Device: m.device, Value: body}
	if !m.at.IsZero() {
		r.Time, r.TimeFrom = m.at, mapping.Payload
	}
	m.res.Records = append(m.res.Records, r)
	return nil
}

func (m *shelly2Message) property(name string, v any) {
	body, err := mapping.Encode(v)
	if err != nil {
		m.res.Tally.Unsupported++
		return
	}
	m.said.tell(&m.res, name, body, m.at)
}

// undecodable is the error of a payload that is not what it should be.
func undecodable(format string, args ...any) error {
	return &mapping.Error{Code: mapping.CodeUndecodable, Message: fmt.Sprintf(format, args...)}
}

// shelly2Request is a call of the RPC interface.
func shelly2Request(base string, id uint32, method string, params json.RawMessage) (mapping.Message, error) {
	frame := map[string]any{"id": id, "src": strings.TrimSuffix(base+shelly2ReplyEnd, "/rpc"), "method": method}
	if len(params) > 0 {
		frame["params"] = params
	}
	body, err := mapping.Encode(frame)
	if err != nil {
		return mapping.Message{}, fmt.Errorf("write a request: %w", err)
	}
	return mapping.Message{Topic: base + "/rpc", Payload: body, QoS: 1}, nil
}
