package payload

import (
	"encoding/json"
	"math"
	"strconv"
	"sync/atomic"
	"time"
)

// jsonDecoder reads RFC 8259. A byte order mark in front and NUL bytes behind (a C string sent with its
// terminator) are ignored. Bytes that are not UTF-8 and a key that stands twice in one object are refused: two
// readers would not see the same.
type jsonDecoder struct {
	limits Limits
	keys   *keyCache
}

func newJSON(opts Options) (Decoder, error) {
	return &jsonDecoder{limits: opts.Limits, keys: &keyCache{}}, nil
}

func (d *jsonDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	if len(data) > d.limits.MaxBytes {
		return Document{}, tooLarge("json", len(data), d.limits)
	}
	p := jsonParser{data: data, limits: d.limits, keys: d.keys}
	value, err := p.document()
	if err != nil {
		return Document{}, err
	}
	return Document{Value: value}, nil
}

// ParseJSON reads one JSON value into a tree as described at Document, within the default limits.
func ParseJSON(data []byte) (any, error) {
	limits := DefaultLimits()
	if len(data) > limits.MaxBytes {
		return nil, tooLarge("json", len(data), limits)
	}
	p := jsonParser{data: data, limits: limits, keys: &shared}
	return p.document()
}

// shared is the key cache of ParseJSON.
var shared keyCache

// keyCache remembers the spelling of keys, so that the same key in the next publication costs no allocation. It
// is lossy and of fixed size: a cell holds the key that was seen last.
type keyCache struct{ cells [256]atomic.Pointer[string] }

// longestCachedKey bounds the cache to 256 x 64 bytes and keeps payloads with data for keys out of it.
const longestCachedKey = 64

func (c *keyCache) intern(key []byte) string {
	if len(key) > longestCachedKey {
		return string(key)
	}
	hash := uint32(2166136261) // FNV-1a
	for _, b := range key {
		hash = (hash ^ uint32(b)) * 16777619
	}
	cell := &c.cells[(hash^hash>>16)&0xff]
	if known := cell.Load(); known != nil && *known == string(key) {
		return *known
	}
	fresh := string(key)
	cell.Store(&fresh)
	return fresh
}

// jsonParser is one pass over one payload.
type jsonParser struct {
	data   []byte
	at     int
	depth  int
	items  int
	limits Limits
	keys   *keyCache
}

func (p *jsonParser) document() (any, error) {
	p.at = len(p.data) - len(trimBOM(p.data))
	for n := len(p.data); n > p.at && p.data[n-1] == 0; n-- {
		p.data = p.data[:n-1]
	}
	p.space()
	if p.at == len(p.data) {
		return nil, syntaxAt("json", p.data, p.at, "the payload is empty")
	}
	value, err := p.value()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.at < len(p.data) {
		return nil, syntaxAt("json", p.data, p.at, "%s after the end of the value", quote(p.data[p.at:]))
	}
	return value, nil
}

func trimBOM(data []byte) []byte {
	if len(data) >= 3 && data[0] == 0xEF && data[1] == 0xBB && data[2] == 0xBF {
		return data[3:]
	}
	return data
}

