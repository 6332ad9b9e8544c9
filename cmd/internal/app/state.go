package app

import (
	"iotc-gateway/buffer"
	"iotc-gateway/mapping"
)

// mappingState shows the mapping what it left behind. The space answers with
// changes as soon as they were handed to the store, synced or not, which is
// what mapping.State asks for.
type mappingState struct{ space *buffer.Space }

func (s *mappingState) Get(key string) ([]byte, bool) { return s.space.Get(key) }

func (s *mappingState) changes(batch *buffer.Batch, changes []mapping.Change) {
	for _, c := range changes {
		batch.Puts = append(batch.Puts, buffer.KV{Space: spaceMapping, Key: c.Key, Value: c.Value})
	}
}
