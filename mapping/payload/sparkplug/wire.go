package sparkplug

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Why a payload was refused; an *Error wraps one of them.
var (
	ErrSyntax   = errors.New("not a Sparkplug B payload")
	ErrTooLarge = errors.New("larger than the limit")
	ErrTooDeep  = errors.New("nested deeper than the limit")
)

// Error says what is wrong with a payload and where.
type Error struct {
	Offset  int // of the field that does not fit, in bytes from 0; -1 when it is nowhere in particular
	Message string
	Err     error
}

// Error joins the place and the message.
func (e *Error) Error() string {
	if e.Offset < 0 {
		return "sparkplug: " + e.Message
	}
	return fmt.Sprintf("sparkplug: byte %d: %s", e.Offset, e.Message)
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Err }

func fault(at int, sentinel error, message string, args ...any) error {
	return &Error{Offset: at, Message: fmt.Sprintf(message, args...), Err: sentinel}
}

// Limits bound what a payload may cost.
type Limits struct {
	MaxBytes int // of the payload
	MaxDepth int // of templates and property sets within each other
	MaxItems int // metrics, properties, cells of data sets and elements of arrays together
}

// Payload is the body of every Sparkplug B message but STATE.
type Payload struct {
	Time    time.Time // zero: not told
	Seq     uint8
	HasSeq  bool
	UUID    string
	Body    []byte
	Metrics []Metric
}

// Metric is one value as it was sent. In DATA and CMD messages a metric may come with an alias in place of its
// name, and without its type, which are then those of the last BIRTH.
type Metric struct {
	Name       string
	Alias      uint64
	HasAlias   bool
	Time       time.Time // zero: not told, the payload's counts
	Type       DataType  // Unknown: not told
	Historical bool      // stored at the edge and sent late
	Transient  bool      // not meant for a historian
	Null       bool
	Properties map[string]any
	MetaData   map[string]any

	raw raw
}

// raw is a metric's value before its type is known.
type raw struct {
	field protowire.Number // in Metric: 10 int ... 18 template; 0: none
	bits  uint64           // of fields 10 to 14
	data  []byte           // of fields 15 and 16
	tree  any              // of fields 17 and 18, which carry their types
}

// Fields of Metric's value, which the other messages number differently but in the same order.
const (
	fieldInt      protowire.Number = 10
	fieldLong     protowire.Number = 11
	fieldFloat    protowire.Number = 12
	fieldDouble   protowire.Number = 13
	fieldBoolean  protowire.Number = 14
	fieldString   protowire.Number = 15
	fieldBytes    protowire.Number = 16
	fieldDataSet  protowire.Number = 17
	fieldTemplate protowire.Number = 18
)

