package emulator

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
)

// memory remembers the keys it has seen, at most limit of them, the oldest forgotten first. It is split by key so that
// parallel calls rarely meet.
type memory struct {
	limit int
	parts [16]struct {
		mu   sync.Mutex
		seen map[key]struct{}
		ring []key
		next int
	}
}

// key is a UUID as it is, or a hash of anything else.
type key [16]byte

func keyOf(s string) key {
	if k, ok := parseUUID(s); ok {
		return k
	}
	sum := sha256.Sum256([]byte(s))
	return key(sum[:16])
}

// parseUUID reads the usual form of 36 characters.
func parseUUID(s string) (k key, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return k, false
	}
	var digits [32]byte
	b := append(digits[:0], s[:8]...)
	b = append(b, s[9:13]...)
	b = append(b, s[14:18]...)
	b = append(b, s[19:23]...)
	b = append(b, s[24:]...)
	_, err := hex.Decode(k[:], b)
	return k, err == nil
}

// add remembers a name and tells whether it was known.
func (m *memory) add(name string) bool {
	if name == "" {
		return false
	}
	return m.addKey(keyOf(name))
}

func (m *memory) addKey(k key) bool {
	p := &m.parts[k[0]%16]
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.seen[k]; known {
		return true
	}
	if p.seen == nil {
		p.seen = make(map[key]struct{})
	}
	p.seen[k] = struct{}{}
	if room := max(m.limit/len(m.parts), 1); len(p.ring) < room {
		p.ring = append(p.ring, k)
	} else {
		delete(p.seen, p.ring[p.next])
		p.ring[p.next] = k
		p.next = (p.next + 1) % room
	}
	return false
}

// holds tells whether a name is remembered.
func (m *memory) holds(name string) bool {
	if name == "" {
		return false
	}
	k := keyOf(name)
	p := &m.parts[k[0]%16]
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.seen[k]
	return known
}

func (m *memory) clear() {
	for i := range m.parts {
		p := &m.parts[i]
		p.mu.Lock()
		p.seen, p.ring, p.next = nil, nil, 0
		p.mu.Unlock()
	}
}
