package preset

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// The components that become something.
const (
	haSensor = "sensor"
	haBinary = "binary_sensor"
	haSwitch = "switch"
	haNumber = "number"
	haSelect = "select"
	haText   = "text"
	haButton = "button"
)

// haShort are the abbreviations of the keys that are read.
var haShort = map[string]string{
	"avty": "availability", "avty_mode": "availability_mode", "avty_t": "availability_topic", "avty_tpl": "availability_template",
	"cmd_t": "command_topic", "cmd_tpl": "command_template", "dev": "device", "dev_cla": "device_class", "ids": "identifiers",
	"cmps": "components", "cmp": "components", "p": "platform", "pl_avail": "payload_available", "pl_not_avail": "payload_not_available",
	"pl_off": "payload_off", "pl_on": "payload_on", "pl_prs": "payload_press", "ret": "retain", "stat_cla": "state_class",
	"stat_off": "state_off", "stat_on": "state_on", "stat_t": "state_topic", "t": "topic", "unit_of_meas": "unit_of_measurement",
	"val_tpl": "value_template",
}

// haDiscovery is the reading of one discovery message.
type haDiscovery struct {
	topic, component, node, object string

	device      string
	bindings    []haTopicBinding
	entities    map[string]haEntity
	unsupported int
}

type haTopicBinding struct {
	topic string
	haBinding
}

// haTree is an object of the message with its keys written out.
type haTree map[string]any

// haExpand writes keys out, of this object and of the ones within, and puts the base in the place of "~" in topics.
func haExpand(v any, base string) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(haTree, len(v))
		if own, ok := v["~"].(string); ok {
			base = own
		}
		for key, member := range v {
			if long, ok := haShort[key]; ok {
				key = long
			}
			if s, ok := member.(string); ok && strings.HasSuffix(key, "topic") && base != "" {
				if rest, ok := strings.CutPrefix(s, "~"); ok {
					member = base + rest
				} else if rest, ok := strings.CutSuffix(s, "~"); ok {
					member = rest + base
				}
			}
			if key == "components" {
				member = haComponents(member, base)
			} else {
				member = haExpand(member, base)
			}
			out[key] = member
		}
		return out
	case []any:
		for i := range v {
			v[i] = haExpand(v[i], base)
		}
	}
	return v
}

// haComponents expands each component and leaves their keys, which are names, as they are.
func haComponents(v any, base string) any {
	members, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(haTree, len(members))
	for key, member := range members {
		out[key] = haExpand(member, base)
	}
	return out
}

func (t haTree) text(key string) string {
	s, _ := t[key].(string)
	return s
}

