package payload_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping/payload"
)

func fromHex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCBORExamples takes the examples of RFC 8949 appendix A that a device may send.
func TestCBORExamples(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "cbor", payload.Options{})
	for _, tc := range []struct {
		in   string
		want any
	}{
		{"00", int64(0)},
		{"17", int64(23)},
		{"1818", int64(24)},
		{"1b000000e8d4a51000", int64(1000000000000)},
		{"1bffffffffffffffff", uint64(math.MaxUint64)},
		{"c249010000000000000000", json.Number("18446744073709551616")},
		{"3bffffffffffffffff", json.Number("-18446744073709551616")},
		{"c349010000000000000000", json.Number("-18446744073709551617")},
		{"20", int64(-1)},
		{"3903e7", int64(-1000)},
		{"f90000", 0.0},
		{"f93c00", 1.0},
		{"fb3ff199999999999a", 1.1},
		{"f97bff", 65504.0},
		{"fa47c35000", 100000.0},
		{"fa7f7fffff", 3.4028234663852886e+38},
		{"f90001", 5.960464477539063e-8},
		{"f9c400", -4.0},
		{"f97c00", nil}, // Infinity
		{"f97e00", nil}, // NaN
		{"f4", false},
		{"f5", true},
		{"f6", nil},
		{"f7", nil}, // undefined
		{"f0", int64(16)},
		{"c074323031332d30332d32315432303a30343a30305a", time.Date(2013, 3, 21, 20, 4, 0, 0, time.UTC)},
		{"c11a514b67b0", time.Date(2013, 3, 21, 20, 4, 0, 0, time.UTC)},
		{"c1fb41d452d9ec200000", time.Date(2013, 3, 21, 20, 4, 0, 5e8, time.UTC)},
		{"d74401020304", []byte{1, 2, 3, 4}},
		{"d82076687474703a2f2f7777772e6578616d706c652e636f6d", "http://www.example.com"},
		{"4401020304", []byte{1, 2, 3, 4}},
		{"62c3bc", "ü"},
		{"8301820203820405", []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}}},
		{"a201020304", map[string]any{"1": int64(2), "3": int64(4)}},
		{"a26161016162820203", map[string]any{"a": int64(1), "b": []any{int64(2), int64(3)}}},
		{"5f42010243030405ff", []byte{1, 2, 3, 4, 5}},
		{"7f657374726561646d696e67ff", "streaming"},
		{"9f018202039f0405ffff", []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}}},
		{"bf6346756ef563416d7421ff", map[string]any{"Fun": true, "Amt": int64(-2)}},
		{"c48221196ab3", 273.15}, // RFC 8949 §3.4.4
		{"c4820005", int64(5)},
	} {
		doc, err := d.Decode(fromHex(t, tc.in), receipt)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		if !reflect.DeepEqual(doc.Value, tc.want) {
			t.Errorf("%s: got %#v, want %#v", tc.in, doc.Value, tc.want)
		}
	}
}

func TestCBORFaults(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "cbor", payload.Options{})
	for _, tc := range []struct {
		in, want string
		sentinel error
	}{
		{"", "cbor: byte 0: the payload is empty", payload.ErrSyntax},
		{"8301", "cbor: byte 2: the payload ends in the middle of a data item", payload.ErrSyntax},
		{"0000", "cbor: byte 1: 1 bytes after the end of the data item", payload.ErrSyntax},
		{"a2016161613162", "", payload.ErrSyntax},        // ends early
		{"a20161616131" + "6162", "", payload.ErrSyntax}, // the keys 1 and "1"
		{"a182010203", "map key", payload.ErrSyntax},     // a list for a key
		{"c48221" + "6131", "", payload.ErrSyntax},       // a mantissa of text
		{"62c328", "UTF-8", payload.ErrSyntax},
		{"a2616101616102", "duplicate map key", payload.ErrSyntax},
		{"1c", "", payload.ErrSyntax}, // reserved
		{"c4821a7fffffff01", "out of range", payload.ErrSyntax},
	} {
		_, err := d.Decode(fromHex(t, tc.in), receipt)
		if !errors.Is(err, tc.sentinel) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q (%v)", tc.in, err, tc.want, tc.sentinel)
		}
	}
}

func TestCBORLimits(t *testing.T) {
	t.Parallel()
	for _, limits := range []payload.Limits{{MaxBytes: 64, MaxDepth: 2, MaxItems: 8}, {MaxBytes: 64, MaxDepth: 6, MaxItems: 20}} {
		d := mustNew(t, "cbor", payload.Options{Limits: limits})
		nested := func(depth int) []byte { return append([]byte(strings.Repeat("\x81", depth)), 0) }
		items := func(n int) []byte { return append([]byte{0x98, byte(n - 1)}, make([]byte, n-1)...) }
		sized := func(n int) []byte { return append([]byte{0x58, byte(n - 2)}, make([]byte, n-2)...) }
		for _, tc := range []struct {
			name string
			in   []byte
			want error
		}{
			{"depth at", nested(limits.MaxDepth), nil},
			{"depth beyond", nested(limits.MaxDepth + 1), payload.ErrTooDeep},
			{"depth far beyond", nested(60), payload.ErrTooDeep},
			{"items at", items(limits.MaxItems), nil},
			{"items beyond", items(limits.MaxItems + 1), payload.ErrTooLarge},
			{"bytes at", sized(64), nil},
			{"bytes beyond", sized(65), payload.ErrTooLarge},
			{"a length that is not there", []byte{0x9b, 0, 0, 0, 1, 0, 0, 0, 0}, payload.ErrTooLarge},
			{"a text that is not there", []byte{0x7b, 0, 0, 0, 1, 0, 0, 0, 0}, payload.ErrSyntax},
		} {
			if _, err := d.Decode(tc.in, receipt); !errors.Is(err, tc.want) {
				t.Errorf("%+v: %s: got %v, want %v", limits, tc.name, err, tc.want)
			}
		}
	}
}

func FuzzCBOR(f *testing.F) {
	for _, s := range []string{
		"a26161016162820203", "c48221196ab3", "bf6346756ef563416d7421ff", "c074323031332d30332d32315432303a30343a30305a",
		"c249010000000000000000", "f97e00", "9f018202039f0405ffff", "a201020304",
	} {
		f.Add(fromHex(f, s))
	}
	d := mustNew(f, "cbor", payload.Options{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if doc, err := d.Decode(data, receipt); err == nil {
			checkTree(t, doc)
		}
	})
}

// checkTree holds the promise made at payload.Document, and that a tree can be written as JSON.
func checkTree(t *testing.T, doc payload.Document) {
	t.Helper()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case nil, bool, string, int64, uint64, json.Number, []byte, time.Time:
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%v in a tree", v)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		default:
			t.Fatalf("a %T in a tree", v)
		}
	}
	walk(doc.Value)
	for _, r := range doc.Readings {
		walk(r.Value)
		if _, err := json.Marshal(r.Time); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := json.Marshal(doc.Value); err != nil {
		t.Fatal(err)
	}
}
