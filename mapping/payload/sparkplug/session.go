package sparkplug

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Store is where one edge node's state lives between messages. Step reads it, and writes it only when it returns
// no error; what it writes must be kept together with what becomes of its outcome. A nil value deletes. Values
// are not changed after they were put. A handful of small keys a node, and one for each of its devices.
type Store interface {
	Get(key string) ([]byte, bool)
	Put(key string, value []byte)
}

// Outcome is what one message means to a host.
type Outcome struct {
	Values       []Value
	Availability []Availability // who came or went, in order
	Rebirth      bool           // the node should be asked for its BIRTH certificates, now
	Reason       string         // why a rebirth is wanted or a message was left out, for people; else ""
	Unresolved   int            // metrics left out because no BIRTH defines them
}

// Value is a metric's value with the name that its BIRTH gives it.
type Value struct {
	Device     string // "": of the node itself
	Name       string
	Value      any // as Metric.Value returns it; nil: the metric is null
	Unit       string
	Type       DataType
	Time       time.Time // zero: not told
	Historical bool
	Transient  bool
	Properties map[string]any
}

// Availability tells that a node or one of its devices came or went.
type Availability struct {
	Device string // "": the node itself
	Online bool
	Time   time.Time // zero: not told
}

// Keys of the store.
const (
	keySession = "session"
	keyDevices = "devices"
	keyNode    = "metrics"
)

func keyDevice(device string) string { return keyNode + "/" + device }

const (
	// maxDevices bounds what a node may define.
	maxDevices = 4096
	// A node that does not answer is asked for rebirth again after 10 s, then 20 s, 40 s and at last every 11 min.
	askFirst    = 10 * time.Second
	askDoubling = 6

	bdSeqName = "bdSeq"
)

