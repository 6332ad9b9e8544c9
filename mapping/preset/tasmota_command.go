package preset

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"iotc-gateway/mapping"
)

// answer is what comes below stat: the answer to a command, whoever gave it, or a button that was pressed.
func (m *tasmotaMessage) answer(text []byte) error {
	if strings.HasPrefix(m.what, "STATUS") {
		if err := m.status(); err != nil {
			return err
		}
		return m.complete(text, func(command string) bool { return command == "STATUS" })
	}
	if _, refused := m.object["Command"]; refused { // {"Command":"Unknown"}, whatever was asked
		return answered(&m.res, m.call.State, m.device, m.call.Now, mapping.StatusFailed, bytes.Clone(text), func(pending) bool { return true })
	}
	events := map[string]any{}
	for _, l := range m.leaves(m.object) {
		switch {
		case l.key() == "Action": // {"Button1":{"Action":"SINGLE"}}
			events[l.name] = l.v
		case tasmotaSetting(l):
			m.reply(l)
		}
	}
	if len(events) > 0 {
		if err := m.telemetry(events); err != nil {
			return err
		}
	}
	return m.complete(text, func(command string) bool {
		for key := range m.object {
			if tasmotaCommand(key) == command {
				return true
			}
		}
		return tasmotaCommand(m.what) == command
	})
}

// tasmotaSetting tells whether an answer is the state of something: a relay, a light, or a setting that is a number or a switch.
// Words such as {"Restart":"Restarting"} answer a command and are no state.
func tasmotaSetting(l tasmotaLeaf) bool {
	if tasmotaLight(l.path[0]) {
		return true
	}
	if word, ok := l.v.(string); ok {
		_, switched := tasmotaSwitch(word)
		return switched && len(l.path) == 1
	}
	return len(l.path) == 1
}

// reply tells a property that somebody asked for, changed or not.
func (m *tasmotaMessage) reply(l tasmotaLeaf) {
	v := l.v
	if word, ok := v.(string); ok {
		if on, switched := tasmotaSwitch(word); switched {
			v = on
		}
	}
	text, err := mapping.Encode(v)
	if err != nil {
		m.res.Tally.Unsupported++
		return
	}
	m.said.say(&m.res, l.name, text, m.at)
}

// complete answers the oldest command of those that the message answers.
func (m *tasmotaMessage) complete(text []byte, is func(command string) bool) error {
	return answered(&m.res, m.call.State, m.device, m.call.Now, mapping.StatusCompleted, bytes.Clone(text), func(w pending) bool { return is(tasmotaCommand(w.Name)) })
}

// tasmotaCommand is what a command and its answer share: the case does not matter to a device, and one with a single relay takes
// POWER1 and answers POWER.
func tasmotaCommand(name string) string {
	return strings.ToUpper(strings.TrimRight(name, "0123456789"))
}

// status takes what is worth knowing of the answers to Status.
func (m *tasmotaMessage) status() error {
	for _, key := range slices.Sorted(maps.Keys(m.object)) {
		o, ok := m.object[key].(map[string]any)
		if !ok {
			continue
		}
		m.at = tasmotaTime(o)
		switch key {
		case "StatusSNS":
			if err := m.sensors(o); err != nil {
				return err
			}
		case "StatusSTS":
			m.state(o)
		case "StatusFWR", "StatusNET":
			m.info(o)
		}
	}
	return nil
}

// Command sends a command of Tasmota. It is answered on RESULT.
func (f *tasmotaFamily) Command(c *mapping.CommandCall) (mapping.Result, error) {
	message, err := f.send(c.State, c.Device, c.Name, c.Args, c.Address)
	if err != nil {
		return mapping.Result{}, err
	}
	res := mapping.Result{Publish: []mapping.Message{message}}
	if tasmotaCommand(c.Name) == "BACKLOG" { // has no answer of its own
		res.Events = []mapping.Event{mapping.CommandResponse{Device: c.Device, Name: c.Name, ID: c.ID, Status: mapping.StatusCompleted}}
		return res, nil
	}
	return res, awaitAnswer(&res, c, nil)
}

// Desired sends the command that is named like the property.
func (f *tasmotaFamily) Desired(c *mapping.DesiredCall) (mapping.Result, error) {
	if c.Value == nil {
		return mapping.Result{}, mapping.ErrNotSupported
	}
	message, err := f.send(c.State, c.Device, c.Name, c.Value, c.Address)
	if err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{Publish: []mapping.Message{message}}, nil
}

func (f *tasmotaFamily) send(state mapping.State, device, name string, args json.RawMessage, base []byte) (mapping.Message, error) {
	word := strings.TrimRight(name, "0123456789")
	if word == "" || strings.ContainsFunc(word, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) {
		return mapping.Message{}, &mapping.Error{
			Code: mapping.CodeBadName, Message: "Tasmota has no command of that name",
			Hint: "its commands have letters, and a number behind them: POWER, POWER2, Dimmer, TelePeriod",
		}
	}
	if len(base) == 0 {
		return mapping.Message{}, &mapping.Error{Code: mapping.CodeState, Message: "no message of the device was seen, so its topic is not known"}
	}
	if offline(state, device) {
		return mapping.Message{}, errOffline()
	}
	return mapping.Message{Topic: string(base) + "/" + name, Payload: tasmotaPayload(commandValue(args))}, nil
}

// tasmotaPayload writes an argument as Tasmota reads it: a word without quotes, ON and OFF for a boolean, nothing for none, which
// asks how things are. An object is passed on as it is, for the few commands that take JSON.
func tasmotaPayload(args json.RawMessage) []byte {
	var word string
	switch text := string(bytes.TrimSpace(args)); {
	case text == "", text == "null", text == "{}":
		return nil
	case text == "true":
		return []byte("ON")
	case text == "false":
		return []byte("OFF")
	case json.Unmarshal(args, &word) == nil:
		return []byte(word)
	default:
		return slices.Clone(args)
	}
}
