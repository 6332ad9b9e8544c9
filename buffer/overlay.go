package buffer

import (
	"bytes"
	"maps"
	"slices"
	"sort"
	"strings"
)

// overlay lays what the journal has over a database that is only read.
type overlay struct {
	writes map[string]write
	keys   []string
}

func newOverlay(writes map[string]write) *overlay {
	return &overlay{writes, slices.Sorted(maps.Keys(writes))}
}

func (o *overlay) get(key []byte) (w write, known bool) {
	if o == nil {
		return w, false
	}
	w, known = o.writes[string(key)]
	return w, known
}

// scan is engine.scan over both.
func (o *overlay) scan(e *engine, prefix, start []byte, fn func(k, v []byte) (more bool, err error)) error {
	from := max(string(prefix), string(start))
	keys := o.keys[sort.SearchStrings(o.keys, from):]
	more := true
	// before gives the keys of the journal that come before one, or all that are left.
	before := func(k []byte) (err error) {
		for more && err == nil && len(keys) > 0 && strings.HasPrefix(keys[0], string(prefix)) && (k == nil || keys[0] < string(k)) {
			key := keys[0]
			keys = keys[1:]
			if v := o.writes[key].value; v != nil {
				more, err = fn([]byte(key), v)
			}
		}
		return err
	}
	err := e.scanDatabase(prefix, start, func(k, v []byte) (bool, error) {
		if err := before(k); err != nil || !more {
			return false, err
		}
		if len(keys) > 0 && keys[0] == string(k) {
			keys = keys[1:]
			if v = o.writes[string(k)].value; v == nil {
				return true, nil
			}
		}
		var err error
		more, err = fn(bytes.Clone(k), v)
		return more, err
	})
	if err != nil || !more {
		return err
	}
	return before(nil)
}
