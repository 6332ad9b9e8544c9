package preset

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// homieText is a payload as text: one NUL byte stands for the empty text.
func homieText(text []byte) string {
	if string(text) == "\x00" {
		return ""
	}
	return string(text)
}

// value takes the value of a property, or its target.
func (m *homieMessage) value(target bool) error {
	path := m.call.Capture("node") + "/" + m.call.Capture("property")
	var p homieProperty
	data, ok := m.call.State.Get(m.property(path))
	switch {
	case ok && json.Unmarshal(data, &p) == nil:
	case len(m.call.Pub.Payload) == 0:
		return nil
	default:
		if _, described := m.load(m.call.State); described {
			m.res.Tally.Unsupported++ // the convention: what the description does not have is left out
			return nil
		}
		return &mapping.Error{
			Code: mapping.CodeState, Message: fmt.Sprintf("%s: the device did not tell its $description yet", path),
			Hint: "it does when it starts: restart it, and retry the dead letter then",
		}
	}
	if len(m.call.Pub.Payload) == 0 {
		return nil // a retained value is taken back
	}
	body, err := p.parse(m.call.Pub.Payload)
	if err != nil {
		return &mapping.Error{Code: mapping.CodeUndecodable, Device: m.device, Name: p.Name, Message: fmt.Sprintf("%s: %v", path, err)}
	}
	asked := func(w pending) bool { return homieAnswers(w, path, m.call.Pub.Payload, target) }
	switch {
	case target:
		m.said.tell(&m.res, modelName(p.Name, "target"), body, time.Time{})
	case !p.asProperty():
		reading, err := mapping.Encode(map[string]any{p.Name: body})
		if err != nil {
			return err
		}
		m.res.Records = append(m.res.Records, mapping.Record{Kind: mapping.KindTelemetry, Device: m.device, Value: reading})
	case p.Volatile || slices.ContainsFunc(pendingFrom(m.call.State, m.device, m.call.Now), asked):
		m.said.say(&m.res, p.Name, body, time.Time{})
	default:
		m.said.tell(&m.res, p.Name, body, time.Time{})
	}
	return answered(&m.res, m.call.State, m.device, m.call.Now, mapping.StatusCompleted, body, asked)
}

// parse reads a payload as its type says.
func (p *homieProperty) parse(raw []byte) (json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("the value is no UTF-8")
	}
	text := string(raw)
	var v any = text
	switch p.Type {
	case homieInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || text[0] == '+' {
			return nil, fmt.Errorf("%.40q is no integer", text)
		}
		v = n
	case homieFloat:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(f, 0) || strings.Trim(text, "0123456789-.eE+") != "" {
			return nil, fmt.Errorf("%.40q is no number", text)
		}
		if v = f; json.Valid(raw) { // its own digits
			v = json.RawMessage(text)
		}
	case homieBoolean:
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("%.40q is neither true nor false", text)
		}
		v = text == "true"
	case homieEnum:
		if !slices.Contains(p.Words, text) {
			return nil, fmt.Errorf("%.40q is none of %s", text, strings.Join(p.Words, ", "))
		}
	case homieString:
		v = homieText(raw)
	case homieJSON:
		tree, err := payload.ParseJSON(raw)
		if err != nil {
			return nil, err
		}
		v = tree
	}
	body, err := mapping.Encode(v)
	if err != nil {
		return nil, fmt.Errorf("the value has no JSON form: %w", err)
	}
	return body, nil
}

// text writes a value as the device reads it.
func (p *homieProperty) text(value json.RawMessage) (string, error) {
	text := strings.TrimSpace(string(value))
	var word string
	isWord := json.Unmarshal(value, &word) == nil && text != "null"
	switch p.Type {
	case homieInteger, homieFloat, homieBoolean:
		if isWord { // "21.5" for 21.5
			text = word
		}
	case homieJSON:
		if isWord || text == "" || text[0] != '{' && text[0] != '[' {
			return "", fmt.Errorf("%.40s is no object and no array", text)
		}
		return text, nil
	default:
		if !isWord {
			return "", fmt.Errorf("%.40s is no text", text)
		}
		if text = word; text == "" && p.Type == homieString {
			text = "\x00"
		}
	}
	if text == "" {
		return "", fmt.Errorf("there is no value")
	}
	if _, err := p.parse([]byte(text)); err != nil {
		return "", err
	}
	return text, nil
}

// homieWant is what a command waits for.
type homieWant struct {
	Path string `json:"p"`
	Text string `json:"v"`
}

// homieAnswers tells whether a message answers a command: a target if it is what was set, for others may set it too; a value in any
// case, for the device may round it, or be on its way.
func homieAnswers(w pending, path string, text []byte, target bool) bool {
	var want homieWant
	return json.Unmarshal(w.Want, &want) == nil && want.Path == path && (!target || want.Text == string(text))
}

// Command sets the property that is named like the command.
func (f *homieFamily) Command(c *mapping.CommandCall) (mapping.Result, error) {
	message, want, err := f.set(c.State, homieKeys{string(c.Address), c.Device}, c.Name, commandValue(c.Args))
	if err != nil {
		return mapping.Result{}, err
	}
	wait, err := json.Marshal(want)
	if err != nil {
		return mapping.Result{}, fmt.Errorf("keep what answers %s: %w", c.Name, err)
	}
	res := mapping.Result{Publish: []mapping.Message{message}}
	if err := awaitAnswer(&res, c, wait); err != nil {
		return mapping.Result{}, err
	}
	return res, nil
}

// Desired sets the property that is named like the desired one.
func (f *homieFamily) Desired(c *mapping.DesiredCall) (mapping.Result, error) {
	if c.Value == nil {
		return mapping.Result{}, mapping.ErrNotSupported
	}
	message, _, err := f.set(c.State, homieKeys{string(c.Address), c.Device}, c.Name, c.Value)
	if err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{Publish: []mapping.Message{message}}, nil
}

func (f *homieFamily) set(state mapping.State, k homieKeys, name string, value json.RawMessage) (mapping.Message, homieWant, error) {
	none := mapping.Message{}
	d, ok := k.load(state)
	if !ok {
		return none, homieWant{}, &mapping.Error{Code: mapping.CodeState, Message: "the device did not tell its $description yet"}
	}
	if !homieOnline(k.effective(state, &d, k.word(state))) {
		return none, homieWant{}, errOffline()
	}
	for _, path := range d.Properties {
		var p homieProperty
		data, _ := state.Get(k.property(path))
		if json.Unmarshal(data, &p) != nil || p.Name != name || !p.Settable {
			continue
		}
		text, err := p.text(value)
		if err != nil {
			return none, homieWant{}, undecodable("%s: %v", path, err)
		}
		qos := byte(1)
		if p.Volatile { // now or never
			qos = 0
		}
		return mapping.Message{Topic: k.domain + "/5/" + k.device + "/" + path + "/set", Payload: []byte(text), QoS: qos}, homieWant{path, text}, nil
	}
	return none, homieWant{}, &mapping.Error{Code: mapping.CodeBadName, Message: fmt.Sprintf("the $description has no property %s that can be set", name)}
}
