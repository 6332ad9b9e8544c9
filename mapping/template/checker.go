package template

import (
	"slices"
	"strconv"
	"unicode/utf8"
)

// checker goes over JSON text once, beside a schema. It writes nothing until it first coerces a value; from then on out holds
// the text up to copied.
type checker struct {
	b       []byte
	i       int
	out     []byte
	copied  int
	unknown int

	name   string // what the path begins with
	path   [MaxValueDepth]step
	depth  int
	faults []Fault
	more   int
}

// step is one level of the path: a key, or the index of an element where key is nil.
type step struct {
	key   []byte
	index int
}

func (c *checker) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return
		}
	}
}

// peek returns the byte at the cursor, 0 at the end.
func (c *checker) peek() byte {
	if c.i < len(c.b) {
		return c.b[c.i]
	}
	return 0
}

// value checks the value at the cursor. It returns false when the text is no JSON from here on; a value that merely does not
// fit is skipped, so that one look finds every fault.
func (c *checker) value(s *schema, depth int) bool {
	switch s.kind {
	case objectKind, mapKind:
		if c.peek() != '{' {
			return c.misfit(s)
		}
		return c.object(s)
	case arrayKind:
		if c.peek() != '[' {
			return c.misfit(s)
		}
		return c.array(s)
	case anyKind:
		return c.skip(depth)
	default:
		return c.scalar(s)
	}
}

// misfit skips a value and reports it.
func (c *checker) misfit(s *schema) bool {
	start := c.i
	if !c.skip(c.depth) {
		return false
	}
	c.fault(s.expected, describe(c.b[start:c.i]))
	return true
}

func (c *checker) object(s *schema) bool {
	start := c.i
	c.i++
	c.space()
	missing := len(s.required)
	if c.peek() == '}' {
		c.i++
		return c.complete(s, missing, start)
	}
	if c.depth == MaxValueDepth {
		return c.malformed("at most " + strconv.Itoa(MaxValueDepth) + " levels")
	}
	c.depth++
	for {
		key, ok := c.key()
		if !ok {
			return c.malformed("a key in double quotes")
		}
		c.path[c.depth-1] = step{key: key}
		c.space()
		if c.peek() != ':' {
			return c.malformed("':'")
		}
		c.i++
		c.space()
		element := s.element
		if s.kind == objectKind {
			element = s.fields[string(key)]
			if missing > 0 && element != nil && isRequired(s, key) {
				missing--
			}
		}
		switch {
		case element != nil:
			ok = c.value(element, c.depth)
		case s.closed:
			ok = c.misfit(noSuchField)
		default:
			c.unknown++
			ok = c.skip(c.depth)
		}
		if !ok {
			return false
		}
		c.space()
		switch c.peek() {
		case ',':
			c.i++
			c.space()
			continue
		case '}':
			c.i++
			c.depth--
			return c.complete(s, missing, start)
		}
		return c.malformed("',' or '}'")
	}
}

var noSuchField = &schema{expected: "no value of this name"}

func isRequired(s *schema, key []byte) bool {
	return slices.Contains(s.required, string(key))
}

// complete reports the fields that an object lacks.
func (c *checker) complete(s *schema, missing, start int) bool {
	if missing > 0 {
		c.fault(s.expected, describe(c.b[start:c.i])+" without "+few(s.required))
	}
	return true
}

func (c *checker) array(s *schema) bool {
	start := c.i
	c.i++
	c.space()
	count := 0
	if c.peek() == ']' {
		c.i++
	} else {
		if c.depth == MaxValueDepth {
			return c.malformed("at most " + strconv.Itoa(MaxValueDepth) + " levels")
		}
		c.depth++
	elements:
		for {
			c.path[c.depth-1] = step{index: count}
			count++
			if !c.value(s.element, c.depth) {
				return false
			}
			c.space()
			switch c.peek() {
			case ',':
				c.i++
				c.space()
			case ']':
				c.i++
				c.depth--
				break elements
			default:
				return c.malformed("',' or ']'")
			}
		}
	}
	if count < s.least {
		c.fault(s.expected, describe(c.b[start:c.i]))
	}
	return true
}

// key reads a key; the bytes are a piece of the text unless it holds escapes.
func (c *checker) key() ([]byte, bool) {
	if c.peek() != '"' {
		return nil, false
	}
	end, escaped, ok := scanString(c.b, c.i)
	if !ok {
		return nil, false
	}
	raw := c.b[c.i+1 : end-1]
	c.i = end
	if escaped {
		return unescape(raw), true
	}
	return raw, true
}

