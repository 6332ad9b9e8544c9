package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// PropertyOnline is the property that a device's availability becomes, a boolean: last wills, birth and death messages, and
// topics such as .../LWT or .../availability.
const PropertyOnline = "online"

// Family maps a family of devices with topics and payloads of their own (Tasmota, Zigbee2MQTT, Sparkplug B), in both directions.
// It is a preset: a user writes its name and nothing else.
//
// A Family is immutable and safe for concurrent use. Like the mapper it does no I/O, reads no clock and leaks no map order. What
// it must remember it keeps through State and Result.Changes; its keys are its own, the mapper puts the family's name before
// them. A state read within Map does not show the changes of the same call.
//
// What a Family returns from Map goes through the same door as everything else: device ids and names are validated, device times
// are checked against the publication's bounds (an incredible one becomes the time of receipt), replayed telemetry without
// time is left out, templates are applied. So a Family fills in Kind, Device, Name, Value and, if the payload tells it, Time with
// TimeFrom: Payload. Time left zero is the time of receipt; Origin is set by the mapper.
//
// Errors are *Error; any other error becomes one with CodeUndecodable. A publication that tells nothing is no error: return an
// empty Result, and count it in Result.Tally if a value was left out.
type Family interface {
	// Name names the instance: "tasmota", or "tasmota garden" for a second one with another prefix. It is part of keys in the
	// store and must stay the same over restarts. It holds no slash.
	Name() string
	// Patterns are the topics that Map is called for, in the syntax of routes: words, {name}, +, {prefix...} first,
	// {rest...} or # last. Several may match a topic: the first of them is taken.
	Patterns() []string
	// Scopes are the topics that a device of this family may publish and subscribe to, for the broker's access list.
	Scopes() []Scope
	// Map turns a publication into records. Call.Pattern tells which of Patterns matched.
	Map(c *Call) (Result, error)
	// Command turns a command into messages for a device that this family has brought in. A family that gets no reply to
	// its commands adds the event CommandResponse{Status: Completed} itself; one that does keeps the id in its state and adds the
	// event when the reply comes through Map. A command that the family does not have is an *Error with CodeBadName.
	Command(c *CommandCall) (Result, error)
	// Desired turns the desired value of a property into messages. ErrNotSupported tells that there is no such thing.
	Desired(c *DesiredCall) (Result, error)
}

// Starter is a Family that greets the field when the gateway starts, and says good-bye: Sparkplug's STATE, Shelly's announce.
type Starter interface {
	Start(now time.Time) []Message
	Stop(now time.Time) []Message
}

// ErrNotSupported tells that a family has no way to do what was asked.
var ErrNotSupported = errors.New("the device family has no way to do that")

// Scope is a topic pattern that devices of a family may use. {device} stands for a device that the user may write as; other
// {names}, + and # are wildcards.
type Scope struct {
	Pattern   string
	Publish   bool
	Subscribe bool
}

// Claim binds a topic that a discovery message named to the family that understood it: publications on it come to Map with
// Pattern -1 and Claim set, when neither a route nor the native scheme nor a pattern of any family knows the topic. The sender
// of the discovery message must be allowed to publish the topic. Nil Data releases the topic.
type Claim struct {
	Topic string
	Data  []byte
}

// Address binds a device to the family that brought it in, with what the family wants to know when it sends to the device. The
// mapper adds one without data for every device that a family's records name and that has none yet. The last one holds.
type Address struct {
	Device string
	Data   []byte
}

// Call is one publication for a Family.
type Call struct {
	Pub     *Publication
	Now     time.Time // of receipt, in UTC, to the millisecond
	Pattern int       // index of the pattern that matched, -1: a claimed topic
	Claim   []byte    // the data of the claim
	State   State     // the family's own keys
	match   match
}

// Capture returns what {name} of the pattern caught, or "".
func (c *Call) Capture(name string) string {
	if c.match.pattern == nil {
		return ""
	}
	s, _ := c.match.named(name)
	return s
}

