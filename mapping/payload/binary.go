package payload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// BinaryOptions describe a fixed layout of bytes: what a Modbus bridge or a LoRa sensor sends.
type BinaryOptions struct {
	Fields []BinaryField `yaml:"fields" doc:"The fields of the layout."`
	Length int           `yaml:"length" doc:"Bytes that a payload must have; 0 takes any length that holds the fields."`
	Repeat int           `yaml:"repeat" doc:"Bytes of one record, when a payload holds several of them; offsets count from the record's first byte."`
}

// BinaryField is one field.
type BinaryField struct {
	Name   string   `yaml:"name" doc:"Name of the value."`
	Offset int      `yaml:"offset" doc:"First byte, from 0; a negative one counts from the end."`
	Type   string   `yaml:"type" doc:"u8, i8, u16, i16, u24, i24, u32, i32, u64, i64, f32, f64, bool, string or bytes."`
	Order  string   `yaml:"order" doc:"Byte order: big (the default), little, or by letters as Modbus tools write it: abcd, dcba, badc, cdab."`
	Bit    int      `yaml:"bit" doc:"Lowest bit of a bit field, 0 being the least significant."`
	Bits   int      `yaml:"bits" doc:"Width of a bit field; 0 takes the whole integer, 1 gives a boolean."`
	Length int      `yaml:"length" doc:"Bytes of a string or of bytes; 0 takes the rest."`
	Scale  float64  `yaml:"scale" doc:"Factor of the value; 0 is none."`
	Add    float64  `yaml:"add" doc:"Added to the value after scaling."`
	Unit   string   `yaml:"unit" doc:"Unit of the value."`
	Absent *float64 `yaml:"absent" doc:"The unscaled value that means the sensor has none."`
}

// kind is a field type: its size in bytes (0 for the two of variable length) and how its bits are read.
type kind struct {
	size          int
	signed, float bool
}

var kinds = map[string]kind{
	"u8": {size: 1}, "u16": {size: 2}, "u24": {size: 3}, "u32": {size: 4}, "u64": {size: 8},
	"i8": {1, true, false}, "i16": {2, true, false}, "i24": {3, true, false}, "i32": {4, true, false}, "i64": {8, true, false},
	"f32": {4, true, true}, "f64": {8, true, true}, "bool": {size: 1}, "string": {}, "bytes": {},
}

// orders are the byte orders: whether pairs of bytes are swapped, and whether the whole is turned round.
var orders = map[string]struct{ swapped, reversed bool }{
	"": {}, "big": {}, "abcd": {}, "little": {reversed: true}, "dcba": {reversed: true},
	"badc": {swapped: true}, "cdab": {swapped: true, reversed: true},
}

// binaryField is a field compiled: what it takes to read it.
type binaryField struct {
	BinaryField
	kind
	swapped, reversed bool
	scale             decimal
}

// binaryDecoder reads a fixed layout. Document.Value is an object by field name, or a list of them under
// BinaryOptions.Repeat. An absent value and a float that is NaN or infinite are null and make no reading.
type binaryDecoder struct {
	limits Limits
	opts   BinaryOptions
	fields []binaryField
}

