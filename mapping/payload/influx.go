package payload

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// InfluxOptions tune the format influx.
type InfluxOptions struct {
	Precision string `yaml:"precision" doc:"Unit of the timestamps: ns, us, ms or s."`
	DeviceTag string `yaml:"device_tag" doc:"The tag that names the device."`
	Qualified bool   `yaml:"qualified" doc:"Name each reading measurement_field instead of field."`
}

// influxDecoder reads the InfluxDB line protocol, v2 syntax. Document.Value is a list with one object a line:
// measurement, tags, fields and, where the line has one, time. A reading is named after its field; a field called
// "value" lends its name from the measurement, which is how most writers use it.
type influxDecoder struct {
	limits    Limits
	unit      int64 // nanoseconds
	deviceTag string
	qualified bool
	keys      keyCache
}

func newInflux(opts Options) (Decoder, error) {
	d := &influxDecoder{limits: opts.Limits, deviceTag: "device", qualified: opts.Influx.Qualified}
	if opts.Influx.DeviceTag != "" {
		d.deviceTag = opts.Influx.DeviceTag
	}
	switch opts.Influx.Precision {
	case "", "ns":
		d.unit = 1
	case "us":
		d.unit = 1e3
	case "ms":
		d.unit = 1e6
	case "s":
		d.unit = 1e9
	default:
		return nil, fmt.Errorf("influx: precision %q is none of ns, us, ms, s", opts.Influx.Precision)
	}
	return d, nil
}

func (d *influxDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	if len(data) > d.limits.MaxBytes {
		return Document{}, tooLarge("influx", len(data), d.limits)
	}
	p := influxParser{d: d, data: data}
	var lines []any
	for p.at < len(data) {
		switch data[p.at] {
		case '\n', '\r', ' ', 0:
			p.at++
		case '#':
			if i := bytes.IndexByte(data[p.at:], '\n'); i >= 0 {
				p.at += i + 1
			} else {
				p.at = len(data)
			}
		default:
			line, err := p.line()
			if err != nil {
				return Document{}, err
			}
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return Document{}, syntaxAt("influx", data, 0, "no line of data")
	}
	return Document{Value: lines, Readings: p.readings}, nil
}

// influxParser is one pass over one payload.
type influxParser struct {
	d        *influxDecoder
	data     []byte
	at       int
	items    int
	readings []Reading
}

func (p *influxParser) fault(at int, message string, args ...any) error {
	return syntaxAt("influx", p.data, at, message, args...)
}

// peek is the byte at p.at, or a line feed at the end.
func (p *influxParser) peek() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return '\n'
}

// name reads a key, a tag value or a measurement up to an unescaped stop byte. A backslash before a byte that
// needs none stands for itself.
func (p *influxParser) name(stops string) string {
	start := p.at
	var out []byte
	for ; p.at < len(p.data); p.at++ {
		c := p.data[p.at]
		if c == '\\' && p.at+1 < len(p.data) && strings.IndexByte(",= ", p.data[p.at+1]) >= 0 {
			if out == nil {
				out = append(make([]byte, 0, 32), p.data[start:p.at]...)
			}
			p.at++
			out = append(out, p.data[p.at])
			continue
		}
		if c == '\n' || c == '\r' || strings.IndexByte(stops, c) >= 0 {
			break
		}
		if out != nil {
			out = append(out, c)
		}
	}
	if out == nil {
		out = p.data[start:p.at]
	}
	if len(out) == 0 {
		return ""
	}
	return strings.ToValidUTF8(p.d.keys.intern(out), "\uFFFD")
}

func (p *influxParser) line() (map[string]any, error) {
	start := p.at
	measurement := p.name(", ")
	if measurement == "" {
		return nil, p.fault(start, "a line begins with the name of a measurement")
	}
	tags, err := p.tags()
	if err != nil {
		return nil, err
	}
	device, _ := tags[p.d.deviceTag].(string)
	if p.peek() != ' ' {
		return nil, p.fault(p.at, "the line ends where fields were expected")
	}
	for p.peek() == ' ' {
		p.at++
	}
	first := len(p.readings)
	fields, err := p.fields(measurement, device)
	if err != nil {
		return nil, err
	}
	line := map[string]any{"measurement": measurement, "tags": tags, "fields": fields}
	at, err := p.timestamp()
	if err != nil {
		return nil, err
	}
	if !at.IsZero() {
		line["time"] = at
		for i := range p.readings[first:] {
			p.readings[first+i].Time = at
		}
	}
	return line, nil
}

