package preset

import (
	"fmt"
	"strconv"
	"strings"

	"iotc-gateway/mapping"
)

// haPick is what a template picks: a member of the JSON payload, or the payload itself.
type haPick struct {
	path   []string
	json   bool
	number bool // a filter makes a number of it
}

// haTemplate understands the templates that pick a value.
func haTemplate(template string) (haPick, error) {
	var pick haPick
	text := strings.TrimSpace(template)
	if text == "" {
		return pick, nil
	}
	bad := &mapping.Error{
		Code: mapping.CodeUndecodable, Message: fmt.Sprintf("the template %q is not supported", template),
		Hint: "{{ value_json.a.b }} is; a route can take the place of the entity",
	}
	text, opened := strings.CutPrefix(text, "{{")
	text, closed := strings.CutSuffix(text, "}}")
	if !opened || !closed {
		return haPick{}, bad
	}
	parts := strings.Split(text, "|")
	for _, filter := range parts[1:] {
		name, _, _ := strings.Cut(strings.TrimSpace(filter), "(")
		switch strings.TrimSpace(name) {
		case "float", "round":
			pick.number = true
		case "is_defined":
		default:
			return haPick{}, bad
		}
	}
	text = strings.TrimSpace(parts[0])
	if text == "value" {
		return pick, nil
	}
	rest, ok := strings.CutPrefix(text, "value_json")
	if !ok {
		return haPick{}, bad
	}
	pick.json = true
	for rest != "" {
		var step string
		if step, rest, ok = haStep(rest); !ok {
			return haPick{}, bad
		}
		pick.path = append(pick.path, step)
	}
	return pick, nil
}

// haStep reads one of .name, ['name'], ["name"] and [0].
func haStep(text string) (step, rest string, ok bool) {
	if text[0] == '.' {
		end := 1
		for end < len(text) && (text[end] == '_' || text[end] >= '0' && text[end] <= '9' || text[end]|0x20 >= 'a' && text[end]|0x20 <= 'z') {
			end++
		}
		return text[1:end], text[end:], end > 1
	}
	inner, found := strings.CutPrefix(text, "[")
	end := strings.IndexByte(inner, ']')
	if !found || end < 1 {
		return "", "", false
	}
	rest = inner[end+1:]
	inner = strings.TrimSpace(inner[:end])
	if n := len(inner); n >= 2 && (inner[0] == '\'' || inner[0] == '"') && inner[n-1] == inner[0] {
		return inner[1 : n-1], rest, true
	}
	_, err := strconv.ParseUint(inner, 10, 16)
	return inner, rest, err == nil
}
