package simulate

import (
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// resendStore keeps what is to be sent again when a connection breaks. The
// library's own store gives the very packet that may still be on its way over
// the connection that broke, and marks it as a duplicate there.
type resendStore struct{ *mqtt.OrderedMemoryStore }

func (s resendStore) Put(key string, p packets.ControlPacket) {
	s.OrderedMemoryStore.Put(key, apart(p))
}

func (s resendStore) Get(key string) packets.ControlPacket {
	return apart(s.OrderedMemoryStore.Get(key))
}

// apart copies a publish; its payload is not changed by anybody.
func apart(p packets.ControlPacket) packets.ControlPacket {
	if publish, ok := p.(*packets.PublishPacket); ok {
		own := *publish
		return &own
	}
	return p
}
