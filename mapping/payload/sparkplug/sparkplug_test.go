package sparkplug_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"iotc-gateway/mapping/payload/sparkplug"
)

var (
	limits = sparkplug.Limits{MaxBytes: 1 << 20, MaxDepth: 32, MaxItems: 1 << 16}
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decode(t testing.TB, data []byte) *sparkplug.Payload {
	t.Helper()
	p, err := sparkplug.Decode(data, limits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// golden compares lines of JSON with testdata/<name>.golden.
func golden(t *testing.T, name string, lines []any) {
	t.Helper()
	var b bytes.Buffer
	for _, line := range lines {
		text, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
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

type metric struct {
	Name       string         `json:"name,omitempty"`
	Alias      *uint64        `json:"alias,omitempty"`
	Type       string         `json:"type"`
	Value      any            `json:"value"`
	Time       *time.Time     `json:"time,omitempty"`
	Historical bool           `json:"historical,omitempty"`
	Transient  bool           `json:"transient,omitempty"`
	Null       bool           `json:"null,omitempty"`
	Definition bool           `json:"definition,omitempty"`
	Properties map[string]any `json:"properties,omitempty"`
	MetaData   map[string]any `json:"metadata,omitempty"`
}

// TestDecodeFixtures reads what an independent encoder wrote; see testdata/README.md.
func TestDecodeFixtures(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nbirth", "dbirth", "ddata", "ndata", "ddata_untyped", "arrays", "ddeath", "ndeath"} {
		p := decode(t, fixture(t, name))
		lines := []any{map[string]any{"time": p.Time, "seq": p.Seq, "has_seq": p.HasSeq}}
		for i := range p.Metrics {
			m := &p.Metrics[i]
			v, err := m.Value(sparkplug.Unknown)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			g := metric{
				Name: m.Name, Type: m.Type.String(), Value: v, Historical: m.Historical, Transient: m.Transient,
				Null: m.Null, Definition: m.Definition(), Properties: m.Properties, MetaData: m.MetaData,
			}
			if m.HasAlias {
				g.Alias = &m.Alias
			}
			if !m.Time.IsZero() {
				g.Time = &m.Time
			}
			lines = append(lines, g)
		}
		golden(t, name, lines)
	}
}

// TestEncodeAgrees writes commands byte for byte as the independent encoder does.
func TestEncodeAgrees(t *testing.T) {
	t.Parallel()
	if got, want := sparkplug.Rebirth(noon), fixture(t, "ncmd_rebirth"); !bytes.Equal(got, want) {
		t.Errorf("rebirth:\n got %x\nwant %x", got, want)
	}
	command := sparkplug.Payload{Time: noon}
	for _, w := range []struct {
		name  string
		kind  sparkplug.DataType
		value any
	}{
		{"open", sparkplug.Boolean, false},
		{"offset", sparkplug.Int16, int64(-40)},
		{"level", sparkplug.UInt32, 4e9},
		{"setpoint", sparkplug.Float, 19.5},
		{"ratio", sparkplug.Double, json.Number("0.1")},
		{"label", sparkplug.String, "Ofen"},
		{"big", sparkplug.Int64, json.Number("-9223372036854775807")},
		{"at", sparkplug.DateTime, "2026-03-01T12:00:00Z"},
		{"blob", sparkplug.Bytes, "AP8="},
	} {
		m := sparkplug.Metric{Name: w.name}
		if err := m.Set(w.kind, w.value); err != nil {
			t.Fatal(err)
		}
		command.Metrics = append(command.Metrics, m)
	}
	if got, want := sparkplug.Encode(&command), fixture(t, "dcmd"); !bytes.Equal(got, want) {
		t.Errorf("commands:\n got %x\nwant %x", got, want)
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		kind  sparkplug.DataType
		value any
		want  any // nil: refused
	}{
		{sparkplug.Int8, int64(-128), int64(-128)},
		{sparkplug.Int8, int64(128), nil},
		{sparkplug.Int16, 32767.0, int64(32767)},
		{sparkplug.Int16, 1.5, nil},
		{sparkplug.Int32, int64(math.MinInt32), int64(math.MinInt32)},
		{sparkplug.Int32, int64(math.MaxInt32 + 1), nil},
		{sparkplug.Int64, int64(math.MinInt64), int64(math.MinInt64)},
		{sparkplug.Int64, uint64(math.MaxUint64), nil},
		{sparkplug.UInt8, int64(255), int64(255)},
		{sparkplug.UInt8, int64(256), nil},
		{sparkplug.UInt16, int64(-1), nil},
		{sparkplug.UInt32, int64(math.MaxUint32), int64(math.MaxUint32)},
		{sparkplug.UInt64, uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{sparkplug.UInt64, "1", nil},
		{sparkplug.Float, int64(2), 2.0},
		{sparkplug.Float, 20.6, 20.6},
		{sparkplug.Float, 1e300, nil},
		{sparkplug.Double, math.NaN(), nil},
		{sparkplug.Boolean, true, true},
		{sparkplug.Boolean, int64(1), nil},
		{sparkplug.String, "x", "x"},
		{sparkplug.String, 1.0, nil},
		{sparkplug.DateTime, noon, noon},
		{sparkplug.DateTime, noon.UnixMilli(), noon},
		{sparkplug.DateTime, "noon", nil},
		{sparkplug.Bytes, []byte{1}, []byte{1}},
		{sparkplug.Bytes, "*", nil},
		{sparkplug.DataSet, "x", nil},
		{sparkplug.Unknown, "x", nil},
	} {
		m := sparkplug.Metric{Name: "m"}
		err := m.Set(tc.kind, tc.value)
		if tc.want == nil {
			if !errors.Is(err, sparkplug.ErrValue) {
				t.Errorf("%s from %v: got %v, want it refused", tc.kind, tc.value, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s from %v: %v", tc.kind, tc.value, err)
			continue
		}
		back := decode(t, sparkplug.Encode(&sparkplug.Payload{Metrics: []sparkplug.Metric{m}})).Metrics[0]
		if got, err := back.Value(sparkplug.Unknown); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s from %v: got %#v, %v, want %#v", tc.kind, tc.value, got, err, tc.want)
		}
	}
	var m sparkplug.Metric
	if err := m.Set(sparkplug.Float, nil); err != nil || !m.Null {
		t.Error("null was refused", err)
	}
}

// message builds a protobuf message from tags and values.
type message []byte

func (m message) varint(n protowire.Number, v uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, n, protowire.VarintType), v)
}

func (m message) bytes(n protowire.Number, v []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, n, protowire.BytesType), v)
}

func TestDecodeFaults(t *testing.T) {
	t.Parallel()
	var m message
	dataSet := func(set message) message { return m.bytes(2, m.bytes(17, set)) }
	for _, tc := range []struct {
		name, want string
		in         []byte
	}{
		{"no tag", "byte 0: no field begins here", []byte{0}},
		{"cut off", "byte 0: field 2 is damaged", []byte{0x12, 5, 1}},
		{"text", "byte 0", []byte(`{"a":1}`)},
		{"a wrong wire type", "byte 2: field 1 has the wire type 2 where 0 was expected", m.bytes(1, []byte("x"))},
		{"a metric that is a number", "wire type 0 where 2", m.varint(2, 1)},
		{"a name that is a number", "wire type 0 where 2", m.bytes(2, m.varint(1, 1))},
		{"a float that is a varint", "wire type 0 where 5", m.bytes(2, m.varint(12, 1))},
		{"a sequence number", "sequence number is 256", m.varint(3, 256)},
		{"keys without values", "1 keys and 0 values", m.bytes(2, m.bytes(9, m.bytes(1, []byte("k"))))},
		{"columns without types", "1 columns and 0 types", dataSet(m.bytes(2, []byte("c")))},
		{"a row too long", "more cells than the 0 columns", dataSet(m.bytes(4, m.bytes(1, nil)))},
		{"a row too short", "0 cells under 1 columns", dataSet(m.bytes(2, []byte("c")).varint(3, 1).bytes(4, nil))},
		{"a cell of the wrong type", "a string where Int8", dataSet(m.bytes(2, []byte("c")).varint(3, 1).bytes(4, m.bytes(1, m.bytes(6, []byte("x")))))},
	} {
		_, err := sparkplug.Decode(tc.in, limits)
		if !errors.Is(err, sparkplug.ErrSyntax) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
	for _, tc := range []struct {
		name, want string
		metric     message
	}{
		{"a string for an integer", `sparkplug: metric "m": a string where Int32 was expected`, m.varint(4, 3).bytes(15, []byte("x"))},
		{"bytes for a float", "bytes where Float", m.varint(4, 9).bytes(16, nil)},
		{"a boolean for a string", "a boolean where String", m.varint(4, 12).varint(14, 1)},
		{"an integer for a string", "an integer where String", m.varint(4, 12).varint(10, 1)},
		{"half an element", "3 bytes are no whole number", m.varint(4, 23).bytes(16, []byte{1, 2, 3})},
		{"a string without end", "does not end", m.varint(4, 33).bytes(16, []byte("abc"))},
		{"booleans without count", "the count is missing", m.varint(4, 32).bytes(16, []byte{1})},
		{"booleans missing", "1 bytes for 9 booleans", m.varint(4, 32).bytes(16, []byte{9, 0, 0, 0, 1})},
	} {
		p := decode(t, m.bytes(2, append(m.bytes(1, []byte("m")), tc.metric...)))
		if _, err := p.Metrics[0].Value(sparkplug.Unknown); !errors.Is(err, sparkplug.ErrSyntax) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	var m message
	strict := sparkplug.Limits{MaxBytes: 200, MaxDepth: 4, MaxItems: 5}
	metrics := func(n int) []byte { return bytes.Repeat(m.bytes(2, nil), n) }
	properties := func(depth int) []byte {
		set := message(nil)
		for range depth - 2 {
			set = m.bytes(1, []byte("k")).bytes(2, m.bytes(9, set))
		}
		return m.bytes(2, m.bytes(9, set))
	}
	templates := func(depth int) []byte {
		metric := message(nil)
		for range depth - 1 {
			metric = m.bytes(18, m.bytes(2, metric))
		}
		return m.bytes(2, metric)
	}
	array := func(kind uint64, data []byte) []byte { return m.bytes(2, m.varint(4, kind).bytes(16, data)) }
	for _, tc := range []struct {
		name string
		in   []byte
		want error
	}{
		{"bytes at", m.bytes(5, make([]byte, 197)), nil},
		{"bytes beyond", m.bytes(5, make([]byte, 198)), sparkplug.ErrTooLarge},
		{"items at", metrics(5), nil},
		{"items beyond", metrics(6), sparkplug.ErrTooLarge},
		{"rows beyond", m.bytes(2, m.bytes(17, bytes.Repeat(m.bytes(4, nil), 5))), sparkplug.ErrTooLarge},
		{"property sets at", properties(4), nil},
		{"property sets beyond", properties(5), sparkplug.ErrTooDeep},
		{"templates at", templates(4), nil},
		{"templates beyond", templates(5), sparkplug.ErrTooDeep},
	} {
		if _, err := sparkplug.Decode(tc.in, strict); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
	for _, tc := range []struct {
		name string
		in   []byte
		want error
	}{
		{"bytes in an array at", array(26, make([]byte, 1<<16)), nil},
		{"bytes in an array beyond", array(26, make([]byte, 1<<16+1)), sparkplug.ErrTooLarge},
		{"booleans beyond", array(32, append([]byte{1, 0, 1, 0}, make([]byte, 1<<13+1)...)), sparkplug.ErrTooLarge},
		{"strings beyond", array(33, make([]byte, 1<<16+1)), sparkplug.ErrTooLarge},
	} {
		p := decode(t, tc.in)
		if _, err := p.Metrics[0].Value(sparkplug.Unknown); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   string
		want sparkplug.Topic
		ok   bool
	}{
		{"spBv1.0/plant/NBIRTH/edge1", sparkplug.Topic{Group: "plant", Type: "NBIRTH", Edge: "edge1"}, true},
		{"spBv1.0/plant/DDATA/edge1/pump", sparkplug.Topic{Group: "plant", Type: "DDATA", Edge: "edge1", Device: "pump"}, true},
		{"spBv1.0/plant/DDATA/edge1", sparkplug.Topic{}, false},
		{"spBv1.0/plant/NDATA/edge1/pump", sparkplug.Topic{}, false},
		{"spBv1.0/STATE/host", sparkplug.Topic{}, false},
		{"spBv1.0/plant/XDATA/edge1", sparkplug.Topic{}, false},
		{"spAv1.0/plant/NDATA/edge1", sparkplug.Topic{}, false},
		{"spBv1.0//NDATA/edge1", sparkplug.Topic{}, false},
		{"spBv1.0/plant/DDATA/edge1/a/b", sparkplug.Topic{}, false},
	} {
		got, ok := sparkplug.ParseTopic(tc.in)
		if ok != tc.ok || ok && (got != tc.want || got.String() != tc.in) {
			t.Errorf("%s: got %+v, %v", tc.in, got, ok)
		}
	}
	node := sparkplug.Topic{Group: "g", Type: "NDATA", Edge: "e"}
	if got := node.Command().String(); got != "spBv1.0/g/NCMD/e" {
		t.Error(got)
	}
	node.Device = "d"
	if got := node.Command().String(); got != "spBv1.0/g/DCMD/e/d" {
		t.Error(got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"nbirth", "ndata", "ddata_untyped", "arrays", "ndeath", "dcmd"} {
		f.Add(fixture(f, name), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, birth uint8) {
		p, err := sparkplug.Decode(data, limits)
		if err != nil {
			if _, ok := errors.AsType[*sparkplug.Error](err); !ok {
				t.Fatalf("%T is no *sparkplug.Error", err)
			}
			return
		}
		for i := range p.Metrics {
			v, err := p.Metrics[i].Value(sparkplug.DataType(birth % 35))
			if err != nil {
				continue
			}
			if _, err := json.Marshal([]any{v, p.Metrics[i].Properties, p.Metrics[i].MetaData}); err != nil {
				t.Fatal(err)
			}
		}
		sparkplug.Encode(p)
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"ddata", "nbirth"} {
		data := fixture(b, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sparkplug.Decode(data, limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
