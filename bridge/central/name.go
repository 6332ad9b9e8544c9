package central

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxDeviceIDBytes is the longest device id.
const MaxDeviceIDBytes = 128

// maxNameBytes bounds property and command names and command ids; the reference sets no limit, a server must.
const maxNameBytes = 256

// ValidDeviceID reports why id cannot be a device id: it has at most 128 characters of A-Z a-z 0-9 - . _ : and ends in
// a letter, a digit or "-".
func ValidDeviceID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("a device id must not be empty")
	case len(id) > MaxDeviceIDBytes:
		return fmt.Errorf("a device id has at most %d characters, this one has %d", MaxDeviceIDBytes, len(id))
	}
	for i := range len(id) {
		if !isDeviceIDByte(id[i]) {
			r, _ := utf8.DecodeRuneInString(id[i:])
			return fmt.Errorf("a device id consists of A-Z a-z 0-9 - . _ : and must not contain %q (position %d)", r, i+1)
		}
	}
	if last := id[len(id)-1]; !isAlphanumeric(last) && last != '-' {
		return fmt.Errorf("a device id ends in a letter, a digit or \"-\", not in %q", last)
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isDeviceIDByte(c byte) bool {
	return isAlphanumeric(c) || c == '-' || c == '.' || c == '_' || c == ':'
}

// validSegment refuses what cannot be one segment of a path: servers and proxies between resolve "." and "..".
func validSegment(kind, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the %s must not be empty", kind)
	case s == "." || s == "..":
		return fmt.Errorf("the %s must not be %q", kind, s)
	case len(s) > maxNameBytes:
		return fmt.Errorf("the %s has at most %d bytes, this one has %d", kind, maxNameBytes, len(s))
	case !utf8.ValidString(s):
		return fmt.Errorf("the %s is not valid UTF-8", kind)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("the %s must not contain control characters", kind)
	}
	return nil
}
