package bridge

import (
	"bytes"
	"encoding/json"
	"math/big"
)

// compactJSON returns a copy of the value without insignificant space. What is
// no JSON is copied as it is.
func compactJSON(v json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	b.Grow(len(v))
	if json.Compact(&b, v) != nil {
		return bytes.Clone(v)
	}
	return b.Bytes()
}

// sameJSON tells whether two texts are the same JSON value: members in any
// order, and 21 the same as 21.0, since what comes back from a server or a
// device has been through a program that formats in its own way.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	x, xok := decodeJSON(a)
	y, yok := decodeJSON(b)
	return xok && yok && sameValue(x, y)
}

func decodeJSON(text json.RawMessage) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return v, d.Decode(&v) == nil
}

func sameValue(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		return ok && sameNumber(x.String(), y.String())
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !sameValue(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			w, there := y[k]
			if !there || !sameValue(v, w) {
				return false
			}
		}
		return true
	default:
		return a == b
	}
}

// numberBits is more than any sensor or program distinguishes.
const numberBits = 128

func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	x, _, err := big.ParseFloat(a, 10, numberBits, big.ToNearestEven)
	if err != nil {
		return false
	}
	y, _, err := big.ParseFloat(b, 10, numberBits, big.ToNearestEven)
	return err == nil && x.Cmp(y) == 0
}
