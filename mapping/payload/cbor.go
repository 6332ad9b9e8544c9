package payload

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// cborDecoder reads RFC 8949. Keys that are integers become their decimal digits, because a tree has text keys
// only. Tags: 0 and 1 are times, 2 and 3 integers of any size, 4 a decimal fraction; of any other tag the content
// counts. Numbers that JSON cannot carry (NaN, infinities) and undefined become null. Text that
// is not UTF-8 and a key that stands twice are refused, as in JSON. A single-precision number
// keeps its exact value, so 20.6 sent as a float32 is 20.600000381469727.
type cborDecoder struct {
	limits Limits
	mode   cbor.DecMode
}

func newCBOR(opts Options) (Decoder, error) { return compileCBOR(opts.Limits) }

func compileCBOR(limits Limits) (*cborDecoder, error) {
	mode, err := cbor.DecOptions{
		// The library's own least values are 4 and 16; stricter limits are held by tree below.
		MaxNestedLevels:  max(limits.MaxDepth, 4),
		MaxArrayElements: max(limits.MaxItems, 16),
		MaxMapPairs:      max(limits.MaxItems, 16),
		TimeTag:          cbor.DecTagOptional,
		UTF8:             cbor.UTF8RejectInvalid,
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
	}.DecMode()
	if err != nil {
		return nil, err
	}
	return &cborDecoder{limits: limits, mode: mode}, nil
}

func (d *cborDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	value, err := d.decode("cbor", data)
	return Document{Value: value}, err
}

// decode reads one data item and nothing behind it.
func (d *cborDecoder) decode(format string, data []byte) (any, error) {
	if len(data) > d.limits.MaxBytes {
		return nil, tooLarge(format, len(data), d.limits)
	}
	if len(data) == 0 {
		return nil, fault(format, 0, ErrSyntax, "the payload is empty")
	}
	var raw any
	rest, err := d.mode.UnmarshalFirst(data, &raw)
	switch {
	case err == nil && len(rest) > 0:
		return nil, fault(format, len(data)-len(rest), ErrSyntax, "%d bytes after the end of the data item", len(rest))
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return nil, fault(format, len(data), ErrSyntax, "the payload ends in the middle of a data item")
	default:
		if deep, ok := errors.AsType[*cbor.MaxNestedLevelError](err); ok {
			return nil, fault(format, -1, ErrTooDeep, "%v", deep)
		}
		if many, ok := errors.AsType[*cbor.MaxArrayElementsError](err); ok {
			return nil, fault(format, -1, ErrTooLarge, "%v", many)
		}
		if many, ok := errors.AsType[*cbor.MaxMapPairsError](err); ok {
			return nil, fault(format, -1, ErrTooLarge, "%v", many)
		}
		return nil, fault(format, -1, ErrSyntax, "%v", err)
	}
	t := cborTree{format: format, limits: d.limits}
	return t.normalise(raw, 0)
}

// cborTree turns what the library returns into the kinds that a Document may hold.
type cborTree struct {
	format string
	limits Limits
	items  int
}

func (t *cborTree) normalise(v any, depth int) (any, error) {
	if t.items++; t.items > t.limits.MaxItems {
		return nil, fault(t.format, -1, ErrTooLarge, "more than %d values", t.limits.MaxItems)
	}
	switch v := v.(type) {
	case nil, bool, []byte, int64:
		return v, nil
	case string:
		return validText(v), nil
	case time.Time:
		if v.Year() < 1 || v.Year() > 9999 {
			return nil, fault(t.format, -1, ErrSyntax, "a time in the year %d", v.Year())
		}
		return v.UTC(), nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
		return v, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, nil
		}
		return v, nil
	case big.Int:
		return exactInteger([]byte(v.String())), nil
	case []any:
		if depth++; depth > t.limits.MaxDepth {
			return nil, fault(t.format, -1, ErrTooDeep, "arrays and maps more than %d deep", t.limits.MaxDepth)
		}
		for i := range v {
			value, err := t.normalise(v[i], depth)
			if err != nil {
				return nil, err
			}
			v[i] = value
		}
		return v, nil
	case map[any]any:
		if depth++; depth > t.limits.MaxDepth {
			return nil, fault(t.format, -1, ErrTooDeep, "arrays and maps more than %d deep", t.limits.MaxDepth)
		}
		object := make(map[string]any, len(v))
		for k, raw := range v {
			key, err := t.key(k)
			if err != nil {
				return nil, err
			}
			if _, twice := object[key]; twice {
				return nil, fault(t.format, -1, ErrSyntax, "the keys %q and %s are the same as text", key, key)
			}
			if object[key], err = t.normalise(raw, depth); err != nil {
				return nil, err
			}
		}
		return object, nil
	case cbor.Tag:
		if v.Number == tagDecimalFraction {
			return t.decimal(v.Content)
		}
		return t.normalise(v.Content, depth)
	case cbor.SimpleValue:
		return int64(v), nil
	}
	return nil, fault(t.format, -1, ErrUnsupported, "a value of kind %T", v)
}

func (t *cborTree) key(k any) (string, error) {
	switch k := k.(type) {
	case string:
		return validText(k), nil
	case uint64:
		return strconv.FormatUint(k, 10), nil
	case int64:
		return strconv.FormatInt(k, 10), nil
	}
	return "", fault(t.format, -1, ErrUnsupported, "a map key that is neither text nor an integer (%T)", k)
}

// tagDecimalFraction is RFC 8949 §3.4.4: [exponent, mantissa] for mantissa x 10^exponent.
const tagDecimalFraction = 4

func (t *cborTree) decimal(content any) (any, error) {
	pair, ok := content.([]any)
	if !ok || len(pair) != 2 {
		return nil, fault(t.format, -1, ErrSyntax, "a decimal fraction (tag 4) that is not [exponent, mantissa]")
	}
	var digits [2]string
	for i, part := range pair {
		switch part := part.(type) {
		case uint64:
			digits[i] = strconv.FormatUint(part, 10)
		case int64:
			digits[i] = strconv.FormatInt(part, 10)
		default:
			return nil, fault(t.format, -1, ErrSyntax, "a decimal fraction (tag 4) with a part that is no integer")
		}
	}
	if digits[0] == "0" {
		return exactInteger([]byte(digits[1])), nil
	}
	f, err := strconv.ParseFloat(digits[1]+"e"+digits[0], 64)
	if err != nil {
		return nil, fault(t.format, -1, ErrSyntax, "the decimal fraction %se%s is out of range", digits[1], digits[0])
	}
	return f, nil
}

// asNumber returns a tree's number as a float64.
func asNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	return 0, false
}
