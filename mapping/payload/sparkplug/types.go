package sparkplug

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// DataType is the type of a metric, a property or a column, as numbered by the specification.
type DataType uint8

// The data types (Sparkplug 3.0 §6.4.16).
const (
	Unknown DataType = iota
	Int8
	Int16
	Int32
	Int64
	UInt8
	UInt16
	UInt32
	UInt64
	Float
	Double
	Boolean
	String
	DateTime
	Text
	UUID
	DataSet
	Bytes
	File
	Template
	PropertySet
	PropertySetList
	Int8Array
	Int16Array
	Int32Array
	Int64Array
	UInt8Array
	UInt16Array
	UInt32Array
	UInt64Array
	FloatArray
	DoubleArray
	BooleanArray
	StringArray
	DateTimeArray
)

var typeNames = [...]string{
	"Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double", "Boolean",
	"String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File", "Template", "PropertySet", "PropertySetList",
	"Int8Array", "Int16Array", "Int32Array", "Int64Array", "UInt8Array", "UInt16Array", "UInt32Array", "UInt64Array",
	"FloatArray", "DoubleArray", "BooleanArray", "StringArray", "DateTimeArray",
}

// String returns the name that the specification gives the type.
func (t DataType) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("DataType(%d)", uint8(t))
}

// dataType converts a number from the wire; what the specification does not know is Unknown.
func dataType(n uint64) DataType {
	if n < uint64(len(typeNames)) {
		return DataType(n)
	}
	return Unknown
}

// Value returns the metric's value as one of nil, bool, string, int64, uint64 (only above the range of int64),
// float64, []byte, time.Time, []any and map[string]any. Birth is the type from the BIRTH certificate, for a metric
// that comes without one; without either, the value is taken as the field it stands in, which gives a negative
// integer as a large one. A float that JSON cannot carry is nil. A data set is a list of rows by column name, a
// template an object with its metrics and parameters by name.
func (m *Metric) Value(birth DataType) (any, error) {
	if m.Null {
		return nil, nil
	}
	t := m.Type
	if t == Unknown {
		t = birth
	}
	v, err := m.raw.value(t)
	if e, ok := errors.AsType[*Error](err); ok {
		return nil, &Error{Offset: e.Offset, Message: fmt.Sprintf("metric %q: %s", m.label(), e.Message), Err: e.Err}
	}
	return v, err
}

// label names the metric in messages.
func (m *Metric) label() string {
	if m.Name == "" && m.HasAlias {
		return "alias " + strconv.FormatUint(m.Alias, 10)
	}
	return m.Name
}

// Definition tells a template definition, which a NBIRTH carries and which is no value.
func (m *Metric) Definition() bool {
	tree, ok := m.raw.tree.(map[string]any)
	return ok && m.raw.field == fieldTemplate && tree["definition"] == true
}

// value resolves a raw value. Integers are taken from either integer field, because encoders differ in where
// they put UInt32, and negative ones are cut to their width, because some are sent as 32 bits and some as 64.
func (r raw) value(t DataType) (any, error) {
	switch r.field {
	case 0:
		return nil, nil
	case fieldDataSet, fieldTemplate:
		return r.tree, nil
	case fieldString:
		if t >= Int8Array || t >= Int8 && t <= Boolean || t == DateTime {
			return nil, r.mismatch(t)
		}
		return text(r.data), nil
	case fieldBytes:
		if t >= Int8Array {
			return array(r.data, t)
		}
		if t != Unknown && t != Bytes && t != File {
			return nil, r.mismatch(t)
		}
		return r.data, nil
	case fieldBoolean:
		if t != Unknown && t != Boolean {
			return nil, r.mismatch(t)
		}
		return r.bits != 0, nil
	case fieldFloat:
		if t != Unknown && t != Float && t != Double {
			return nil, r.mismatch(t)
		}
		return finite(shortest(math.Float32frombits(uint32(r.bits)))), nil
	case fieldDouble:
		if t != Unknown && t != Float && t != Double {
			return nil, r.mismatch(t)
		}
		return finite(math.Float64frombits(r.bits)), nil
	}
	return r.integer(t)
}

