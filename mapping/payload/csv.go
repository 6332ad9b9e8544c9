package payload

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// CSVOptions tune the format csv.
type CSVOptions struct {
	Separator    string   `yaml:"separator" doc:"One character between values; a comma by default."`
	Header       bool     `yaml:"header" doc:"The first row names the columns."`
	Columns      []string `yaml:"columns" doc:"Names of the columns, in order; an empty name skips the column."`
	TimeColumn   string   `yaml:"time_column" doc:"The column that tells the time: RFC 3339, or seconds or milliseconds since 1970."`
	DeviceColumn string   `yaml:"device_column" doc:"The column that names the device."`
}

// csvDecoder reads RFC 4180, rows of any length. Document.Value is a list of rows: objects when the columns have
// names, else lists. What looks like a number is one, true and false are booleans, an empty value is null, and
// everything else is text; a value in quotes is no exception, because most writers quote at will.
type csvDecoder struct {
	limits    Limits
	separator rune
	opts      CSVOptions
	comma     bool
}

func newCSV(opts Options) (Decoder, error) {
	d := &csvDecoder{limits: opts.Limits, separator: ',', opts: opts.CSV, comma: opts.DecimalComma}
	if s := opts.CSV.Separator; s != "" {
		r, size := utf8.DecodeRuneInString(s)
		if size != len(s) || r == '"' || r == '\r' || r == '\n' || r == utf8.RuneError {
			return nil, fmt.Errorf("csv: separator %q is not one character that can separate values", s)
		}
		d.separator = r
	}
	if d.comma && d.separator == ',' {
		return nil, errors.New("csv: a decimal comma needs another separator, such as a semicolon")
	}
	if d.opts.Header && len(d.opts.Columns) > 0 {
		return nil, errors.New("csv: either header or columns names the columns, not both")
	}
	for _, name := range []string{d.opts.TimeColumn, d.opts.DeviceColumn} {
		if name != "" && !d.opts.Header && !slices.Contains(d.opts.Columns, name) {
			return nil, fmt.Errorf("csv: there is no column named %q", name)
		}
	}
	return d, nil
}

func (d *csvDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	if len(data) > d.limits.MaxBytes {
		return Document{}, tooLarge("csv", len(data), d.limits)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimRight(trimBOM(data), "\x00")))
	r.Comma, r.FieldsPerRecord, r.ReuseRecord, r.TrimLeadingSpace = d.separator, -1, true, d.separator != '\t'
	columns := d.opts.Columns
	var doc Document
	rows := []any{}
	items := 0
	for first := true; ; first = false {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Document{}, csvFault(err)
		}
		if items += len(record); items > d.limits.MaxItems {
			return Document{}, d.faultAt(r, 0, ErrTooLarge, "more than %d values", d.limits.MaxItems)
		}
		switch {
		case first && d.opts.Header:
			columns = make([]string, len(record))
			for i, name := range record {
				columns[i] = toText([]byte(strings.TrimSpace(name)))
			}
		case columns == nil:
			row := make([]any, len(record))
			for i, text := range record {
				row[i] = d.value(text)
			}
			rows = append(rows, row)
		default:
			row, readings, err := d.row(r, columns, record)
			if err != nil {
				return Document{}, err
			}
			rows = append(rows, row)
			doc.Readings = append(doc.Readings, readings...)
		}
	}
	if len(rows) == 0 {
		return Document{}, syntaxAt("csv", data, 0, "no row of data")
	}
	doc.Value = rows
	return doc, nil
}

// row reads a row under column names. Values beyond the last column are a fault: they would be lost in silence.
func (d *csvDecoder) row(r *csv.Reader, columns, record []string) (map[string]any, []Reading, error) {
	if len(record) > len(columns) {
		return nil, nil, d.faultAt(r, len(columns), ErrSyntax, "%d values in a row of %d columns", len(record), len(columns))
	}
	row := make(map[string]any, len(record))
	var device string
	var at time.Time
	readings := make([]Reading, 0, len(record))
	for i, text := range record {
		name := columns[i]
		if name == "" {
			continue
		}
		switch value := d.value(text); {
		case name == d.opts.DeviceColumn:
			device = toText([]byte(strings.TrimSpace(text)))
			row[name] = device
		case name == d.opts.TimeColumn && value != nil:
			var ok bool
			if at, ok = parseTime(value); !ok {
				return nil, nil, d.faultAt(r, i, ErrSyntax, "%s is no time", quote([]byte(text)))
			}
			row[name] = at
		case value == nil:
			row[name] = nil
		default:
			row[name] = value
			readings = append(readings, Reading{Name: name, Value: value})
		}
	}
	for i := range readings {
		readings[i].Device, readings[i].Time = device, at
	}
	return row, readings, nil
}

func (d *csvDecoder) value(text string) any {
	text = strings.TrimSpace(text)
	switch text {
	case "":
		return nil
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	}
	if v, ok := parseNumber([]byte(text), d.comma); ok {
		return v
	}
	return toText([]byte(text))
}

func (d *csvDecoder) faultAt(r *csv.Reader, field int, sentinel error, message string, args ...any) error {
	line, column := r.FieldPos(field)
	e := fault("csv", -1, sentinel, message, args...)
	e.Line, e.Column = line, column
	return e
}

func csvFault(err error) error {
	e := fault("csv", -1, ErrSyntax, "%v", err)
	if at, ok := errors.AsType[*csv.ParseError](err); ok {
		e.Line, e.Column, e.Message = at.Line, at.Column, at.Err.Error()
	}
	return e
}

// latestSecond bounds times to the year 9999, beyond which RFC 3339 cannot write them.
const latestSecond = 253402300799

// parseTime reads RFC 3339 (a space for the T is taken, a missing zone is not) or a number since 1970: seconds
// below 1e11, milliseconds above, which splits the two at the year 5138 and at March 1973.
func parseTime(v any) (time.Time, bool) {
	switch v := v.(type) {
	case string:
		if len(v) > 10 && v[10] == ' ' {
			v = v[:10] + "T" + v[11:]
		}
		at, err := time.Parse(time.RFC3339Nano, v)
		return at.UTC(), err == nil
	case int64:
		switch {
		case v < 0 || v > latestSecond*1000:
			return time.Time{}, false
		case v >= 1e11:
			return time.UnixMilli(v).UTC(), true
		}
		return time.Unix(v, 0).UTC(), true
	case float64:
		switch {
		case v < 0 || v > latestSecond*1000:
			return time.Time{}, false
		case v >= 1e11:
			return unixTime(v / 1000), true
		}
		return unixTime(v), true
	}
	return time.Time{}, false
}

// shortest returns the double with the fewest digits that is v as a single: a device that measures 20.6 in single
// precision meant 20.6 and not 20.600000381469727. Converting it back gives v exactly.
func shortest(v float32) float64 {
	f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	if err != nil {
		return float64(v)
	}
	return f
}