// Decode reads a payload. Nothing in the result refers to data.
func Decode(data []byte, limits Limits) (*Payload, error) {
	if len(data) > limits.MaxBytes {
		return nil, fault(-1, ErrTooLarge, "the payload has %d bytes, the limit is %d", len(data), limits.MaxBytes)
	}
	d := &decoding{limits: limits}
	p := &Payload{}
	err := d.fields(data, 0, func(f field) error {
		switch f.number {
		case 1:
			p.Time = milliseconds(f.bits)
			return f.want(protowire.VarintType)
		case 2:
			if err := f.want(protowire.BytesType); err != nil {
				return err
			}
			m, err := d.metric(f.data, f.at, 1)
			if err != nil {
				return err
			}
			p.Metrics = append(p.Metrics, m)
		case 3:
			if err := f.want(protowire.VarintType); err != nil {
				return err
			}
			if f.bits > math.MaxUint8 {
				return fault(f.at, ErrSyntax, "the sequence number is %d, it must not exceed 255", f.bits)
			}
			p.Seq, p.HasSeq = uint8(f.bits), true
		case 4:
			p.UUID = text(f.data)
			return f.want(protowire.BytesType)
		case 5:
			p.Body = append([]byte(nil), f.data...)
			return f.want(protowire.BytesType)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// field is one field of a message on the wire.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bits   uint64 // of a varint or a fixed field
	data   []byte // of a field with a length
	at     int    // offset of data, or of the field
}

// want refuses a field whose wire type is not the one that its number has.
func (f field) want(kind protowire.Type) error {
	if f.kind != kind {
		return fault(f.at, ErrSyntax, "field %d has the wire type %d where %d was expected", f.number, f.kind, kind)
	}
	return nil
}

// decoding is one pass over one payload.
type decoding struct {
	limits Limits
	items  int
}

func (d *decoding) count(at, n int) error {
	if d.items += n; d.items > d.limits.MaxItems {
		return fault(at, ErrTooLarge, "more than %d metrics and other values", d.limits.MaxItems)
	}
	return nil
}

func (d *decoding) enter(at, depth int) error {
	if depth > d.limits.MaxDepth {
		return fault(at, ErrTooDeep, "templates and property sets more than %d deep", d.limits.MaxDepth)
	}
	return nil
}

// fields calls visit for each field of a message. Base is the message's offset in the payload. Unknown fields
// are visited too, so that extensions pass.
func (d *decoding) fields(data []byte, base int, visit func(field) error) error {
	for at := 0; at < len(data); {
		number, kind, n := protowire.ConsumeTag(data[at:])
		if n < 0 {
			return fault(base+at, ErrSyntax, "no field begins here")
		}
		f := field{number: number, kind: kind, at: base + at}
		value := data[at+n:]
		var size int
		switch kind {
		case protowire.VarintType:
			f.bits, size = protowire.ConsumeVarint(value)
		case protowire.Fixed32Type:
			var bits uint32
			bits, size = protowire.ConsumeFixed32(value)
			f.bits = uint64(bits)
		case protowire.Fixed64Type:
			f.bits, size = protowire.ConsumeFixed64(value)
		case protowire.BytesType:
			f.data, size = protowire.ConsumeBytes(value)
			f.at = base + at + n + size - len(f.data)
		default:
			size = protowire.ConsumeFieldValue(number, kind, value)
		}
		if size < 0 {
			return fault(base+at, ErrSyntax, "field %d is damaged or cut off", number)
		}
		if err := visit(f); err != nil {
			return err
		}
		at += n + size
	}
	return nil
}

func (d *decoding) metric(data []byte, at, depth int) (Metric, error) {
	var m Metric
	if err := d.count(at, 1); err != nil {
		return m, err
	}
	err := d.fields(data, at, func(f field) error {
		var err error
		switch f.number {
		case 1:
			m.Name, err = text(f.data), f.want(protowire.BytesType)
		case 2:
			m.Alias, m.HasAlias, err = f.bits, true, f.want(protowire.VarintType)
		case 3:
			m.Time, err = milliseconds(f.bits), f.want(protowire.VarintType)
		case 4:
			m.Type, err = dataType(f.bits), f.want(protowire.VarintType)
		case 5:
			m.Historical, err = f.bits != 0, f.want(protowire.VarintType)
		case 6:
			m.Transient, err = f.bits != 0, f.want(protowire.VarintType)
		case 7:
			m.Null, err = f.bits != 0, f.want(protowire.VarintType)
		case 8:
			m.MetaData, err = d.metaData(f)
		case 9:
			m.Properties, err = d.propertySet(f, depth+1)
		case fieldDataSet:
			m.raw = raw{field: f.number}
			m.raw.tree, err = d.dataSet(f)
		case fieldTemplate:
			m.raw = raw{field: f.number}
			m.raw.tree, err = d.template(f, depth+1)
		case fieldInt, fieldLong, fieldFloat, fieldDouble, fieldBoolean, fieldString, fieldBytes:
			m.raw, err = scalar(f, fieldInt)
		}
		return err
	})
	return m, err
}

// scalar keeps the value of a oneof whose int_value has the number first.
func scalar(f field, first protowire.Number) (raw, error) {
	r := raw{field: f.number - first + fieldInt}
	var kind protowire.Type
	switch r.field {
	case fieldFloat:
		kind = protowire.Fixed32Type
	case fieldDouble:
		kind = protowire.Fixed64Type
	case fieldString, fieldBytes:
		kind = protowire.BytesType
		r.data = append([]byte(nil), f.data...)
	default:
		kind = protowire.VarintType
	}
	r.bits = f.bits
	return r, f.want(kind)
}

// milliseconds converts a Sparkplug timestamp. 0, and what lies beyond the year 9999, is no time.
func milliseconds(ms uint64) time.Time {
	if ms == 0 || ms > 253402300799999 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

// text replaces what is not UTF-8, because JSON cannot carry it.
func text(data []byte) string { return strings.ToValidUTF8(string(data), "\uFFFD") }
