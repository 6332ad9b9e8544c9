package mapping

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of names.
const (
	MaxDeviceBytes = 128
	MaxNameBytes   = 128
)

// ValidDeviceID tells whether IoT Central takes a device id: 1 to 128 of A-Z a-z 0-9 - . _ : of which the last is a letter, a
// digit or a hyphen. It returns an *Error with CodeBadDevice.
func ValidDeviceID(id string) error {
	if fault := deviceFault(id); fault != "" {
		return &Error{
			Code: CodeBadDevice, Device: clip(id), Message: fmt.Sprintf("device id %q %s", clip(id), fault),
			Hint: "1 to 128 of A-Z a-z 0-9 - . _ : ending in a letter, a digit or -",
		}
	}
	return nil
}

func deviceFault(id string) string {
	if id == "" {
		return "is empty"
	}
	if len(id) > MaxDeviceBytes {
		return "is longer than 128 characters"
	}
	for i := range len(id) {
		if c := id[i]; !alphanumeric(c) && c != '-' && c != '.' && c != '_' && c != ':' {
			return fmt.Sprintf("holds %q", rune(c))
		}
	}
	if c := id[len(id)-1]; !alphanumeric(c) && c != '-' {
		return fmt.Sprintf("ends in %q", rune(c))
	}
	return ""
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// ValidName tells whether a name can stand for a telemetry value, a property or a command. IoT Central refuses names that begin
// with an underscore; the rest keeps a name from being something else in a topic or in a URL. It returns an *Error with
// CodeBadName.
func ValidName(name string) error {
	if fault := nameFault(name); fault != "" {
		return &Error{Code: CodeBadName, Name: clip(name), Message: fmt.Sprintf("name %q %s", clip(name), fault)}
	}
	return nil
}

func nameFault(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > MaxNameBytes:
		return "is longer than 128 bytes"
	case name[0] == '_':
		return "begins with an underscore, which the application refuses"
	case name == "." || name == "..":
		return "is a step in a path"
	}
	ascii := true
	for i := range len(name) {
		c := name[i]
		if c < ' ' || c == 0x7f || c == '/' || c == '+' || c == '#' {
			return fmt.Sprintf("holds %q", rune(c))
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if !ascii && !utf8.ValidString(name) {
		return "is no UTF-8"
	}
	return ""
}

// clip keeps an error message short and printable whatever a device sent.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
