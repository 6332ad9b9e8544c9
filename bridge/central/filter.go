package central

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Filter is a parsed $filter: comparisons eq and ne of a device's fields with literals, joined by not, and, or (binding in
// this order) and parentheses, as in
//
//	simulated eq false and not (template eq null or displayName eq 'Pump 7''s sensor')
//
// Operators and true, false and null are written in lower case; fields are those of [Device] in JSON. A field that a device
// lacks equals null and nothing else. A boolean field may stand alone.
type Filter struct{ match func(Device) bool }

// Match tells whether the filter selects the device; a nil filter selects every one.
func (f *Filter) Match(d Device) bool { return f == nil || f.match(d) }

// Limits of a filter: parsing is linear and recursion is bounded.
const (
	maxFilterBytes = 4096
	maxFilterDepth = 32
)

// FilterError says what is wrong with a filter and where.
type FilterError struct {
	// Position counts characters from 1.
	Position int
	Message  string
}

func (e *FilterError) Error() string {
	return fmt.Sprintf("%s (position %d)", e.Message, e.Position)
}

// ParseFilter parses a $filter expression; its error is a [*FilterError].
func ParseFilter(s string) (*Filter, error) {
	if len(s) > maxFilterBytes {
		return nil, &FilterError{1, fmt.Sprintf("the filter is longer than %d bytes", maxFilterBytes)}
	}
	if !utf8.ValidString(s) {
		return nil, &FilterError{1, "the filter is not valid UTF-8"}
	}
	p := &filterParser{s: s}
	if err := p.next(); err != nil {
		return nil, err
	}
	match, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokenEnd {
		return nil, p.fault(p.tok, "expected \"and\", \"or\" or the end, found %s", p.tok)
	}
	return &Filter{match}, nil
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenString
	tokenOpen
	tokenClose
)

type token struct {
	kind tokenKind
	text string // a string's value without its quotes
	at   int    // byte offset
}

func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end"
	case tokenString:
		return "the string '" + cut(t.text, 40) + "'"
	case tokenWord, tokenOpen, tokenClose:
	}
	return fmt.Sprintf("%q", cut(t.text, 40))
}

type filterParser struct {
	s   string
	pos int
	tok token
}

type predicate = func(Device) bool

func (p *filterParser) fault(t token, format string, args ...any) *FilterError {
	return &FilterError{utf8.RuneCountInString(p.s[:t.at]) + 1, fmt.Sprintf(format, args...)}
}

// next reads one token.
func (p *filterParser) next() error {
	for p.pos < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.pos]) >= 0 {
		p.pos++
	}
	p.tok = token{at: p.pos}
	if p.pos == len(p.s) {
		return nil
	}
	switch c := p.s[p.pos]; {
	case c == '(' || c == ')':
		p.tok.kind, p.tok.text = tokenOpen, "("
		if c == ')' {
			p.tok.kind, p.tok.text = tokenClose, ")"
		}
		p.pos++
	case c == '\'':
		return p.quoted()
	case isAlphanumeric(c) || c == '_':
		start := p.pos
		for p.pos < len(p.s) && (isDeviceIDByte(p.s[p.pos]) || p.s[p.pos] == '/') {
			p.pos++
		}
		p.tok.kind, p.tok.text = tokenWord, p.s[start:p.pos]
	default:
		r, _ := utf8.DecodeRuneInString(p.s[p.pos:])
		hint := ""
		switch r {
		case '"', '\u2018', '\u2019':
			hint = "; strings are written 'like this'"
		case '=', '!', '<', '>', '&', '|':
			hint = "; use eq, ne, and, or, not"
		}
		return p.fault(p.tok, "unexpected character %q%s", r, hint)
	}
	return nil
}

// quoted reads a string; a quote in it is written twice.
func (p *filterParser) quoted() error {
	p.tok.kind = tokenString
	var b strings.Builder
	for i := p.pos + 1; i < len(p.s); i++ {
		if p.s[i] != '\'' {
			b.WriteByte(p.s[i])
			continue
		}
		if i+1 < len(p.s) && p.s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		p.tok.text, p.pos = b.String(), i+1
		return nil
	}
	return p.fault(p.tok, "the string that begins here does not end")
}

func (p *filterParser) isWord(word string) bool { return p.tok.kind == tokenWord && p.tok.text == word }

func (p *filterParser) or(depth int) (predicate, error) {
	left, err := p.and(depth)
	for err == nil && p.isWord("or") {
		if err = p.next(); err != nil {
			break
		}
		var right predicate
		if right, err = p.and(depth); err == nil {
			left = func(a, b predicate) predicate { return func(d Device) bool { return a(d) || b(d) } }(left, right)
		}
	}
	return left, err
}

