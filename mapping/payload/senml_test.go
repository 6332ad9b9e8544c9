package payload_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping/payload"
)

// reading is a payload.Reading as a golden file writes it.
type reading struct {
	Device string `json:"device,omitempty"`
	Name   string `json:"name,omitempty"`
	Value  any    `json:"value"`
	Unit   string `json:"unit,omitempty"`
	Time   string `json:"time,omitempty"`
	Rel    bool   `json:"relative,omitempty"`
	Hist   bool   `json:"historical,omitempty"`
}

func toReadings(list []payload.Reading) []reading {
	out := make([]reading, 0, len(list))
	for _, r := range list {
		g := reading{Device: r.Device, Name: r.Name, Value: r.Value, Unit: r.Unit, Rel: r.Relative, Hist: r.Historical}
		if !r.Time.IsZero() {
			g.Time = r.Time.Format(time.RFC3339Nano)
		}
		out = append(out, g)
	}
	return out
}

// golden compares a document with testdata/<name>.golden, one reading a line after the tree. Run with
// UPDATE_GOLDEN=1 it writes the file.
func golden(t *testing.T, name string, doc payload.Document) {
	t.Helper()
	var b strings.Builder
	line := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	line(doc.Value)
	for _, r := range toReadings(doc.Readings) {
		line(r)
	}
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s:\n got %s\nwant %s", name, b.String(), want)
	}
}

// TestSenMLGolden reads the examples of RFC 8428 §5.1 and §6.
func TestSenMLGolden(t *testing.T) {
	t.Parallel()
	inputs, err := filepath.Glob(filepath.Join("testdata", "senml", "*.json"))
	if err != nil || len(inputs) == 0 {
		t.Fatal(err, inputs)
	}
	d := mustNew(t, "senml", payload.Options{})
	for _, path := range inputs {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := d.Decode(data, receipt)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		golden(t, "senml/"+strings.TrimSuffix(filepath.Base(path), ".json"), doc)
	}
}

// TestSenMLCBORExample reads RFC 8428 §6, which is the multiple-datapoints example of §5.1.3 in CBOR.
func TestSenMLCBORExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "senml", "rfc8428-6.hex"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := mustNew(t, "hex+senml-cbor", payload.Options{}).Decode(fromHexText(text), receipt)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "senml/rfc8428-6", doc)
}

func fromHexText(text []byte) []byte { return []byte(strings.Join(strings.Fields(string(text)), "")) }

func TestSenMLResolution(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "senml", payload.Options{})
	at := func(s float64) string { return receipt.Add(time.Duration(s * 1e9)).Format(time.RFC3339Nano) }
	for _, tc := range []struct {
		name, in string
		want     []reading
	}{
		{"time 0 is now", `[{"n":"a","v":1,"t":0}]`, []reading{{Name: "a", Value: int64(1)}}},
		{"a negative time is before now", `[{"n":"a","v":1,"t":-5.5}]`, []reading{{Name: "a", Value: int64(1), Time: at(-5.5), Rel: true}}},
		{"2^28-1 is relative", `[{"n":"a","v":1,"t":268435455}]`, []reading{{Name: "a", Value: int64(1), Time: at(268435455), Rel: true}}},
		{"2^28 is absolute", `[{"n":"a","v":1,"t":268435456}]`, []reading{{Name: "a", Value: int64(1), Time: "1978-07-04T21:24:16Z"}}},
		{"base time and time are added before the bound", `[{"bt":268435450,"n":"a","v":1,"t":10}]`, []reading{{Name: "a", Value: int64(1), Time: "1978-07-04T21:24:20Z"}}},
		{
			"base value adds", `[{"bn":"d:","bv":20,"n":"a","v":1.5},{"n":"b","v":-1},{"n":"c","vs":"x"}]`,
			[]reading{{Device: "d", Name: "a", Value: 21.5}, {Device: "d", Name: "b", Value: int64(19)}, {Device: "d", Name: "c", Value: "x"}},
		},
		{"a missing value counts as zero under a base value", `[{"bn":"d:","bv":20},{"n":"a"}]`, []reading{{Device: "d", Name: "a", Value: int64(20)}}},
		{
			"base sum adds", `[{"bn":"d:","bs":100,"n":"e","s":5},{"n":"e","v":1}]`,
			[]reading{{Device: "d", Name: "e_sum", Value: int64(105)}, {Device: "d", Name: "e", Value: int64(1)}, {Device: "d", Name: "e_sum", Value: int64(100)}},
		},
		{
			"a base value holds until it is replaced", `[{"bu":"Cel","n":"a","v":1},{"n":"b","u":"W","v":2},{"bu":"V","n":"c","v":3},{"n":"d","v":4}]`,
			[]reading{{Name: "a", Value: int64(1), Unit: "Cel"}, {Name: "b", Value: int64(2), Unit: "W"}, {Name: "c", Value: int64(3), Unit: "V"}, {Name: "d", Value: int64(4), Unit: "V"}},
		},
		{"a base-only record measures nothing", `[{"bn":"urn:dev:ow:10/","bt":1.5e9},{"n":"on","vb":true}]`, []reading{{Device: "urn:dev:ow:10", Name: "on", Value: true, Time: "2017-07-14T02:40:00Z"}}},
		{"data is base64url", `[{"n":"a","vd":"_-8"}]`, []reading{{Name: "a", Value: []byte{0xff, 0xef}}}},
		{"an unknown field is ignored", `[{"n":"a","v":1,"foo":2}]`, []reading{{Name: "a", Value: int64(1)}}},
		{"version 10 is the default", `[{"bver":10,"n":"a","v":1}]`, []reading{{Name: "a", Value: int64(1)}}},
		{"a separator may be on either side", `[{"bn":"dev1","n":"/temp","v":1}]`, []reading{{Device: "dev1", Name: "temp", Value: int64(1)}}},
	} {
		doc, err := d.Decode([]byte(tc.in), receipt)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := toReadings(doc.Readings); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.name, got, tc.want)
		}
	}
}

