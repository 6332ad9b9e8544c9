package broker

import (
	"strings"
	"unicode/utf8"
)

// ValidTopic reports whether s may be published to (MQTT 5 §4.7): not empty, valid UTF-8, no wildcards, no NUL, at most
// 65,535 bytes. What the access rules and limits say comes on top.
func ValidTopic(s string) bool {
	return s != "" && len(s) <= 65535 && !strings.ContainsAny(s, "+#\x00") && utf8.ValidString(s)
}

// ValidFilter reports whether s may be subscribed to (MQTT 5 §4.7.1): `+` fills a whole level, `#` a whole last level. A
// share prefix is not looked at.
func ValidFilter(s string) bool {
	if s == "" || len(s) > 65535 || strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return false
	}
	for rest, more := s, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		if part != "+" && part != "#" && strings.ContainsAny(part, "+#") {
			return false
		}
		if part == "#" && more {
			return false
		}
	}
	return true
}

// TopicFits reports whether a topic or filter is within the limits of length and depth.
func (l Limits) TopicFits(topic string) bool {
	return len(topic) <= l.MaxTopicBytes && strings.Count(topic, "/") < l.MaxTopicLevels
}

// unshare takes the filter out of `$share/group/filter` (MQTT 5 §4.8.2). The library under us compares the prefix without
// regard to case, so this does too: `$SHARE/g/#` must not slip past the rules.
func unshare(filter string) (string, bool) {
	prefix, rest, ok := strings.Cut(filter, "/")
	if !strings.EqualFold(prefix, "$share") {
		return filter, true
	}
	if !ok {
		return "", false
	}
	group, inner, ok := strings.Cut(rest, "/")
	if !ok || group == "" || strings.ContainsAny(group, "+#") {
		return "", false
	}
	return inner, true
}

// level is one compiled level of a pattern.
type level struct {
	kind           levelKind
	text           string // of a literal
	prefix, suffix string // around {device}
}

type levelKind uint8

const (
	levelLiteral levelKind = iota
	levelAny               // + or {name}
	levelRest              // #
	levelDevice            // {device}, perhaps with text around it
)

// compilePattern takes a pattern apart. Whatever is not a wildcard or a placeholder is text.
func compilePattern(pattern string) []level {
	parts := strings.Split(pattern, "/")
	levels := make([]level, 0, len(parts))
	for i, p := range parts {
		switch {
		case p == "#" && i == len(parts)-1:
			levels = append(levels, level{kind: levelRest})
		case p == "+":
			levels = append(levels, level{kind: levelAny})
		case strings.Contains(p, "{device}"):
			prefix, suffix, _ := strings.Cut(p, "{device}")
			levels = append(levels, level{kind: levelDevice, prefix: prefix, suffix: suffix})
		case len(p) > 2 && p[0] == '{' && p[len(p)-1] == '}':
			levels = append(levels, level{kind: levelAny})
		default:
			levels = append(levels, level{kind: levelLiteral, text: p})
		}
	}
	return levels
}

// covers reports whether every topic that the filter (given by its levels; a plain topic is a filter) can match lies within
// the pattern, for this identity, and which device the filter names. A pattern that begins with a wildcard covers nothing
// that begins with `$`.
func covers(pattern []level, filter []string, id *Identity) (bool, string) {
	device := ""
	for i, l := range pattern {
		if i == 0 && l.kind != levelLiteral && strings.HasPrefix(filter[0], "$") {
			return false, ""
		}
		if l.kind == levelRest {
			return true, device // also when the filter ended: `a/#` matches `a`
		}
		if i >= len(filter) {
			return false, ""
		}
		f := filter[i]
		if f == "#" {
			return false, ""
		}
		switch l.kind {
		default:
		case levelLiteral:
			if f != l.text {
				return false, ""
			}
		case levelDevice:
			if f == "+" {
				if l.prefix != "" || l.suffix != "" || !id.coversAll() {
					return false, ""
				}
				continue
			}
			if len(f) <= len(l.prefix)+len(l.suffix) || !strings.HasPrefix(f, l.prefix) || !strings.HasSuffix(f, l.suffix) {
				return false, ""
			}
			name := f[len(l.prefix) : len(f)-len(l.suffix)]
			if !id.covers(name) {
				return false, ""
			}
			device = name
		}
	}
	return len(filter) == len(pattern), device
}

// MatchTopic reports whether a topic filter matches a topic (MQTT 5 §4.7). Both are taken as valid; a share prefix is not looked
// at.
func MatchTopic(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && filter[:1] != topic[:1] {
		return false
	}
	for {
		f, moreFilter, inFilter := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, moreTopic, inTopic := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		switch {
		case !inFilter && !inTopic:
			return true
		case !inTopic:
			return moreFilter == "#" // a/# matches a as well
		case !inFilter:
			return false
		}
		filter, topic = moreFilter, moreTopic
	}
}
