package broker

import (
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The library's own event loop is not started: each second it copies the list of its clients three times and every message
// that waits for any of them, to find what has expired. Here a second in which nothing can expire costs nothing.

// sysInterval is how often the $SYS topics are published.
const sysInterval = 30 * time.Second

// serveLibrary starts the listeners, and nothing else of the library.
func (b *Broker) serveLibrary() {
	b.server.Listeners.ServeAll(b.server.EstablishConnection)
	b.publishSys(time.Now())
}

// expireMessages drops messages whose expiry interval (MQTT 5 §3.3.2.3.3) is over, waiting and retained ones.
func (b *Broker) expireMessages(now time.Time) {
	if b.count.expiring.Load() > 0 {
		for _, s := range b.expiringSessions() {
			s.expire(b, now.Unix())
		}
	}
	for _, topic := range b.retained.overdue(now.Unix()) {
		if pk, ok := b.server.Topics.Retained.Get(topic); ok && pk.Expiry > 0 && pk.Expiry < now.Unix() {
			b.server.Topics.Retained.Delete(topic)
			b.retained.expired(topic)
		}
	}
}

// expiringSessions lists the sessions in which some message can expire.
func (b *Broker) expiringSessions() []*session {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*session
	for _, s := range b.sessions {
		if s.expiring.Load() > 0 {
			list = append(list, s)
		}
	}
	return list
}

// publishSys publishes what monitors read under $SYS. The messages are retained by the library alone: they are neither
// counted nor stored.
func (b *Broker) publishSys(now time.Time) {
	info := b.server.Info
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	atomic.StoreInt64(&info.MemoryAlloc, int64(m.HeapInuse))
	atomic.StoreInt64(&info.Threads, int64(runtime.NumGoroutine()))
	atomic.StoreInt64(&info.Time, now.Unix())
	atomic.StoreInt64(&info.Uptime, now.Unix()-atomic.LoadInt64(&info.Started))
	b.mu.Lock()
	total := int64(len(b.sessions))
	b.mu.Unlock()
	atomic.StoreInt64(&info.ClientsTotal, total)
	atomic.StoreInt64(&info.ClientsDisconnected, total-atomic.LoadInt64(&info.ClientsConnected))
	i := info.Clone()
	for topic, value := range map[string]int64{
		"time": i.Time, "uptime": i.Uptime, "started": i.Started,
		"load/bytes/received": i.BytesReceived, "load/bytes/sent": i.BytesSent,
		"clients/connected": i.ClientsConnected, "clients/disconnected": i.ClientsDisconnected,
		"clients/maximum": i.ClientsMaximum, "clients/total": i.ClientsTotal,
		"packets/received": i.PacketsReceived, "packets/sent": i.PacketsSent,
		"messages/received": i.MessagesReceived, "messages/sent": i.MessagesSent, "messages/dropped": i.MessagesDropped,
		"messages/inflight": i.Inflight, "retained": i.Retained, "subscriptions": i.Subscriptions,
		"system/memory": i.MemoryAlloc, "system/threads": i.Threads,
	} {
		b.publishSysTopic(topic, strconv.FormatInt(value, 10))
	}
	b.publishSysTopic("version", i.Version)
}

func (b *Broker) publishSysTopic(name, value string) {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true}, TopicName: mqtt.SysPrefix + "/broker/" + name, Payload: []byte(value),
	}
	if err := b.server.InjectPacket(b.self, pk); err == nil {
		// It was not received from anybody.
		atomic.AddInt64(&b.server.Info.PacketsReceived, -1)
		atomic.AddInt64(&b.server.Info.MessagesReceived, -1)
	}
}
