package template

import (
	"bytes"
)

// fitText checks strings with a grammar. The result is nil when the string stands as it is.
func fitText(k kind, text []byte) ([]byte, bool) {
	switch k {
	case dateKind:
		return nil, date(text)
	case timeKind:
		return nil, clockTime(text, false)
	case dateTimeKind:
		return dateTime(text)
	case durationKind:
		return nil, duration(text)
	case uuidKind:
		return nil, uuid(text)
	case bytesKind:
		return nil, base64(text)
	default:
		return nil, false
	}
}

// number2 reads two digits, -1 if they are none.
func number2(b []byte) int {
	if len(b) < 2 || !isDigit(b[0]) || !isDigit(b[1]) {
		return -1
	}
	return int(b[0]-'0')*10 + int(b[1]-'0')
}

// date is a full-date of RFC 3339: 2026-11-22.
func date(b []byte) bool {
	if len(b) != 10 || b[4] != '-' || b[7] != '-' {
		return false
	}
	century, year, month, day := number2(b), number2(b[2:]), number2(b[5:]), number2(b[8:])
	if century < 0 || year < 0 || month < 1 || month > 12 || day < 1 {
		return false
	}
	days := [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	most := days[month-1]
	if year += century * 100; month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		most = 29
	}
	return day <= most
}

// clockTime is a partial-time of RFC 3339, with an offset if it must have one. A leap second is a time.
func clockTime(b []byte, offset bool) bool {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return false
	}
	hour, minute, second := number2(b), number2(b[3:]), number2(b[6:])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return false
	}
	b = b[8:]
	if len(b) > 0 && b[0] == '.' {
		b = b[1:]
		n := 0
		for n < len(b) && isDigit(b[n]) {
			n++
		}
		if n == 0 {
			return false
		}
		b = b[n:]
	}
	if len(b) == 0 {
		return !offset
	}
	if len(b) == 1 {
		return b[0] == 'Z' || b[0] == 'z'
	}
	if len(b) != 6 || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return false
	}
	hour, minute = number2(b[1:]), number2(b[4:])
	return hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59
}

// dateTime is a date-time of RFC 3339. RFC 3339 §5.6 lets people write a space and small letters; they are put right.
func dateTime(b []byte) ([]byte, bool) {
	if len(b) < 20 || !date(b[:10]) || !clockTime(b[11:], true) {
		return nil, false
	}
	separator, last := b[10], b[len(b)-1]
	if separator != 'T' && separator != 't' && separator != ' ' {
		return nil, false
	}
	if separator == 'T' && last != 'z' {
		return nil, true
	}
	fixed := bytes.ToUpper(b)
	fixed[10] = 'T'
	return quote(fixed), true
}

// duration is one of ISO 8601: P3Y6M4DT12H30M5.5S, or weeks; only the last number may have a fraction. A sign in front is
// allowed, as xsd:duration has it.
func duration(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte{'-'})
	if len(b) < 3 || b[0] != 'P' {
		return false
	}
	b = b[1:]
	order := "YMWD"
	inTime, fraction, some := false, false, false
	for len(b) > 0 {
		if b[0] == 'T' && !inTime {
			inTime, order, b = true, "HMS", b[1:]
			if len(b) == 0 {
				return false
			}
			continue
		}
		n := 0
		for n < len(b) && isDigit(b[n]) {
			n++
		}
		if n == 0 || n == len(b) || fraction {
			return false
		}
		if b[n] == '.' || b[n] == ',' {
			fraction = true
			m := n + 1
			for m < len(b) && isDigit(b[m]) {
				m++
			}
			if m == n+1 || m == len(b) {
				return false
			}
			n = m
		}
		at := indexByte(order, b[n])
		if at < 0 {
			return false
		}
		order, b, some = order[at+1:], b[n+1:], true
	}
	return some
}

func indexByte(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// uuid is the form 8-4-4-4-12 of RFC 9562.
func uuid(b []byte) bool {
	if len(b) != 36 {
		return false
	}
	for i, c := range b {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isHex(c) {
				return false
			}
		}
	}
	return true
}

// base64 is the standard alphabet of RFC 4648 with its padding.
func base64(b []byte) bool {
	if len(b)%4 != 0 {
		return false
	}
	body := bytes.TrimRight(b, "=")
	if len(b)-len(body) > 2 {
		return false
	}
	for _, c := range body {
		if !isLetter(c) && !isDigit(c) && c != '+' && c != '/' {
			return false
		}
	}
	return true
}
