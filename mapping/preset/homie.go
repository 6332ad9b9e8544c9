package preset

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"iotc-gateway/mapping"
)

// homieFamily maps devices that follow the Homie convention, version 5: <domain>/5/<device>/....
//
// $description says what a device has, and of what type: integers and floats are numbers, booleans are booleans, json is what it
// holds, enums are held against their format, everything else is text. A value's name is node_property, with underscores for
// hyphens. What can be set, and text that is retained, is a property, which a command or a desired property of the same
// name sets where the device allows it; everything else is telemetry. A value before the description is a dead letter.
//
// $state becomes the property state and, but for disconnected and lost, online is true; a sleeping device is expected back. A
// child is lost while its root is, as the last will of the root is the only one that a broker publishes; who is whose child both
// of them have to say. $target is the property <name>_target, $alert/<id> the property alert_<id>, "" when it is over. Homie has no
// device times.
//
// A command is answered by $target with the value that was set, or by the next value. The preset's prefix is a domain; without
// one all domains are taken, as the convention wants it of controllers, and a device may be in one of them only.
type homieFamily struct {
	name   string
	domain string // "" for all
}

// Homie returns the family of the Homie convention, version 5.
func Homie(p mapping.Preset) (mapping.Family, error) {
	name, domain, err := instance("homie", p, "")
	if err != nil {
		return nil, err
	}
	if strings.Contains(domain, "/") {
		return nil, fmt.Errorf("homie: the prefix %q is no domain: it has more than one level", p.Prefix)
	}
	return &homieFamily{name: name, domain: domain}, nil
}

// The patterns, in their order.
const (
	homieState = iota
	homieDescription
	homieAlert
	homieLog
	homieBroadcast
	homieValue
	homieTarget
	homieSet
)

func (f *homieFamily) Name() string { return f.name }

func (f *homieFamily) Patterns() []string {
	device := f.root("{domain}") + "{device}"
	return []string{
		device + "/$state", device + "/$description", device + "/$alert/{alert}", device + "/$log/#", f.root("{domain}") + "$broadcast/#",
		device + "/{node}/{property}", device + "/{node}/{property}/$target", device + "/{node}/{property}/set",
	}
}

func (f *homieFamily) root(domain string) string {
	if f.domain != "" {
		domain = f.domain
	}
	return domain + "/5/"
}

// Scopes let a device use what is below its own id, and hear what is said to all.
func (f *homieFamily) Scopes() []mapping.Scope {
	root := f.root("+")
	return []mapping.Scope{
		{Pattern: root + "{device}/#", Publish: true, Subscribe: true},
		{Pattern: root + "$broadcast/#", Subscribe: true},
	}
}

// The words of $state.
const (
	homieLost         = "lost"
	homieDisconnected = "disconnected"
)

// homieOnline tells whether a device in a state is there.
func homieOnline(state string) bool { return state != homieLost && state != homieDisconnected }

// homieDevice is what the description of a device says of it as a whole.
type homieDevice struct {
	Root       string   `json:"r,omitempty"`
	Children   []string `json:"c,omitempty"`
	Properties []string `json:"p,omitempty"` // node/property
}

// homieKeys are the keys of the state that are about one device.
type homieKeys struct{ domain, device string }

func (k homieKeys) description() string { return "d/" + k.domain + "/" + k.device }
func (k homieKeys) state() string       { return "s/" + k.domain + "/" + k.device }
func (k homieKeys) property(path string) string {
	return "p/" + k.domain + "/" + k.device + "/" + path
}

func homieDomainKey(device string) string { return "i/" + device }

func (k homieKeys) load(state mapping.State) (d homieDevice, ok bool) {
	data, ok := state.Get(k.description())
	return d, ok && json.Unmarshal(data, &d) == nil
}

// word is the device's own state, "" if it did not tell.
func (k homieKeys) word(state mapping.State) string {
	word, _ := state.Get(k.state())
	return string(word)
}

// effective is the device's state with its root's in view; own is its own word.
func (k homieKeys) effective(state mapping.State, d *homieDevice, own string) string {
	if d.Root != "" && (homieKeys{k.domain, d.Root}).word(state) == homieLost {
		return homieLost
	}
	return own
}

// homieMessage is the work on one message.
type homieMessage struct {
	homieKeys

	call *mapping.Call
	res  mapping.Result
	said *reported
}