// CommandCall is a command for a device of a family.
type CommandCall struct {
	Device, Name, ID string
	Args             json.RawMessage // nil: none
	Now              time.Time
	Address          []byte // Address.Data
	State            State
}

// DesiredCall is a desired property for a device of a family.
type DesiredCall struct {
	Device, Name string
	Value        json.RawMessage // nil: cleared
	Version      uint64
	Now          time.Time
	Address      []byte
	State        State
}

// The mapper's keys in the state. Short, because there may be many.
const (
	keyFamily  = "f/" // f/<family>/<key>: what a family keeps
	keyClaim   = "t/" // t/<topic>: family NUL data
	keyAddress = "a/" // a/<device>: family NUL data
	keyChange  = "c/" // report on change
)

// familyState shows a family its own keys.
type familyState struct {
	state  State
	prefix string
}

// Get implements State.
func (s familyState) Get(key string) ([]byte, bool) {
	if s.state == nil {
		return nil, false
	}
	return s.state.Get(s.prefix + key)
}

// families are the compiled families of a mapper.
type families struct {
	all      []familyEntry
	trie     trie
	patterns []familyPattern
}

type familyEntry struct {
	family Family
	name   string
	prefix string // of its keys
}

type familyPattern struct {
	pattern *pattern
	family  int
	index   int // in Family.Patterns
}

func compileFamilies(list []Family) (*families, []error) {
	f := &families{}
	var faults []error
	for i, fam := range list {
		name := fam.Name()
		if name == "" || strings.ContainsAny(name, "/\x00") {
			faults = append(faults, fmt.Errorf("family %d has the impossible name %q", i, name))
		}
		for _, other := range f.all {
			if other.name == name {
				faults = append(faults, fmt.Errorf("the family %q is there twice", name))
			}
		}
		f.all = append(f.all, familyEntry{family: fam, name: name, prefix: keyFamily + name + "/"})
		for j, text := range fam.Patterns() {
			p, err := compilePattern(text)
			if err != nil {
				faults = append(faults, fmt.Errorf("family %s, pattern %q: %w", name, text, err))
				continue
			}
			f.trie.add(p, len(f.patterns))
			f.patterns = append(f.patterns, familyPattern{pattern: p, family: i, index: j})
		}
	}
	return f, faults
}

func (f *families) named(name string) *familyEntry {
	for i := range f.all {
		if f.all[i].name == name {
			return &f.all[i]
		}
	}
	return nil
}

// mapFamily asks the families, first by their patterns, then by the topics they have claimed.
func (m *Mapper) mapFamily(in *input, res *Result) (known bool, err error) {
	if len(m.families.all) == 0 {
		return false, nil
	}
	var room [8]hit
	if hits := m.families.trie.search(in.levels, room[:0]); len(hits) > 0 {
		fp := m.families.patterns[hits[0].index]
		c := Call{Pattern: fp.index, match: match{fp.pattern, in.pub.Topic, in.levels, hits[0].start}}
		return true, m.callFamily(in, res, &m.families.all[fp.family], &c)
	}
	if in.state == nil {
		return false, nil
	}
	value, ok := in.state.Get(keyClaim + in.pub.Topic)
	if !ok {
		return false, nil
	}
	name, data := cutOwner(value)
	entry := m.families.named(name)
	if entry == nil {
		return false, nil
	}
	return true, m.callFamily(in, res, entry, &Call{Pattern: -1, Claim: data})
}

// cutOwner splits family NUL data.
func cutOwner(value []byte) (family string, data []byte) {
	name, rest, _ := strings.Cut(string(value), "\x00")
	return name, []byte(rest)
}

func joinOwner(family string, data []byte) []byte {
	b := make([]byte, 0, len(family)+1+len(data))
	b = append(b, family...)
	b = append(b, 0)
	return append(b, data...)
}