// skip goes over a value that no schema speaks of, and makes sure that it is JSON.
func (c *checker) skip(depth int) bool {
	if depth > MaxValueDepth {
		return c.malformed("at most " + strconv.Itoa(MaxValueDepth) + " levels")
	}
	c.space()
	switch c.peek() {
	case '{':
		c.i++
		c.space()
		if c.peek() == '}' {
			c.i++
			return true
		}
		for {
			c.space()
			if _, ok := c.key(); !ok {
				return c.malformed("a key in double quotes")
			}
			c.space()
			if c.peek() != ':' {
				return c.malformed("':'")
			}
			c.i++
			if more, ok := c.next(depth, '}'); !more {
				return ok
			}
		}
	case '[':
		c.i++
		c.space()
		if c.peek() == ']' {
			c.i++
			return true
		}
		for {
			if more, ok := c.next(depth, ']'); !more {
				return ok
			}
		}
	default:
		_, ok := c.token()
		return ok
	}
}

// next skips an element and what follows it: a comma, or the end of what it is in.
func (c *checker) next(depth int, closing byte) (more, ok bool) {
	if !c.skip(depth + 1) {
		return false, false
	}
	c.space()
	switch c.peek() {
	case ',':
		c.i++
		return true, true
	case closing:
		c.i++
		return false, true
	}
	return false, c.malformed("',' or '" + string(closing) + "'")
}

// token is a scalar: where it stands, and of a string whether it holds escapes, of a number whether it is written plainly.
type token struct {
	start, end int
	class      byte // 's', '0', 't', 'f', 'n'
	escaped    bool
	plain      bool
}

func (c *checker) token() (token, bool) {
	t := token{start: c.i}
	var ok bool
	switch ch := c.peek(); {
	case ch == '"':
		t.class = 's'
		t.end, t.escaped, ok = scanString(c.b, c.i)
	case ch == '-' || isDigit(ch):
		t.class = '0'
		t.end, t.plain, ok = scanNumber(c.b, c.i)
	case ch == 't' && c.word("true"), ch == 'n' && c.word("null"):
		t.class, t.end, ok = ch, c.i+4, true
	case ch == 'f' && c.word("false"):
		t.class, t.end, ok = ch, c.i+5, true
	}
	if !ok {
		return t, c.malformed("a value")
	}
	c.i = t.end
	return t, true
}

func (c *checker) word(w string) bool {
	return len(c.b)-c.i >= len(w) && string(c.b[c.i:c.i+len(w)]) == w
}

// replace puts other text where a token stood.
func (c *checker) replace(t token, text []byte) {
	if c.out == nil {
		c.out = make([]byte, 0, len(c.b)+len(text)+16)
	}
	c.out = append(c.out, c.b[c.copied:t.start]...)
	c.out = append(c.out, text...)
	c.copied = t.end
}

// fault notes a value that does not fit.
func (c *checker) fault(expected, found string) {
	if len(c.faults) >= MaxFaults {
		c.more++
		return
	}
	c.faults = append(c.faults, Fault{Path: c.where(), Expected: expected, Found: found})
}

// malformed notes that the text is no JSON, and is always false.
func (c *checker) malformed(want string) bool {
	found := "the end"
	if c.i < len(c.b) {
		r, _ := utf8.DecodeRune(c.b[c.i:])
		found = strconv.QuoteRune(r) + " at byte " + strconv.Itoa(c.i)
	}
	if len(c.faults) >= MaxFaults {
		c.faults = c.faults[:MaxFaults-1]
		c.more++
	}
	c.faults = append(c.faults, Fault{Path: c.where(), Expected: "JSON with " + want, Found: found})
	return false
}

// where writes the path to the value under the cursor.
func (c *checker) where() string {
	b := []byte(c.name)
	for i := range min(c.depth, MaxValueDepth) {
		s := &c.path[i]
		if s.key == nil {
			b = append(b, '[')
			b = strconv.AppendInt(b, int64(s.index), 10)
			b = append(b, ']')
			continue
		}
		if len(b) > 0 {
			b = append(b, '.')
		}
		b = append(b, clip(string(s.key))...)
	}
	return string(b)
}

// describe quotes a value for a message.
func describe(text []byte) string {
	text = trimEnd(text)
	switch {
	case len(text) == 0:
		return "nothing"
	case !utf8.Valid(text):
		return "text that is not valid UTF-8"
	}
	return clip(string(text))
}
