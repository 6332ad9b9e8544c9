package buffer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Space is a small durable key space beside the queue. Its changes go through the committer in the order in which they
// were made, together with those of the queue; a reader sees its own changes at once, before they are on disk.
type Space struct {
	s    *Store
	name string
}

// Space gives the key space of that name; it needs no making.
func (s *Store) Space(name string) *Space { return &Space{s, name} }

// cover is a change that is not on disk yet.
type cover struct {
	value []byte
	n     int
}

// overlayPuts makes changes visible that the committer has yet to write.
func (s *Store) overlayPuts(puts []KV) {
	for i := range puts {
		k := string(spaceKey(puts[i].Space, puts[i].Key))
		c := s.overlay[k]
		s.overlay[k] = cover{puts[i].Value, c.n + 1}
	}
}

// uncoverPuts ends that: they are on disk, or were refused.
func (s *Store) uncoverPuts(puts []KV) {
	for i := range puts {
		k := string(spaceKey(puts[i].Space, puts[i].Key))
		if c := s.overlay[k]; c.n > 1 {
			s.overlay[k] = cover{c.value, c.n - 1}
		} else {
			delete(s.overlay, k)
		}
	}
}

// Get reads a key. The value is the caller's to keep, not to change.
func (sp *Space) Get(key string) (value []byte, ok bool) {
	k := spaceKey(sp.name, key)
	sp.s.mu.Lock()
	c, covered := sp.s.overlay[string(k)]
	sp.s.mu.Unlock()
	if covered {
		return c.value, c.value != nil
	}
	value, ok, err := sp.s.kv.get(k)
	return value, ok && err == nil
}

// Scan calls fn for the keys with a prefix, in order, until it returns an error. The values are fn's to keep.
func (sp *Space) Scan(prefix string, fn func(key string, value []byte) error) error {
	p := spaceKey(sp.name, prefix)
	strip := len(sp.name) + 2
	// What is not on disk yet is read before what is: a change that gets there in between is seen either way.
	sp.s.mu.Lock()
	fresh := map[string][]byte{}
	for k, c := range sp.s.overlay {
		if strings.HasPrefix(k, string(p)) {
			fresh[k] = c.value
		}
	}
	sp.s.mu.Unlock()
	keys := slices.Sorted(maps.Keys(fresh))
	before := func(k string) error {
		for len(keys) > 0 && (k == "" || keys[0] <= k) {
			key := keys[0]
			keys = keys[1:]
			if v := fresh[key]; v != nil {
				if err := fn(key[strip:], v); err != nil {
					return err
				}
			}
		}
		return nil
	}
	// fn runs outside of the transaction, so that it may use the store and take its time.
	const page = 256
	type pair struct {
		key   string
		value []byte
	}
	found := make([]pair, 0, page)
	for start := p; ; {
		found = found[:0]
		err := sp.s.kv.scan(p, start, func(k, v []byte) (bool, error) {
			found = append(found, pair{string(k), append(make([]byte, 0, len(v)), v...)})
			return len(found) < page, nil
		})
		if err != nil {
			return fmt.Errorf("scan space %s: %w", sp.name, err)
		}
		for _, f := range found {
			_, changed := fresh[f.key]
			if err := before(f.key); err != nil {
				return err
			}
			if changed {
				continue
			}
			if err := fn(f.key[strip:], f.value); err != nil {
				return err
			}
		}
		if len(found) < page {
			return before("")
		}
		start = append([]byte(found[page-1].key), 0)
	}
}

// Put sets a key. It does not wait for the disk.
func (sp *Space) Put(key string, value []byte) { sp.put(key, append([]byte{}, value...), nil) }

// Delete removes a key. It does not wait for the disk.
func (sp *Space) Delete(key string) { sp.put(key, nil, nil) }

// PutSync sets a key and waits until it is on disk.
func (sp *Space) PutSync(ctx context.Context, key string, value []byte) error {
	return sp.s.AppendSync(ctx, &Batch{Puts: []KV{{sp.name, key, append([]byte{}, value...)}}})
}

// DeleteSync removes a key and waits until that is on disk.
func (sp *Space) DeleteSync(ctx context.Context, key string) error {
	return sp.s.AppendSync(ctx, &Batch{Puts: []KV{{sp.name, key, nil}}})
}

func (sp *Space) put(key string, value []byte, done func(error)) {
	sp.s.Append(&Batch{Puts: []KV{{sp.name, key, value}}}, done)
}

// AppendSync is Append for those who have nothing else to do meanwhile. When ctx ends first the batch may be stored all
// the same.
func (s *Store) AppendSync(ctx context.Context, b *Batch) error {
	ch := make(chan error, 1)
	s.Append(b, func(err error) { ch <- err })
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
