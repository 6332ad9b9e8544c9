package template

// The two functions here know the grammar of JSON's strings and numbers; the reader of files and the validator share them.

// scanString finds the end of the string whose opening quote stands at i: the offset after its closing quote, and whether it
// holds escapes. ok is false if it does not end, or breaks a rule of RFC 8259 §7.
func scanString(b []byte, i int) (end int, escaped, ok bool) {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped, true
		case c == '\\':
			escaped = true
			i++
			if i >= len(b) {
				return i, escaped, false
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(b) {
					return i, escaped, false
				}
				for range 4 {
					i++
					if !isHex(b[i]) {
						return i, escaped, false
					}
				}
			default:
				return i, escaped, false
			}
		case c < ' ':
			return i, escaped, false
		}
	}
	return i, escaped, false
}

// scanNumber finds the end of the number at i, and whether it is written as an integer (no fraction, no exponent).
func scanNumber(b []byte, i int) (end int, plain, ok bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i >= len(b) || !isDigit(b[i]) {
		return i, false, false
	}
	if b[i] == '0' {
		i++
	} else {
		for i < len(b) && isDigit(b[i]) {
			i++
		}
	}
	plain = true
	if i < len(b) && b[i] == '.' {
		plain = false
		i++
		if i >= len(b) || !isDigit(b[i]) {
			return i, false, false
		}
		for i < len(b) && isDigit(b[i]) {
			i++
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		plain = false
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i >= len(b) || !isDigit(b[i]) {
			return i, false, false
		}
		for i < len(b) && isDigit(b[i]) {
			i++
		}
	}
	return i, plain, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
