package payload

import (
	"unicode/utf16"
	"unicode/utf8"
)

// text reads a string; the result is part of the payload unless it holds escapes.
func (p *jsonParser) text() ([]byte, error) {
	p.at++
	start := p.at
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == '"':
			p.at++
			return p.data[start : p.at-1], nil
		case c == '\\' || c >= utf8.RuneSelf:
			return p.slowText(start)
		case c < 0x20:
			return nil, syntaxAt("json", p.data, p.at, "a control character (0x%02x) inside a string", c)
		}
		p.at++
	}
	return nil, syntaxAt("json", p.data, start-1, "the string that begins here does not end")
}

// slowText goes on where text met an escape or a byte beyond ASCII.
func (p *jsonParser) slowText(start int) ([]byte, error) {
	out := append(make([]byte, 0, p.at-start+32), p.data[start:p.at]...)
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == '"':
			p.at++
			return out, nil
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return nil, err
			}
			out = utf8.AppendRune(out, r)
		case c < 0x20:
			return nil, syntaxAt("json", p.data, p.at, "a control character (0x%02x) inside a string", c)
		case c < utf8.RuneSelf:
			out = append(out, c)
			p.at++
		default:
			r, size := utf8.DecodeRune(p.data[p.at:])
			if r == utf8.RuneError && size == 1 {
				return nil, syntaxAt("json", p.data, p.at, "the byte 0x%02x, which is not UTF-8", c)
			}
			out = utf8.AppendRune(out, r)
			p.at += size
		}
	}
	return nil, syntaxAt("json", p.data, start-1, "the string that begins here does not end")
}

// escape reads what follows a backslash. Half a surrogate pair becomes U+FFFD.
func (p *jsonParser) escape() (rune, error) {
	if p.at+1 >= len(p.data) {
		p.at = len(p.data)
		return 0, p.unexpected("an escape")
	}
	c := p.data[p.at+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, ok := hex4(p.data, p.at+2)
		if !ok {
			return 0, syntaxAt("json", p.data, p.at, "\\u needs four hexadecimal digits")
		}
		p.at += 6
		if !utf16.IsSurrogate(r) {
			return r, nil
		}
		if p.at+1 < len(p.data) && p.data[p.at] == '\\' && p.data[p.at+1] == 'u' {
			if low, ok := hex4(p.data, p.at+2); ok {
				if joined := utf16.DecodeRune(r, low); joined != utf8.RuneError {
					p.at += 6
					return joined, nil
				}
			}
		}
		return utf8.RuneError, nil
	default:
		return 0, syntaxAt("json", p.data, p.at, "%s is no escape", quote(p.data[p.at:p.at+2]))
	}
	p.at += 2
	return rune(c), nil
}

func hex4(data []byte, at int) (rune, bool) {
	if at+4 > len(data) {
		return 0, false
	}
	var r rune
	for _, c := range data[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
