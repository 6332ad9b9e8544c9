package mapping

import (
	"fmt"
	"slices"
	"strings"
)

// maxLevels bounds the levels of a topic that are looked at; a topic with more is mapped by nothing.
const maxLevels = 32

// pattern is a compiled topic pattern. Its levels are separated by slashes and each is one of
//
//	word          this word
//	{name}        any one level, captured
//	+             any one level
//	{name...}     one level or more, captured; only as the first level or the last
//	#             no level, one or more; only as the last
//
// As in MQTT (§4.7.2), a wildcard in the first level does not match a topic that begins with $.
type pattern struct {
	text     string
	levels   []level // without a leading {prefix...} and a trailing {rest...} or #
	captures []string
	prefix   int // capture of a leading {prefix...}, -1: none
	tail     tail
	rest     int // capture of a trailing {rest...}, -1: none
}

type level struct {
	word    string // when it is no wildcard
	any     bool
	capture int // -1: none
}

// tail says what may follow the levels.
type tail uint8

const (
	tailNone tail = iota
	tailSome      // one level or more: {rest...}
	tailAny       // #
)

// compilePattern reads a pattern; its error is what a person reads.
func compilePattern(text string) (*pattern, error) {
	if text == "" {
		return nil, fmt.Errorf("the pattern is empty")
	}
	p := &pattern{text: text, prefix: -1, rest: -1}
	parts := strings.Split(text, "/")
	if len(parts) > maxLevels {
		return nil, fmt.Errorf("the pattern has %d levels, at most %d are allowed", len(parts), maxLevels)
	}
	for i, part := range parts {
		if err := p.add(part, i == 0, i == len(parts)-1); err != nil {
			return nil, err
		}
	}
	if p.prefix >= 0 && len(p.levels) == 0 {
		return nil, fmt.Errorf("nothing fixed follows {%s...}; write # or {%[1]s...} as the only level for every topic", p.captures[p.prefix])
	}
	return p, nil
}

func (p *pattern) add(part string, first, last bool) error {
	switch {
	case part == "#":
		if !last {
			return fmt.Errorf("# is not the last level")
		}
		p.tail = tailAny
		return nil
	case part == "+":
		p.levels = append(p.levels, level{any: true, capture: -1})
		return nil
	case !strings.ContainsAny(part, "{}"):
		if strings.ContainsAny(part, "+#\x00") {
			return fmt.Errorf("level %q: + and # stand alone in a level", part)
		}
		p.levels = append(p.levels, level{word: part, capture: -1})
		return nil
	}
	name, open := strings.CutPrefix(part, "{")
	name, closed := strings.CutSuffix(name, "}")
	if !open || !closed || strings.ContainsAny(name, "{}") {
		return fmt.Errorf("level %q: {name} stands alone in a level", part)
	}
	name, many := strings.CutSuffix(name, "...")
	if !identifier(name) {
		return fmt.Errorf("level %q: a name has letters, digits and _, and begins with a letter", part)
	}
	if slices.Contains(p.captures, name) {
		return fmt.Errorf("{%s} stands twice", name)
	}
	capture := len(p.captures)
	p.captures = append(p.captures, name)
	switch {
	case !many:
		p.levels = append(p.levels, level{any: true, capture: capture})
	case last: // also the only level
		p.tail, p.rest = tailSome, capture
	case first:
		p.prefix = capture
	default:
		return fmt.Errorf("level %q is neither the first nor the last", part)
	}
	return nil
}

// identifier tells whether a name can be a variable of an expression.
func identifier(s string) bool {
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '_' || i == 0 && (c < 'A' || c == '_') {
			return false
		}
	}
	return s != ""
}

// covers tells whether every topic that q matches is matched by p too.
func (p *pattern) covers(q *pattern) bool {
	if p.prefix >= 0 {
		// The prefix of p takes one level of q or more, so p covers q when its tail of levels covers q's from some level on.
		if q.prefix >= 0 {
			return p.coversFrom(q, 0)
		}
		if len(q.levels) > 0 && strings.HasPrefix(q.levels[0].word, "$") {
			return false
		}
		for i := 1; i <= len(q.levels); i++ {
			if p.coversFrom(q, i) {
				return true
			}
		}
		return false
	}
	if q.prefix >= 0 {
		// Only a pattern without words covers what begins with anything, and only if it asks for no more levels.
		if p.tail == tailNone || p.least() > q.least() {
			return false
		}
		for _, l := range p.levels {
			if !l.any {
				return false
			}
		}
		return true
	}
	return p.coversFrom(q, 0)
}

// least returns how many levels a topic has at least that matches.
func (p *pattern) least() int {
	n := len(p.levels)
	if p.prefix >= 0 {
		n++
	}
	if p.tail == tailSome {
		n++
	}
	return n
}

// coversFrom compares the levels of p with those of q from the i-th on.
func (p *pattern) coversFrom(q *pattern, i int) bool {
	levels := q.levels[i:]
	if len(p.levels) > len(levels) {
		return false
	}
	for j, l := range p.levels {
		if !l.any && (levels[j].any || levels[j].word != l.word) {
			return false
		}
		// A wildcard in the first level does not match $..., a word there does.
		if l.any && i+j == 0 && p.prefix < 0 && strings.HasPrefix(levels[j].word, "$") {
			return false
		}
	}
	extra := len(levels) - len(p.levels)
	switch p.tail {
	case tailAny:
		return true
	case tailSome:
		return extra > 0 || q.tail == tailSome
	default:
		return extra == 0 && q.tail == tailNone
	}
}
