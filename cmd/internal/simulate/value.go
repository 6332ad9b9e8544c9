package simulate

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"iotc-gateway/mapping/template"
)

// source makes the values of one schema of one device, each a little different
// from the one before.
type source struct {
	name  string
	shape template.Shape
	span  span
	rng   *rand.Rand

	phase  float64 // of the slow movement
	period float64 // seconds
	total  float64 // of a counter
	last   time.Time
	held   int // index into shape.Values, or a boolean
	until  time.Time

	fields  []*source
	element *source
}

func newSource(v *template.Value, rng *rand.Rand) *source {
	return makeSource(v.Name, v.Semantic, v.Unit, v.Shape(), rng)
}

func makeSource(name, semantic, unit string, shape template.Shape, rng *rand.Rand) *source {
	s := &source{name: name, shape: shape, span: spanOf(name, semantic, unit), rng: rng}
	s.phase = rng.Float64() * 2 * math.Pi
	s.period = 60 + rng.Float64()*240
	if s.span.slow {
		s.period *= 100
	}
	if s.span.counter {
		s.total = math.Floor(rng.Float64() * 1000 * s.span.high)
	}
	for _, f := range shape.Fields {
		s.fields = append(s.fields, makeSource(f.Name, "", "", f.Shape, rng))
	}
	if shape.Element != nil {
		s.element = makeSource(name, semantic, unit, *shape.Element, rng)
	}
	return s
}

// number is the next value within the range.
func (s *source) number(now time.Time) float64 {
	if s.span.counter {
		if !s.last.IsZero() {
			s.total += max(0, now.Sub(s.last).Minutes()) * s.span.high * s.rng.Float64()
		}
		s.last = now
		return s.total
	}
	middle, reach := (s.span.low+s.span.high)/2, (s.span.high-s.span.low)/2
	t := float64(now.UnixMilli()) / 1000
	wave := 0.85*math.Sin(2*math.Pi*t/s.period+s.phase) + 0.15*(2*s.rng.Float64()-1)
	return middle + reach*wave
}

// hold stays with one of n choices for a while.
func (s *source) hold(now time.Time, n int) int {
	if now.After(s.until) {
		s.held = s.rng.IntN(n)
		s.until = now.Add(time.Duration((5 + s.rng.Float64()*55) * float64(time.Second)))
	}
	return s.held
}

const idLetters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

// next makes a value as JSON.
func (s *source) next(now time.Time) json.RawMessage {
	switch s.shape.Schema {
	case "Enum":
		if len(s.shape.Values) == 0 {
			return json.RawMessage("0")
		}
		return s.shape.Values[s.hold(now, len(s.shape.Values))]
	case "boolean":
		return strconv.AppendBool(nil, s.hold(now, 4) != 0)
	case "double", "float", "any":
		return s.decimal(now)
	case "decimal":
		return quote(string(s.decimal(now)))
	case "string":
		return quote(s.text())
	case "date":
		return quote(now.UTC().Format("2006-01-02"))
	case "dateTime":
		return quote(now.UTC().Format("2006-01-02T15:04:05.000Z"))
	case "time":
		return quote(now.UTC().Format("15:04:05Z"))
	case "duration":
		return quote(fmt.Sprintf("PT%dM%dS", s.rng.IntN(60), s.rng.IntN(60)))
	case "uuid":
		return quote(fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", s.rng.Uint32(), s.rng.IntN(1<<16), s.rng.IntN(1<<12), s.rng.IntN(1<<12), s.rng.Uint64N(1<<48)))
	case "bytes":
		b := make([]byte, 12)
		for i := range b {
			b[i] = byte(s.rng.Uint32())
		}
		return quote(base64.StdEncoding.EncodeToString(b))
	case "unsignedLong":
		return strconv.AppendUint(nil, uint64(max(0, s.number(now))), 10)
	case "Array":
		return s.array(now)
	case "Map":
		return fmt.Appendf(nil, `{"value":%s}`, s.element.next(now))
	case "geopoint":
		return fmt.Appendf(nil, `{"lat":%.5f,"lon":%.5f,"alt":%.1f}`, s.near(48.137), s.near(11.575), 520+s.rng.Float64()*5)
	}
	switch {
	case len(s.fields) > 0:
		return s.object(now)
	case s.shape.Low != 0 || s.shape.High != 0:
		n := int64(math.Round(s.number(now)))
		return strconv.AppendInt(nil, min(max(n, s.shape.Low), s.shape.High), 10)
	}
	return s.decimal(now)
}

func (s *source) near(degrees float64) float64 { return degrees + (s.rng.Float64()-0.5)/500 }

func (s *source) decimal(now time.Time) json.RawMessage {
	return strconv.AppendFloat(nil, s.number(now), 'f', s.span.digits, 64)
}

func (s *source) array(now time.Time) json.RawMessage {
	n := max(2, s.shape.Least)
	parts := make([]string, n)
	for i := range parts {
		parts[i] = string(s.element.next(now))
	}
	return json.RawMessage("[" + strings.Join(parts, ",") + "]")
}

func (s *source) object(now time.Time) json.RawMessage {
	var b strings.Builder
	b.WriteByte('{')
	for i, f := range s.fields {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quote(f.name))
		b.WriteByte(':')
		b.Write(f.next(now))
	}
	b.WriteByte('}')
	return json.RawMessage(b.String())
}

// text is a string that goes with its name.
func (s *source) text() string {
	lower := strings.ToLower(s.name)
	serial := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = idLetters[(int(s.phase*1e6)+i*7)%len(idLetters)]
		}
		return string(b)
	}
	switch {
	case strings.Contains(lower, "version") || strings.Contains(lower, "firmware"):
		return "1.4.2"
	case strings.Contains(lower, "serial"):
		return "SN" + serial(8)
	case strings.Contains(lower, "manufacturer"):
		return "Simulated Devices"
	case strings.Contains(lower, "model"):
		return "SIM-" + serial(3)
	case strings.Contains(lower, "state") || strings.Contains(lower, "status"):
		return []string{"idle", "running", "running", "warning"}[s.hold(time.Now(), 4)]
	}
	return s.name + "-" + serial(4)
}

func quote(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage(`""`) // a string can always be written
	}
	return b
}
