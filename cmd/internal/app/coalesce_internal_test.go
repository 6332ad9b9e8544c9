package app

import (
	"fmt"
	"slices"
	"testing"

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
	} {
		a, b := of(tc.a), of(tc.b)
		if got := slices.ContainsFunc(a, func(n uint64) bool { return slices.Contains(b, n) }); got != tc.common {
			t.Errorf("%s and %s: a name in common: %v", tc.a, tc.b, got)
		}
	}
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
