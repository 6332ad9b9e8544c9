package sparkplug

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sort"
)

// table is what a BIRTH certificate defines: names, aliases and types of a node's or a device's metrics. It stays
// in the form in which it is stored and is searched in place, because it is looked at for every DATA message and
// written for BIRTH and DEATH only.
//
//	offset 0   version, 1
//	       1   1 while the device is online (a node's own is in its session)
//	       2   generation of the node's session, 4 bytes
//	       6   number of metrics n, 4 bytes
//	      10   n x 4 bytes: where each metric begins, by name
//	           n x 12 bytes: alias and index of the metric, by alias; metrics without one last, with all bits set
//	           metrics: type, length of the name in 2 bytes, name
//
// Integers are big-endian.
type table []byte

const (
	tableVersion = 1
	tableHeader  = 10
	aliasEntry   = 12
	noAlias      = math.MaxUint64
	longestName  = math.MaxUint16
)

// newTable builds the table of a BIRTH. Metrics without a name, of which nothing can be told later, are left out.
func newTable(metrics []Metric, generation uint32) table {
	defined := make([]*Metric, 0, len(metrics))
	for i := range metrics {
		if m := &metrics[i]; m.Name != "" && len(m.Name) <= longestName {
			defined = append(defined, m)
		}
	}
	slices.SortStableFunc(defined, func(a, b *Metric) int { return cmp.Compare(a.Name, b.Name) })
	type ref struct {
		alias uint64
		index uint32
	}
	aliases := make([]ref, len(defined))
	size := tableHeader + len(defined)*(4+aliasEntry)
	for i, m := range defined {
		aliases[i] = ref{noAlias, uint32(i)}
		if m.HasAlias {
			aliases[i].alias = m.Alias
		}
		size += 3 + len(m.Name)
	}
	slices.SortStableFunc(aliases, func(a, b ref) int { return cmp.Compare(a.alias, b.alias) })

	t := make(table, 0, size)
	t = append(t, tableVersion, 1)
	t = binary.BigEndian.AppendUint32(t, generation)
	t = binary.BigEndian.AppendUint32(t, uint32(len(defined)))
	at := tableHeader + len(defined)*(4+aliasEntry)
	for _, m := range defined {
		t = binary.BigEndian.AppendUint32(t, uint32(at))
		at += 3 + len(m.Name)
	}
	for _, a := range aliases {
		t = binary.BigEndian.AppendUint64(t, a.alias)
		t = binary.BigEndian.AppendUint32(t, a.index)
	}
	for _, m := range defined {
		t = append(t, byte(m.Type))
		t = binary.BigEndian.AppendUint16(t, uint16(len(m.Name)))
		t = append(t, m.Name...)
	}
	return t
}

// valid tells whether the bytes can be searched at all; every offset is checked again where it is used.
func (t table) valid() bool {
	return len(t) >= tableHeader && t[0] == tableVersion && (len(t)-tableHeader)/(4+aliasEntry) >= t.count()
}

func (t table) count() int { return int(binary.BigEndian.Uint32(t[6:]) & math.MaxInt32) }

func (t table) generation() uint32 { return binary.BigEndian.Uint32(t[2:]) }

func (t table) online() bool { return t[1] == 1 }

// offline returns a copy for a device that has died.
func (t table) offline() table {
	dead := slices.Clone(t)
	dead[1] = 0
	return dead
}

// metric returns the i-th metric by name; the name is part of the table.
func (t table) metric(i int) (name []byte, kind DataType) {
	at := uint64(binary.BigEndian.Uint32(t[tableHeader+4*i:]))
	if at+3 > uint64(len(t)) {
		return nil, Unknown
	}
	end := at + 3 + uint64(binary.BigEndian.Uint16(t[at+1:]))
	if end > uint64(len(t)) {
		return nil, Unknown
	}
	return t[at+3 : end], DataType(t[at])
}

// byName finds a metric's type.
func (t table) byName(name string) (kind DataType, ok bool) {
	if !t.valid() {
		return Unknown, false
	}
	i := sort.Search(t.count(), func(i int) bool {
		known, _ := t.metric(i)
		return bytes.Compare(known, []byte(name)) >= 0
	})
	if i == t.count() {
		return Unknown, false
	}
	if known, kind := t.metric(i); string(known) == name {
		return kind, true
	}
	return Unknown, false
}

// byAlias finds a metric's name and type.
func (t table) byAlias(alias uint64) (name string, kind DataType, ok bool) {
	if !t.valid() || alias == noAlias {
		return "", Unknown, false
	}
	n := t.count()
	index := t[tableHeader+4*n:]
	i := sort.Search(n, func(i int) bool { return binary.BigEndian.Uint64(index[i*aliasEntry:]) >= alias })
	if i == n || binary.BigEndian.Uint64(index[i*aliasEntry:]) != alias {
		return "", Unknown, false
	}
	at := int(binary.BigEndian.Uint32(index[i*aliasEntry+8:]) & math.MaxInt32)
	if at >= n {
		return "", Unknown, false
	}
	known, kind := t.metric(at)
	return string(known), kind, known != nil
}

// aliasOf finds the alias of the i-th metric by name.
func (t table) aliasOf(i int) (uint64, bool) {
	n := t.count()
	for index := t[tableHeader+4*n:][:n*aliasEntry]; len(index) > 0; index = index[aliasEntry:] {
		if binary.BigEndian.Uint32(index[8:]) == uint32(i) {
			if alias := binary.BigEndian.Uint64(index); alias != noAlias {
				return alias, true
			}
			break
		}
	}
	return 0, false
}