// Map takes one message of a device.
func (f *homieFamily) Map(c *mapping.Call) (mapping.Result, error) {
	domain, _, _ := strings.Cut(c.Pub.Topic, "/")
	m := homieMessage{homieKeys: homieKeys{domain, c.Capture("device")}, call: c}
	switch {
	case c.Pattern == homieLog || c.Pattern == homieBroadcast || c.Pattern == homieSet || strings.HasPrefix(m.device, "$"):
		return m.res, nil
	case strings.HasPrefix(c.Capture("node"), "$"):
		m.res.Tally.Unsupported++ // of an extension
		return m.res, nil
	}
	if err := m.own(); err != nil {
		return mapping.Result{}, err
	}
	m.said = newReported(c.State, m.device, c.Now)
	err := m.read()
	if err == nil {
		err = m.said.keep(&m.res)
	}
	if err != nil {
		return mapping.Result{}, err
	}
	return m.res, nil
}

func (m *homieMessage) read() error {
	switch m.call.Pattern {
	case homieState:
		return m.state(string(m.call.Pub.Payload))
	case homieDescription:
		return m.describe()
	case homieAlert:
		body, err := mapping.Encode(homieText(m.call.Pub.Payload))
		if err != nil {
			return err
		}
		m.said.tell(&m.res, modelName("alert", m.call.Capture("alert")), body, time.Time{})
		return nil
	case homieTarget:
		return m.value(true)
	}
	return m.value(false)
}

// own binds the device to its domain, and refuses a second one of the same name.
func (m *homieMessage) own() error {
	known, ok := m.call.State.Get(homieDomainKey(m.device))
	if ok && string(known) != m.domain {
		return &mapping.Error{
			Code: mapping.CodeBadDevice, Device: m.device, Message: fmt.Sprintf("the device %s is one of the domain %s already", m.device, known),
			Hint: "take the preset for one domain: {name: homie, prefix: " + string(known) + "}",
		}
	}
	if !ok {
		m.put(homieDomainKey(m.device), []byte(m.domain))
	}
	m.res.Addresses = append(m.res.Addresses, mapping.Address{Device: m.device, Data: []byte(m.domain)})
	return nil
}

// put changes a key unless it has that value already; nil deletes.
func (m *homieMessage) put(key string, value []byte) {
	if old, ok := m.call.State.Get(key); ok == (value != nil) && string(old) == string(value) {
		return
	}
	m.res.Changes = append(m.res.Changes, mapping.Change{Key: key, Value: value})
}

// state takes $state; an empty one removes the device.
func (m *homieMessage) state(word string) error {
	d, _ := m.load(m.call.State)
	before := m.word(m.call.State)
	switch word {
	case "":
		m.said.online(&m.res, false)
		for _, path := range d.Properties {
			m.put(m.property(path), nil)
		}
		m.put(m.description(), nil)
		m.put(m.homieKeys.state(), nil)
		m.res.Changes = append(m.res.Changes, mapping.Change{Key: homieDomainKey(m.device)})
		return nil
	case "init", "ready", "sleeping", homieDisconnected, homieLost:
	default:
		return undecodable("%.40q is no state of a device", word)
	}
	m.put(m.homieKeys.state(), []byte(word))
	if err := m.available(m.said, m.effective(m.call.State, &d, word)); err != nil {
		return err
	}
	if d.Root == "" && before != word && (before == homieLost || word == homieLost) {
		return m.descendants(&d, word == homieLost)
	}
	return nil
}

func (m *homieMessage) available(said *reported, word string) error {
	body, err := mapping.Encode(word)
	if err != nil {
		return err
	}
	said.online(&m.res, homieOnline(word))
	said.tell(&m.res, "state", body, time.Time{})
	return nil
}

// homieMostChildren bounds the children of one root, in all generations.
const homieMostChildren = 1000

// descendants lets the children of a root be lost with it, and be again what they said themselves when it is back.
func (m *homieMessage) descendants(root *homieDevice, lost bool) error {
	queue := slices.Clone(root.Children)
	seen := map[string]bool{m.device: true}
	for len(queue) > 0 && len(seen) <= homieMostChildren {
		child := homieKeys{m.domain, queue[0]}
		queue = queue[1:]
		if seen[child.device] {
			continue
		}
		seen[child.device] = true
		d, ok := child.load(m.call.State)
		own := child.word(m.call.State)
		if !ok || own == "" || d.Root != m.device {
			continue // it has not introduced itself, or not as a child of this root
		}
		queue = append(queue, d.Children...)
		if lost {
			own = homieLost
		}
		said := newReported(m.call.State, child.device, m.call.Now)
		if err := m.available(said, own); err != nil {
			return err
		}
		if err := said.keep(&m.res); err != nil {
			return err
		}
	}
	return nil
}
