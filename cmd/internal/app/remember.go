package app

import (
	"encoding/json"
	"fmt"
	"strings"

	"iotc-gateway/bridge"
	"iotc-gateway/buffer"
)

// The small key spaces of the store.
const (
	spaceRegistry = "registry"
	spaceBroker   = "broker"
	spaceMapping  = "mapping"
	spaceReported = "reported"
	spaceDesired  = "desired"
	spaceTriggers = "triggers"
	spaceCommands = "commands"
	spaceAPI      = "api"
)

// registryStore keeps the device registry in the store.
type registryStore struct{ space *buffer.Space }

const applicationKey = "application"

func (s registryStore) LoadDevices(fn func(bridge.KnownDevice)) error {
	return s.space.Scan("device/", func(key string, value []byte) error {
		var d bridge.KnownDevice
		if err := json.Unmarshal(value, &d); err != nil {
			return fmt.Errorf("entry %q: %w", key, err)
		}
		fn(d)
		return nil
	})
}

func (s registryStore) SaveDevice(d bridge.KnownDevice) { s.save("device/"+strings.ToLower(d.ID), d) }

func (s registryStore) DeleteDevice(id string) { s.space.Delete("device/" + id) }

func (s registryStore) LoadApplication() (id bridge.ApplicationID, ok bool) {
	value, ok := s.space.Get(applicationKey)
	return id, ok && json.Unmarshal(value, &id) == nil
}

func (s registryStore) SaveApplication(id bridge.ApplicationID) { s.save(applicationKey, id) }

// save writes in the background: a registry entry that is lost is looked up in
// the application again.
func (s registryStore) save(key string, value any) {
	if b, err := json.Marshal(value); err == nil {
		s.space.Put(key, b)
	}
}
