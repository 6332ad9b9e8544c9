package preset

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

func (m *shellyMessage) object() (map[string]any, error) {
	tree, err := payload.ParseJSON([]byte(m.text))
	if err != nil {
		return nil, m.fault("no JSON: " + err.Error())
	}
	object, ok := tree.(map[string]any)
	if !ok {
		return nil, m.fault("no JSON object")
	}
	return object, nil
}

// property tells a word, a number or a boolean.
func (m *shellyMessage) property(name string, v any) {
	switch v.(type) {
	case nil, map[string]any, []any:
		return
	}
	if v == "" {
		return
	}
	text, err := mapping.Encode(v)
	if err != nil {
		m.res.Tally.Unsupported++
		return
	}
	m.said.tell(&m.res, name, text, time.Time{})
}

// announce is how a device introduces itself, on a topic of its own or on the one for all.
func (m *shellyMessage) announce() error {
	if m.said == nil {
		m.topic = shellyAnnounce
	}
	object, err := m.object()
	if err != nil {
		return err
	}
	if _, later := object["gen"]; later { // a device of a later generation, which tells the same elsewhere
		return nil
	}
	id, _ := object["id"].(string)
	if m.said == nil {
		if m.device = id; id == "" {
			return m.fault("the announcement has no id")
		}
		m.said = newReported(m.call.State, m.device, m.call.Now)
	}
	for _, about := range [][2]string{{"fw_ver", "firmware"}, {"ip", "ip"}, {"mac", "mac"}, {"model", "model"}, {"mode", "mode"}, {"new_fw", "update_available"}} {
		m.property(about[1], object[about[0]])
	}
	return answered(&m.res, m.call.State, m.device, m.call.Now, mapping.StatusCompleted, json.RawMessage(m.text), func(w pending) bool { return w.Name == shellyAnnounce })
}

// info is the whole status of a device. What has a topic of its own is left to it.
func (m *shellyMessage) info() error {
	object, err := m.object()
	if err != nil {
		return err
	}
	values := map[string]any{}
	measured := func(name string, v any) {
		switch v.(type) {
		case int64, uint64, float64, json.Number:
			values[name] = v
		}
	}
	member := func(v any, key string) any {
		inner, _ := v.(map[string]any)
		return inner[key]
	}
	wifi := object["wifi_sta"]
	m.property("ssid", member(wifi, "ssid"))
	m.property("ip", member(wifi, "ip"))
	m.property("update_available", object["has_update"])
	measured("wifi_rssi", member(wifi, "rssi"))
	measured("uptime", object["uptime"])
	measured("ram_free", object["ram_free"])
	measured("battery", member(object["bat"], "value"))
	thermostats, _ := object["thermostats"].([]any)
	for i, t := range thermostats[:min(len(thermostats), 8)] {
		name := "thermostat_" + strconv.Itoa(i)
		measured(name+"_temperature", member(member(t, "tmp"), "value"))
		measured(name+"_position", member(t, "pos"))
		m.property(name+"_target", member(member(t, "target_t"), "value"))
	}
	if len(values) == 0 {
		return nil
	}
	return m.record(values)
}

// inputEvent is a push of a button: {"event":"S","event_cnt":2}. A device repeats the last one, and says "" when there was none.
func (m *shellyMessage) inputEvent(of string) error {
	object, err := m.object()
	if err != nil {
		return err
	}
	event, _ := object["event"].(string)
	if event == "" {
		m.res.Tally.Empty++
		return nil
	}
	name := modelName("input", of, "event")
	values := map[string]any{name: event}
	if count, ok := object["event_cnt"]; ok {
		text, err := mapping.Encode(count)
		if err != nil || len(text) > 20 {
			return m.fault("event_cnt is no count")
		}
		key := "n/" + m.device + "/" + of
		if last, ok := m.call.State.Get(key); ok && string(last) == string(text) {
			m.res.Tally.Repeated++
			return nil
		}
		m.res.Changes = append(m.res.Changes, mapping.Change{Key: key, Value: text})
		values[name+"_cnt"] = count
	}
	return m.record(values)
}

