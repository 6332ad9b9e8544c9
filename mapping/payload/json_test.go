package payload_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping/payload"
)

// receipt is the time of receipt in every test.
var receipt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func mustNew(t testing.TB, format string, opts payload.Options) payload.Decoder {
	t.Helper()
	d, err := payload.New(format, opts)
	if err != nil {
		t.Fatalf("New(%q): %v", format, err)
	}
	return d
}

func TestJSONValues(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "json", payload.Options{})
	for _, tc := range []struct {
		in   string
		want any
	}{
		{`0`, int64(0)},
		{`-0`, int64(0)},
		{`9223372036854775807`, int64(math.MaxInt64)},
		{`9223372036854775808`, uint64(math.MaxInt64 + 1)},
		{`-9223372036854775808`, int64(math.MinInt64)},
		{`-9223372036854775809`, json.Number("-9223372036854775809")},
		{`18446744073709551615`, uint64(math.MaxUint64)},
		{`18446744073709551616`, json.Number("18446744073709551616")},
		{`123456789012345678901234567890`, json.Number("123456789012345678901234567890")},
		{`20.6`, 20.6},
		{`1.0`, 1.0},
		{`1e3`, 1000.0},
		{`-2.5E-3`, -0.0025},
		{`true`, true},
		{` null `, nil},
		{`"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`, "a\"\\/\b\f\n\r\té😀"},
		{`"\ud83d"`, "\uFFFD"},
		{`"°C"`, "°C"},
		{`[]`, []any{}},
		{`{}`, map[string]any{}},
		{`[1,[2,{"a":null}]]`, []any{int64(1), []any{int64(2), map[string]any{"a": nil}}}},
		{"\xEF\xBB\xBF{\"a\":1}", map[string]any{"a": int64(1)}},
		{"{\"a\":1}\x00", map[string]any{"a": int64(1)}},
	} {
		doc, err := d.Decode([]byte(tc.in), receipt)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		if !reflect.DeepEqual(doc.Value, tc.want) {
			t.Errorf("%s: got %#v, want %#v", tc.in, doc.Value, tc.want)
		}
	}
}

func TestJSONFaultsNameTheirPlace(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "json", payload.Options{})
	for _, tc := range []struct{ in, want string }{
		{``, "json: line 1, column 1: the payload is empty"},
		{`{"t":nan}`, "json: line 1, column 6: expected a value, found nan, which JSON does not have"},
		{"{\n \"a\": 1,\n \"b\": }", "json: line 3, column 7: expected a value, found \"}\""},
		{`{'a':1}`, "json: line 1, column 2: expected a key in double quotes, found a single quote; JSON strings stand in double quotes"},
		{`{"a":1`, `json: line 1, column 7: the payload ends where a comma or '}' was expected`},
		{`{"a":1,}`, `json: line 1, column 8: expected a key in double quotes, found "}"`},
		{`[1 2]`, `json: line 1, column 4: expected a comma or ']', found "2"`},
		{`{"a" 1}`, `json: line 1, column 6: expected a colon, found "1"`},
		{`1.`, `json: line 1, column 3: the payload ends where a digit was expected`},
		{`01`, `json: line 1, column 2: "1" after the end of the value`},
		{`1e400`, `json: line 1, column 1: the number "1e400" is out of range`},
		{`"abc`, `json: line 1, column 1: the string that begins here does not end`},
		{`"\x"`, `json: line 1, column 2: "\\x" is no escape`},
		{`"\u12"`, `json: line 1, column 2: \u needs four hexadecimal digits`},
		{"\"a\nb\"", `json: line 1, column 3: a control character (0x0a) inside a string`},
		{"\"21.5 \xb0C\"", `json: line 1, column 7: the byte 0xb0, which is not UTF-8`},
		{`{"a":1, "a":2}`, `json: line 1, column 9: the key "a" stands there twice`},
		{`{} x`, `json: line 1, column 4: "x" after the end of the value`},
		{`tru`, `json: line 1, column 1: expected a value, found "tru"`},
	} {
		_, err := d.Decode([]byte(tc.in), receipt)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%q:\n got %v\nwant %s", tc.in, err, tc.want)
		}
		if !errors.Is(err, payload.ErrSyntax) {
			t.Errorf("%q: %v is not ErrSyntax", tc.in, err)
		}
	}
}

func TestJSONLimits(t *testing.T) {
	t.Parallel()
	limits := payload.Limits{MaxBytes: 100, MaxDepth: 4, MaxItems: 10}
	d := mustNew(t, "json", payload.Options{Limits: limits})
	for _, tc := range []struct {
		name, in string
		want     error
	}{
		{"depth at", `[[[[1]]]]`, nil},
		{"depth beyond", `[[[[[1]]]]]`, payload.ErrTooDeep},
		{"depth counts what is open", `[[[[]]],[[[]]]]`, nil},
		{"items at", `[1,2,3,4,5,6,7,8,9]`, nil},
		{"items beyond", `[1,2,3,4,5,6,7,8,9,0]`, payload.ErrTooLarge},
		{"bytes at", `"` + strings.Repeat("a", 98) + `"`, nil},
		{"bytes beyond", `"` + strings.Repeat("a", 99) + `"`, payload.ErrTooLarge},
	} {
		if _, err := d.Decode([]byte(tc.in), receipt); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"Time":"2017-02-16T10:13:52","DS18B20":{"Temperature":20.6}}`, `[1,-0.5e3,"\u00e9\ud83d\ude00",null,true]`,
		`{"a":{"b":[{}]},"a":18446744073709551616}`, "\xEF\xBB\xBF[]\x00", `{"t":nan}`, `"abc`,
	} {
		f.Add([]byte(s))
	}
	d := mustNew(f, "json", payload.Options{})
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := d.Decode(data, receipt)
		if err != nil {
			if _, ok := errors.AsType[*payload.Error](err); !ok {
				t.Fatalf("%T is no *payload.Error", err)
			}
			return
		}
		// Whatever is taken can be written, and reads the same again.
		text, err := json.Marshal(doc.Value)
		if err != nil {
			t.Fatalf("the tree cannot be written: %v", err)
		}
		again, err := d.Decode(text, receipt)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		second, err := json.Marshal(again.Value)
		if err != nil || string(second) != string(text) {
			t.Fatalf("%s became %s (%v)", text, second, err)
		}
		// The standard library takes it too, apart from what is documented as lenient and depth, which differs.
		trimmed := strings.TrimRight(strings.TrimPrefix(string(data), "\xEF\xBB\xBF"), "\x00")
		if !json.Valid([]byte(trimmed)) {
			t.Fatalf("%q was taken, encoding/json refuses it", trimmed)
		}
	})
}
