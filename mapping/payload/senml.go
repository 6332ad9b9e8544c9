package payload

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// senmlDecoder reads a SenML pack (RFC 8428) as JSON or CBOR and resolves it: base fields are applied, times made
// absolute. Document.Value is the list of resolved records with the labels of the JSON form (n, u, v or vs or vb
// or vd, s, ut; t only when the pack tells a time). A reading's Device is the base name without its trailing
// separator and Name the record's own name; a sum becomes a reading of its own, named with "_sum" behind.
type senmlDecoder struct {
	format string
	limits Limits
	read   func(data []byte) (any, error)
	labels map[string]string // CBOR's integer labels, RFC 8428 §6 table 4; nil in JSON
}

func newSenML(opts Options) (Decoder, error) {
	inner := &jsonDecoder{limits: opts.Limits, keys: &keyCache{}}
	return &senmlDecoder{format: "senml", limits: opts.Limits, read: func(data []byte) (any, error) {
		doc, err := inner.Decode(data, time.Time{})
		return doc.Value, err
	}}, nil
}

func newSenMLCBOR(opts Options) (Decoder, error) {
	inner, err := compileCBOR(opts.Limits)
	if err != nil {
		return nil, err
	}
	return &senmlDecoder{format: "senml-cbor", limits: opts.Limits, read: func(data []byte) (any, error) {
		return inner.decode("senml-cbor", data)
	}, labels: map[string]string{
		"-1": "bver", "-2": "bn", "-3": "bt", "-4": "bu", "-5": "bv", "-6": "bs",
		"0": "n", "1": "u", "2": "v", "3": "vs", "4": "vb", "5": "s", "6": "t", "7": "ut", "8": "vd",
	}}, nil
}

const (
	// senmlVersion is the highest version understood (RFC 8428 §4.4).
	senmlVersion = 10
	// senmlRelative is the bound below which a time counts from now (RFC 8428 §4.5.3).
	senmlRelative = 1 << 28
	// senmlEarliest bounds how far a relative time may reach back: 68 years.
	senmlEarliest = 1 << 31
)

// senmlBase holds the base fields in force (RFC 8428 §4.1).
type senmlBase struct {
	name, unit       string
	time, value, sum any // numbers; nil: not given
}

func (d *senmlDecoder) Decode(data []byte, now time.Time) (Document, error) {
	tree, err := d.read(data)
	if err != nil {
		return Document{}, err
	}
	pack, ok := tree.([]any)
	if !ok {
		return Document{}, fault(d.format, 0, ErrSyntax, "a pack is an array of records")
	}
	var base senmlBase
	doc := Document{Readings: make([]Reading, 0, len(pack))}
	resolved := make([]any, 0, len(pack))
	for i, item := range pack {
		fields, ok := item.(map[string]any)
		if !ok {
			return Document{}, fault(d.format, -1, ErrSyntax, "record %d is no object", i)
		}
		record := senmlRecord{decoder: d, index: i, base: &base, now: now}
		out, err := record.resolve(fields)
		if err != nil {
			return Document{}, err
		}
		if out != nil {
			resolved = append(resolved, out)
			doc.Readings = append(doc.Readings, record.readings...)
		}
	}
	doc.Value = resolved
	return doc, nil
}

// senmlRecord is the work on one record.
type senmlRecord struct {
	decoder  *senmlDecoder
	index    int
	base     *senmlBase
	now      time.Time
	readings []Reading
}

func (r *senmlRecord) fault(message string, args ...any) error {
	e := fault(r.decoder.format, -1, ErrSyntax, message, args...)
	e.Message = "record " + strconv.Itoa(r.index) + ": " + e.Message
	return e
}

