package payload_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"iotc-gateway/mapping/payload"
)

func TestCSVRows(t *testing.T) {
	t.Parallel()
	const at = "2026-03-01T11:59:00Z"
	for _, tc := range []struct {
		name, in string
		opts     payload.Options
		value    any
		want     []reading
	}{
		{
			"without names", "1, 2.5 ,on,,true\n\"a, \"\"b\"\"\"\n",
			payload.Options{},
			[]any{[]any{int64(1), 2.5, "on", nil, true}, []any{`a, "b"`}},
			[]reading{},
		},
		{
			"a header", "\xEF\xBB\xBFtime,dev,temp,hum\n2026-03-01 11:59:00Z,s1,20.5,\n1772366340,s2,,40\r\n",
			payload.Options{CSV: payload.CSVOptions{Header: true, TimeColumn: "time", DeviceColumn: "dev"}},
			nil,
			[]reading{{Device: "s1", Name: "temp", Value: 20.5, Time: at}, {Device: "s2", Name: "hum", Value: int64(40), Time: at}},
		},
		{
			"named columns, semicolons and commas", "1772366340000;x;-1,5;0007\x00",
			payload.Options{DecimalComma: true, CSV: payload.CSVOptions{Separator: ";", Columns: []string{"t", "", "temp", "n"}, TimeColumn: "t"}},
			nil,
			[]reading{{Name: "temp", Value: -1.5, Time: at}, {Name: "n", Value: int64(7), Time: at}},
		},
		{
			"a short row", "1",
			payload.Options{CSV: payload.CSVOptions{Columns: []string{"a", "b"}}},
			[]any{map[string]any{"a": int64(1)}},
			[]reading{{Name: "a", Value: int64(1)}},
		},
		{"tabs", "1\t\t3", payload.Options{CSV: payload.CSVOptions{Separator: "\t"}}, []any{[]any{int64(1), nil, int64(3)}}, []reading{}},
	} {
		doc, err := mustNew(t, "csv", tc.opts).Decode([]byte(tc.in), receipt)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if tc.value != nil && !reflect.DeepEqual(doc.Value, tc.value) {
			t.Errorf("%s:\n got %#v\nwant %#v", tc.name, doc.Value, tc.value)
		}
		if got := toReadings(doc.Readings); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.name, got, tc.want)
		}
	}
}

func TestCSVFaults(t *testing.T) {
	t.Parallel()
	columns := payload.Options{CSV: payload.CSVOptions{Columns: []string{"t", "v"}, TimeColumn: "t"}}
	for _, tc := range []struct {
		in, want string
		opts     payload.Options
	}{
		{"", "no row of data", payload.Options{}},
		{"a,b\n", "no row of data", payload.Options{CSV: payload.CSVOptions{Header: true}}},
		{"1,2\n3,4,5", "csv: line 2, column 5: 3 values in a row of 2 columns", columns},
		{"1,2\nsoon,3", `csv: line 2, column 1: "soon" is no time`, columns},
		{"1,\"2", "csv: line 1, column 5", payload.Options{}},
		{"1,2\"3", "csv: line 1, column 4", payload.Options{}},
	} {
		_, err := mustNew(t, "csv", tc.opts).Decode([]byte(tc.in), receipt)
		if !errors.Is(err, payload.ErrSyntax) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: got %v, want %q", tc.in, err, tc.want)
		}
	}
	for _, opts := range []payload.Options{
		{CSV: payload.CSVOptions{Separator: "ab"}},
		{CSV: payload.CSVOptions{Separator: "\n"}},
		{DecimalComma: true},
		{CSV: payload.CSVOptions{Header: true, Columns: []string{"a"}}},
		{CSV: payload.CSVOptions{Columns: []string{"a"}, TimeColumn: "b"}},
	} {
		if _, err := payload.New("csv", opts); err == nil {
			t.Errorf("%+v was taken", opts)
		}
	}
}

func TestCSVLimits(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "csv", payload.Options{Limits: payload.Limits{MaxBytes: 12, MaxItems: 4}})
	for _, tc := range []struct {
		in   string
		want error
	}{
		{"1,2\n3,4     ", nil},
		{"1,2\n3,4      ", payload.ErrTooLarge},
		{"1,2\n3,4,5", payload.ErrTooLarge},
	} {
		if _, err := d.Decode([]byte(tc.in), receipt); !errors.Is(err, tc.want) {
			t.Errorf("%q: got %v, want %v", tc.in, err, tc.want)
		}
	}
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("time,v\n2026-03-01T11:59:00Z,1.5\n1e300,x"), true)
	f.Add([]byte("1;2,5;\"a\"\"b\""), false)
	f.Add([]byte("253402300799999,1\n-1,2"), true)
	f.Fuzz(func(t *testing.T, data []byte, named bool) {
		opts := payload.Options{DecimalComma: true, CSV: payload.CSVOptions{Separator: ";"}}
		if named {
			opts = payload.Options{CSV: payload.CSVOptions{Columns: []string{"time", "v"}, TimeColumn: "time"}}
		}
		if doc, err := mustNew(t, "csv", opts).Decode(data, receipt); err == nil {
			checkTree(t, doc)
		}
	})
}
