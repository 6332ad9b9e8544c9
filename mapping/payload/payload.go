package payload

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Decoder turns the bytes of one publication into a Document. A Decoder is compiled once by New, holds no
// state from one call to the next and is safe for use by several goroutines. It never keeps data.
type Decoder interface {
	// Decode reads data as one document. Now is the time of receipt; only formats with relative times use
	// it. Every fault is an *Error.
	Decode(data []byte, now time.Time) (Document, error)
}

// Document is what a payload says.
//
// Value is a tree for expressions, made of nil, bool, string, int64, uint64, float64, json.Number, []byte,
// time.Time, []any and map[string]any and nothing else. Readings are the same content as single values, and are
// filled only by the formats that are lists of readings by nature: SenML, InfluxDB line protocol, CSV, binary
// layouts and Sparkplug B.
type Document struct {
	Value    any
	Readings []Reading
}

// Reading is one value of one thing at one time.
type Reading struct {
	Device     string    // who measured, as far as the payload tells; "" when it does not
	Name       string    // what was measured; "" for a SenML record without a name
	Value      any       // as in Document.Value
	Unit       string    // as the payload spells it; "" when it has none
	Time       time.Time // zero: the payload tells no time
	Relative   bool      // Time was reckoned from the time of receipt, so it is as good as our own clock
	Historical bool      // the sender marks it as stored earlier and sent late (Sparkplug B is_historical)
}

// Limits bound what one payload may cost. They hold before anything of that size is allocated.
type Limits struct {
	MaxBytes int // of one payload, and of what it unpacks to
	MaxDepth int // of arrays and objects within each other
	MaxItems int // values in one payload, of all depths together
}

// DefaultLimits are wide enough for what devices publish and narrow enough for a small board: a payload at all
// three limits costs a few MiB for the time of one publication.
func DefaultLimits() Limits { return Limits{MaxBytes: 1 << 20, MaxDepth: 32, MaxItems: 1 << 16} }

// orDefault replaces every limit that is not set.
func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.MaxBytes <= 0 {
		l.MaxBytes = d.MaxBytes
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = d.MaxDepth
	}
	if l.MaxItems <= 0 {
		l.MaxItems = d.MaxItems
	}
	return l
}

// Options tune a format. The zero value is right for most; options of another format are ignored.
type Options struct {
	Limits Limits `yaml:"-"`

	True         []string `yaml:"true" doc:"Words that mean true to the format boolean, besides its own."`
	False        []string `yaml:"false" doc:"Words that mean false to the format boolean, besides its own."`
	DecimalComma bool     `yaml:"decimal_comma" doc:"Numbers of the formats number and csv are written with a decimal comma."`

	Influx InfluxOptions `yaml:"influx" doc:"Options of the format influx."`
	CSV    CSVOptions    `yaml:"csv" doc:"Options of the format csv."`
	Binary BinaryOptions `yaml:"binary" doc:"The layout of the format binary."`
}

// wrappers are the encodings that may stand in front of a format: "gzip+json".
var wrappers = map[string]func(Decoder, Options) Decoder{
	"gzip":   newGzip,
	"base64": newBase64,
	"hex":    newHex,
}

// formats are the decoders by name.
var formats = map[string]func(Options) (Decoder, error){
	"auto":       newAuto,
	"json":       newJSON,
	"number":     newNumber,
	"string":     newString,
	"boolean":    newBoolean,
	"bytes":      newBytes,
	"cbor":       newCBOR,
	"senml":      newSenML,
	"senml-cbor": newSenMLCBOR,
	"influx":     newInflux,
	"csv":        newCSV,
	"binary":     newBinary,
	"sparkplug":  newSparkplug,
}

// Formats lists the names that New knows, in order.
func Formats() []string { return slices.Sorted(maps.Keys(formats)) }

// New compiles the decoder of a format. The empty name is "auto".
func New(format string, opts Options) (Decoder, error) {
	opts.Limits = opts.Limits.orDefault()
	before, rest, wrapped := strings.Cut(format, "+")
	if wrapped {
		wrap, ok := wrappers[before]
		if !ok {
			return nil, fmt.Errorf("%w %q: nothing named %q can stand in front of a format (%s)",
				ErrUnknownFormat, format, before, strings.Join(slices.Sorted(maps.Keys(wrappers)), ", "))
		}
		inner, err := New(rest, opts)
		if err != nil {
			return nil, err
		}
		return wrap(inner, opts), nil
	}
	if format == "" {
		format = "auto"
	}
	compile, ok := formats[format]
	if !ok {
		return nil, fmt.Errorf("%w %q (known: %s)", ErrUnknownFormat, format, strings.Join(Formats(), ", "))
	}
	return compile(opts)
}