// resolve applies base fields and returns the record of RFC 8428 §4.6, or nil for one of base fields only.
func (r *senmlRecord) resolve(fields map[string]any) (map[string]any, error) {
	out := make(map[string]any, 5)
	for label, v := range fields {
		if known, ok := r.decoder.labels[label]; ok {
			if _, twice := fields[known]; twice {
				return nil, r.fault("the label %s stands for %q, which is there too", label, known)
			}
			label = known
		}
		if err := r.field(label, v, out); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	own, _ := out["n"].(string)
	name := r.base.name + own
	if err := r.checkName(name); err != nil {
		return nil, err
	}
	out["n"] = name
	if _, has := out["u"]; !has && r.base.unit != "" {
		out["u"] = r.base.unit
	}
	reading := Reading{Device: strings.TrimRight(r.base.name, senmlSeparators), Name: own}
	if reading.Device != "" && own != "" {
		reading.Name = strings.TrimLeft(own, senmlSeparators)
	}
	reading.Unit, _ = out["u"].(string)
	if err := r.time(&reading, out); err != nil {
		return nil, err
	}
	return out, r.values(&reading, out)
}

// senmlSeparators stand between the name of a device and that of a measurement (RFC 8428 §4.5.1, RFC 9039 §3).
const senmlSeparators = ":/._"

// field checks one field and stores it: base fields for this and all later records, others in out.
func (r *senmlRecord) field(label string, v any, out map[string]any) error {
	isText, isNumber, isBool, isBytes := false, false, false, false
	switch v.(type) {
	case string:
		isText = true
	case bool:
		isBool = true
	case []byte:
		isBytes = true
	default:
		_, isNumber = asNumber(v)
	}
	right := isNumber
	switch label {
	case "bn", "bu", "n", "u", "vs":
		right = isText
	case "vb":
		right = isBool
	case "vd":
		right = isBytes || isText && r.decoder.labels == nil
	case "bver", "bt", "bv", "bs", "v", "s", "t", "ut":
	default:
		if strings.HasSuffix(label, "_") {
			// RFC 8428 §4.4: such a field must be understood, or the pack not be used.
			return r.fault("the field %q must be understood and is not", label)
		}
		return nil
	}
	if !right {
		return r.fault("the field %q has a value of the wrong type", label)
	}
	switch label {
	case "bver":
		if version, _ := asNumber(v); version > senmlVersion || version < 1 {
			return r.fault("version %v is not supported, the latest known is %d", v, senmlVersion)
		}
	case "bn":
		r.base.name = v.(string)
	case "bu":
		r.base.unit = v.(string)
	case "bt":
		r.base.time = v
	case "bv":
		r.base.value = v
	case "bs":
		r.base.sum = v
	case "vd":
		if text, ok := v.(string); ok {
			data, err := decodeBase64([]byte(text))
			if err != nil {
				return r.fault("the field \"vd\": %v", err)
			}
			v = data
		}
		out[label] = v
	default:
		out[label] = v
	}
	return nil
}

// checkName holds the rule of RFC 8428 §4.5.1.
func (r *senmlRecord) checkName(name string) error {
	if name == "" {
		return r.fault("neither a name nor a base name")
	}
	for i := range len(name) {
		c := name[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || strings.IndexByte("-:./_", c) < 0) {
			return r.fault("the name %s has a character that is not allowed there", quote([]byte(name)))
		}
	}
	return nil
}

// time resolves t and bt (RFC 8428 §4.5.3): below 2^28 they count from now, and 0 is now itself.
func (r *senmlRecord) time(reading *Reading, out map[string]any) error {
	sum := addNumbers(r.base.time, out["t"])
	delete(out, "t")
	seconds, _ := asNumber(sum)
	switch {
	case seconds == 0:
		return nil
	case seconds > latestSecond || seconds < -senmlEarliest:
		return r.fault("the time %v is out of range", sum)
	case seconds < senmlRelative:
		reading.Relative = true
		reading.Time = r.now.Add(time.Duration(math.Round(seconds*1e6)) * time.Microsecond).UTC()
	default:
		reading.Time = unixTime(sum)
	}
	out["t"] = reading.Time
	return nil
}

// values checks that the record has what RFC 8428 §4.2 demands and makes its readings.
func (r *senmlRecord) values(reading *Reading, out map[string]any) error {
	found := 0
	for _, label := range [...]string{"v", "vs", "vb", "vd"} {
		v, has := out[label]
		if !has {
			continue
		}
		found++
		if label == "v" {
			v = addNumbers(r.base.value, v)
			out[label] = v
		}
		reading.Value = v
	}
	sum, hasSum := out["s"]
	switch {
	case found > 1:
		return r.fault("more than one value")
	case found == 0 && !hasSum && r.base.sum == nil && r.base.value == nil:
		return r.fault("neither a value nor a sum")
	case found == 0 && !hasSum && r.base.value != nil:
		// A record without v under a base value has the base value itself (RFC 8428 §4.1).
		out["v"], reading.Value, found = r.base.value, r.base.value, 1
	}
	if found == 1 {
		r.readings = append(r.readings, *reading)
	}
	if hasSum || r.base.sum != nil {
		out["s"] = addNumbers(r.base.sum, sum)
		total := *reading
		total.Value = out["s"]
		total.Name = strings.TrimLeft(total.Name+"_sum", "_")
		r.readings = append(r.readings, total)
	}
	return nil
}

// addNumbers adds two numbers of a tree, exactly where both are integers; nil counts as absent.
func addNumbers(a, b any) any {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	x, xInt := a.(int64)
	y, yInt := b.(int64)
	if xInt && yInt {
		if sum := x + y; (sum > x) == (y > 0) {
			return sum
		}
	}
	f, _ := asNumber(a)
	g, _ := asNumber(b)
	if sum := f + g; !math.IsInf(sum, 0) {
		return sum
	}
	return nil
}

// unixTime converts seconds since 1970, exactly where they are an integer, else to the microsecond, which is
// what a float64 holds for times of this century.
func unixTime(seconds any) time.Time {
	if whole, ok := seconds.(int64); ok {
		return time.Unix(whole, 0).UTC()
	}
	f, _ := asNumber(seconds)
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), 0).Add(time.Duration(math.Round(part*1e6)) * time.Microsecond).UTC()
}
