package broker

import (
	"slices"
	"strings"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// retained bounds the retained messages and hands them to the store. The messages themselves are with the library.
type retained struct {
	limits *Limits
	store  *persistence

	mu      sync.Mutex
	sizes   map[string]int
	expires map[string]int64 // of those that expire, when, in Unix seconds
	bytes   int64
}

func newRetained(limits *Limits, store *persistence) *retained {
	return &retained{limits: limits, store: store, sizes: map[string]int{}, expires: map[string]int64{}}
}

// retainedWeight is what a retained message takes besides its topic; 0 for an empty one, which takes the old one away.
func retainedWeight(pk *packets.Packet) int {
	if len(pk.Payload) == 0 {
		return 0
	}
	return int(weight(pk)) - len(pk.TopicName)
}

// admit reports whether a message finds room. An empty one takes the old one away and always does.
func (r *retained) admit(pk *packets.Packet) bool {
	topic, size := pk.TopicName, retainedWeight(pk)
	if size == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.sizes[topic]
	n, bytes := len(r.sizes), r.bytes-int64(old)
	if known {
		n--
	} else {
		bytes += int64(len(topic))
	}
	return n+1 <= r.limits.MaxRetained && bytes+int64(size) <= r.limits.MaxRetainedBytes
}

// stored is told that the library retained a message, or forgot one.
func (r *retained) stored(pk *packets.Packet) {
	if strings.HasPrefix(pk.TopicName, "$") {
		return
	}
	r.note(pk)
	if len(pk.Payload) == 0 {
		r.store.deleteRetained(pk.TopicName)
		return
	}
	r.store.putRetained(pk)
}

// expired is told that a topic's retained message was dropped because its time is over.
func (r *retained) expired(topic string) {
	r.size(topic, 0, 0)
	r.store.deleteRetained(topic)
}

// overdue lists the topics whose retained messages' time is over.
func (r *retained) overdue(now int64) (topics []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, at := range r.expires {
		if at < now {
			topics = append(topics, topic)
		}
	}
	return topics
}

// note notes what a retained message takes, and when it expires.
func (r *retained) note(pk *packets.Packet) { r.size(pk.TopicName, retainedWeight(pk), pk.Expiry) }

func (r *retained) size(topic string, size int, expires int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.expires, topic)
	if old, ok := r.sizes[topic]; ok {
		r.bytes -= int64(old + len(topic))
		delete(r.sizes, topic)
	}
	if size > 0 {
		topic = strings.Clone(topic)
		r.sizes[topic] = size
		r.bytes += int64(size + len(topic))
		if expires > 0 {
			r.expires[topic] = expires
		}
	}
}

func (r *retained) usage() (n int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sizes), r.bytes
}

// Retained returns the payload of a topic's retained message.
func (b *Broker) Retained(topic string) (payload []byte, ok bool) {
	if !ValidTopic(topic) {
		return nil, false
	}
	for _, pk := range b.server.Topics.Messages(topic) {
		if pk.TopicName == topic {
			return slices.Clone(pk.Payload), true
		}
	}
	return nil, false
}
