package mapping

import "strings"

// trie finds the patterns that match a topic. Its cost grows with the levels of the topic and with the patterns that match it,
// not with the patterns it holds.
type trie struct {
	root   trieNode // patterns that begin at the first level
	inner  trieNode // patterns with a leading {prefix...}: they begin at any level but the first
	inners bool
}

type trieNode struct {
	words map[string]*trieNode
	any   *trieNode
	ends  []int // patterns that end here
	some  []int // patterns that go on for one level or more
	rest  []int // patterns that go on for any number of levels
}

// hit is a pattern that matches a topic, and the level where what follows its prefix begins.
type hit struct {
	index int
	start int
}

// add enters a pattern under its index. Patterns are added in ascending order.
func (t *trie) add(p *pattern, index int) {
	n := &t.root
	if p.prefix >= 0 {
		n, t.inners = &t.inner, true
	}
	for _, l := range p.levels {
		if l.any {
			if n.any == nil {
				n.any = &trieNode{}
			}
			n = n.any
			continue
		}
		next, ok := n.words[l.word]
		if !ok {
			if n.words == nil {
				n.words = map[string]*trieNode{}
			}
			next = &trieNode{}
			n.words[l.word] = next
		}
		n = next
	}
	switch p.tail {
	case tailNone:
		n.ends = append(n.ends, index)
	case tailSome:
		n.some = append(n.some, index)
	case tailAny:
		n.rest = append(n.rest, index)
	}
}

// search appends the patterns that match, in ascending order of their indexes, each once.
func (t *trie) search(levels []string, hits []hit) []hit {
	system := strings.HasPrefix(levels[0], "$")
	hits = t.root.search(levels, 0, 0, system, hits)
	if t.inners && !system {
		for start := 1; start < len(levels); start++ {
			hits = t.inner.search(levels, start, start, false, hits)
		}
	}
	return order(hits)
}

func (n *trieNode) search(levels []string, i, start int, system bool, hits []hit) []hit {
	wild := !system || i > 0
	if wild {
		for _, index := range n.rest {
			hits = append(hits, hit{index, start})
		}
	}
	if i == len(levels) {
		for _, index := range n.ends {
			hits = append(hits, hit{index, start})
		}
		return hits
	}
	if wild {
		for _, index := range n.some {
			hits = append(hits, hit{index, start})
		}
	}
	if next, ok := n.words[levels[i]]; ok {
		hits = next.search(levels, i+1, start, system, hits)
	}
	if n.any != nil && wild {
		hits = n.any.search(levels, i+1, start, system, hits)
	}
	return hits
}

// order sorts hits by index and start, and keeps of each index the first: a prefix takes as few levels as it can. The list is
// short and nearly sorted.
func order(hits []hit) []hit {
	for i := 1; i < len(hits); i++ {
		for j := i; j > 0 && (hits[j].index < hits[j-1].index || hits[j].index == hits[j-1].index && hits[j].start < hits[j-1].start); j-- {
			hits[j], hits[j-1] = hits[j-1], hits[j]
		}
	}
	out := hits[:0]
	for i, h := range hits {
		if i == 0 || h.index != hits[i-1].index {
			out = append(out, h)
		}
	}
	return out
}

// split cuts a topic into its levels; false for one with too many.
func split(topic string, levels []string) ([]string, bool) {
	for {
		if len(levels) == maxLevels {
			return nil, false
		}
		before, after, more := strings.Cut(topic, "/")
		levels = append(levels, before)
		if !more {
			return levels, true
		}
		topic = after
	}
}

// match is a topic on a pattern: it answers for the captures.
type match struct {
	pattern *pattern
	topic   string
	levels  []string
	start   int
}

// capture returns what the i-th capture of the pattern caught.
func (m *match) capture(i int) string {
	p := m.pattern
	switch i {
	case p.prefix:
		return m.span(0, m.start)
	case p.rest:
		return m.span(m.start+len(p.levels), len(m.levels))
	}
	for j := range p.levels {
		if p.levels[j].capture == i {
			return m.levels[m.start+j]
		}
	}
	return ""
}

// span returns the part of the topic from one level up to another, without allocating.
func (m *match) span(from, to int) string {
	if from >= to {
		return ""
	}
	at := 0
	for i := range from {
		at += len(m.levels[i]) + 1
	}
	end := at - 1
	for i := from; i < to; i++ {
		end += len(m.levels[i]) + 1
	}
	return m.topic[at:end]
}

// named returns what the capture of this name caught.
func (m *match) named(name string) (string, bool) {
	for i, c := range m.pattern.captures {
		if c == name {
			return m.capture(i), true
		}
	}
	return "", false
}
