package broker

import (
	"fmt"

	"go.uber.org/zap"
)

// Disconnect ends a client's connection; an MQTT 5 client is told "administrative action". The words go to the log.
func (b *Broker) Disconnect(client, why string) error {
	b.mu.Lock()
	s := b.sessions[client]
	var l *link
	if s != nil {
		l = s.link
	}
	b.mu.Unlock()
	if l == nil {
		return fmt.Errorf("disconnect %q: %w", client, ErrNoClient)
	}
	b.noise.info("disconnecting a client", zap.String("client", client), zap.String("why", why))
	l.stop(reasonAdministrative, CodeAdministrative)
	return nil
}

// DisconnectDevice ends the connections of a device, as far as they are its own and not those of a bridge that speaks for
// several, and has every other connection ask CheckDevice again before it publishes for the device. It returns how many were
// ended.
func (b *Broker) DisconnectDevice(device, why string) int {
	var own []*link
	b.mu.Lock()
	for _, s := range b.sessions {
		if id := s.identity.Load(); s.link != nil && id != nil && id.DeviceOf(s.id) == device {
			own = append(own, s.link)
		}
	}
	b.mu.Unlock()
	b.rulesGen.Add(1)
	for _, l := range own {
		b.noise.info("disconnecting a device", zap.String("device", device), zap.String("client", l.sess.id), zap.String("why", why))
		l.stop(reasonAdministrative, CodeAdministrative)
	}
	return len(own)
}
