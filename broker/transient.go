package broker

import (
	"sync"
	"sync/atomic"
)

// transientTopics are the topics that are being published to with Message.Transient. The library delivers on the publisher's
// goroutine, so a topic is here for as long as its message is put into the sessions, and no longer.
type transientTopics struct {
	n  atomic.Int32
	mu sync.Mutex
	in map[string]int
}

func (t *transientTopics) hold(topic string) (release func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.in == nil {
		t.in = make(map[string]int)
	}
	t.in[topic]++
	t.n.Add(1)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.n.Add(-1)
		if t.in[topic]--; t.in[topic] == 0 {
			delete(t.in, topic)
		}
	}
}

func (t *transientTopics) holds(topic string) bool {
	if t.n.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.in[topic] > 0
}