func (p *filterParser) and(depth int) (predicate, error) {
	left, err := p.not(depth)
	for err == nil && p.isWord("and") {
		if err = p.next(); err != nil {
			break
		}
		var right predicate
		if right, err = p.not(depth); err == nil {
			left = func(a, b predicate) predicate { return func(d Device) bool { return a(d) && b(d) } }(left, right)
		}
	}
	return left, err
}

func (p *filterParser) not(depth int) (predicate, error) {
	if depth > maxFilterDepth {
		return nil, p.fault(p.tok, "the filter is nested more than %d deep", maxFilterDepth)
	}
	switch {
	case p.isWord("not"):
		if err := p.next(); err != nil {
			return nil, err
		}
		inner, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return func(d Device) bool { return !inner(d) }, nil
	case p.tok.kind == tokenOpen:
		open := p.tok
		if err := p.next(); err != nil {
			return nil, err
		}
		inner, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.tok.kind != tokenClose {
			return nil, p.fault(open, "the parenthesis that opens here is not closed before %s", p.tok)
		}
		return inner, p.next()
	}
	return p.comparison()
}

// comparison reads "field eq literal", or a boolean field alone.
func (p *filterParser) comparison() (predicate, error) {
	at := p.tok
	if at.kind != tokenWord {
		return nil, p.fault(at, "expected a field, found %s", at)
	}
	read, ok := filterFields[at.text]
	if !ok {
		return nil, p.fault(at, "%s is no field of a device; fields are %s", at, filterFieldNames)
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	if !p.isWord("eq") && !p.isWord("ne") {
		if read.kind == fieldBool && (p.tok.kind == tokenEnd || p.tok.kind == tokenClose || p.isWord("and") || p.isWord("or")) {
			return func(d Device) bool { return read.value(d) == true }, nil
		}
		return nil, p.fault(p.tok, "expected eq or ne after %s, found %s", at.text, p.tok)
	}
	negate := p.tok.text == "ne"
	if err := p.next(); err != nil {
		return nil, err
	}
	want, err := p.literal(at.text, read.kind)
	if err != nil {
		return nil, err
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	return func(d Device) bool { return (read.value(d) == want) != negate }, nil
}

// literal checks the token as a value to compare a field of this kind with.
func (p *filterParser) literal(field string, kind fieldKind) (any, error) {
	t := p.tok
	if p.isWord("null") {
		return nil, nil
	}
	switch kind {
	case fieldBool:
		if p.isWord("true") || p.isWord("false") {
			return t.text == "true", nil
		}
		return nil, p.fault(t, "%s is compared with true or false, not with %s", field, t)
	case fieldString:
		if t.kind == tokenString {
			return t.text, nil
		}
		return nil, p.fault(t, "%s is compared with a string such as 'abc', not with %s", field, t)
	case fieldTime:
		if t.kind == tokenString || t.kind == tokenWord {
			if at, err := time.Parse(time.RFC3339, t.text); err == nil {
				return at.UnixNano(), nil
			}
		}
	}
	return nil, p.fault(t, "%s is compared with a time such as '2023-10-26T15:00:00Z', not with %s", field, t)
}

type fieldKind int

const (
	fieldString fieldKind = iota
	fieldBool
	fieldTime
)

type filterField struct {
	kind fieldKind
	// value returns a string, a bool, nanoseconds as int64, or nil for a field the device lacks.
	value func(Device) any
}

const filterFieldNames = "id, displayName, template, simulated, provisioned, enabled, lastSeen, firmwareVersion"

var filterFields = map[string]filterField{
	"id":          {fieldString, func(d Device) any { return d.ID }},
	"displayName": {fieldString, func(d Device) any { return orNull(d.DisplayName) }},
	"template":    {fieldString, func(d Device) any { return orNull(d.Template) }},
	"simulated":   {fieldBool, func(d Device) any { return d.Simulated }},
	"provisioned": {fieldBool, func(d Device) any { return d.Provisioned }},
	"enabled":     {fieldBool, func(d Device) any { return d.Enabled }},
	"lastSeen": {fieldTime, func(d Device) any {
		if d.LastSeen.IsZero() {
			return nil
		}
		return d.LastSeen.UnixNano()
	}},
	"firmwareVersion": {fieldString, func(d Device) any { return orNull(d.FirmwareVersion) }},
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
