package app

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/console"
	"iotc-gateway/mapping"
)

// What is remembered of devices, for people to look at. All of it is in memory
// and bounded: some 4 KiB for a device with a handful of values.
const (
	activityDevices      = 2000
	activityValues       = 24
	activityPoints       = 40
	activityPublications = 8
	activityFaults       = 5
	activityClip         = 256
	// activityEvery is how often a device is looked at closely: between two
	// looks a publication costs a lookup and an assignment.
	activityEvery = time.Second
	// activityHold is the largest publication that is held for a later look.
	activityHold = 4 << 10
)

// activity knows what each device said last. It is fed by ingest and by the
// uplink's verdicts, and never waits.
type activity struct {
	devices sync.Map // of lower-case id to *seenDevice
	count   atomic.Int64
}

type seenDevice struct {
	id string

	mu       sync.Mutex
	client   string
	lastSeen time.Time
	looked   time.Time
	// pending is the newest publication that was not looked at yet.
	pending      *lookedAt
	values       []*seenValue
	publications []console.Seen // a ring
	next         int
	errors       uint64
	faults       []console.Fault // oldest first
}

// lookedAt is a publication with its records of one device.
type lookedAt struct {
	topic    string
	payload  []byte
	received time.Time
	records  []mapping.Record
}

type seenValue struct {
	kind   mapping.Kind
	name   string
	last   json.RawMessage
	time   time.Time
	points []float32 // a ring once it is full
	next   int
}

// device returns the entry of a device, and makes it while there is room.
func (a *activity) device(id string) *seenDevice {
	key := strings.ToLower(id)
	if v, ok := a.devices.Load(key); ok {
		return v.(*seenDevice) //nolint:forcetypeassert // nothing else is stored
	}
	if a.count.Load() >= activityDevices {
		return nil
	}
	v, loaded := a.devices.LoadOrStore(key, &seenDevice{id: id})
	if !loaded {
		a.count.Add(1)
	}
	return v.(*seenDevice) //nolint:forcetypeassert // nothing else is stored
}

// mapped notes what a publication became.
func (a *activity) mapped(p *broker.Publication, records []mapping.Record) {
	for from := 0; from < len(records); {
		to := from + 1
		for to < len(records) && records[to].Device == records[from].Device {
			to++
		}
		if d := a.device(records[from].Device); d != nil {
			d.note(p, records[from:to])
		}
		from = to
	}
}

func (d *seenDevice) note(p *broker.Publication, records []mapping.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.client, d.lastSeen = p.Client, p.Received
	x := lookedAt{p.Topic, p.Payload, p.Received, records}
	if p.Received.Sub(d.looked) < activityEvery && !p.Received.Before(d.looked) {
		if len(p.Payload) <= activityHold {
			if d.pending == nil {
				d.pending = &lookedAt{}
			}
			*d.pending = x
		}
		return
	}
	d.pending = nil
	d.look(&x)
}

// look takes the values out of a publication. The lock is held.
func (d *seenDevice) look(x *lookedAt) {
	d.looked = x.received
	seen := console.Seen{Time: x.received, Topic: x.topic, Bytes: len(x.payload), Records: len(x.records)}
	seen.Payload, seen.Binary = clipped(x.payload, activityClip)
	if len(d.publications) < activityPublications {
		d.publications = append(d.publications, seen)
	} else {
		d.publications[d.next] = seen
		d.next = (d.next + 1) % activityPublications
	}
	for i := range x.records {
		r := &x.records[i]
		switch r.Kind {
		case mapping.KindTelemetry:
			_ = mapping.Members(r.Value, func(name string, value json.RawMessage) error {
				if name != "timestamp" {
					d.value(r.Kind, name, value, r.Time)
				}
				return nil
			})
		case mapping.KindProperty:
			d.value(r.Kind, r.Name, r.Value, r.Time)
		default:
		}
	}
}

