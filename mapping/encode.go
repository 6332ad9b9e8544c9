package mapping

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// Encode writes a value as JSON, the same each time: objects with their keys in order. It takes what decoders and expressions
// make: nil, bool, string, numbers, json.Number, json.RawMessage, []byte (base64), time.Time (RFC 3339), slices and maps of
// these. A computed double is written with at most 15 digits, so 213 * 0.1 is 21.3; a whole number has no point.
func Encode(v any) (json.RawMessage, error) { return appendValue(nil, v, 0) }

func appendValue(b []byte, v any, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("the value is nested deeper than %d", MaxDepth)
	}
	switch x := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, x), nil
	case string:
		return appendString(b, x), nil
	case float64:
		return appendFloat(b, x)
	case int:
		return strconv.AppendInt(b, int64(x), 10), nil
	case int64:
		return strconv.AppendInt(b, x, 10), nil
	case uint64:
		return strconv.AppendUint(b, x, 10), nil
	case json.RawMessage:
		return append(b, x...), nil
	case json.Number:
		return append(b, x...), nil
	case []byte:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, x)
		return append(b, '"'), nil
	case time.Time:
		b = append(b, '"')
		b = x.UTC().AppendFormat(b, timestampFormat)
		return append(b, '"'), nil
	case []any:
		return appendArray(b, x, depth)
	case map[string]any:
		return appendObject(b, x, depth)
	case []string:
		list := make([]any, len(x))
		for i, s := range x {
			list[i] = s
		}
		return appendArray(b, list, depth)
	case map[string]string:
		object := make(map[string]any, len(x))
		for k, s := range x {
			object[k] = s
		}
		return appendObject(b, object, depth)
	case int8, int16, int32, uint, uint8, uint16, uint32:
		return fmt.Append(b, x), nil
	case float32:
		// The shortest text that is this float32: a device's 21.3 stays 21.3.
		f, err := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'g', -1, 32), 64)
		if err != nil {
			return nil, fmt.Errorf("%v is no JSON number", x)
		}
		return appendFloat(b, f)
	default:
		return nil, fmt.Errorf("a %T has no JSON form", v)
	}
}

func appendArray(b []byte, list []any, depth int) ([]byte, error) {
	b = append(b, '[')
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, e, depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendObject(b []byte, object map[string]any, depth int) ([]byte, error) {
	b = append(b, '{')
	for i, key := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, key)
		b = append(b, ':')
		var err error
		if b, err = appendValue(b, object[key], depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendFloat writes a double with as many digits as it needs and at most 15, for the sixteenth and seventeenth are the noise of
// binary arithmetic. Whole numbers below 1e18 are written as such.
func appendFloat(b []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v is no JSON number", f)
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e18 {
		return strconv.AppendInt(b, int64(f), 10), nil
	}
	at := len(b)
	if b = strconv.AppendFloat(b, f, 'g', -1, 64); len(b)-at <= 16 {
		return plainExponent(b, at), nil
	}
	if r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 15, 64), 64); err == nil {
		b = strconv.AppendFloat(b[:at], r, 'g', -1, 64)
	}
	return plainExponent(b, at), nil
}

// plainExponent writes 1e+06 and 1e-05 as JSON readers and people do: as digits where they are few.
func plainExponent(b []byte, at int) []byte {
	if bytes.IndexByte(b[at:], 'e') < 0 {
		return b
	}
	f, err := strconv.ParseFloat(string(b[at:]), 64)
	if err != nil {
		return b
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(b[:at], f, 'f', -1, 64)
	}
	return b
}
