package template

import (
	"fmt"
	"strings"
)

// Lengths of identifiers, the same in every version of DTDL.
const (
	maxInterfaceID = 128
	maxElementID   = 2048
)

// dtmiFault says what is wrong with a digital twin model identifier, or "". The grammar is that of DTDL v3, "Digital Twin Model
// Identifier": dtmi:segment:segment;version, where version 2 of the language wants exactly one number as version, and later
// ones also take none, or major.minor.
func dtmiFault(id string, version int) string {
	rest, ok := strings.CutPrefix(id, "dtmi:")
	if !ok {
		return `does not begin with "dtmi:"`
	}
	path, number, versioned := strings.Cut(rest, ";")
	for segment := range strings.SplitSeq(path, ":") {
		if fault := segmentFault(segment); fault != "" {
			return fault
		}
	}
	if !versioned {
		if version == 2 {
			return `has no version such as ";1" at its end`
		}
		return ""
	}
	major, minor, two := strings.Cut(number, ".")
	if two && version == 2 {
		return "has a version of two parts, which DTDL v2 does not know"
	}
	if !versionPart(major, 9) || two && !versionPart(minor, 6) {
		return fmt.Sprintf("has the version %q, which must be a number from 1 without leading zeros", clip(number))
	}
	return ""
}

func segmentFault(s string) string {
	if s == "" {
		return "has an empty segment"
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '_' {
			return fmt.Sprintf("has the character %q in the segment %q; segments are letters, digits and underscores", rune(c), clip(s))
		}
	}
	switch {
	case isDigit(s[0]):
		return fmt.Sprintf("has the segment %q, which begins with a digit", clip(s))
	case s[len(s)-1] == '_':
		return fmt.Sprintf("has the segment %q, which ends in an underscore", clip(s))
	}
	return ""
}

func versionPart(s string, digits int) bool {
	if s == "" || len(s) > digits || s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// system tells whether an identifier has a segment that begins with an underscore, which models must not define themselves.
func system(id string) bool {
	return strings.Contains(id, ":_")
}

// nameFault says what is wrong with the name of an element, or "".
func nameFault(name string, version int) string {
	most := 512
	if version == 2 {
		most = 64
	}
	switch {
	case name == "":
		return "is empty"
	case len(name) > most:
		return fmt.Sprintf("is longer than %d characters", most)
	case !isLetter(name[0]):
		return "does not begin with a letter"
	case name[len(name)-1] == '_':
		return "ends in an underscore"
	}
	for i := range len(name) {
		if c := name[i]; !isLetter(c) && !isDigit(c) && c != '_' {
			return "holds something other than letters, digits and underscores"
		}
	}
	return ""
}
