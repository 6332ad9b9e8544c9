package central

import (
	"bytes"
	"net/http"
	"strings"
)

// plainAnswer is an answer to nearly every call: success, whole in the buffer, and of a length that needs no arithmetic.
type plainAnswer struct {
	status int
	kind   string // Content-Type
	body   []byte // in the connection's buffer
}

// parsePlain reads an answer at the beginning of b and says how long it is. It is not a parser of HTTP: it knows a
// narrow form, in which it agrees with net/http to the byte, and leaves everything else (1xx, faults, chunks, HTTP/1.0,
// a connection that is to be closed, an answer that is not all there) to net/http by ok = false.
func parsePlain(b []byte) (a plainAnswer, n int, ok bool) {
	line, n, ok := plainLine(b, 0)
	const version = "HTTP/1.1 "
	if !ok || len(line) < len(version)+4 || string(line[:len(version)]) != version || line[len(version)+3] != ' ' {
		return a, 0, false
	}
	switch string(line[len(version) : len(version)+3]) {
	case "200":
		a.status = http.StatusOK
	case "201":
		a.status = http.StatusCreated
	case "202":
		a.status = http.StatusAccepted
	case "204":
		a.status = http.StatusNoContent
	default:
		return a, 0, false
	}
	length := -1
	for {
		line, n, ok = plainLine(b, n)
		if !ok {
			return a, 0, false
		}
		if len(line) == 0 {
			break
		}
		if length, ok = a.field(line, length); !ok {
			return a, 0, false
		}
	}
	switch {
	case a.status == http.StatusNoContent:
		return a, n, length <= 0
	case length < 0 || length > len(b)-n:
		return a, 0, false
	}
	a.body = b[n : n+length]
	return a, n + length, true
}

// plainLine returns the line that begins at b[from:] without its end, and where the next one begins.
func plainLine(b []byte, from int) (line []byte, next int, ok bool) {
	i := bytes.IndexByte(b[from:], '\n')
	if i < 1 || b[from+i-1] != '\r' {
		return nil, 0, false
	}
	line = b[from : from+i-1]
	for _, c := range line {
		if c < ' ' || c > '~' {
			return nil, 0, false
		}
	}
	return line, from + i + 1, true
}

// field reads a line of the header. The length is that of the body, -1 while none was told.
func (a *plainAnswer) field(line []byte, length int) (_ int, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return 0, false
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " ")
	for _, c := range name {
		if !isTokenByte(c) {
			return 0, false
		}
	}
	switch {
	case foldEqual(name, "content-length"):
		if length >= 0 || len(value) == 0 || len(value) > 6 {
			return 0, false
		}
		length = 0
		for _, c := range value {
			if c < '0' || c > '9' {
				return 0, false
			}
			length = length*10 + int(c-'0')
		}
	case foldEqual(name, "content-type"):
		if a.kind != "" {
			return 0, false
		}
		if string(value) == mediaJSON {
			a.kind = mediaJSON // the usual one needs no copy
		} else {
			a.kind = string(value)
		}
	case foldEqual(name, "connection"):
		return length, foldEqual(value, "keep-alive")
	case foldEqual(name, "transfer-encoding"), foldEqual(name, "trailer"), foldEqual(name, "upgrade"):
		return 0, false
	}
	return length, true
}

// foldEqual compares with a lower-case ASCII text.
func foldEqual(b []byte, lower string) bool {
	return len(b) == len(lower) && strings.EqualFold(string(b), lower)
}

// isTokenByte tells what a header's name may be made of (RFC 9110 §5.6.2).
func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