// light is the status of a lamp: {"ison":true,"mode":"color","red":255,"gain":100,"power":8.2,...}.
func (m *shellyMessage) light(name string) error {
	object, err := m.object()
	if err != nil {
		return err
	}
	for _, key := range []string{"mode", "red", "green", "blue", "white", "gain", "brightness", "temp", "effect"} {
		m.property(modelName(name, key), object[key])
	}
	if power, ok := object["power"]; ok && haIsNumber(power) {
		if err := m.record(map[string]any{name + "_power": power}); err != nil {
			return err
		}
	}
	on, ok := object["ison"].(bool)
	if !ok {
		return nil
	}
	return m.switched(name, boolean(on))
}

// Command switches an output, or speaks to the device as a whole.
func (f *shellyGen1Family) Command(c *mapping.CommandCall) (mapping.Result, error) {
	if offline(c.State, c.Device) {
		return mapping.Result{}, errOffline()
	}
	var res mapping.Result
	if slices.Contains([]string{shellyAnnounce, "update", "update_fw"}, c.Name) {
		res.Publish = []mapping.Message{{Topic: f.prefix + "/" + c.Device + "/command", Payload: []byte(c.Name)}}
		if c.Name == shellyAnnounce {
			return res, awaitAnswer(&res, c, nil)
		}
		res.Events = []mapping.Event{mapping.CommandResponse{Device: c.Device, Name: c.Name, ID: c.ID, Status: mapping.StatusCompleted}}
		return res, nil
	}
	message, want, err := f.set(c.Device, c.Name, commandValue(c.Args))
	if err != nil {
		return mapping.Result{}, err
	}
	res.Publish = []mapping.Message{message}
	return res, awaitAnswer(&res, c, want)
}

// Desired switches an output.
func (f *shellyGen1Family) Desired(c *mapping.DesiredCall) (mapping.Result, error) {
	if c.Value == nil {
		return mapping.Result{}, mapping.ErrNotSupported
	}
	if offline(c.State, c.Device) {
		return mapping.Result{}, errOffline()
	}
	message, _, err := f.set(c.Device, c.Name, c.Value)
	if err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{Publish: []mapping.Message{message}}, nil
}

// set makes the message to an output, and says which state answers it; any if that cannot be told.
func (f *shellyGen1Family) set(device, name string, value json.RawMessage) (mapping.Message, json.RawMessage, error) {
	group, number, ok := strings.Cut(name, "_")
	if !ok || strings.Trim(number, "0123456789") != "" || !slices.Contains(shellyMetered, group) || group == "emeter" {
		return mapping.Message{}, nil, &mapping.Error{
			Code: mapping.CodeBadName, Message: "the device has no output of that name",
			Hint: "relay_0, light_0, color_0, white_0, roller_0, and the commands announce, update and update_fw",
		}
	}
	topic := f.prefix + "/" + device + "/" + group + "/" + number
	word := strings.Trim(string(value), `"`)
	if on, ok := shellyBoolean(word); ok && group != "roller" {
		word = "off"
		if on {
			word = "on"
		}
		return mapping.Message{Topic: topic + "/command", Payload: []byte(word)}, boolean(on), nil
	}
	position := -1.0
	if number, ok := bareNumber(word); ok {
		if f, err := strconv.ParseFloat(string(number), 64); err == nil {
			position = f
		}
	}
	switch {
	case group == "roller" && slices.Contains([]string{"open", "close", "stop"}, word):
		return mapping.Message{Topic: topic + "/command", Payload: []byte(word)}, nil, nil
	case group == "roller" && position >= 0 && position <= 100:
		return mapping.Message{Topic: topic + "/command/pos", Payload: []byte(word)}, nil, nil
	case group != "roller" && word == "toggle":
		return mapping.Message{Topic: topic + "/command", Payload: []byte(word)}, nil, nil
	case group != "roller" && group != "relay" && len(value) > 0 && value[0] == '{':
		return mapping.Message{Topic: topic + "/set", Payload: value}, nil, nil
	}
	return mapping.Message{}, nil, &mapping.Error{
		Code: mapping.CodeUndecodable, Message: "that is nothing to set " + name + " to",
		Hint: "a relay or lamp takes true, false or toggle, a lamp also an object, a roller open, close, stop or 0 to 100",
	}
}
