package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// compact removes the white space of valid JSON text.
func compact(text []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(text))
	if err := json.Compact(&out, text); err != nil {
		return text
	}
	return out.Bytes()
}

// wrap makes {"name":value}.
func wrap(name string, value []byte) []byte {
	b := make([]byte, 0, len(name)+len(value)+5)
	b = append(b, '{')
	b = appendString(b, name)
	b = append(b, ':')
	b = append(b, value...)
	return append(b, '}')
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			var out bytes.Buffer
			enc := json.NewEncoder(&out)
			enc.SetEscapeHTML(false)
			if enc.Encode(s) == nil {
				return append(b, bytes.TrimRight(out.Bytes(), "\n")...)
			}
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// oneValue reads any JSON value, or text as a string.
func oneValue(payload []byte) ([]byte, error) {
	payload = trimText(payload)
	if err := checkText(payload); err != nil {
		return nil, err
	}
	s := scanners.get(payload)
	defer scanners.put(s)
	s.space()
	at := s.i
	err := s.value(0)
	stop := s.i
	if err == nil {
		err = s.end()
	}
	if err == nil {
		value := payload[at:stop:stop]
		if s.spaced {
			value = compact(value)
		}
		return value, nil
	}
	text := bytes.TrimSpace(payload)
	if len(text) == 0 {
		return nil, &Error{Code: CodeUndecodable, Message: "the payload is blank"}
	}
	if c := text[0]; c == '{' || c == '[' || c == '"' {
		return nil, err
	}
	switch strings.ToLower(strings.TrimLeft(string(text[:min(len(text), 10)]), "+-")) {
	case "nan", "inf", "infinity":
		return nil, &Error{Code: CodeUndecodable, Message: fmt.Sprintf("%s is no JSON number", text), Hint: "publish nothing, or null, when there is no value"}
	}
	for _, c := range text {
		if c < ' ' && c != '\t' {
			return nil, err
		}
	}
	return appendString(make([]byte, 0, len(text)+2), string(text)), nil
}

// checkObject makes sure that a telemetry value is an object with names that the application takes.
func checkObject(value []byte) error {
	values := 0
	err := Members(value, func(key string, _ json.RawMessage) error {
		if key == timestampKey {
			return &Error{Code: CodeBadName, Name: key, Message: "timestamp is the time of a reading and cannot be the name of a value"}
		}
		values++
		return ValidName(key)
	})
	if err == nil && values == 0 {
		return &Error{Code: CodeUndecodable, Message: "the reading holds no value"}
	}
	return err
}
