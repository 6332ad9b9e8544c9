package buffer

import "hash/maphash"

// With keep_last the store knows, for every device and property name that waits, which record is the newest, so that
// the next one can supersede it. A record that is leased, or was, is never superseded: the uplink may have seen it.

// maxProps bounds the index; properties beyond it are simply all delivered.
const maxProps = 1 << 17

type propKey struct {
	dev  uint32
	hash uint64
}

type prop struct {
	seq  uint64
	size int64
	it   *item // nil: on disk only
	lane *lane
}

func (s *Store) propKey(dev uint32, name string) propKey {
	return propKey{dev, maphash.String(s.seed, name)}
}

func (s *Store) keeps(c Class) bool { return c == ClassProperty && s.cfg.Classes.Property.KeepLast }

// index notes a record that was just stored and drops the one that it supersedes.
func (s *Store) index(x *planned) {
	if !s.keeps(x.rec.Class) {
		return
	}
	k := s.propKey(x.dev.no, x.rec.Name)
	s.supersede(k)
	s.note(k, prop{x.rec.Seq, x.rec.size(), x.it, x.lane})
}

func (s *Store) note(k propKey, p prop) {
	if len(s.props) < maxProps {
		s.props[k] = p
	}
}

func (s *Store) supersede(k propKey) {
	old, ok := s.props[k]
	if !ok {
		return
	}
	delete(s.props, k)
	if old.it != nil {
		s.hot -= old.it.weight()
		s.drop(old.it, dropSuperseded)
		return
	}
	s.dropCold(old.lane, old.seq, old.size, dropSuperseded)
}

// dropCold removes a record that is on disk only.
func (s *Store) dropCold(l *lane, seq uint64, size int64, reason int) {
	s.stats.drops[l.class][reason]++
	s.cur.count[l.class]--
	s.cur.bytes[l.class] -= size
	s.gone = append(s.gone, gone{keyQueue, l.class, l.dev.no, seq, size})
	l.mark(seq)
	s.arm()
}

// indexLoaded notes a record that came from disk. It reports false when a newer one supersedes it.
func (s *Store) indexLoaded(it *item) bool {
	if !s.keeps(it.Class) {
		return true
	}
	k := s.propKey(it.dev.no, it.Name)
	old, ok := s.props[k]
	switch {
	case !ok:
		s.note(k, prop{it.Seq, it.size(), it, it.lane})
	case old.seq == it.Seq:
		old.it = it
		s.props[k] = old
	case old.seq > it.Seq:
		s.drop(it, dropSuperseded)
		return false
	default:
		s.supersede(k)
		s.note(k, prop{it.Seq, it.size(), it, it.lane})
	}
	return true
}

// unindex forgets a record that is being leased.
func (s *Store) unindex(it *item) {
	if !s.keeps(it.Class) {
		return
	}
	k := s.propKey(it.dev.no, it.Name)
	if s.props[k].seq == it.Seq {
		delete(s.props, k)
	}
}

// cold notes that a record left the memory.
func (s *Store) cold(it *item) {
	if !s.keeps(it.Class) {
		return
	}
	k := s.propKey(it.dev.no, it.Name)
	if p, ok := s.props[k]; ok && p.seq == it.Seq {
		p.it = nil
		s.props[k] = p
	}
}