func (d *seenDevice) value(kind mapping.Kind, name string, value json.RawMessage, at time.Time) {
	var v *seenValue
	for _, have := range d.values {
		if have.kind == kind && have.name == name {
			v = have
			break
		}
	}
	if v == nil {
		if len(d.values) == activityValues {
			return
		}
		v = &seenValue{kind: kind, name: strings.Clone(name)}
		d.values = append(d.values, v)
	}
	v.time = at
	if len(value) > activityClip {
		v.last = json.RawMessage(`"(long)"`)
		return
	}
	v.last = append(v.last[:0], value...)
	var number float32
	if len(value) == 0 || value[0] != '-' && (value[0] < '0' || value[0] > '9') || json.Unmarshal(value, &number) != nil {
		return
	}
	if len(v.points) < activityPoints {
		v.points = append(v.points, number)
		return
	}
	v.points[v.next] = number
	v.next = (v.next + 1) % activityPoints
}

// fault notes that something of a device went wrong.
func (a *activity) fault(device string, f console.Fault) {
	if device == "" {
		return
	}
	d := a.device(device)
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errors++
	if len(d.faults) == activityFaults {
		d.faults = slices.Delete(d.faults, 0, 1)
	}
	if len(f.Message) > 2*activityClip {
		f.Message = strings.ToValidUTF8(f.Message[:2*activityClip], "") + "..."
	}
	d.faults = append(d.faults, f)
}

// seen is what the dashboard is shown of a device.
type seen struct {
	id, client   string
	lastSeen     time.Time
	values       []console.Value
	publications []console.Seen  // newest first
	faults       []console.Fault // newest first
	errors       uint64
	online       *bool // the property online, nil: not told
}

func (d *seenDevice) show() seen {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending != nil {
		x := d.pending
		d.pending = nil
		d.look(x)
	}
	s := seen{
		id: d.id, client: d.client, lastSeen: d.lastSeen, errors: d.errors,
		values: make([]console.Value, 0, len(d.values)), faults: slices.Clone(d.faults),
	}
	slices.Reverse(s.faults)
	n := len(d.publications)
	for i := range n {
		s.publications = append(s.publications, d.publications[(d.next+n-1-i)%n])
	}
	for _, v := range d.values {
		if v.kind == mapping.KindProperty && v.name == mapping.PropertyOnline {
			s.online = new(string(v.last) == "true")
		}
		out := console.Value{Kind: v.kind.String(), Name: v.name, Last: slices.Clone(v.last), Time: v.time}
		for i := range v.points {
			out.Spark = append(out.Spark, float64(v.points[(v.next+i)%len(v.points)]))
		}
		s.values = append(s.values, out)
	}
	slices.SortFunc(s.values, func(a, b console.Value) int {
		return cmp.Or(-cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return s
}

// each calls fn for every device.
func (a *activity) each(fn func(seen)) {
	a.devices.Range(func(_, v any) bool {
		fn(v.(*seenDevice).show()) //nolint:forcetypeassert // nothing else is stored
		return true
	})
}

// of returns what is known of one device.
func (a *activity) of(id string) (seen, bool) {
	v, ok := a.devices.Load(strings.ToLower(id))
	if !ok {
		return seen{}, false
	}
	return v.(*seenDevice).show(), true //nolint:forcetypeassert // nothing else is stored
}

// clipped makes a payload fit to be shown: text as it is, anything else as
// base64.
func clipped(b []byte, most int) (text string, binary bool) {
	cut := len(b) > most
	if cut {
		b = b[:most]
	}
	if head := trimRune(b, cut); utf8.Valid(head) && !hasControls(head) {
		if cut {
			return string(head) + "…", false
		}
		return string(head), false
	}
	text = base64.StdEncoding.EncodeToString(b)
	if cut {
		text += "…"
	}
	return text, true
}

// trimRune drops a character that the cut halved.
func trimRune(b []byte, cut bool) []byte {
	for i := 0; cut && i < utf8.UTFMax-1 && len(b) > 0; i++ {
		if r, size := utf8.DecodeLastRune(b); r != utf8.RuneError || size > 1 {
			break
		}
		b = b[:len(b)-1]
	}
	return b
}

func hasControls(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' {
			return true
		}
	}
	return false
}
