package template

import (
	"fmt"
	"sort"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// source is one file, with the offsets where its lines begin.
type source struct {
	name  string
	data  []byte
	lines []int
}

func newSource(name string, data []byte) *source {
	s := &source{name: name, data: data, lines: []int{0}}
	for i, c := range data {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// position returns line and column of an offset, both from 1, the column in characters.
func (s *source) position(off int) (line, column int) {
	off = min(off, len(s.data))
	line = sort.SearchInts(s.lines, off+1)
	start := s.lines[line-1]
	if start == 0 && len(s.data) >= 3 && string(s.data[:3]) == byteOrderMark && off >= 3 {
		start = 3
	}
	return line, utf8.RuneCount(s.data[start:off]) + 1
}

const byteOrderMark = "\ufeff"

// nodeKind is the kind of a JSON value.
type nodeKind uint8

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	stringNode
	arrayNode
	objectNode
)

func (k nodeKind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// node is a JSON value that knows where it stands.
type node struct {
	src     *source
	off     int
	end     int
	kind    nodeKind
	text    string // decoded string, or the text of a number or boolean
	members []member
	elems   []*node
}

type member struct {
	key string
	off int
	val *node
}

func (n *node) problem(message, hint string) Problem {
	line, column := n.src.position(n.off)
	return Problem{File: n.src.name, Line: line, Column: column, Message: message, Hint: hint}
}

// get returns the value of a key, or nil. JSON-LD's longer ways to write a single value, [x] and {"@value": x}, are x.
func (n *node) get(key string) *node {
	if n == nil || n.kind != objectNode {
		return nil
	}
	for i := range n.members {
		if n.members[i].key == key {
			return n.members[i].val.single()
		}
	}
	return nil
}

func (n *node) single() *node {
	for n.kind == arrayNode && len(n.elems) == 1 {
		n = n.elems[0]
	}
	if n.kind == objectNode {
		if v := n.get("@value"); v != nil {
			return v
		}
	}
	return n
}

// str returns the text of a string.
func (n *node) str() (string, bool) {
	if n == nil || n.kind != stringNode {
		return "", false
	}
	return n.text, true
}

// list returns the elements of an array; a single value counts as an array of one, as JSON-LD has it.
func (n *node) list() []*node {
	switch {
	case n == nil:
		return nil
	case n.kind == arrayNode:
		return n.elems
	default:
		return []*node{n}
	}
}

// describe says what a node is, for a message.
func (n *node) describe() string {
	switch n.kind {
	case stringNode:
		return strconv.Quote(clip(n.text))
	case numberNode, boolNode:
		return clip(n.text)
	default:
		return n.kind.String()
	}
}

// same tells whether two values are equal as JSON, whatever their white space; the order of keys counts.
func (n *node) same(o *node) bool {
	if n.kind != o.kind || n.text != o.text || len(n.members) != len(o.members) || len(n.elems) != len(o.elems) {
		return false
	}
	for i := range n.members {
		if n.members[i].key != o.members[i].key || !n.members[i].val.same(o.members[i].val) {
			return false
		}
	}
	for i := range n.elems {
		if !n.elems[i].same(o.elems[i]) {
			return false
		}
	}
	return true
}

// parser reads a file as JSON (RFC 8259).
type parser struct {
	src   *source
	b     []byte
	i     int
	found *problems
}

// syntaxError is a fault that ends the reading of a file.
type syntaxError struct {
	off     int
	message string
}

func (e *syntaxError) Error() string { return e.message }

// parse returns the value of a file, or nil after it has reported why there is none.
func parse(src *source, found *problems) *node {
	p := &parser{src: src, b: src.data, found: found}
	if len(p.b) >= 3 && string(p.b[:3]) == byteOrderMark {
		p.i = 3
	}
	n, err := p.document()
	if err != nil {
		line, column := src.position(err.off)
		found.add(Problem{File: src.name, Line: line, Column: column, Message: err.message, Hint: "the file must be JSON"})
		return nil
	}
	return n
}

func (p *parser) document() (*node, *syntaxError) {
	n, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.i < len(p.b) {
		return nil, p.fail("the end of the file")
	}
	return n, nil
}

func (p *parser) space() {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *parser) fail(want string) *syntaxError {
	if p.i >= len(p.b) {
		return &syntaxError{off: len(p.b), message: "the file ends early, expected " + want}
	}
	r, _ := utf8.DecodeRune(p.b[p.i:])
	return &syntaxError{off: p.i, message: fmt.Sprintf("found %q, expected %s", r, want)}
}

func (p *parser) value(depth int) (*node, *syntaxError) {
	p.space()
	if p.i >= len(p.b) {
		return nil, p.fail("a value")
	}
	if depth > maxFileDepth {
		return nil, &syntaxError{off: p.i, message: fmt.Sprintf("nested deeper than %d levels", maxFileDepth)}
	}
	n := &node{src: p.src, off: p.i}
	var err *syntaxError
	switch c := p.b[p.i]; {
	case c == '{':
		err = p.object(n, depth)
	case c == '[':
		err = p.array(n, depth)
	case c == '"':
		n.kind = stringNode
		n.text, err = p.string()
	case c == '-' || c >= '0' && c <= '9':
		end, _, ok := scanNumber(p.b, p.i)
		if !ok {
			return nil, &syntaxError{off: p.i, message: "found a malformed number"}
		}
		n.kind, n.text = numberNode, string(p.b[p.i:end])
		p.i = end
	default:
		err = p.literal(n)
	}
	n.end = p.i
	return n, err
}

func (p *parser) literal(n *node) *syntaxError {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(p.b)-p.i >= len(word) && string(p.b[p.i:p.i+len(word)]) == word {
			p.i += len(word)
			if word != "null" {
				n.kind, n.text = boolNode, word
			}
			return nil
		}
	}
	return p.fail("a value")
}

func (p *parser) object(n *node, depth int) *syntaxError {
	n.kind = objectNode
	p.i++
	p.space()
	if p.i < len(p.b) && p.b[p.i] == '}' {
		p.i++
		return nil
	}
	var seen map[string]*node // for objects that are too large to search
	for {
		p.space()
		if p.i >= len(p.b) || p.b[p.i] != '"' {
			return p.fail("a key in double quotes")
		}
		off := p.i
		key, err := p.string()
		if err != nil {
			return err
		}
		p.space()
		if p.i >= len(p.b) || p.b[p.i] != ':' {
			return p.fail("':' after the key " + strconv.Quote(clip(key)))
		}
		p.i++
		val, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		if len(n.members) == 32 {
			seen = make(map[string]*node)
			for _, m := range n.members {
				seen[m.key] = m.val
			}
		}
		first := seen[key]
		if seen == nil {
			first = n.get(key)
		}
		if first != nil {
			line, column := p.src.position(off)
			at, _ := p.src.position(first.off)
			p.found.add(Problem{
				File: p.src.name, Line: line, Column: column,
				Message: fmt.Sprintf("the key %q stands twice in one object", clip(key)),
				Hint:    fmt.Sprintf("the first is on line %d; keep one", at),
			})
		} else {
			n.members = append(n.members, member{key: key, off: off, val: val})
			if seen != nil {
				seen[key] = val
			}
		}
		p.space()
		if p.i < len(p.b) && p.b[p.i] == ',' {
			p.i++
			continue
		}
		if p.i < len(p.b) && p.b[p.i] == '}' {
			p.i++
			return nil
		}
		return p.fail("',' or '}'")
	}
}

func (p *parser) array(n *node, depth int) *syntaxError {
	n.kind = arrayNode
	p.i++
	p.space()
	if p.i < len(p.b) && p.b[p.i] == ']' {
		p.i++
		return nil
	}
	for {
		val, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		n.elems = append(n.elems, val)
		p.space()
		if p.i < len(p.b) && p.b[p.i] == ',' {
			p.i++
			continue
		}
		if p.i < len(p.b) && p.b[p.i] == ']' {
			p.i++
			return nil
		}
		return p.fail("',' or ']'")
	}
}

// string reads the string at the cursor.
func (p *parser) string() (string, *syntaxError) {
	start := p.i
	end, escaped, ok := scanString(p.b, p.i)
	if !ok {
		return "", &syntaxError{off: start, message: "found a string that does not end, or holds a control character or an unknown escape"}
	}
	p.i = end
	raw := p.b[start+1 : end-1]
	if !utf8.Valid(raw) {
		return "", &syntaxError{off: start, message: "found a string that is not valid UTF-8"}
	}
	if !escaped {
		return string(raw), nil
	}
	return string(unescape(raw)), nil
}

// unescape resolves the escapes of a string that scanString has accepted.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) && i+6 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(raw[i+3:])); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, raw[i])
		}
	}
	return out
}

func hex4(b []byte) rune {
	v, err := strconv.ParseUint(string(b[:4]), 16, 32)
	if err != nil {
		return utf8.RuneError
	}
	return rune(v)
}

// clip shortens what is quoted in a message.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