func (p *jsonParser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// value reads the value that begins at p.at.
func (p *jsonParser) value() (any, error) {
	if p.items++; p.items > p.limits.MaxItems {
		return nil, faultAt("json", p.data, p.at, ErrTooLarge, "more than %d values", p.limits.MaxItems)
	}
	if p.at >= len(p.data) {
		return nil, p.unexpected("a value")
	}
	switch c := p.data[p.at]; {
	case c == '{':
		return p.object()
	case c == '[':
		return p.array()
	case c == '"':
		text, err := p.text()
		if err != nil {
			return nil, err
		}
		return string(text), nil
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case c == 't' && p.word("true"):
		return true, nil
	case c == 'f' && p.word("false"):
		return false, nil
	case c == 'n' && p.word("null"):
		return nil, nil
	}
	return nil, p.unexpected("a value")
}

// word consumes a literal.
func (p *jsonParser) word(w string) bool {
	if len(p.data)-p.at < len(w) || string(p.data[p.at:p.at+len(w)]) != w {
		return false
	}
	p.at += len(w)
	return true
}

// unexpected says what stands at p.at in place of what was wanted.
func (p *jsonParser) unexpected(wanted string) *Error {
	if p.at >= len(p.data) {
		return syntaxAt("json", p.data, p.at, "the payload ends where %s was expected", wanted)
	}
	if p.data[p.at] == '\'' {
		return syntaxAt("json", p.data, p.at, "expected %s, found a single quote; JSON strings stand in double quotes", wanted)
	}
	end := p.at + 1
	for end < len(p.data) && (p.data[end]|0x20 >= 'a' && p.data[end]|0x20 <= 'z') {
		end++
	}
	switch found := string(p.data[p.at:end]); found {
	case "NaN", "nan", "Infinity", "inf", "Inf", "None", "True", "False", "undefined":
		return syntaxAt("json", p.data, p.at, "expected %s, found %s, which JSON does not have", wanted, found)
	default:
		return syntaxAt("json", p.data, p.at, "expected %s, found %s", wanted, quote(p.data[p.at:end]))
	}
}

func (p *jsonParser) enter() error {
	if p.depth++; p.depth > p.limits.MaxDepth {
		return faultAt("json", p.data, p.at, ErrTooDeep, "arrays and objects more than %d deep", p.limits.MaxDepth)
	}
	p.at++
	p.space()
	return nil
}

func (p *jsonParser) object() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	object := make(map[string]any)
	if p.at < len(p.data) && p.data[p.at] == '}' {
		p.at++
		p.depth--
		return object, nil
	}
	for {
		if p.at >= len(p.data) || p.data[p.at] != '"' {
			return nil, p.unexpected("a key in double quotes")
		}
		begin := p.at
		raw, err := p.text()
		if err != nil {
			return nil, err
		}
		key := p.keys.intern(raw)
		p.space()
		if p.at >= len(p.data) || p.data[p.at] != ':' {
			return nil, p.unexpected("a colon")
		}
		p.at++
		p.space()
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		known := len(object)
		if object[key] = value; len(object) == known {
			return nil, syntaxAt("json", p.data, begin, "the key %s stands there twice", quote([]byte(key)))
		}
		if more, err := p.next('}'); err != nil || !more {
			return object, err
		}
	}
}

func (p *jsonParser) array() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	array := []any{}
	if p.at < len(p.data) && p.data[p.at] == ']' {
		p.at++
		p.depth--
		return array, nil
	}
	for {
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		array = append(array, value)
		if more, err := p.next(']'); err != nil || !more {
			return array, err
		}
	}
}

// next consumes the comma between two elements, or the bracket behind the last.
func (p *jsonParser) next(closing byte) (more bool, err error) {
	p.space()
	if p.at < len(p.data) {
		switch p.data[p.at] {
		case ',':
			p.at++
			p.space()
			return true, nil
		case closing:
			p.at++
			p.depth--
			return false, nil
		}
	}
	return false, p.unexpected("a comma or " + strconv.QuoteRune(rune(closing)))
}

// number keeps an integer exact: int64 where it fits, else uint64, else json.Number. What has a fraction or an
// exponent is a float64, as in every other JSON reader.
func (p *jsonParser) number() (any, error) {
	start := p.at
	end, integer, ok := scanNumber(p.data, start)
	if !ok {
		p.at = end
		return nil, p.unexpected("a digit")
	}
	p.at = end
	text := p.data[start:end]
	if integer {
		return exactInteger(text), nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return nil, syntaxAt("json", p.data, start, "the number %s is out of range", quote(text))
	}
	if f == 0 {
		f = 0 // written -0.0, it is the same zero as -0
	}
	return f, nil
}

// scanNumber finds the end of a number in JSON's spelling. When it is not ok, end is where it went wrong.
func scanNumber(data []byte, start int) (end int, integer, ok bool) {
	i := start
	digits := func() bool {
		from := i
		for i < len(data) && data[i] >= '0' && data[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(data) && data[i] == '-' {
		i++
	}
	if i < len(data) && data[i] == '0' {
		i++
	} else if !digits() {
		return i, false, false
	}
	integer = true
	if i < len(data) && data[i] == '.' {
		integer = false
		if i++; !digits() {
			return i, false, false
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		integer = false
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if !digits() {
			return i, false, false
		}
	}
	return i, integer, true
}

// exactInteger converts a run of digits with an optional minus sign.
func exactInteger(text []byte) any {
	digits := text
	negative := text[0] == '-'
	if negative {
		digits = text[1:]
	}
	if len(digits) > 20 {
		return json.Number(text)
	}
	var n uint64
	for i, c := range digits {
		d := uint64(c - '0')
		if i == 19 && (n > math.MaxUint64/10 || n == math.MaxUint64/10 && d > math.MaxUint64%10) {
			return json.Number(text)
		}
		n = n*10 + d
	}
	switch {
	case !negative && n <= math.MaxInt64:
		return int64(n)
	case !negative:
		return n
	case n <= math.MaxInt64:
		return -int64(n)
	case n == math.MaxInt64+1:
		return int64(math.MinInt64)
	}
	return json.Number(text)
}
