package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Limits of a JSON payload.
const (
	MaxDepth    = 32   // objects and arrays in one another
	MaxReadings = 1000 // elements of an array of readings
)

// member is one member of an object: where it stands in the text, its decoded key, and its value's text.
type member struct {
	start, end int // from the opening quote of the key to the end of the value
	key        []byte
	value      []byte
}

// scanner validates JSON text (RFC 8259) in one pass without building values. It is stricter than encoding/json: a key may
// stand only once in an object, numbers fit a float64, text is valid UTF-8, nesting is bounded.
type scanner struct {
	b      []byte
	i      int
	spaced bool     // there was white space between tokens
	keys   [][]byte // keys of the objects that are open, the innermost last
	room   [24][]byte
	found  [][]byte // values of the paths that were asked for
}

// scanners keeps scanners for the next payload.
var scanners scannerPool

type scannerPool struct{ pool sync.Pool }

func (p *scannerPool) get(b []byte) *scanner {
	s, ok := p.pool.Get().(*scanner)
	if !ok {
		s = &scanner{}
	}
	s.reset(b)
	return s
}

func (p *scannerPool) put(s *scanner) {
	s.b, s.found, s.keys = nil, nil, nil
	p.pool.Put(s)
}

// scanError is a fault in the text; large marks one of a limit.
type scanError struct {
	message string
	large   bool
}

func (e *scanError) Error() string { return e.message }

func (s *scanner) reset(b []byte) {
	s.b, s.i, s.spaced = b, 0, false
	s.keys = s.room[:0]
}

// Members hands the members of a JSON object to fn, in order and with their text as it stands, so that numbers stay exact.
func Members(object []byte, fn func(key string, value json.RawMessage) error) error {
	if err := checkText(object); err != nil {
		return asError(err)
	}
	s := scanners.get(object)
	defer scanners.put(s)
	s.space()
	if s.i >= len(object) || object[s.i] != '{' {
		return asError(s.fail("an object"))
	}
	err := s.object(0, func(m member) error { return fn(string(m.key), m.value) }, nil)
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return asError(err)
	}
	return nil
}

// trimText removes what a C program leaves around its text: a byte order mark in front, NUL bytes behind.
func trimText(b []byte) []byte {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// checkText refuses what no JSON text can be, with words for the common cases.
func checkText(b []byte) error {
	if len(b) == 0 {
		return &scanError{message: "the payload is empty"}
	}
	if !utf8.Valid(b) {
		return &scanError{message: "the payload is not valid UTF-8"}
	}
	return nil
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
			s.spaced = true
		default:
			return
		}
	}
}

func (s *scanner) fail(want string) error {
	if s.i >= len(s.b) {
		return &scanError{message: "the JSON text ends early, expected " + want}
	}
	r, _ := utf8.DecodeRune(s.b[s.i:])
	return &scanError{message: fmt.Sprintf("invalid JSON at byte %d: %q, expected %s", s.i, r, want)}
}

// end makes sure that nothing follows the value.
func (s *scanner) end() error {
	s.space()
	if s.i < len(s.b) {
		return s.fail("the end")
	}
	return nil
}

// value passes over one value at the given depth.
func (s *scanner) value(depth int) error {
	if s.i >= len(s.b) {
		return s.fail("a value")
	}
	switch c := s.b[s.i]; c {
	case '{':
		return s.object(depth, nil, nil)
	case '[':
		return s.array(depth, nil)
	case '"':
		_, err := s.str()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return s.number()
		}
		return s.fail("a value")
	}
}

func (s *scanner) word(w string) error {
	if len(s.b)-s.i >= len(w) && string(s.b[s.i:s.i+len(w)]) == w {
		s.i += len(w)
		return nil
	}
	return s.fail(w)
}

// object passes over an object and hands its members to each, in order, unless each is nil. The members' bytes are pieces of
// the text (but for a key with escapes). The members that want names are put into found.
func (s *scanner) object(depth int, each func(member) error, want *pathNode) error {
	if depth >= MaxDepth {
		return &scanError{message: fmt.Sprintf("objects and arrays are nested deeper than %d", MaxDepth), large: true}
	}
	s.i++
	base := len(s.keys)
	defer func() { s.keys = s.keys[:base] }()
	s.space()
	if s.i < len(s.b) && s.b[s.i] == '}' {
		s.i++
		return nil
	}
	var seen map[string]struct{}
	for {
		m := member{start: s.i}
		if s.i >= len(s.b) || s.b[s.i] != '"' {
			return s.fail("a key in quotes")
		}
		var err error
		if m.key, err = s.str(); err != nil {
			return err
		}
		if seen, err = s.once(m.key, base, seen); err != nil {
			return err
		}
		s.space()
		if s.i >= len(s.b) || s.b[s.i] != ':' {
			return s.fail("a colon")
		}
		s.i++
		s.space()
		at := s.i
		if err := s.wanted(m.key, depth+1, want); err != nil {
			return err
		}
		m.end, m.value = s.i, s.b[at:s.i:s.i]
		if each != nil {
			if err := each(m); err != nil {
				return err
			}
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fail("a comma or }")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
			s.space()
		case '}':
			s.i++
			return nil
		default:
			return s.fail("a comma or }")
		}
	}
}

