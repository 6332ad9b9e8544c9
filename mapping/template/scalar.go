package template

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

// scalar checks a value that is neither an object nor an array, and coerces it where nothing is lost.
func (c *checker) scalar(s *schema) bool {
	if ch := c.peek(); ch == '{' || ch == '[' {
		return c.misfit(s)
	}
	t, ok := c.token()
	if !ok {
		return false
	}
	raw := c.b[t.start:t.end]
	var text []byte // of a string, without quotes and escapes
	if t.class == 's' {
		text = raw[1 : len(raw)-1]
		if t.escaped {
			text = unescape(text)
		}
		if !utf8.Valid(text) {
			c.fault(s.expected, "text that is not valid UTF-8")
			return true
		}
	}
	var fitted []byte // nil: as it is
	switch s.kind {
	case doubleKind, floatKind:
		fitted, ok = fitFloat(s, t, raw, text)
	case integralKind, unsignedLongKind:
		fitted, ok = fitIntegral(s, t, raw, text)
	case booleanKind:
		fitted, ok = fitBoolean(t, raw, text)
	case stringKind:
		fitted, ok = fitString(t, raw)
	case enumKind:
		fitted, ok = fitEnum(s.enum, t, raw, text)
	case decimalKind:
		fitted, ok = fitDecimal(t, raw, text)
	default:
		if ok = t.class == 's'; ok {
			fitted, ok = fitText(s.kind, text)
		}
	}
	switch {
	case !ok:
		c.fault(s.expected, describe(raw))
	case fitted != nil:
		c.replace(t, fitted)
	}
	return true
}

// numeral returns the JSON number that a string spells, without white space around it and a leading plus.
func numeral(text []byte) ([]byte, bool, bool) {
	text = bytes.Trim(text, " \t\r\n")
	if len(text) > 1 && text[0] == '+' && text[1] != '-' {
		text = text[1:]
	}
	end, plain, ok := scanNumber(text, 0)
	return text, plain, ok && end == len(text) && len(text) > 0
}

func fitFloat(s *schema, t token, raw, text []byte) ([]byte, bool) {
	switch t.class {
	case '0':
		return nil, finite(s.kind, raw)
	case 's':
		number, _, ok := numeral(text)
		return number, ok && finite(s.kind, number)
	}
	return nil, false
}

// finite tells whether a number lies within float64 or float32. Short ones without an exponent need no conversion to know it.
func finite(k kind, number []byte) bool {
	size, short := 64, 300
	if k == floatKind {
		size, short = 32, 38
	}
	if len(number) <= short && bytes.IndexByte(number, 'e') < 0 && bytes.IndexByte(number, 'E') < 0 {
		return true
	}
	_, err := strconv.ParseFloat(string(number), size)
	return err == nil
}

func fitIntegral(s *schema, t token, raw, text []byte) ([]byte, bool) {
	number, plain, coerced := raw, t.plain, false
	switch t.class {
	case 's':
		var ok bool
		if number, plain, ok = numeral(text); !ok {
			return nil, false
		}
		coerced = true
	case '0':
	default:
		return nil, false
	}
	if !plain {
		var ok bool
		if number, ok = integral(number); !ok {
			return nil, false
		}
		coerced = true
	}
	if !inRange(s, number) {
		return nil, false
	}
	if coerced {
		return number, true
	}
	return nil, true
}

// inRange tells whether an integer lies within a schema's bounds, without ever passing through a float.
func inRange(s *schema, number []byte) bool {
	negative := number[0] == '-'
	digits := number
	if negative {
		digits = digits[1:]
	}
	if len(digits) > 20 {
		return false
	}
	var v uint64
	for _, d := range digits {
		next := v*10 + uint64(d-'0')
		if v > math.MaxUint64/10 || next < v*10 {
			return false
		}
		v = next
	}
	if s.kind == unsignedLongKind {
		return !negative || v == 0
	}
	if negative {
		// -low is written so that the least int64 does not overflow.
		return s.low < 0 && v <= uint64(-(s.low+1))+1 || v == 0
	}
	return v <= uint64(s.high)
}

