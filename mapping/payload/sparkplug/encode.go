package sparkplug

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrValue says that a value does not fit the type that it should be sent as.
var ErrValue = errors.New("the value does not fit the type")

// RebirthName is the metric by which a host asks a node for its BIRTH certificates.
const RebirthName = "Node Control/Rebirth"

// Rebirth returns the payload of the NCMD that asks for rebirth.
func Rebirth(now time.Time) []byte {
	m := Metric{Name: RebirthName}
	m.Type, m.raw = Boolean, raw{field: fieldBoolean, bits: 1}
	return Encode(&Payload{Time: now, Metrics: []Metric{m}})
}

// Set gives the metric a type and a value: a scalar type, and a value as Value returns it or as encoding/json
// reads one. A DateTime is also taken as RFC 3339 or milliseconds, bytes as base64. The error is ErrValue.
func (m *Metric) Set(t DataType, value any) error {
	if value == nil {
		m.Type, m.Null, m.raw = t, true, raw{}
		return nil
	}
	r, ok := toRaw(t, value)
	if !ok {
		return fmt.Errorf("%w: %v (%T) as %s", ErrValue, value, value, t)
	}
	m.Type, m.Null, m.raw = t, false, r
	return nil
}

func toRaw(t DataType, value any) (raw, bool) {
	switch t {
	case Int8, Int16, Int32, Int64:
		width := 8 << (t - Int8)
		n, ok := toInt64(value)
		if !ok || n < -1<<(width-1) || n > 1<<(width-1)-1 {
			return raw{}, false
		}
		if t == Int64 {
			return raw{field: fieldLong, bits: uint64(n)}, true
		}
		return raw{field: fieldInt, bits: uint64(uint32(n))}, true
	case UInt8, UInt16, UInt32, UInt64:
		width := 8 << (t - UInt8)
		n, ok := toUint64(value)
		if !ok || n > math.MaxUint64>>(64-width) {
			return raw{}, false
		}
		if t >= UInt32 {
			return raw{field: fieldLong, bits: n}, true
		}
		return raw{field: fieldInt, bits: n}, true
	case Float:
		f, ok := toFloat(value)
		if !ok || math.Abs(f) > math.MaxFloat32 {
			return raw{}, false
		}
		return raw{field: fieldFloat, bits: uint64(math.Float32bits(float32(f)))}, true
	case Double:
		f, ok := toFloat(value)
		return raw{field: fieldDouble, bits: math.Float64bits(f)}, ok
	case Boolean:
		b, ok := value.(bool)
		r := raw{field: fieldBoolean}
		if b {
			r.bits = 1
		}
		return r, ok
	case String, Text, UUID:
		s, ok := value.(string)
		return raw{field: fieldString, data: []byte(s)}, ok
	case DateTime:
		return timeToRaw(value)
	case Bytes, File:
		switch v := value.(type) {
		case []byte:
			return raw{field: fieldBytes, data: v}, true
		case string:
			data, err := base64.StdEncoding.DecodeString(v)
			return raw{field: fieldBytes, data: data}, err == nil
		}
	}
	return raw{}, false
}

func timeToRaw(value any) (raw, bool) {
	switch v := value.(type) {
	case time.Time:
		return raw{field: fieldLong, bits: uint64(v.UnixMilli())}, v.UnixMilli() >= 0
	case string:
		at, err := time.Parse(time.RFC3339Nano, v)
		return raw{field: fieldLong, bits: uint64(at.UnixMilli())}, err == nil && at.UnixMilli() >= 0
	}
	n, ok := toUint64(value)
	return raw{field: fieldLong, bits: n}, ok
}

// toInt64 takes what is an integer, whatever its Go type; 21.0 is one, 21.5 is not.
func toInt64(value any) (int64, bool) {
	switch v := value.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) <= 1<<53
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	}
	return 0, false
}

func toUint64(value any) (uint64, bool) {
	if v, ok := value.(uint64); ok {
		return v, true
	}
	n, ok := toInt64(value)
	return uint64(n), ok && n >= 0
}

func toFloat(value any) (float64, bool) {
	switch v := value.(type) {
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case uint64:
		return float64(v), true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	n, ok := toInt64(value)
	return float64(n), ok
}

// Encode writes a payload. Of the metrics' values only scalars are written; metadata and properties, which no
// command needs, are not.
func Encode(p *Payload) []byte {
	var b []byte
	if !p.Time.IsZero() {
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(p.Time.UnixMilli()))
	}
	for i := range p.Metrics {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendBytes(b, encodeMetric(&p.Metrics[i]))
	}
	if p.HasSeq {
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(p.Seq))
	}
	if p.UUID != "" {
		b = protowire.AppendTag(b, 4, protowire.BytesType)
		b = protowire.AppendString(b, p.UUID)
	}
	if p.Body != nil {
		b = protowire.AppendTag(b, 5, protowire.BytesType)
		b = protowire.AppendBytes(b, p.Body)
	}
	return b
}

func encodeMetric(m *Metric) []byte {
	var b []byte
	if m.Name != "" {
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, m.Name)
	}
	if m.HasAlias {
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, m.Alias)
	}
	if !m.Time.IsZero() {
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(m.Time.UnixMilli()))
	}
	if m.Type != Unknown {
		b = protowire.AppendTag(b, 4, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(m.Type))
	}
	for i, flag := range [...]bool{m.Historical, m.Transient, m.Null} {
		if flag {
			b = protowire.AppendTag(b, protowire.Number(5+i), protowire.VarintType)
			b = protowire.AppendVarint(b, 1)
		}
	}
	switch m.raw.field {
	case fieldInt, fieldLong, fieldBoolean:
		b = protowire.AppendTag(b, m.raw.field, protowire.VarintType)
		b = protowire.AppendVarint(b, m.raw.bits)
	case fieldFloat:
		b = protowire.AppendTag(b, m.raw.field, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, uint32(m.raw.bits))
	case fieldDouble:
		b = protowire.AppendTag(b, m.raw.field, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, m.raw.bits)
	case fieldString, fieldBytes:
		b = protowire.AppendTag(b, m.raw.field, protowire.BytesType)
		b = protowire.AppendBytes(b, m.raw.data)
	}
	return b
}
