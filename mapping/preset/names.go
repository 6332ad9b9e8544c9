package preset

import (
	"encoding/json"
	"strings"
)

// modelName makes a name that a device template can have (DTDL v2 §"name": letters, digits and underscores, a letter first and no
// underscore last). Templates name values, so a name that none can hold would be of little use.
func modelName(parts ...string) string {
	b := make([]byte, 0, 32)
	for _, part := range parts {
		if n := len(b); n > 0 && b[n-1] != '_' {
			b = append(b, '_')
		}
		for i := range len(part) {
			c := part[i]
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
				b = append(b, c)
			} else if n := len(b); n > 0 && b[n-1] != '_' {
				b = append(b, '_')
			}
		}
	}
	name := strings.Trim(string(b), "_")
	switch {
	case name == "":
		return "value"
	case name == "timestamp": // is the time of a reading
		return "timestamp_value"
	case name[0] >= '0' && name[0] <= '9':
		return "v" + name
	}
	return name
}

// bareNumber reads a payload that is a JSON number and nothing else; it keeps its text.
func bareNumber(text string) (json.RawMessage, bool) {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') || !json.Valid([]byte(text)) {
		return nil, false
	}
	return json.RawMessage(text), true
}
