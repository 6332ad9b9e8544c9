package mapping

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Report on change keeps, for each device and name, the value that was sent last and its time, under the key
// c/<device>/<name>. The value in the store is
//
//	varint  milliseconds since 2015-01-01 of the time of the record
//	bytes   the JSON text of the value, or for more than 24 bytes 0xff and the first 16 bytes of its SHA-256
//
// With 100,000 values of ordinary names that is below 200 bytes each in a Go map, all counted (see the benchmark). JSON text
// never begins with 0xff.
const (
	hashMark    = 0xff
	longestText = 24
)

// reporting are the rules for one record.
type reporting struct {
	def    Report
	byName map[string]Report
}

func (p reporting) active() bool { return len(p.byName) > 0 || p.def.active() }

func (p reporting) of(name string) Report {
	if r, ok := p.byName[name]; ok {
		return r
	}
	return p.def
}

// thin removes from a telemetry record what need not be sent; keep is false when nothing is left. A time that lies before the one
// sent last is sent and remembered: after a clock was put back that is the only way to go on.
func (m *Mapper) thin(in *input, res *Result, rec *Record, rules reporting) (keep bool) {
	var kept []field
	var room [16]field
	kept = room[:0]
	left := 0
	err := Members(rec.Value, func(name string, value json.RawMessage) error {
		rule := rules.of(name)
		if !rule.active() {
			kept = append(kept, field{name, value})
			return nil
		}
		key := keyChange + rec.Device + "/" + name
		switch last := m.last(in, key); rule.decide(last, rec.Time, value) {
		case sendNo:
			res.Tally.Unchanged++
			left++
			return nil
		case sendLater:
			res.Tally.TooSoon++
			left++
			return nil
		default:
		}
		kept = append(kept, field{name, value})
		text := encodeLast(rec.Time, value)
		if in.pending == nil {
			in.pending = map[string][]byte{}
		}
		in.pending[key] = text
		res.Changes = append(res.Changes, Change{Key: key, Value: text})
		return nil
	})
	if err != nil || len(kept) == 0 {
		return err != nil // a value that cannot be read again is sent as it is
	}
	if left > 0 {
		rec.Value = joined(kept)
	}
	return true
}

// last returns what was sent last for a key, by this publication or an earlier one.
func (m *Mapper) last(in *input, key string) []byte {
	if v, ok := in.pending[key]; ok {
		return v
	}
	if in.state == nil {
		return nil
	}
	v, _ := in.state.Get(key)
	return v
}

type verdict uint8

const (
	sendYes verdict = iota
	sendNo
	sendLater
)

// decide compares a value with the one sent last.
func (r Report) decide(last []byte, at time.Time, value []byte) verdict {
	ms, n := binary.Varint(last)
	if n <= 0 {
		return sendYes
	}
	age := at.Sub(EarliestTime.Add(time.Duration(ms) * time.Millisecond))
	if age < 0 {
		return sendYes
	}
	if age < r.MinInterval {
		return sendLater
	}
	if !r.OnChange && r.DeadBand == 0 && r.DeadBandPercent == 0 {
		return sendYes
	}
	if r.Heartbeat > 0 && age >= r.Heartbeat {
		return sendYes
	}
	if r.same(last[n:], value) {
		return sendNo
	}
	return sendYes
}

// same tells whether a value lies within the dead band of the old one.
func (r Report) same(old, value []byte) bool {
	if len(old) > 0 && old[0] == hashMark {
		return string(old) == string(shorten(value))
	}
	if string(old) == string(value) {
		return true
	}
	a, err := strconv.ParseFloat(string(old), 64)
	if err != nil {
		return false
	}
	b, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return false
	}
	return math.Abs(b-a) <= max(r.DeadBand, math.Abs(a)*r.DeadBandPercent/100)
}

func encodeLast(at time.Time, value []byte) []byte {
	b := make([]byte, 0, 7+min(len(value), longestText))
	b = binary.AppendVarint(b, at.Sub(EarliestTime).Milliseconds())
	return append(b, shorten(value)...)
}

func shorten(value []byte) []byte {
	if len(value) <= longestText {
		return value
	}
	sum := sha256.Sum256(value)
	return append([]byte{hashMark}, sum[:16]...)
}