// Step applies one message of an edge node to its state (Sparkplug 3.0 §5, host side). It is a pure function of
// its arguments and what the store returns. Commands, which are not the node's, leave everything as it is.
func Step(store Store, topic Topic, p *Payload, now time.Time) (Outcome, error) {
	s := &step{store: store, topic: topic, payload: p, now: now}
	if data, ok := store.Get(keySession); ok {
		s.session, s.known = parseSession(data)
	}
	var err error
	switch topic.Type {
	case NBirth:
		err = s.nodeBirth()
	case NDeath:
		s.nodeDeath()
	case DBirth:
		err = s.deviceBirth()
	case DDeath:
		s.deviceDeath()
	case NData, DData:
		err = s.data()
	default:
		return Outcome{}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	if s.Rebirth {
		s.session.asked, s.session.asks = now.UnixMilli(), min(s.session.asks+1, askDoubling+1)
	}
	s.puts = append(s.puts, put{keySession, s.session.bytes()})
	for _, put := range s.puts {
		store.Put(put.key, put.value)
	}
	return s.Outcome, nil
}

// step is the work on one message.
type step struct {
	store   Store
	topic   Topic
	payload *Payload
	now     time.Time
	session session
	known   bool // there is a session
	puts    []put
	Outcome
}

type put struct {
	key   string
	value []byte
}

// session is the part of the state that every message changes.
type session struct {
	online     bool
	hasBdSeq   bool
	lost       bool // messages are missing since the last BIRTH
	seq        uint8
	asks       uint8  // requests for rebirth since the last BIRTH
	generation uint32 // counts the node's MQTT sessions
	bdSeq      uint64
	asked      int64 // time of the last request, in ms
}

const sessionVersion = 1

func (s session) bytes() []byte {
	var flags byte
	for i, flag := range [...]bool{s.online, s.hasBdSeq, s.lost} {
		if flag {
			flags |= 1 << i
		}
	}
	b := make([]byte, 0, 24)
	b = append(b, sessionVersion, flags, s.seq, s.asks)
	b = binary.BigEndian.AppendUint32(b, s.generation)
	b = binary.BigEndian.AppendUint64(b, s.bdSeq)
	return binary.BigEndian.AppendUint64(b, uint64(s.asked))
}

func parseSession(b []byte) (s session, ok bool) {
	if len(b) != 24 || b[0] != sessionVersion {
		return session{}, false
	}
	return session{
		online: b[1]&1 != 0, hasBdSeq: b[1]&2 != 0, lost: b[1]&4 != 0, seq: b[2], asks: b[3],
		generation: binary.BigEndian.Uint32(b[4:]), bdSeq: binary.BigEndian.Uint64(b[8:]),
		asked: int64(binary.BigEndian.Uint64(b[16:])),
	}, true
}

// nodeBirth begins a session, or goes on with one when the node answers a request for rebirth: bdSeq tells.
func (s *step) nodeBirth() error {
	bdSeq, has := s.bdSeq()
	same := s.session.online && has && s.session.hasBdSeq && bdSeq == s.session.bdSeq
	if !same {
		s.devicesOffline() // whose death nobody told
		s.session.generation++
	}
	s.session = session{online: true, hasBdSeq: has, seq: s.payload.Seq, generation: s.session.generation, bdSeq: bdSeq}
	names := newTable(s.payload.Metrics, s.session.generation)
	s.puts = append(s.puts, put{keyNode, names})
	s.Availability = append(s.Availability, Availability{Online: true, Time: s.payload.Time})
	return s.values(names, true)
}

// nodeDeath ends the session that it belongs to. The death of an earlier one may arrive after the next BIRTH.
func (s *step) nodeDeath() {
	bdSeq, has := s.bdSeq()
	if s.session.online && s.session.hasBdSeq && has && bdSeq != s.session.bdSeq {
		s.Reason = fmt.Sprintf("the death of session %d, session %d is alive", bdSeq, s.session.bdSeq)
		return
	}
	// A death certificate was written when the node connected: its time says nothing about the death.
	s.devicesOffline()
	s.session.online = false
	s.Availability = append(s.Availability, Availability{})
}

func (s *step) deviceBirth() error {
	if !s.alive() {
		return s.values(nil, true)
	}
	names := newTable(s.payload.Metrics, s.session.generation)
	devices := s.devices()
	if !slices.Contains(devices, s.topic.Device) {
		if len(devices) >= maxDevices {
			return fault(-1, ErrTooLarge, "the node has more than %d devices", maxDevices)
		}
		devices = append(slices.Clip(devices), s.topic.Device)
		s.puts = append(s.puts, put{keyDevices, []byte(strings.Join(devices, "\n"))})
	}
	s.puts = append(s.puts, put{keyDevice(s.topic.Device), names})
	s.Availability = append(s.Availability, Availability{Device: s.topic.Device, Online: true, Time: s.payload.Time})
	return s.values(names, true)
}

func (s *step) deviceDeath() {
	if !s.alive() {
		return
	}
	if names, ok := s.deviceTable(s.topic.Device); ok {
		s.puts = append(s.puts, put{keyDevice(s.topic.Device), names.offline()})
	}
	s.Availability = append(s.Availability, Availability{Device: s.topic.Device, Time: s.payload.Time})
}

func (s *step) data() error {
	var names table
	if s.alive() {
		if s.topic.Device == "" {
			if t, ok := s.store.Get(keyNode); ok && table(t).valid() {
				names = t
			}
		} else if t, ok := s.deviceTable(s.topic.Device); ok {
			names = t
		}
		if names == nil {
			s.askRebirth("data before the BIRTH of " + s.who())
		}
	}
	return s.values(names, false)
}

// alive checks that the node is in a session and the message the next one of it. Messages after a gap are still
// taken: their values are as good as the ones before, and aliases change with a BIRTH only.
func (s *step) alive() bool {
	if !s.session.online {
		s.askRebirth("no BIRTH of the node is known")
		return false
	}
	if s.payload.HasSeq {
		if next := s.session.seq + 1; s.payload.Seq != next {
			s.session.lost = true
			s.askRebirth(fmt.Sprintf("sequence number %d where %d was expected", s.payload.Seq, next))
		} else if s.session.lost {
			s.askRebirth("messages are missing since the last BIRTH")
		}
		s.session.seq = s.payload.Seq
	}
	return true
}

// askRebirth asks unless that was done a short while ago.
func (s *step) askRebirth(reason string) {
	s.Reason = reason
	since := s.now.UnixMilli() - s.session.asked
	wait := askFirst << max(0, int(s.session.asks)-1)
	if s.session.asks == 0 || since < 0 || since >= wait.Milliseconds() {
		s.Rebirth = true
	}
}

func (s *step) who() string {
	if s.topic.Device == "" {
		return "the node"
	}
	return fmt.Sprintf("device %q", s.topic.Device)
}

func (s *step) bdSeq() (uint64, bool) {
	for i := range s.payload.Metrics {
		m := &s.payload.Metrics[i]
		if m.Name == bdSeqName && !m.Null && (m.raw.field == fieldInt || m.raw.field == fieldLong) {
			return m.raw.bits, true
		}
	}
	return 0, false
}

func (s *step) devices() []string {
	data, ok := s.store.Get(keyDevices)
	if !ok || len(data) == 0 {
		return nil
	}
	return strings.Split(string(data), "\n")
}

// deviceTable returns what the device's BIRTH defined, if the device is online.
func (s *step) deviceTable(device string) (table, bool) {
	data, ok := s.store.Get(keyDevice(device))
	t := table(data)
	return t, ok && t.valid() && t.online() && t.generation() == s.session.generation
}

// devicesOffline tells the end of every device that is online. Their tables end with the node's generation.
func (s *step) devicesOffline() {
	if !s.session.online {
		return
	}
	for _, device := range s.devices() {
		if _, online := s.deviceTable(device); online {
			s.Availability = append(s.Availability, Availability{Device: device})
		}
	}
}

// values resolves the metrics of a message. Without a table only metrics that say everything themselves are.
func (s *step) values(names table, birth bool) error {
	for i := range s.payload.Metrics {
		m := &s.payload.Metrics[i]
		v := Value{
			Device: s.topic.Device, Name: m.Name, Type: m.Type, Time: m.Time,
			Historical: m.Historical, Transient: m.Transient, Properties: m.Properties,
		}
		if !birth {
			ok := m.Name != "" && m.Type != Unknown
			switch {
			case m.Name == "" && m.HasAlias && names != nil:
				var kind DataType
				if v.Name, kind, ok = names.byAlias(m.Alias); ok && v.Type == Unknown {
					v.Type = kind
				}
			case m.Name != "" && m.Type == Unknown && names != nil:
				v.Type, ok = names.byName(m.Name)
			}
			if !ok {
				s.Unresolved++
				continue
			}
		}
		if v.Name == bdSeqName && s.topic.Device == "" || v.Name == "" || m.Definition() {
			continue
		}
		var err error
		if v.Value, err = m.Value(v.Type); err != nil {
			return err
		}
		if v.Time.IsZero() {
			v.Time = s.payload.Time
		}
		v.Unit, _ = m.Properties["engUnit"].(string)
		s.Values = append(s.Values, v)
	}
	if s.Unresolved > 0 && s.session.online {
		s.askRebirth(fmt.Sprintf("%d metrics that no BIRTH of %s defines", s.Unresolved, s.who()))
	}
	return nil
}

// Definition is what a BIRTH says of a metric.
type Definition struct {
	Name     string
	Alias    uint64
	HasAlias bool
	Type     DataType
}

// FindMetric returns the first metric, by name, of the last BIRTH of a node or of its device that wanted accepts.
func FindMetric(store Store, device string, wanted func(name string) bool) (Definition, bool) {
	key := keyNode
	if device != "" {
		key = keyDevice(device)
	}
	data, _ := store.Get(key)
	t := table(data)
	if !t.valid() {
		return Definition{}, false
	}
	for i := range t.count() {
		if name, kind := t.metric(i); wanted(string(name)) {
			d := Definition{Name: string(name), Type: kind}
			d.Alias, d.HasAlias = t.aliasOf(i)
			return d, true
		}
	}
	return Definition{}, false
}

// Online tells whether a node, or its device, is in a session.
func Online(store Store, device string) bool {
	data, _ := store.Get(keySession)
	s, ok := parseSession(data)
	if !ok || !s.online || device == "" {
		return s.online
	}
	data, _ = store.Get(keyDevice(device))
	t := table(data)
	return t.valid() && t.online() && t.generation() == s.generation
}