// wanted passes over the value of a key and keeps its text, and those of its members, for whom the tree says so.
func (s *scanner) wanted(key []byte, depth int, want *pathNode) error {
	if want == nil {
		return s.value(depth)
	}
	n := want.find(key)
	if n == nil {
		return s.value(depth)
	}
	at := s.i
	var err error
	if len(n.children) > 0 && at < len(s.b) && s.b[at] == '{' {
		err = s.object(depth, nil, n)
	} else {
		err = s.value(depth)
	}
	if err == nil && n.index >= 0 {
		s.found[n.index] = s.b[at:s.i:s.i]
	}
	return err
}

// once refuses a key that the open object already has. Few keys are compared one by one, many through a set.
func (s *scanner) once(key []byte, base int, seen map[string]struct{}) (map[string]struct{}, error) {
	const few = 24
	if seen == nil {
		for _, k := range s.keys[base:] {
			if bytes.Equal(k, key) {
				return nil, twice(key)
			}
		}
		s.keys = append(s.keys, key)
		if n := len(s.keys) - base; n > few {
			seen = make(map[string]struct{}, 4*few)
			for _, k := range s.keys[base:] {
				seen[string(k)] = struct{}{}
			}
		}
		return seen, nil
	}
	if _, ok := seen[string(key)]; ok {
		return seen, twice(key)
	}
	seen[string(key)] = struct{}{}
	return seen, nil
}

func twice(key []byte) error {
	return &scanError{message: fmt.Sprintf("the key %q stands twice in one object", clip(string(key)))}
}

// array passes over an array and hands each element's text to each, unless that is nil.
func (s *scanner) array(depth int, each func(element []byte) error) error {
	if depth >= MaxDepth {
		return &scanError{message: fmt.Sprintf("objects and arrays are nested deeper than %d", MaxDepth), large: true}
	}
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == ']' {
		s.i++
		return nil
	}
	for {
		at := s.i
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if each != nil {
			if err := each(s.b[at:s.i:s.i]); err != nil {
				return err
			}
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fail("a comma or ]")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
			s.space()
		case ']':
			s.i++
			return nil
		default:
			return s.fail("a comma or ]")
		}
	}
}

// str passes over a string and returns what it says: a piece of the text unless it holds escapes.
func (s *scanner) str() ([]byte, error) {
	s.i++
	at, escaped := s.i, false
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			raw := s.b[at:s.i:s.i]
			s.i++
			if !escaped {
				return raw, nil
			}
			var out string
			if err := json.Unmarshal(s.b[at-1:s.i], &out); err != nil {
				return nil, &scanError{message: "invalid JSON string: " + err.Error()}
			}
			return []byte(out), nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, err
			}
		case c < ' ':
			return nil, s.fail("no control character in a string")
		default:
			s.i++
		}
	}
	return nil, s.fail("the end of a string")
}

func (s *scanner) escape() error {
	s.i++
	if s.i >= len(s.b) {
		return s.fail("an escape")
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		s.i++
		for range 4 {
			if s.i >= len(s.b) || !hexadecimal(s.b[s.i]) {
				return s.fail("four hexadecimal digits")
			}
			s.i++
		}
		return nil
	default:
		return s.fail("an escape")
	}
}

func hexadecimal(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (s *scanner) digits() int {
	at := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i - at
}

// number passes over a number. Its text stays what it is; only its size is looked at, when it can be too large at all.
func (s *scanner) number() error {
	at, exponent := s.i, false
	if s.b[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if s.digits() == 0 {
		return s.fail("a digit")
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if s.digits() == 0 {
			return s.fail("a digit")
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		exponent = true
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if s.digits() == 0 {
			return s.fail("a digit")
		}
	}
	if n := s.i - at; exponent || n > 300 {
		if n > 1100 {
			return &scanError{message: "a number has more than 1,100 digits", large: true}
		}
		if f, err := strconv.ParseFloat(string(s.b[at:s.i]), 64); err != nil || math.IsInf(f, 0) {
			return &scanError{message: fmt.Sprintf("the number %s does not fit a double", clip(string(s.b[at:s.i])))}
		}
	}
	return nil
}
