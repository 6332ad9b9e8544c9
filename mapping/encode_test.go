package mapping_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value any
		want  string
	}{
		{nil, "null"},
		{true, "true"},
		{"a\"b\\c\n<ü>", `"a\"b\\c\n<ü>"`},
		{21.3, "21.3"},
		{213 * 0.1, "21.3"},
		{0.1 + 0.2, "0.3"},
		{1.0 / 3, "0.333333333333333"},
		{float64(1 << 53), "9007199254740992"},
		{-5.0, "-5"},
		{math.Copysign(0, -1), "0"},
		{1e6, "1000000"},
		{1.5e-5, "0.000015"},
		{1e300, "1e+300"},
		{5e-324, "5e-324"},
		{float32(21.3), "21.3"},
		{int64(math.MinInt64), "-9223372036854775808"},
		{uint64(math.MaxUint64), "18446744073709551615"},
		{uint8(7), "7"},
		{json.Number("123456789012345678901234567890"), "123456789012345678901234567890"},
		{json.RawMessage("[1]"), "[1]"},
		{[]byte{1, 2}, `"AQI="`},
		{time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600)), `"2026-01-02T02:04:05.006Z"`},
		{[]any{1, "a", nil}, `[1,"a",null]`},
		{[]string{"a", "b"}, `["a","b"]`},
		{map[string]any{"b": 1, "a": map[string]any{}, "c": []any{}}, `{"a":{},"b":1,"c":[]}`},
		{map[string]string{"b": "1", "a": "2"}, `{"a":"2","b":"1"}`},
	} {
		got, err := mapping.Encode(tt.value)
		if err != nil || string(got) != tt.want {
			t.Errorf("%T %v: got %s, %v, want %s", tt.value, tt.value, got, err, tt.want)
		}
		if !json.Valid(got) {
			t.Errorf("%v became %s", tt.value, got)
		}
	}
	deep := any(1)
	for range 40 {
		deep = []any{deep}
	}
	for _, bad := range []any{math.NaN(), math.Inf(1), float32(math.Inf(-1)), struct{}{}, deep, []any{math.NaN()}, map[string]any{"a": make(chan int)}} {
		if got, err := mapping.Encode(bad); err == nil {
			t.Errorf("%v became %s", bad, got)
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"2023-10-26T15:05:10Z"`:             "2023-10-26T15:05:10Z",
		`2023-10-26T15:05:10.123456789Z`:     "2023-10-26T15:05:10.123456789Z",
		`"2017-02-16T10:13:52+02:00"`:        "2017-02-16T08:13:52Z",
		`"2017-02-16T10:13:52"`:              "2017-02-16T10:13:52Z",
		`2017-02-16 10:13:52`:                "2017-02-16T10:13:52Z",
		`2017-02-16 10:13:52+01:00`:          "2017-02-16T09:13:52Z",
		`1700000000`:                         "2023-11-14T22:13:20Z",
		`"1700000000"`:                       "2023-11-14T22:13:20Z",
		`1700000000123`:                      "2023-11-14T22:13:20.123Z",
		`1708326852.50`:                      "2024-02-19T07:14:12.5Z",
		`1.320067464e+09`:                    "2011-10-31T13:24:24Z",
		` 0 `:                                "1970-01-01T00:00:00Z",
		`-5`:                                 "1969-12-31T23:59:55Z",
		`1.61`:                               "1970-01-01T00:00:01.61Z",
		`1700000000123.5`:                    "2023-11-14T22:13:20.1235Z",
		`"noon"`:                             "",
		`""`:                                 "",
		``:                                   "",
		`NaN`:                                "",
		`1e300`:                              "",
		`99999999999999999999`:               "",
		`9223372036854775807`:                "",
		`"2023-13-01T00:00:00Z"`:             "",
		`{}`:                                 "",
		`true`:                               "",
		`1-2`:                                "",
		"\"" + strings.Repeat("9", 90) + `"`: "",
	} {
		got, err := mapping.ParseTime(text)
		if want == "" {
			if err == nil {
				t.Errorf("%s became %v", text, got)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	collect := func(text string) (string, error) {
		var out []string
		err := mapping.Members([]byte(text), func(key string, value json.RawMessage) error {
			out = append(out, key+"="+string(value))
			return nil
		})
		return strings.Join(out, " "), err
	}
	many := func(extra string) string {
		var b strings.Builder
		b.WriteString("{")
		for i := range 60 {
			b.WriteString(`"k` + strings.Repeat("x", i) + `":1,`)
		}
		return b.String() + extra + "}"
	}
	if got, err := collect(`{"b":1.0,"a":[1, 2],"\u00e9":"\ud83d\ude00", "":null}`); err != nil || got != `b=1.0 a=[1, 2] é="\ud83d\ude00" =null` {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := collect(many(`"last":1`)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		many(`"kx":1`), many(`"k\u0078":1`), `{"a":{"b":1,"b":2}}`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `[]`, `1`, ``,
		`{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":1e}`, `{"a":+1}`, `{"a":tru}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, "{\"a\":\"\t\"}", `{"a":"`, `{"a":"\`, `{"a":"\u1`,
		`{"a":[1,]}`, `{"a":[1 2]}`, `{"a":[1`, `{"a":1} {`, `{"a":1e400}`, `{"a":` + strings.Repeat("9", 2000) + `}`, "\xff",
	} {
		if got, err := collect(bad); err == nil {
			t.Errorf("%s gave %s", bad, got)
		}
	}
}
