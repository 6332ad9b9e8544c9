package template

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"
)

// unitTable lists, a line each, a type of unit, the semantic types that are measured in it, and its units: those of DTDL v2 and
// of the extension QuantitativeTypes taken together.
//
//go:embed units.txt
var unitTable string

type units struct {
	types    map[string]map[string]bool // TemperatureUnit -> kelvin ...
	semantic map[string]string          // Temperature -> TemperatureUnit
	all      []string
}

var knownUnits = sync.OnceValue(func() units {
	u := units{types: map[string]map[string]bool{}, semantic: map[string]string{}}
	all := map[string]bool{}
	for line := range strings.Lines(unitTable) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 3 {
			continue
		}
		u.types[cells[0]] = map[string]bool{}
		for s := range strings.FieldsSeq(cells[1]) {
			u.semantic[s] = cells[0]
		}
		for unit := range strings.FieldsSeq(cells[2]) {
			u.types[cells[0]][unit] = true
			all[unit] = true
		}
	}
	u.all = slices.Sorted(maps.Keys(all))
	return u
})

// semantic reads the semantic type and the unit of an element. What is odd about them is a warning: neither goes over the wire,
// and public models hold many that the specification's table does not have.
func (l *loader) semantic(e *node, version int, s *schema) (semantic, unit string) {
	u := knownUnits()
	var kind string
	for _, t := range types(e) {
		t = plainWord(t, "dtmi:standard:class:")
		t = plainWord(t, "dtmi:dtdl:extension:quantitativeTypes:v1:class:")
		if k, ok := u.semantic[t]; ok {
			semantic, kind = t, k
		}
	}
	n := e.get("unit")
	if word, ok := n.str(); ok {
		unit = plainWord(plainWord(word, "dtmi:standard:unit:"), "dtmi:dtdl:extension:quantitativeTypes:v1:unit:")
	}
	switch {
	case semantic == "":
	case !numeric(s):
		l.warn(e.get("schema"), "use double, float, integer or long", "a value of the semantic type %s is a number, and not %s", semantic, s.word)
	case n == nil && version == 2:
		l.warn(e, `add "unit"`, "the semantic type %s wants a unit", semantic)
	case unit != "" && !u.types[kind][unit]:
		known := slices.Sorted(maps.Keys(u.types[kind]))
		l.warn(n, meant(unit, known), "%q is no unit of %s", clip(unit), semantic)
	}
	return semantic, unit
}

func numeric(s *schema) bool {
	switch s.kind {
	case doubleKind, floatKind, integralKind, unsignedLongKind, decimalKind, anyKind:
		return true
	default:
		return s.word == "scaledDecimal"
	}
}

// unitTypeWord tells whether a schema is a type of unit, as the extension Overriding has it.
func unitTypeWord(word string) bool {
	return knownUnits().types[word] != nil
}

func unitTypeID(id string) bool {
	for _, space := range [...]string{"dtmi:standard:unitType:", "dtmi:standard:class:", "dtmi:dtdl:extension:quantitativeTypes:v1:enum:", "dtmi:dtdl:extension:quantitativeTypes:v2:enum:"} {
		if w := plainWord(id, space); w != id && unitTypeWord(w) {
			return true
		}
	}
	return false
}
