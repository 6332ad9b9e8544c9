package app

import (
	"bytes"
	"encoding/json"
	"hash/maphash"

	"iotc-gateway/buffer"
)

// memberNames is what keeps two values of one name from being joined, for a
// joined message would lose one of them. A name stands for itself by its hash:
// two names that share one are kept apart without need, which loses nothing.
func memberNames() func(r *buffer.Record, names []uint64) []uint64 {
	seed := maphash.MakeSeed()
	return func(r *buffer.Record, names []uint64) []uint64 {
		return appendNames(names, r.Value, func(name []byte) uint64 { return maphash.Bytes(seed, name) })
	}
}

// appendNames appends what stands for each name of a JSON object. The text was
// checked when it was mapped; of any other the result means nothing.
func appendNames(names []uint64, object []byte, hash func(name []byte) uint64) []uint64 {
	depth, named := 0, false // a string at this place is a name
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '"':
			text, escaped := quoted(object[i+1:])
			if named {
				names = append(names, hash(plainName(text, escaped)))
				named = false
			}
			i += len(text) + 1
		case '{', '[':
			depth++
			named = depth == 1
		case '}', ']':
			depth--
		case ',':
			named = depth == 1
		}
	}
	return names
}

// quoted is the text up to the quote that ends it.
func quoted(b []byte) (text []byte, escaped bool) {
	for from := 0; ; {
		end := bytes.IndexByte(b[from:], '"')
		if end < 0 {
			return b, escaped
		}
		end += from
		slashes := 0
		for slashes < end && b[end-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return b[:end], escaped || bytes.IndexByte(b[:end], '\\') >= 0
		}
		from, escaped = end+1, true
	}
}

// plainName undoes escapes, since "a" and "\u0061" are one name.
func plainName(text []byte, escaped bool) []byte {
	if !escaped {
		return text
	}
	var name string
	if json.Unmarshal(append(append([]byte{'"'}, text...), '"'), &name) != nil {
		return text
	}
	return []byte(name)
}