// integral writes a number with a fraction or an exponent as an integer, if it is one: 4.20e1 is 42.
func integral(number []byte) ([]byte, bool) {
	negative := number[0] == '-'
	if negative {
		number = number[1:]
	}
	mantissa, exponent := number, 0
	if i := bytes.IndexAny(number, "eE"); i >= 0 {
		e, err := strconv.Atoi(string(number[i+1:]))
		if err != nil {
			e = math.MaxInt16
			if number[i+1] == '-' {
				e = -e
			}
		}
		mantissa, exponent = number[:i], max(-math.MaxInt16, min(math.MaxInt16, e))
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte{'.'})
	digits := append(append(make([]byte, 0, len(mantissa)+20), whole...), fraction...)
	exponent -= len(fraction)
	digits = bytes.TrimLeft(digits, "0")
	if len(digits) == 0 {
		return []byte("0"), true
	}
	for exponent < 0 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
		exponent++
	}
	if exponent < 0 || len(digits)+exponent > 20 {
		return nil, false
	}
	for range exponent {
		digits = append(digits, '0')
	}
	if negative {
		digits = append([]byte{'-'}, digits...)
	}
	return digits, true
}

var (
	trueText  = []byte("true")
	falseText = []byte("false")
)

func fitBoolean(t token, raw, text []byte) ([]byte, bool) {
	switch t.class {
	case 't', 'f':
		return nil, true
	case '0':
		if !t.plain {
			var ok bool
			if raw, ok = integral(raw); !ok {
				return nil, false
			}
		}
		text = raw
	case 's':
		text = bytes.Trim(text, " \t\r\n")
	}
	switch {
	case string(text) == "1", equalFold(text, "true"), equalFold(text, "on"):
		return trueText, true
	case string(text) == "0", equalFold(text, "false"), equalFold(text, "off"):
		return falseText, true
	}
	return nil, false
}

// equalFold compares with a word in lower case, ASCII only.
func equalFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range b {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

func fitString(t token, raw []byte) ([]byte, bool) {
	switch t.class {
	case 's':
		return nil, true
	case '0', 't', 'f':
		return quote(raw), true
	}
	return nil, false
}

// quote puts text without anything to escape in quotes.
func quote(text []byte) []byte {
	return append(append(append(make([]byte, 0, len(text)+2), '"'), text...), '"')
}

// appendString writes a JSON string.
func appendString(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// fitDecimal wants a string of digits; DTDL v4 writes decimals so, because no binary number holds them.
func fitDecimal(t token, raw, text []byte) ([]byte, bool) {
	exponent := func(b []byte) bool { return bytes.ContainsAny(b, "eE") }
	switch t.class {
	case '0':
		return quote(raw), !exponent(raw)
	case 's':
		number, _, ok := numeral(text)
		return nil, ok && !exponent(number)
	}
	return nil, false
}

func fitEnum(e *enum, t token, raw, text []byte) ([]byte, bool) {
	if t.class != 's' && t.class != '0' {
		return nil, false
	}
	if e.integers == nil {
		if t.class == '0' {
			v, ok := e.texts[string(raw)]
			return []byte(v), ok
		}
		if _, ok := e.texts[string(text)]; ok {
			return nil, true
		}
		v, ok := e.names[string(text)]
		return []byte(v), ok
	}
	number, plain := raw, t.plain
	if t.class == 's' {
		if v, ok := e.names[string(text)]; ok {
			return []byte(v), true
		}
		var ok bool
		if number, plain, ok = numeral(text); !ok {
			return nil, false
		}
	}
	exact := number
	if !plain {
		var ok bool
		if exact, ok = integral(number); !ok {
			return nil, false
		}
	}
	v, err := strconv.ParseInt(string(exact), 10, 64)
	if err != nil {
		return nil, false
	}
	if _, ok := e.integers[v]; !ok {
		return nil, false
	}
	if t.class == '0' && plain {
		return nil, true
	}
	return exact, true
}
