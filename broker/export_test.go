package broker

import (
	"net"
	"time"
)

// ExpireSessions lets tests expire sessions without waiting.
func (b *Broker) ExpireSessions(now time.Time) { b.expireSessions(now) }

// ExpireMessages lets tests expire messages without waiting.
func (b *Broker) ExpireMessages(now time.Time) { b.expireMessages(now) }

// ParseUsers gives the users that a file with these bytes would have.
func ParseUsers(data []byte) (users []User) {
	records, err := parseUsers(data)
	if err != nil {
		return nil
	}
	for _, r := range records {
		users = append(users, r.User)
	}
	return users
}

// ScanHeaders runs the header scanner over data in reads of at most n bytes and gives its end state.
func ScanHeaders(data []byte, n int) (any, error) {
	b := &Broker{cfg: DefaultConfig(), memory: newMemory(1 << 40)}
	c, _ := net.Pipe()
	l := newLink(b, &listener{b: b}, c, addressOf(c.RemoteAddr()))
	for len(data) > 0 {
		k := min(max(n, 1), len(data))
		if err := l.look(data[:k]); err != nil {
			return nil, err
		}
		data = data[k:]
	}
	return l.head, nil
}