func (p *influxParser) tags() (map[string]any, error) {
	tags := map[string]any{}
	for p.peek() == ',' {
		p.at++
		start := p.at
		key := p.name("=, ")
		if key == "" || p.peek() != '=' {
			return nil, p.fault(start, "a tag is key=value")
		}
		p.at++
		value := p.name(", ")
		if value == "" {
			return nil, p.fault(p.at, "the tag %q has no value", key)
		}
		if err := p.count(); err != nil {
			return nil, err
		}
		tags[key] = value
	}
	return tags, nil
}

func (p *influxParser) fields(measurement, device string) (map[string]any, error) {
	fields := map[string]any{}
	for {
		start := p.at
		key := p.name("=, ")
		if key == "" || p.peek() != '=' {
			return nil, p.fault(start, "a field is key=value")
		}
		p.at++
		value, err := p.value(key)
		if err != nil {
			return nil, err
		}
		if err := p.count(); err != nil {
			return nil, err
		}
		fields[key] = value
		name := key
		switch {
		case p.d.qualified:
			name = measurement + "_" + key
		case key == "value":
			name = measurement
		}
		p.readings = append(p.readings, Reading{Device: device, Name: name, Value: value})
		if p.peek() != ',' {
			return fields, nil
		}
		p.at++
	}
}

func (p *influxParser) count() error {
	if p.items++; p.items > p.d.limits.MaxItems {
		return faultAt("influx", p.data, p.at, ErrTooLarge, "more than %d tags and fields", p.d.limits.MaxItems)
	}
	return nil
}

// value reads a field's value; its spelling tells its type.
func (p *influxParser) value(key string) (any, error) {
	start := p.at
	if p.peek() == '"' {
		return p.quoted()
	}
	for p.at < len(p.data) && strings.IndexByte(", \n\r\x00", p.data[p.at]) < 0 {
		p.at++
	}
	word := p.data[start:p.at]
	switch string(word) {
	case "t", "T", "true", "True", "TRUE":
		return true, nil
	case "f", "F", "false", "False", "FALSE":
		return false, nil
	case "":
		return nil, p.fault(start, "the field %q has no value", key)
	}
	text := string(word[:len(word)-1])
	switch word[len(word)-1] {
	case 'i':
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	case 'u':
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			if n <= math.MaxInt64 {
				return int64(n), nil
			}
			return n, nil
		}
	default:
		if v, ok := parseNumber(word, false); ok {
			f, ok := asNumber(v) // without a suffix every number is a float
			if ok && !math.IsInf(f, 0) {
				return f, nil
			}
		}
	}
	return nil, p.fault(start, "the field %q has the value %s, which is no number, boolean or string in double quotes", key, quote(word))
}

// quoted reads a string field: only the quote and the backslash are escaped, line feeds are allowed.
func (p *influxParser) quoted() (any, error) {
	start := p.at
	var out []byte
	for p.at++; p.at < len(p.data); p.at++ {
		switch c := p.data[p.at]; {
		case c == '"':
			p.at++
			return toText(out), nil
		case c == '\\' && p.at+1 < len(p.data) && (p.data[p.at+1] == '"' || p.data[p.at+1] == '\\'):
			p.at++
			out = append(out, p.data[p.at])
		default:
			out = append(out, c)
		}
	}
	return nil, p.fault(start, "the string that begins here does not end")
}

// timestamp reads what follows the fields up to the end of the line.
func (p *influxParser) timestamp() (time.Time, error) {
	for p.peek() == ' ' || p.peek() == 0 {
		p.at++
	}
	start := p.at
	for p.at < len(p.data) && strings.IndexByte(" \n\r\x00", p.data[p.at]) < 0 {
		p.at++
	}
	word := string(p.data[start:p.at])
	for p.peek() == ' ' || p.peek() == '\r' || p.peek() == 0 {
		p.at++
	}
	if p.peek() != '\n' {
		return time.Time{}, p.fault(p.at, "%s after the timestamp", quote(p.data[p.at:p.at+1]))
	}
	if word == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return time.Time{}, p.fault(start, "the timestamp %s is no integer", quote([]byte(word)))
	}
	perSecond := 1e9 / p.d.unit
	if n < 0 || n/perSecond > latestSecond {
		return time.Time{}, p.fault(start, "the timestamp %s is out of range", word)
	}
	return time.Unix(n/perSecond, n%perSecond*p.d.unit).UTC(), nil
}
