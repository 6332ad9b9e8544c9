package template

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// kind is how a value of a schema is checked.
type kind uint8

const (
	anyKind kind = iota
	booleanKind
	doubleKind
	floatKind
	integralKind
	unsignedLongKind
	stringKind
	dateKind
	dateTimeKind
	timeKind
	durationKind
	decimalKind
	uuidKind
	bytesKind
	enumKind
	objectKind
	arrayKind
	mapKind
)

// schema is a compiled schema. It is immutable once a load has ended.
type schema struct {
	kind     kind
	word     string // DTDL's word
	expected string // for a fault: "integer from -2147483648 to 2147483647"

	low, high int64 // integralKind

	fields   map[string]*schema // objectKind
	required []string           // objectKind
	closed   bool               // objectKind: an unknown field is a fault
	element  *schema            // arrayKind, mapKind
	least    int                // arrayKind

	enum *enum

	height int // levels of complex schemas, itself included
}

// enum holds what may stand for one of its values.
type enum struct {
	integers map[int64]struct{} // values of an integer enum
	texts    map[string]string  // values of a string enum -> their JSON text
	names    map[string]string  // names -> the JSON text of their value
}

// anything is the schema of what has none, because it was at fault.
var anything = &schema{kind: anyKind, word: "any", expected: "any value"}

// primitives are the schemas that go by a word.
var primitives = func() map[string]*schema {
	m := map[string]*schema{}
	simple := func(word string, k kind, expected string) {
		m[word] = &schema{kind: k, word: word, expected: expected}
	}
	simple("boolean", booleanKind, "boolean")
	simple("double", doubleKind, "double")
	simple("float", floatKind, "float")
	simple("string", stringKind, "string")
	simple("date", dateKind, "date (2026-11-22)")
	simple("dateTime", dateTimeKind, "dateTime with an offset (2026-11-22T10:00:00Z)")
	simple("time", timeKind, "time (10:00:00Z)")
	simple("duration", durationKind, "duration (PT1H30M)")
	simple("decimal", decimalKind, "decimal (a string of digits)")
	simple("uuid", uuidKind, "uuid")
	simple("bytes", bytesKind, "bytes (a string in base64)")
	simple("unsignedLong", unsignedLongKind, "unsignedLong from 0 to 18446744073709551615")
	for _, i := range []struct {
		word      string
		low, high int64
	}{
		{"byte", math.MinInt8, math.MaxInt8},
		{"short", math.MinInt16, math.MaxInt16},
		{"integer", math.MinInt32, math.MaxInt32},
		{"long", math.MinInt64, math.MaxInt64},
		{"unsignedByte", 0, math.MaxUint8},
		{"unsignedShort", 0, math.MaxUint16},
		{"unsignedInteger", 0, math.MaxUint32},
	} {
		m[i.word] = &schema{
			kind: integralKind, word: i.word, low: i.low, high: i.high,
			expected: i.word + " from " + strconv.FormatInt(i.low, 10) + " to " + strconv.FormatInt(i.high, 10),
		}
	}
	return m
}()

// since4 are the primitives that DTDL v4 has added.
var since4 = map[string]bool{
	"byte": true, "short": true, "unsignedByte": true, "unsignedShort": true, "unsignedInteger": true, "unsignedLong": true,
	"decimal": true, "uuid": true, "bytes": true, "scaledDecimal": true,
}

