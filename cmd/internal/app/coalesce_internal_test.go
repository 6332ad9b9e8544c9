package app

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"testing"
	"unicode/utf8"

	"iotc-gateway/buffer"
)

func TestMemberNames(t *testing.T) {
	t.Parallel()
	names := memberNames()
	of := func(value string) []uint64 { return names(&buffer.Record{Value: []byte(value)}, nil) }
	for _, tc := range []struct {
		a, b   string
		common bool
	}{
		{`{"a":1}`, `{"b":1}`, false},
		{`{"a":1,"b":2}`, `{"c":1,"b":3}`, true},
		{`{"a":{"b":1}}`, `{"b":1}`, false},
		{`{"a":"\"b\":1"}`, `{"b":1}`, false},
		{`{"\u0061":1}`, `{"a":1}`, true},
		{`{"A":1}`, `{"a":1}`, false},
		{`{}`, `{"a":1}`, false},
		{`{"a":[{"b":1},"c",["d"]],"e":{"f":{}}}`, `{"b":1,"c":2,"d":3,"f":4}`, false},
		{`{"x\\":1,"b":2}`, `{"b":3}`, true},
		{`{"x":"\\","b":2}`, `{"b":3}`, true},
		{`{"x":"\\\"","b":2}`, `{"b":3}`, true},
		{` { "a" : [ ] , "b" : "," } `, `{"b":3}`, true},
	} {
		a, b := of(tc.a), of(tc.b)
		if got := slices.ContainsFunc(a, func(n uint64) bool { return slices.Contains(b, n) }); got != tc.common {
			t.Errorf("%s and %s: a name in common: %v", tc.a, tc.b, got)
		}
	}
}

func FuzzMemberNames(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, `{"\u0061":{"b":["c"]},"d\\":"\"e\":","f":[{},[]]}`, ` {"":""} `, `{"`, `"a"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		seed := maphash.MakeSeed()
		hash := func(name []byte) uint64 { return maphash.Bytes(seed, name) }
		got := appendNames(nil, text, hash) // of no object it means nothing, but it ends
		var object map[string]json.RawMessage
		if json.Unmarshal(text, &object) != nil || object == nil || !utf8.Valid(text) {
			return
		}
		want := make(map[uint64]bool)
		for name := range object {
			want[hash([]byte(name))] = true
		}
		for _, h := range got {
			if !want[h] {
				t.Errorf("%s: found a name that is none", text)
			}
		}
		if len(got) < len(object) { // a name may stand there twice
			t.Errorf("%s: found %d names of %d", text, len(got), len(object))
		}
	})
}

func BenchmarkMemberNames(b *testing.B) {
	names := memberNames()
	var records []buffer.Record
	for i := range 5 {
		records = append(records, buffer.Record{Value: fmt.Appendf(nil, `{"temperature_%d":21.5,"humidity_%d":45.25,"status_%d":"running","note_%d":"%0120d"}`, i, i, i, i, i)})
	}
	into := make([]uint64, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		into = into[:0]
		for i := range records {
			into = names(&records[i], into)
		}
	}
}
