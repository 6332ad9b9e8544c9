package payload

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// trimText drops what surrounds a bare word: white space, a byte order mark, and the NUL that a C program sent
// along.
func trimText(data []byte) []byte {
	return bytes.Trim(trimBOM(data), " \t\r\n\x00")
}

// unquote drops one pair of double quotes, for devices that send a number or a word as a JSON string.
func unquote(word []byte) []byte {
	if len(word) >= 2 && word[0] == '"' && word[len(word)-1] == '"' {
		return bytes.TrimSpace(word[1 : len(word)-1])
	}
	return word
}

// numberDecoder reads one bare number.
type numberDecoder struct {
	limits Limits
	comma  bool
}

func newNumber(opts Options) (Decoder, error) {
	return &numberDecoder{limits: opts.Limits, comma: opts.DecimalComma}, nil
}

func (d *numberDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	if len(data) > d.limits.MaxBytes {
		return Document{}, tooLarge("number", len(data), d.limits)
	}
	value, ok := parseNumber(unquote(trimText(data)), d.comma)
	if !ok {
		return Document{}, syntaxAt("number", data, 0, "expected a number, found %s", quote(data))
	}
	return Document{Value: value}, nil
}

// parseNumber reads a decimal number as people and printf write it: a leading plus sign, leading zeros and a
// missing digit on one side of the point are taken, hexadecimal, digit separators and NaN are not.
func parseNumber(word []byte, comma bool) (any, bool) {
	if len(word) == 0 || len(word) > 400 {
		return nil, false
	}
	digits, integer := 0, true
	for i, c := range word {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && !comma || c == ',' && comma || c|0x20 == 'e':
			integer = false
		case (c == '+' || c == '-') && (i == 0 || word[i-1]|0x20 == 'e'):
		default:
			return nil, false
		}
	}
	if digits == 0 {
		return nil, false
	}
	if integer {
		word = bytes.TrimPrefix(word, []byte{'+'})
		sign := ""
		if word[0] == '-' {
			sign, word = "-", word[1:]
		}
		if word = bytes.TrimLeft(word, "0"); len(word) == 0 {
			return int64(0), true
		}
		if sign != "" {
			word = append([]byte(sign), word...)
		}
		return exactInteger(word), true
	}
	text := string(word)
	if comma {
		text = strings.Replace(text, ",", ".", 1)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, false
	}
	return f, true
}

// stringDecoder takes the payload as text, whole.
type stringDecoder struct{ limits Limits }

func newString(opts Options) (Decoder, error) { return &stringDecoder{limits: opts.Limits}, nil }

func (d *stringDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	if len(data) > d.limits.MaxBytes {
		return Document{}, tooLarge("string", len(data), d.limits)
	}
	return Document{Value: toText(data)}, nil
}

// toText replaces what is not UTF-8, because JSON cannot carry it.
func toText(data []byte) string {
	return validText(string(data))
}

// validText is toText for a string.
func validText(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// bytesDecoder takes the payload as it is; in JSON it becomes base64.
type bytesDecoder struct{ limits Limits }

func newBytes(opts Options) (Decoder, error) { return &bytesDecoder{limits: opts.Limits}, nil }

func (d *bytesDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	if len(data) > d.limits.MaxBytes {
		return Document{}, tooLarge("bytes", len(data), d.limits)
	}
	return Document{Value: bytes.Clone(data)}, nil
}

// booleanDecoder reads one word for yes or no.
type booleanDecoder struct {
	limits Limits
	words  map[string]bool // in lower case
}

// longestWord bounds what is compared; no word for yes or no is longer.
const longestWord = 64

func newBoolean(opts Options) (Decoder, error) {
	d := &booleanDecoder{limits: opts.Limits, words: map[string]bool{
		"true": true, "on": true, "yes": true, "1": true, "online": true,
		"false": false, "off": false, "no": false, "0": false, "offline": false,
	}}
	for _, w := range opts.True {
		d.words[strings.ToLower(w)] = true
	}
	for _, w := range opts.False {
		d.words[strings.ToLower(w)] = false
	}
	return d, nil
}

func (d *booleanDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	if len(data) > d.limits.MaxBytes {
		return Document{}, tooLarge("boolean", len(data), d.limits)
	}
	word := unquote(trimText(data))
	if len(word) <= longestWord {
		if value, ok := d.words[string(bytes.ToLower(word))]; ok {
			return Document{Value: value}, nil
		}
	}
	return Document{}, syntaxAt("boolean", data, 0, "expected a word such as on or off, found %s", quote(data))
}

// autoDecoder takes JSON for JSON and anything else for text: what begins like an object, an array or a string
// must be JSON, a bare word that is no JSON value is a string.
type autoDecoder struct{ json Decoder }

func newAuto(opts Options) (Decoder, error) {
	inner, err := newJSON(opts)
	return &autoDecoder{json: inner}, err
}

func (d *autoDecoder) Decode(data []byte, now time.Time) (Document, error) {
	doc, err := d.json.Decode(data, now)
	if err == nil || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrTooDeep) {
		return doc, err
	}
	word := trimText(data)
	if len(word) == 0 {
		return Document{Value: ""}, nil
	}
	if bytes.IndexByte([]byte(`{["`), word[0]) >= 0 || len(data) > 4096 {
		return Document{}, err
	}
	return Document{Value: toText(word)}, nil
}
