package mapping

import "encoding/json"

// Result is what a publication becomes.
type Result struct {
	Route   string // what mapped it: a route's name, "native", a family's name; of several the first
	Records []Record
	Changes []Change  // commit them with the records, or neither
	Events  []Event   // what the gateway itself acts on
	Publish []Message // the gateway's own answers, such as a request for rebirth
	Tally   Tally     // what was left out, and why

	Claims    []Claim   // filled by families only; the mapper makes changes of them
	Addresses []Address // devices that a family has brought in; the mapper makes changes of them
}

// Foreign returns the first device that the result speaks of and that the publisher may not write, whichever way its id came
// about. Such a publication is a dead letter, nothing of its result is kept.
func (r *Result) Foreign(mayWrite func(device string) bool) (device string, foreign bool) {
	for i := range r.Records {
		if d := r.Records[i].Device; !mayWrite(d) {
			return d, true
		}
	}
	for _, e := range r.Events {
		if d := e.About(); !mayWrite(d) {
			return d, true
		}
	}
	for _, a := range r.Addresses {
		if !mayWrite(a.Device) {
			return a.Device, true
		}
	}
	return "", false
}

// Tally counts what a publication did not become, so that nothing is dropped unexplained.
type Tally struct {
	Dropped     int // a route says drop
	Empty       int // a route matched and found none of its values
	Unchanged   int // report on change: within the dead band
	TooSoon     int // within the minimum interval
	Replayed    int // telemetry of a retained replay that has no time of its own
	Implausible int // the device's time was not credible, the time of receipt was taken
	Unmodelled  int // values that the device's template does not speak of, passed on
	NoOnline    int // availability of a device whose template has no property online
	NoProperty  int // properties that a family found and the device's template does not have
	Repeated    int // a message that came before, by its own id
	Unresolved  int // values that only an earlier message could explain, such as aliases before the BIRTH that defines them
	Unsupported int // parts of a family's message that its preset does not know
}

// Add adds the counts of another tally.
func (t *Tally) Add(o Tally) {
	t.Dropped += o.Dropped
	t.Empty += o.Empty
	t.Unchanged += o.Unchanged
	t.TooSoon += o.TooSoon
	t.Replayed += o.Replayed
	t.Implausible += o.Implausible
	t.Unmodelled += o.Unmodelled
	t.NoOnline += o.NoOnline
	t.NoProperty += o.NoProperty
	t.Repeated += o.Repeated
	t.Unresolved += o.Unresolved
	t.Unsupported += o.Unsupported
}

// State is what earlier mappings left behind. Get must already show the changes of every earlier publication that was handed
// to the store, synced or not: publications are mapped faster than a disk syncs. The bytes belong to the state and are only
// read. It is called on the goroutine of Map alone.
//
// Keys that begin with c/ hold what was sent last, for report on change. A store that must stay within a bound may lose any of
// them at any time: it costs one value that is sent although it did not change. Other keys must be kept.
type State interface {
	Get(key string) (value []byte, ok bool)
}

// Change sets a key of the state, or deletes it when Value is nil. The caller owns both from then on.
type Change struct {
	Key   string
	Value []byte
}

// StateOf returns what the state holds about one device, to be deleted with it: the prefix of some keys, and one key.
func StateOf(device string) (prefix, key string) {
	return keyChange + device + "/", keyAddress + device
}

// MemoryState is a State in a map: for tests and for mapping a capture.
type MemoryState map[string][]byte

// Get implements State.
func (s MemoryState) Get(key string) ([]byte, bool) {
	v, ok := s[key]
	return v, ok
}

// Apply carries the changes out.
func (s MemoryState) Apply(changes []Change) {
	for _, c := range changes {
		if c.Value == nil {
			delete(s, c.Key)
			continue
		}
		s[c.Key] = c.Value
	}
}

// Event is something that the gateway acts on itself: CommandResponse or PropertyQuery.
type Event interface {
	event()
	// About returns the device that the event is about, which the publisher must be allowed to write.
	About() string
}

// The states of a command that a device can report.
const (
	StatusCompleted = "Completed"
	StatusFailed    = "Failed"
)

// CommandResponse is a device's answer to a command.
type CommandResponse struct {
	Device, Name, ID string
	Status           string          // Completed or Failed
	Result           json.RawMessage // nil: none
}

// PropertyQuery is a device asking for the last known value of a property.
type PropertyQuery struct {
	Device, Name string
	Response     *Reply // nil: answer on the property's desired topic
}

func (CommandResponse) event() {}
func (PropertyQuery) event()   {}

// About implements Event.
func (e CommandResponse) About() string { return e.Device }

// About implements Event.
func (e PropertyQuery) About() string { return e.Device }