// wellKnown are the complex schemas that go by a word: GeoJSON's geometries (RFC 7946) and the two of IoT Central.
var wellKnown = func() map[string]*schema {
	double := primitives["double"]
	m := map[string]*schema{}
	for _, g := range []struct {
		word, name string
		levels     int
	}{
		{"point", "Point", 1},
		{"multiPoint", "MultiPoint", 2},
		{"lineString", "LineString", 2},
		{"multiLineString", "MultiLineString", 3},
		{"polygon", "Polygon", 3},
		{"multiPolygon", "MultiPolygon", 4},
	} {
		coordinates := &schema{kind: arrayKind, word: "Array", element: double, least: 2, expected: "a position [longitude, latitude]"}
		for range g.levels - 1 {
			coordinates = &schema{kind: arrayKind, word: "Array", element: coordinates, expected: "an array"}
		}
		quoted := strconv.Quote(g.name)
		m[g.word] = &schema{
			kind: objectKind, word: g.word, expected: "GeoJSON " + g.name, required: []string{"type", "coordinates"},
			fields: map[string]*schema{
				"coordinates": coordinates,
				"type": {
					kind: enumKind, word: "Enum", expected: quoted,
					enum: &enum{texts: map[string]string{g.name: quoted}, names: map[string]string{}},
				},
			},
		}
	}
	m["geopoint"] = &schema{
		kind: objectKind, word: "geopoint", expected: "geopoint (an object of lat, lon and alt)", required: []string{"lat", "lon"},
		fields: map[string]*schema{"lat": double, "lon": double, "alt": double},
	}
	m["vector"] = &schema{
		kind: objectKind, word: "vector", expected: "vector (an object of x, y and z)",
		fields: map[string]*schema{"x": double, "y": double, "z": double},
	}
	m["scaledDecimal"] = &schema{
		kind: objectKind, word: "scaledDecimal", expected: "scaledDecimal (an object of scale and value)",
		fields: map[string]*schema{"scale": primitives["short"], "value": primitives["decimal"]},
	}
	return m
}()

// builtin resolves a word, or the identifier that the standard gives it (dtmi:dtdl:instance:Schema:double;2).
func builtin(word string) *schema {
	for _, space := range [...]string{"dtmi:dtdl:instance:Schema:", "dtmi:standard:schema:geospatial:", "dtmi:iotcentral:schema:"} {
		word = plainWord(word, space)
	}
	if s := primitives[word]; s != nil {
		return s
	}
	return wellKnown[word]
}

// schemaWords are the words that a misspelt one is compared with.
var schemaWords = []string{
	"boolean", "date", "dateTime", "double", "duration", "float", "integer", "long", "string", "time",
	"point", "multiPoint", "lineString", "multiLineString", "polygon", "multiPolygon", "geopoint", "vector",
}

// schema compiles the schema at a node: a word, an identifier, or a complex schema in place. open are the identifiers of the
// schemas around it, so that none contains itself.
func (l *loader) schema(d *definition, n *node, depth int, owner string, open []string) *schema {
	if n.kind == objectNode {
		if class := complexClass(n); class != "" {
			return l.complex(d, n, class, depth, owner, open)
		}
		if id, ok := n.get("@id").str(); ok && len(n.members) == 1 {
			return l.named(d, n, id, depth, owner, open)
		}
		if _, ok := n.str(); !ok {
			l.at(n, `its "@type" is Array, Enum, Map or Object`, "the schema%s is of no known type", of(owner))
			return anything
		}
	}
	word, ok := n.str()
	if !ok {
		l.at(n, `such as "double"`, "the schema%s is %s", of(owner), n.describe())
		return anything
	}
	return l.named(d, n, word, depth, owner, open)
}

func of(owner string) string {
	if owner == "" {
		return ""
	}
	return " of " + owner
}

// named resolves a word or an identifier.
func (l *loader) named(d *definition, n *node, word string, depth int, owner string, open []string) *schema {
	if s := builtin(word); s != nil {
		if since4[s.word] && d.version < 4 {
			l.at(n, "use DTDL v4, or another schema", "the schema %q is not known to DTDL v%d", s.word, d.version)
		}
		return s
	}
	def, ok := d.schemas[word]
	if !ok {
		def, ok = l.schemas[word]
	}
	if compiled := d.named[word]; compiled != nil {
		if most := schemaDepth(d.version); depth+compiled.height > most {
			l.at(n, "flatten it", "the schema%s nests more than %d levels", of(owner), most)
		}
		return compiled
	}
	if ok {
		if slices.Contains(open, word) {
			l.at(n, "a schema cannot contain itself", "the schema %s contains itself", clip(word))
			return anything
		}
		at := &definition{id: d.id, version: max(def.version, d.version), schemas: d.schemas, named: d.named}
		compiled := l.schema(at, def.node, depth, owner, open)
		d.named[word] = compiled
		return compiled
	}
	if l.interfaces[word] != nil {
		l.at(n, "only a component has an interface as its schema", "the schema%s is the interface %s", of(owner), clip(word))
		return anything
	}
	if strings.HasPrefix(word, "dtmi:") {
		if unitTypeID(word) {
			return primitives["string"]
		}
		l.at(n, `define it under "schemas" of the interface`, "the schema%s is %s, which no file defines", of(owner), clip(word))
		return anything
	}
	if unitTypeWord(word) {
		return primitives["string"] // the value is the name of a unit
	}
	hint := "one of boolean, date, dateTime, double, duration, float, integer, long, string, time, or an Enum, Object, Array or Map"
	if near := nearest(word, schemaWords); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	l.at(n, hint, "the schema%s is %q, which DTDL does not know", of(owner), clip(word))
	return anything
}