func (m *Mapper) callFamily(in *input, res *Result, entry *familyEntry, c *Call) error {
	c.Pub, c.Now, c.State = in.pub, in.now, familyState{in.state, entry.prefix}
	got, err := entry.family.Map(c)
	if err != nil {
		e := asError(err)
		if e.Route == "" {
			e.Route = entry.name
		}
		return e
	}
	if res.Route == "" {
		res.Route = entry.name
	}
	return m.adopt(in, res, entry, got)
}

// adopt takes over what a family returned, checked and under its own keys.
func (m *Mapper) adopt(in *input, res *Result, entry *familyEntry, got Result) error {
	for _, r := range got.Records {
		r.Origin = entry.name
		if r.Time.IsZero() {
			r.Time, r.TimeFrom = in.now, Receipt
		}
		if err := m.emitChecked(in, res, r); err != nil {
			e := asError(err)
			e.Route = entry.name
			return e
		}
		if !addressed(got.Addresses, r.Device) {
			got.Addresses = append(got.Addresses, Address{Device: r.Device})
			if owner, _ := m.owner(r.Device, in.state); owner == entry {
				got.Addresses = got.Addresses[:len(got.Addresses)-1]
			}
		}
	}
	for _, a := range got.Addresses {
		if err := ValidDeviceID(a.Device); err != nil {
			e := asError(err)
			e.Route = entry.name
			return e
		}
		m.change(in, res, keyAddress+a.Device, joinOwner(entry.name, a.Data))
	}
	for _, c := range got.Claims {
		if in.pub.MayPublish != nil && !in.pub.MayPublish(c.Topic) {
			return &Error{Code: CodeForeignTopic, Route: entry.name, Message: "the sender claims the topic " + clip(c.Topic) + ", which it may not publish"}
		}
		if c.Data == nil {
			res.Changes = append(res.Changes, Change{Key: keyClaim + c.Topic})
			continue
		}
		m.change(in, res, keyClaim+c.Topic, joinOwner(entry.name, c.Data))
	}
	for _, c := range got.Changes {
		res.Changes = append(res.Changes, Change{Key: entry.prefix + c.Key, Value: c.Value})
	}
	res.Events = append(res.Events, got.Events...)
	res.Publish = append(res.Publish, got.Publish...)
	res.Addresses = append(res.Addresses, got.Addresses...)
	res.Tally.Add(got.Tally)
	return nil
}

// change sets a key unless it has that value already.
func (m *Mapper) change(in *input, res *Result, key string, value []byte) {
	if in.state != nil {
		if old, ok := in.state.Get(key); ok && string(old) == string(value) {
			return
		}
	}
	res.Changes = append(res.Changes, Change{Key: key, Value: value})
}

func addressed(list []Address, device string) bool {
	for _, a := range list {
		if a.Device == device {
			return true
		}
	}
	return false
}

// owner returns the family that brought a device in, with its address; nil for a device of the native scheme or of a route.
func (m *Mapper) owner(device string, state State) (*familyEntry, []byte) {
	if state == nil || len(m.families.all) == 0 {
		return nil, nil
	}
	value, ok := state.Get(keyAddress + device)
	if !ok {
		return nil, nil
	}
	name, data := cutOwner(value)
	return m.families.named(name), data
}

// Start returns what the families publish when the gateway starts.
func (m *Mapper) Start(now time.Time) []Message {
	var out []Message
	for _, e := range m.families.all {
		if s, ok := e.family.(Starter); ok {
			out = append(out, s.Start(now.UTC())...)
		}
	}
	return out
}

// Stop returns what the families publish when the gateway stops.
func (m *Mapper) Stop(now time.Time) []Message {
	var out []Message
	for _, e := range m.families.all {
		if s, ok := e.family.(Starter); ok {
			out = append(out, s.Stop(now.UTC())...)
		}
	}
	return out
}

// Scopes returns the topics that the families' devices may use, for the broker's access list.
func (m *Mapper) Scopes() []Scope {
	var out []Scope
	for _, e := range m.families.all {
		out = append(out, e.family.Scopes()...)
	}
	return out
}
