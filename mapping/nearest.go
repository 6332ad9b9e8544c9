package mapping

import (
	"fmt"
	"strings"
)

// nativePatterns are the topics of the native scheme, for hints.
var nativePatterns = []string{
	"devices/{device}/telemetry", "devices/{device}/telemetry/{name}", "devices/{device}/properties", "devices/{device}/properties/{name}",
	"devices/{device}/properties/{name}/get", "devices/{device}/commands/{name}/response/{id}", "devices/{device}/commands/{name}/trigger",
}

// Nearest says in words which pattern comes nearest to a topic that nothing maps, and what is different. It is empty when
// nothing is near.
func (m *Mapper) Nearest(topic string) string {
	levels := strings.Split(topic, "/")
	if len(topic) > maxTopicBytes || len(levels) > maxLevels {
		return fmt.Sprintf("topics have at most %d levels and %d bytes", maxLevels, maxTopicBytes)
	}
	if reserved(topic) {
		return "only the gateway publishes this topic"
	}
	best := distance{cost: 3*len(levels)/2 + 1}
	for _, r := range m.routes.all {
		best = best.nearer(r.name, r.pattern, levels)
	}
	for _, text := range nativePatterns {
		if p, err := compilePattern(text); err == nil {
			best = best.nearer("the native scheme", p, levels)
		}
	}
	for _, fp := range m.families.patterns {
		best = best.nearer("the preset "+m.families.all[fp.family].name, fp.pattern, levels)
	}
	// A route that matches and has a condition is nearer, unless it matches nearly everything and another one misses by a level.
	if hits := m.routes.trie.search(levels, nil); len(hits) > 0 {
		r := m.routes.all[hits[0].index]
		if wide := r.pattern.prefix >= 0 || r.pattern.tail != tailNone; !wide || best.cost > 2 {
			return fmt.Sprintf("%s matches the topic, but its condition does not hold: %s", r.name, r.spec.When)
		}
	}
	if best.who == "" {
		return ""
	}
	return fmt.Sprintf("nearest is %s with %s: %s", best.who, best.pattern, best.what)
}

// reserved tells whether clients can never publish a topic.
func reserved(topic string) bool {
	if strings.HasPrefix(topic, "gateway/") {
		return true
	}
	rest, ok := strings.CutPrefix(topic, "devices/")
	if !ok {
		return false
	}
	parts := strings.Split(rest, "/")
	return len(parts) == 4 && parts[1] == "properties" && parts[3] == "desired" ||
		len(parts) == 5 && parts[1] == "commands" && (parts[3] == "request" || parts[3] == "status")
}

// distance is how far a pattern is from a topic. A level that is missing, or too much, or another word costs 2; one that is spelled
// nearly the same costs 1.
type distance struct {
	cost    int
	who     string
	pattern string
	what    string
}

func (d distance) nearer(who string, p *pattern, levels []string) distance {
	cost, what := 0, ""
	say := func(c int, format string, args ...any) {
		if cost += c; what == "" {
			what = fmt.Sprintf(format, args...)
		}
	}
	offset := 0
	if p.prefix >= 0 {
		offset = max(1, len(levels)-len(p.levels))
	}
	for i, l := range p.levels {
		if offset+i >= len(levels) {
			say(2*(len(p.levels)-i), "the topic ends after level %d", len(levels))
			break
		}
		got := levels[offset+i]
		if l.any || l.word == got {
			continue
		}
		c := 2
		if alike(l.word, got) {
			c = 1
		}
		say(c, "level %d is %q, not %q", offset+i+1, clip(got), l.word)
	}
	if extra := len(levels) - offset - len(p.levels); extra > 0 && p.tail == tailNone {
		say(2*extra, "the topic goes on after level %d", offset+len(p.levels))
	} else if extra <= 0 && p.tail == tailSome {
		say(2, "the topic ends after level %d", len(levels))
	}
	if cost > 0 && cost < d.cost {
		return distance{cost, who, p.text, what}
	}
	return d
}

// alike tells whether two words are a slip apart: upper case, one letter more, less or another, or two exchanged.
func alike(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	return i < len(a) && (a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:])
}