func newBinary(opts Options) (Decoder, error) {
	d := &binaryDecoder{limits: opts.Limits, opts: opts.Binary}
	var faults []error
	if len(opts.Binary.Fields) == 0 {
		faults = append(faults, errors.New("binary: a layout needs fields"))
	}
	if opts.Binary.Length < 0 || opts.Binary.Repeat < 0 {
		faults = append(faults, errors.New("binary: length and repeat cannot be negative"))
	}
	names := map[string]bool{}
	for i, f := range opts.Binary.Fields {
		compiled, err := compileField(f, opts.Binary)
		if err != nil {
			faults = append(faults, fmt.Errorf("binary: fields[%d]: %w", i, err))
		}
		if names[f.Name] {
			faults = append(faults, fmt.Errorf("binary: fields[%d]: the name %q is there twice", i, f.Name))
		}
		names[f.Name] = true
		d.fields = append(d.fields, compiled)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return d, nil
}

func compileField(f BinaryField, layout BinaryOptions) (binaryField, error) {
	kind, ok := kinds[f.Type]
	order, known := orders[f.Order]
	scale, exact := newDecimal(f.Scale, f.Add)
	variable := ok && kind.size == 0
	end := f.Offset + kind.size
	if variable {
		end = f.Offset + f.Length
	}
	room := layout.Length
	if layout.Repeat > 0 {
		room = layout.Repeat
	}
	switch {
	case f.Name == "":
		return binaryField{}, errors.New("a field needs a name")
	case !ok:
		return binaryField{}, fmt.Errorf("type %q is none of %s", f.Type, strings.Join(kindNames(), ", "))
	case !known:
		return binaryField{}, fmt.Errorf("order %q is none of big, little, abcd, dcba, badc, cdab", f.Order)
	case order.swapped && kind.size%2 != 0:
		return binaryField{}, fmt.Errorf("order %s needs an even number of bytes, %s has %d", f.Order, f.Type, kind.size)
	case f.Length != 0 && !variable || f.Length < 0:
		return binaryField{}, errors.New("length is for string and bytes, and not negative")
	case f.Bits < 0 || f.Bit < 0 || f.Bits+f.Bit > 8*kind.size && f.Bits > 0 || f.Bit > 0 && f.Bits == 0:
		return binaryField{}, fmt.Errorf("bits %d at bit %d do not lie within %s", f.Bits, f.Bit, f.Type)
	case f.Bits > 0 && (kind.float || kind.signed || variable || f.Type == "bool"):
		return binaryField{}, fmt.Errorf("a bit field needs an unsigned type, not %s", f.Type)
	case (f.Scale != 0 || f.Add != 0) && (variable || f.Type == "bool" || f.Bits == 1):
		return binaryField{}, errors.New("scale and add are for numbers")
	case !exact:
		return binaryField{}, errors.New("scale and add must be finite")
	case room > 0 && (end > room || f.Offset < -room):
		return binaryField{}, fmt.Errorf("the field ends at byte %d of %d", end, room)
	case f.Offset < 0 && end > 0:
		return binaryField{}, fmt.Errorf("the field begins %d bytes before the end and is longer", -f.Offset)
	}
	return binaryField{BinaryField: f, kind: kind, swapped: order.swapped, reversed: order.reversed, scale: scale}, nil
}

func kindNames() []string {
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (d *binaryDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	switch {
	case len(data) > d.limits.MaxBytes:
		return Document{}, tooLarge("binary", len(data), d.limits)
	case d.opts.Length > 0 && len(data) != d.opts.Length:
		return Document{}, fault("binary", len(data), ErrSyntax, "the payload has %d bytes, the layout %d", len(data), d.opts.Length)
	case d.opts.Repeat == 0:
		object, readings, err := d.record(data, 0)
		return Document{Value: object, Readings: readings}, err
	case len(data) == 0 || len(data)%d.opts.Repeat != 0:
		return Document{}, fault("binary", len(data), ErrSyntax, "%d bytes are no whole number of records of %d bytes", len(data), d.opts.Repeat)
	case len(data)/d.opts.Repeat*len(d.fields) > d.limits.MaxItems:
		return Document{}, fault("binary", -1, ErrTooLarge, "more than %d values", d.limits.MaxItems)
	}
	var doc Document
	records := make([]any, 0, len(data)/d.opts.Repeat)
	for at := 0; at < len(data); at += d.opts.Repeat {
		object, readings, err := d.record(data[at:at+d.opts.Repeat], at)
		if err != nil {
			return Document{}, err
		}
		records = append(records, object)
		doc.Readings = append(doc.Readings, readings...)
	}
	doc.Value = records
	return doc, nil
}

func (d *binaryDecoder) record(data []byte, base int) (map[string]any, []Reading, error) {
	object := make(map[string]any, len(d.fields))
	readings := make([]Reading, 0, len(d.fields))
	for i := range d.fields {
		f := &d.fields[i]
		start := f.Offset
		if start < 0 {
			start += len(data)
		}
		size := f.size
		if size == 0 {
			if size = f.Length; size == 0 {
				size = max(0, len(data)-start)
			}
		}
		if start < 0 || start > len(data)-size {
			return nil, nil, fault("binary", base+len(data), ErrSyntax, "the payload ends before the field %q (%d bytes at offset %d)", f.Name, size, f.Offset)
		}
		value := f.read(data[start : start+size])
		object[f.Name] = value
		if value != nil {
			readings = append(readings, Reading{Name: f.Name, Value: value, Unit: f.Unit})
		}
	}
	return object, readings, nil
}

// read turns the field's bytes into a value.
func (f *binaryField) read(raw []byte) any {
	switch f.Type {
	case "string":
		return strings.TrimRight(toText(raw), "\x00 ")
	case "bytes":
		return slices.Clone(raw)
	case "bool":
		return raw[0] != 0
	}
	n := f.integer(raw)
	if f.float {
		v := math.Float64frombits(n)
		if f.size == 4 {
			v = shortest(math.Float32frombits(uint32(n)))
		}
		if math.IsNaN(v) || math.IsInf(v, 0) || f.Absent != nil && v == *f.Absent {
			return nil
		}
		return f.scale.float(v)
	}
	if f.Bits > 0 {
		n = n >> f.Bit & (1<<f.Bits - 1)
		if f.Bits == 1 {
			return n == 1
		}
	}
	if !f.signed && n > math.MaxInt64 {
		if f.Absent != nil && float64(n) == *f.Absent {
			return nil
		}
		if f.scale.identity {
			return n
		}
		return f.scale.float(float64(n))
	}
	v := int64(n)
	if f.signed {
		shift := 64 - 8*f.size
		v = v << shift >> shift
	}
	if f.Absent != nil && float64(v) == *f.Absent {
		return nil
	}
	return f.scale.integer(v)
}

// integer puts the bytes in order and reads them as one unsigned integer.
func (f *binaryField) integer(raw []byte) uint64 {
	var ordered [8]byte
	n := copy(ordered[8-len(raw):], raw)
	part := ordered[8-n:]
	if f.swapped {
		for i := 0; i+1 < len(part); i += 2 {
			part[i], part[i+1] = part[i+1], part[i]
		}
	}
	if f.reversed {
		slices.Reverse(part)
	}
	return binary.BigEndian.Uint64(ordered[:])
}

// decimal scales by factors as people write them: 207 at a scale of 0.1 is 20.7 and not 20.700000000000003. The
// factor and the summand are kept as integers over a power of ten, so that one division rounds once.
type decimal struct {
	factor, add int64
	power       float64
	scale, plus float64 // for values beyond the exact path
	identity    bool    // neither scale nor add
	exact       bool
}

func newDecimal(scale, add float64) (decimal, bool) {
	if scale == 0 {
		scale = 1
	}
	if math.IsNaN(scale+add) || math.IsInf(scale+add, 0) {
		return decimal{}, false
	}
	d := decimal{scale: scale, plus: add, identity: scale == 1 && add == 0}
	factor, places, ok := decimalDigits(scale)
	summand, addPlaces, ok2 := decimalDigits(add)
	if !ok || !ok2 {
		return d, true
	}
	for ; places < addPlaces; places++ {
		factor *= 10
	}
	for ; addPlaces < places; addPlaces++ {
		summand *= 10
	}
	if math.Abs(factor) < 1<<31 && math.Abs(summand) < 1<<52 {
		d.factor, d.add, d.power, d.exact = int64(factor), int64(summand), math.Pow10(places), true
	}
	return d, true
}

// decimalDigits splits a number into an integer and the count of its decimal places.
func decimalDigits(v float64) (integer float64, places int, ok bool) {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	if len(whole)+len(fraction) > 15 {
		return 0, 0, false
	}
	n, err := strconv.ParseInt(whole+fraction, 10, 64)
	return float64(n), len(fraction), err == nil
}

// integer scales an integer. Without scale and add, or with whole ones, it stays an integer.
func (d *decimal) integer(v int64) any {
	if d.identity {
		return v
	}
	const room = 1 << 31
	if !d.exact || v > room || v < -room {
		return d.float(float64(v))
	}
	sum := v*d.factor + d.add
	switch {
	case d.power == 1:
		return sum
	case sum > 1<<53 || sum < -1<<53:
		return d.float(float64(v))
	}
	return float64(sum) / d.power
}

// float scales a float. A result that is no number is null.
func (d *decimal) float(v float64) any {
	if !d.identity {
		v = v*d.scale + d.plus
	}
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return v
}
