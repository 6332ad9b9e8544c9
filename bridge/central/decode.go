package central

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// readBody reads the request's body into buf, within the limit, and checks that it is sent as JSON.
func (h *Handler) readBody(c *call, buf *bytes.Buffer) error {
	r := c.r
	if r.ContentLength == 0 {
		return nil
	}
	tooLarge := Errorf(http.StatusRequestEntityTooLarge, CodeTooLarge, "The body is larger than %d bytes.", h.maxBody)
	if r.ContentLength > h.maxBody {
		return tooLarge
	}
	if kinds := r.Header["Content-Type"]; len(kinds) > 0 && kinds[0] != mediaJSON && !isJSON(kinds[0]) {
		return Errorf(http.StatusUnsupportedMediaType, CodeMediaType, "The body must be sent as application/json, not as %q.", cut(kinds[0], maxNameBytes))
	}
	switch encoding := r.Header.Get(headerEncoding); {
	case encoding == "" || encoding == "identity":
	case strings.EqualFold(encoding, encodingGzip):
		return h.readPacked(c, buf, tooLarge)
	default:
		return Errorf(http.StatusUnsupportedMediaType, CodeMediaType, "The content encoding %q is not supported.", cut(encoding, maxNameBytes))
	}
	n, err := buf.ReadFrom(io.LimitReader(r.Body, h.maxBody+1))
	if n > h.maxBody {
		return tooLarge
	}
	if err != nil {
		// The caller stopped in the middle; nobody waits for an answer, or only for this one.
		return Errorf(http.StatusBadRequest, CodeInvalidBody, "The body ended too early.")
	}
	c.body = buf.Bytes()
	return nil
}

// checkObject refuses what is not one JSON object in UTF-8.
func checkObject(body []byte, what string) error {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	switch {
	case len(trimmed) == 0:
		return Errorf(http.StatusBadRequest, CodeInvalidBody, "The body is empty; %s must be a JSON object.", what)
	case !json.Valid(body):
		return Errorf(http.StatusBadRequest, CodeInvalidBody, "The body is not valid JSON: %s.", explain(body))
	case trimmed[0] != '{':
		return Errorf(http.StatusBadRequest, CodeInvalidBody, "The body is %s; %s must be a JSON object.", kindOf(trimmed[0]), what)
	case !utf8.Valid(body):
		return Errorf(http.StatusBadRequest, CodeInvalidBody, "The body is not valid UTF-8.")
	}
	return nil
}

// decodeObject decodes a body whose members are all known, and says what is wrong with one that is not such.
func decodeObject(body []byte, into any, known ...string) error {
	if err := checkObject(body, "it"); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Errorf(http.StatusBadRequest, CodeInvalidBody, "The member %q must be a %s, not a %s.", wrong.Field, jsonName(wrong.Type.String()), wrong.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Errorf(http.StatusBadRequest, CodeInvalidBody, "The member %s is not known. Known members: %s.", cut(clean(name), maxNameBytes), strings.Join(known, ", "))
	}
	return Errorf(http.StatusBadRequest, CodeInvalidBody, "The body cannot be read: %s.", cut(clean(err.Error()), maxNameBytes))
}

// explain tells where the syntax breaks.
func explain(body []byte) string {
	var v any
	err := json.Unmarshal(body, &v)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("%s (byte %d)", strings.TrimPrefix(syntax.Error(), "json: "), syntax.Offset)
	}
	return "it cannot be read"
}

func kindOf(first byte) string {
	switch first {
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

func jsonName(goType string) string {
	switch strings.TrimPrefix(goType, "*") {
	case "bool":
		return "boolean"
	case "string":
		return "string"
	}
	return goType
}
