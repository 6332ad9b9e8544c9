package preset_test

import (
	"errors"
	"testing"
	"time"

	"iotc-gateway/mapping"
)

// fuzzDevice plays one publication again and again, with a command to the device before it is repeated, and as a replay. Nothing
// that is published may make the mapping fail for a reason of its own.
func fuzzDevice(f *testing.F, family mapping.Family, err error, device, command string) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
	m, err := mapping.New(mapping.DefaultConfig(), mapping.Options{Families: []mapping.Family{family}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, topic, text string) {
		state, now := mapping.MemoryState{}, onStage
		take := func(res mapping.Result, err error) {
			if err == nil {
				state.Apply(res.Changes)
				return
			}
			if e, ok := errors.AsType[*mapping.Error](err); ok && e.Code == mapping.CodeInternal {
				t.Fatal(err)
			}
		}
		for _, replayed := range []bool{false, false, true} {
			take(m.Map(&mapping.Publication{Topic: topic, Payload: []byte(text), Replayed: replayed}, now, state))
			take(m.Command(device, command, "c", []byte(text), now, state))
			take(m.Desired(device, command, []byte(text), 1, now, state))
			now = now.Add(20 * time.Second)
		}
	})
}