// word is text, or a number or boolean as it is written: payload_on may be 1 or true.
func (t haTree) word(key, otherwise string) string {
	switch v := t[key].(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return otherwise
}

func haFault(message string, args ...any) error {
	return &mapping.Error{Code: mapping.CodeUndecodable, Message: fmt.Sprintf(message, args...)}
}

// read takes the message apart.
func (d *haDiscovery) read(data []byte) error {
	tree, err := payload.ParseJSON(data)
	if err != nil {
		return haFault("no discovery message: %v", err)
	}
	config, ok := haExpand(tree, "").(haTree)
	if !ok {
		return haFault("a discovery message is an object")
	}
	d.entities = map[string]haEntity{}
	d.device = idTail(d.owner(config))
	if d.component != "device" {
		return d.entity(config, d.component, d.object)
	}
	components, ok := config["components"].(haTree)
	switch {
	case !ok:
		return haFault("the message of a device has no components")
	case len(components) > haMaxComponents:
		return &mapping.Error{Code: mapping.CodeTooLarge, Message: fmt.Sprintf("more than %d components", haMaxComponents)}
	}
	var first error
	for _, key := range slices.Sorted(maps.Keys(components)) {
		own, ok := components[key].(haTree)
		if !ok {
			return haFault("the component %q is no object", key)
		}
		if len(own) <= 1 {
			continue // the platform alone: the component is taken back
		}
		for _, shared := range []string{
			"state_topic", "command_topic", "qos", "availability", "availability_topic", "availability_mode",
			"availability_template", "payload_available", "payload_not_available",
		} {
			if _, has := own[shared]; !has && config[shared] != nil {
				own[shared] = config[shared]
			}
		}
		// One component that is too much for us does not keep the others away.
		if err := d.entity(own, own.text("platform"), key); err != nil {
			d.unsupported++
			if first == nil {
				first = err
			}
		}
	}
	if len(d.bindings) == 0 && len(d.entities) == 0 {
		return first
	}
	return nil
}

// owner finds out which device the message speaks of.
func (d *haDiscovery) owner(config haTree) string {
	if d.node != "" {
		return d.node
	}
	if device, ok := config["device"].(haTree); ok && d.component != "device" {
		id := device["identifiers"]
		if list, ok := id.([]any); ok && len(list) > 0 {
			id = list[0]
		}
		if id, ok := id.(string); ok && id != "" {
			return id
		}
	}
	return d.object
}

// idTail makes a whole device id of a word.
func idTail(s string) string {
	id := idPart(s)
	if n := len(id); n > 0 && (id[n-1] == '.' || id[n-1] == '_') {
		id = id[:n-1] + "-"
	}
	return id
}

// entity reads one component.
func (d *haDiscovery) entity(config haTree, component, key string) error {
	if !slices.Contains([]string{haSensor, haBinary, haSwitch, haNumber, haSelect, haText, haButton}, component) {
		d.unsupported++
		return nil
	}
	pick, err := haTemplate(config.text("value_template"))
	if err != nil {
		return err
	}
	name := d.valueName(config, component, key, pick.path)
	b := haBinding{Config: d.topic, Device: d.device, Name: name, Component: component, Path: pick.path, JSON: pick.json, Number: pick.number}
	switch component {
	case haSensor:
		b.Number = b.Number || config.text("unit_of_measurement") != "" || config.text("state_class") != ""
	case haNumber:
		b.Number = true
	case haBinary:
		b.On, b.Off = config.word("payload_on", "ON"), config.word("payload_off", "OFF")
	case haSwitch:
		b.On = config.word("state_on", config.word("payload_on", "ON"))
		b.Off = config.word("state_off", config.word("payload_off", "OFF"))
	}
	state := config.text("state_topic")
	if state != "" && component != haButton {
		if err := d.add(state, b); err != nil {
			return err
		}
	} else if component == haSensor || component == haBinary {
		return haFault("the %s %s has no state_topic", component, key)
	}
	if err := d.command(config, component, name, state != ""); err != nil {
		return err
	}
	return d.availability(config)
}

// add binds a topic, which must be one that can be published to.
func (d *haDiscovery) add(topic string, b haBinding) error {
	if topic == "" || strings.ContainsAny(topic, "+#\x00") {
		return haFault("%q is no topic", topic)
	}
	d.bindings = append(d.bindings, haTopicBinding{topic, b})
	return nil
}

func (d *haDiscovery) command(config haTree, component, name string, answers bool) error {
	topic := config.text("command_topic")
	if topic == "" || component == haSensor || component == haBinary {
		return nil
	}
	if strings.ContainsAny(topic, "+#\x00") {
		return haFault("%q is no topic", topic)
	}
	if template := config.text("command_template"); template != "" {
		if pick, err := haTemplate(template); err != nil || pick.json {
			return haFault("the command_template %q is not supported", template)
		}
	}
	e := haEntity{Topic: topic, Component: component, Answers: answers && component != haButton}
	switch component {
	case haSwitch:
		e.On, e.Off = config.word("payload_on", "ON"), config.word("payload_off", "OFF")
	case haButton:
		e.On = config.word("payload_press", "PRESS")
	}
	if qos, ok := config["qos"].(int64); ok && qos >= 0 && qos <= 2 {
		e.QoS = byte(qos)
	}
	e.Retain, _ = config["retain"].(bool)
	d.entities[name] = e
	return nil
}

// availability binds the topics that tell whether the entity, and so its device, is there.
func (d *haDiscovery) availability(config haTree) error {
	list, _ := config["availability"].([]any)
	if one, ok := config["availability"].(haTree); ok {
		list = []any{one}
	}
	if topic := config.text("availability_topic"); topic != "" {
		one := haTree{"topic": topic, "value_template": config["availability_template"]}
		for _, key := range []string{"payload_available", "payload_not_available"} {
			one[key] = config[key]
		}
		list = append(list, one)
	}
	var found []haTopicBinding
	var topics []string
	for _, item := range list {
		a, ok := item.(haTree)
		if !ok {
			return haFault("an availability is no object")
		}
		pick, err := haTemplate(a.text("value_template"))
		if err != nil {
			return err
		}
		topics = append(topics, a.text("topic"))
		found = append(found, haTopicBinding{a.text("topic"), haBinding{
			Config: d.topic, Device: d.device, Path: pick.path, JSON: pick.json, Mode: config.text("availability_mode"),
			On: a.word("payload_available", "online"), Off: a.word("payload_not_available", "offline"),
		}})
	}
	for _, b := range found {
		if len(topics) > 1 {
			b.Topics = topics
		}
		if slices.ContainsFunc(d.bindings, func(other haTopicBinding) bool { return other.Name == "" && other.topic == b.topic }) {
			continue // another component of the device told it already
		}
		if err := d.add(b.topic, b.haBinding); err != nil {
			return err
		}
	}
	return nil
}

// valueName names the entity's value.
func (d *haDiscovery) valueName(config haTree, component, key string, path []string) string {
	name := key
	for _, prefix := range []string{d.device, d.object} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && prefix != key {
			name = strings.TrimLeft(rest, "_-")
		}
	}
	if idTail(key) == d.device { // the device has this one entity
		name = component
		if class := config.text("device_class"); class != "" {
			name = class
		}
		if len(path) > 0 {
			name = path[len(path)-1]
		}
	}
	return valueName(name)
}

func (d *haDiscovery) topics() []string {
	topics := make([]string, 0, len(d.bindings))
	for _, b := range d.bindings {
		topics = append(topics, b.topic)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

func (d *haDiscovery) settable() []string { return slices.Sorted(maps.Keys(d.entities)) }
