package payload_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"iotc-gateway/mapping/payload"
)

func TestScalars(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		format string
		opts   payload.Options
		in     string
		want   any // nil: refused
	}{
		{"number", payload.Options{}, "21.5", 21.5},
		{"number", payload.Options{}, " 94736\n", int64(94736)},
		{"number", payload.Options{}, "+007", int64(7)},
		{"number", payload.Options{}, "-000", int64(0)},
		{"number", payload.Options{}, "-.5", -0.5},
		{"number", payload.Options{}, "1.", 1.0},
		{"number", payload.Options{}, "1e-3\x00", 0.001},
		{"number", payload.Options{}, `"20.58"`, 20.58},
		{"number", payload.Options{}, "18446744073709551616", json.Number("18446744073709551616")},
		{"number", payload.Options{DecimalComma: true}, "21,5", 21.5},
		{"number", payload.Options{DecimalComma: true}, "1.234,5", nil},
		{"number", payload.Options{}, "21,5", nil},
		{"number", payload.Options{}, "", nil},
		{"number", payload.Options{}, "-", nil},
		{"number", payload.Options{}, "1-2", nil},
		{"number", payload.Options{}, "1.2.3", nil},
		{"number", payload.Options{}, "nan", nil},
		{"number", payload.Options{}, "Infinity", nil},
		{"number", payload.Options{}, "0x10", nil},
		{"number", payload.Options{}, "1_000", nil},
		{"number", payload.Options{}, "1e999", nil},
		{"number", payload.Options{}, "21.5 C", nil},

		{"boolean", payload.Options{}, "ON", true},
		{"boolean", payload.Options{}, "off\r\n", false},
		{"boolean", payload.Options{}, "1", true},
		{"boolean", payload.Options{}, `"false"`, false},
		{"boolean", payload.Options{}, "Online", true},
		{"boolean", payload.Options{}, "", nil},
		{"boolean", payload.Options{}, "open", nil},
		{"boolean", payload.Options{True: []string{"Open"}, False: []string{"closed"}}, "OPEN", true},
		{"boolean", payload.Options{True: []string{"offline"}}, "offline", true},
		{"boolean", payload.Options{}, strings.Repeat("x", 65), nil},

		{"string", payload.Options{}, " kept as it is \n", " kept as it is \n"},
		{"string", payload.Options{}, "caf\xe9", "caf\uFFFD"},
		{"string", payload.Options{}, "", ""},
		{"bytes", payload.Options{}, "\x00\xff", []byte{0, 0xff}},

		{"auto", payload.Options{}, "21.5", 21.5},
		{"auto", payload.Options{}, "true", true},
		{"auto", payload.Options{}, `{"a":1}`, map[string]any{"a": int64(1)}},
		{"auto", payload.Options{}, "heating ", "heating"},
		{"auto", payload.Options{}, "ON", "ON"},
		{"auto", payload.Options{}, "", ""},
		{"auto", payload.Options{}, `{"a":`, nil},
		{"", payload.Options{}, "12:30", "12:30"},
	} {
		doc, err := mustNew(t, tc.format, tc.opts).Decode([]byte(tc.in), receipt)
		if tc.want == nil {
			if !errors.Is(err, payload.ErrSyntax) {
				t.Errorf("%s %q: got %v, %v, want it refused", tc.format, tc.in, doc.Value, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(doc.Value, tc.want) {
			t.Errorf("%s %q: got %#v, %v, want %#v", tc.format, tc.in, doc.Value, err, tc.want)
		}
	}
}

func TestScalarSizeLimit(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"number", "boolean", "string", "bytes", "auto"} {
		d := mustNew(t, format, payload.Options{Limits: payload.Limits{MaxBytes: 4}})
		if _, err := d.Decode([]byte("1   "), receipt); err != nil {
			t.Errorf("%s at the limit: %v", format, err)
		}
		if _, err := d.Decode([]byte("1    "), receipt); !errors.Is(err, payload.ErrTooLarge) {
			t.Errorf("%s beyond the limit: %v", format, err)
		}
	}
}

func TestNewRefusesUnknownFormats(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"jsn", "zip+json", "gzip+jsn", "+"} {
		if _, err := payload.New(format, payload.Options{}); !errors.Is(err, payload.ErrUnknownFormat) {
			t.Errorf("New(%q): %v", format, err)
		}
	}
}

func FuzzScalar(f *testing.F) {
	for _, s := range []string{"21.5", "ON", `"0"`, "-.5e+3", "\x00", "1,5"} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, comma bool) {
		for _, format := range []string{"number", "boolean", "string", "auto"} {
			doc, err := mustNew(t, format, payload.Options{DecimalComma: comma}).Decode(data, receipt)
			if err != nil {
				continue
			}
			if _, err := json.Marshal(doc.Value); err != nil {
				t.Fatalf("%s: %v", format, err)
			}
		}
	})
}