func (r raw) mismatch(t DataType) error {
	names := map[protowire.Number]string{
		fieldInt: "an integer", fieldLong: "a long", fieldFloat: "a float", fieldDouble: "a double",
		fieldBoolean: "a boolean", fieldString: "a string", fieldBytes: "bytes",
	}
	return &Error{Offset: -1, Message: fmt.Sprintf("%s where %s was expected", names[r.field], t), Err: ErrSyntax}
}

func (r raw) integer(t DataType) (any, error) {
	switch t {
	case Int8:
		return int64(int8(r.bits)), nil
	case Int16:
		return int64(int16(r.bits)), nil
	case Int32:
		return int64(int32(r.bits)), nil
	case Int64:
		return int64(r.bits), nil
	case UInt8:
		return int64(uint8(r.bits)), nil
	case UInt16:
		return int64(uint16(r.bits)), nil
	case UInt32:
		return int64(uint32(r.bits)), nil
	case UInt64, Unknown:
		return unsigned(r.bits), nil
	case Boolean:
		return r.bits != 0, nil
	case DateTime:
		at := milliseconds(r.bits)
		if at.IsZero() {
			return nil, nil
		}
		return at, nil
	}
	return nil, r.mismatch(t)
}

func unsigned(n uint64) any {
	if n <= math.MaxInt64 {
		return int64(n)
	}
	return n
}

// finite is nil for what JSON cannot carry.
func finite(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return f
}

// shortest returns the double with the fewest digits that is v as a single, so that 20.6 stays 20.6.
func shortest(v float32) float64 {
	f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	if err != nil {
		return float64(v)
	}
	return f
}

// arrayWidths are the bytes of one element, by type from Int8Array on; 0 where elements are not that regular.
var arrayWidths = [...]int{1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 0, 0, 8}

// maxElements bounds one array: a value in a tree takes far more room than the bit it may have on the wire.
const maxElements = 1 << 16

// array reads a packed array (Sparkplug 3.0 §6.4.16, "Array Data Types"): little-endian elements, strings with a
// NUL behind each, booleans as a 32-bit count and bits from the most significant one.
func array(data []byte, t DataType) (any, error) {
	bad := func(message string, args ...any) (any, error) {
		return nil, &Error{Offset: -1, Message: t.String() + ": " + fmt.Sprintf(message, args...), Err: ErrSyntax}
	}
	many := func() (any, error) {
		return nil, &Error{Offset: -1, Message: fmt.Sprintf("%s: more than %d elements", t, maxElements), Err: ErrTooLarge}
	}
	out := []any{}
	switch t {
	case StringArray:
		for len(data) > 0 {
			if len(out) == maxElements {
				return many()
			}
			end := bytes.IndexByte(data, 0)
			if end < 0 {
				return bad("the last string does not end")
			}
			out = append(out, text(data[:end]))
			data = data[end+1:]
		}
		return out, nil
	case BooleanArray:
		if len(data) < 4 {
			return bad("the count is missing")
		}
		n := binary.LittleEndian.Uint32(data)
		data = data[4:]
		if uint64(len(data)) != (uint64(n)+7)/8 {
			return bad("%d bytes for %d booleans", len(data), n)
		}
		if n > maxElements {
			return many()
		}
		for i := range int(n) {
			out = append(out, data[i/8]>>(7-i%8)&1 == 1)
		}
		return out, nil
	}
	one := t - Int8Array + Int8
	if t == DateTimeArray {
		one = DateTime
	}
	width := arrayWidths[t-Int8Array]
	switch {
	case len(data)%width != 0:
		return bad("%d bytes are no whole number of elements", len(data))
	case len(data)/width > maxElements:
		return many()
	}
	out = make([]any, 0, len(data)/width)
	for ; len(data) > 0; data = data[width:] {
		var wide [8]byte
		copy(wide[:], data[:width])
		bits := binary.LittleEndian.Uint64(wide[:])
		element := raw{field: fieldLong, bits: bits}
		switch one {
		case Float:
			element.field = fieldFloat
		case Double:
			element.field = fieldDouble
		}
		v, err := element.value(one)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// controlPrefixes begin the names of metrics that are commands to the node or device and no measurements.
var controlPrefixes = [...]string{"Node Control/", "Device Control/"}

// IsControl tells whether a metric is a control, such as "Node Control/Rebirth", or the session's bdSeq.
func IsControl(name string) bool {
	for _, prefix := range controlPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == bdSeqName
}
