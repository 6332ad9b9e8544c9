package preset_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"iotc-gateway/mapping"
)

// fuzzFamily maps any payload on any topic twice, with what prepare left in the state: no panic, no record that is no JSON, no
// error without a code.
func fuzzFamily(f *testing.F, family mapping.Family, err error, prepare func(mapping.MemoryState, *mapping.Mapper)) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
	m, err := mapping.New(mapping.DefaultConfig(), mapping.Options{Families: []mapping.Family{family}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, topic, body string) {
		state := mapping.MemoryState{}
		prepare(state, m)
		for range 2 {
			res, err := m.Map(&mapping.Publication{Topic: topic, Payload: []byte(body), FutureBound: time.Hour}, onStage, state)
			if err != nil {
				if e, ok := errors.AsType[*mapping.Error](err); !ok || e.Code == mapping.CodeInternal {
					t.Fatalf("%s %q: %v", topic, body, err)
				}
				continue
			}
			for _, r := range res.Records {
				if !json.Valid(r.Value) {
					t.Fatalf("%s %q gave %q", topic, body, r.Value)
				}
			}
			for _, c := range res.Changes {
				if len(c.Value) > 1<<20 {
					t.Fatalf("%s: %d bytes of state under %s", topic, len(c.Value), c.Key)
				}
			}
			state.Apply(res.Changes)
		}
	})
}