func TestSenMLFaults(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "senml", payload.Options{})
	for _, tc := range []struct{ in, want string }{
		{`{"n":"a","v":1}`, "a pack is an array of records"},
		{`[1]`, "record 0 is no object"},
		{`[{"n":"a","v":1},{"n":"b","v":2,"need_":1}]`, `record 1: the field "need_" must be understood and is not`},
		{`[{"bver":11,"n":"a","v":1}]`, "version 11 is not supported"},
		{`[{"v":1}]`, "neither a name nor a base name"},
		{`[{"n":"a b","v":1}]`, "not allowed"},
		{`[{"n":"-a","v":1}]`, "not allowed"},
		{`[{"n":"a"}]`, "neither a value nor a sum"},
		{`[{"n":"a","v":1,"vs":"x"}]`, "more than one value"},
		{`[{"n":"a","v":"1"}]`, `the field "v" has a value of the wrong type`},
		{`[{"n":"a","vd":"*"}]`, `the field "vd"`},
		{`[{"n":"a","v":1,"t":1e12}]`, "out of range"},
		{`[{"n":"a","v":1,"t":-1e10}]`, "out of range"},
		{`[{"n":"a","v":1}`, "column 17"},
	} {
		_, err := d.Decode([]byte(tc.in), receipt)
		if !errors.Is(err, payload.ErrSyntax) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.in, err, tc.want)
		}
	}
	c := mustNew(t, "senml-cbor", payload.Options{})
	for _, tc := range []struct{ in, want string }{
		{"81a20061610201", ""},
		{"81a200616102", "ends in the middle"},
		{"81a300616102016578787878" + "5f01", `the field "xxxx_" must be understood`},
		{"81a300616102016161" + "01", ""},
		{"81a3006161616e616202" + "01", `the label 0 stands for "n"`},
		{"a0", "a pack is an array"},
	} {
		_, err := c.Decode(fromHex(t, tc.in), receipt)
		if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) || tc.want == "" && err != nil {
			t.Errorf("%s: got %v, want %q", tc.in, err, tc.want)
		}
	}
}

func FuzzSenML(f *testing.F) {
	for _, s := range []string{
		`[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.320067464e+09,"bu":"%RH","v":20},{"u":"lon","v":24.30621},{"t":60,"v":20.3}]`,
		`[{"n":"a","v":1,"t":-5}]`, `[{"bn":"d","bv":20,"bs":3},{"n":"a"}]`, `[{"n":"a","vd":"_-8"}]`, `[{"n":"a","v":1,"x_":1}]`,
	} {
		f.Add([]byte(s), false)
	}
	f.Add(fromHex(f, "81a3006161020103f9fe00"), true)
	f.Add(fromHex(f, "82a221787522fb41d303a15b001062a2006161020a"), true)
	text, binary := mustNew(f, "senml", payload.Options{}), mustNew(f, "senml-cbor", payload.Options{})
	f.Fuzz(func(t *testing.T, data []byte, isBinary bool) {
		d := text
		if isBinary {
			d = binary
		}
		if doc, err := d.Decode(data, receipt); err == nil {
			checkTree(t, doc)
		}
	})
}