// complex compiles an Array, Enum, Map or Object.
func (l *loader) complex(d *definition, n *node, class string, depth int, owner string, open []string) *schema {
	if class != "Enum" {
		depth++
	}
	if most := schemaDepth(d.version); depth > most {
		l.at(n, "flatten it", "the schema%s nests more than %d levels", of(owner), most)
		return anything
	}
	if id, ok := n.get("@id").str(); ok {
		open = append(slices.Clip(open), id)
	}
	l.texts(n)
	height := 0
	inner := func(holder *node, key, what string) *schema {
		s := holder.get(key)
		if s == nil {
			l.at(holder, fmt.Sprintf("add %q", key), "%s%s has no %s", what, of(owner), key)
			return anything
		}
		part := l.schema(d, s, depth, owner, open)
		height = max(height, part.height)
		return part
	}
	var s *schema
	switch class {
	case "Array":
		s = &schema{kind: arrayKind, word: "Array", expected: "an array", element: inner(n, "elementSchema", "the array")}
	case "Map":
		s = l.mapSchema(d, n, owner, inner)
	case "Enum":
		return l.enumSchema(d, n, owner)
	default:
		s = l.objectSchema(d, n, owner, inner)
	}
	s.height = height + 1
	return s
}

func (l *loader) mapSchema(d *definition, n *node, owner string, inner func(*node, string, string) *schema) *schema {
	s := &schema{kind: mapKind, word: "Map", expected: "an object (a map)", element: anything}
	key := n.get("mapKey")
	if key == nil || key.kind != objectNode {
		l.at(n, `add "mapKey": {"name": "key", "schema": "string"}`, "the map%s has no mapKey", of(owner))
	} else {
		l.name(key, d.version, "mapKey")
		word, ok := key.get("schema").str()
		if k := builtin(word); !ok || k == nil || k.kind != stringKind {
			l.at(key, `its schema is "string"`, "the keys of the map%s are not strings", of(owner))
		}
	}
	value := n.get("mapValue")
	if value == nil || value.kind != objectNode {
		l.at(n, `add "mapValue": {"name": "value", "schema": "double"}`, "the map%s has no mapValue", of(owner))
		return s
	}
	l.name(value, d.version, "mapValue")
	s.element = inner(value, "schema", "the mapValue")
	return s
}

func (l *loader) objectSchema(d *definition, n *node, owner string, inner func(*node, string, string) *schema) *schema {
	s := &schema{kind: objectKind, word: "Object", fields: map[string]*schema{}}
	fields := n.get("fields")
	if len(fields.list()) == 0 && d.version == 2 {
		l.at(n, `add "fields": [...]`, "the object%s has no fields", of(owner))
	}
	var names []string
	for _, f := range fields.list() {
		if f.kind != objectNode {
			l.at(f, `such as {"name": "x", "schema": "double"}`, "a field of the object%s is %s", of(owner), f.describe())
			continue
		}
		name, ok := l.name(f, d.version, "field")
		if !ok {
			continue
		}
		if s.fields[name] != nil {
			l.at(f, "rename one of them", "the object%s has two fields %q", of(owner), name)
			continue
		}
		l.texts(f)
		s.fields[name] = inner(f, "schema", "the field "+name)
		names = append(names, name)
		if isA(f, "Required") {
			s.required = append(s.required, name)
		}
	}
	s.expected = "an object of " + few(names)
	return s
}

// few lists words for a message, at most eight.
func few(words []string) string {
	const most = 8
	if len(words) == 0 {
		return "no fields"
	}
	if len(words) > most {
		return strings.Join(words[:most], ", ") + ", ..."
	}
	return strings.Join(words, ", ")
}

// wrap returns the schema of an object with one field that must be there and no other.
func wrap(name string, s *schema) *schema {
	return &schema{
		kind: objectKind, word: "Object", expected: "an object of " + name, closed: true,
		fields: map[string]*schema{name: s}, required: []string{name},
	}
}
