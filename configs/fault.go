package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is where a value was written.
type Position struct {
	// File is the file, or the environment variable or flag that gave the value.
	File string `json:"file,omitempty"`
	// Line and Column count from 1; both are 0 for what was not read from a file.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

// String is file:line:column as compilers write it, so that editors jump there.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Position
	// Path is the key with all keys above it: broker.listeners[1].tls.cert_file.
	Path string `json:"path,omitempty"`
	// Message says what is wrong and, where that is known, what to write instead.
	Message string `json:"message"`
}

// String is the whole fault on one line.
func (f Fault) String() string {
	parts := make([]string, 0, 3)
	if where := f.Position.String(); where != "" {
		parts = append(parts, where)
	}
	if f.Path != "" {
		parts = append(parts, f.Path)
	}
	return strings.Join(append(parts, f.Message), ": ")
}

// Error carries every fault that was found, in the order of the files.
type Error struct {
	Faults []Fault
}

// Error lists the faults, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// maxFaults keeps a hostile or utterly wrong file from filling a screen and
// the memory; nobody mends more than this in one go.
const maxFaults = 100

// report collects faults and remembers where every value came from.
type report struct {
	faults []Fault
	at     map[string]Position
}

func newReport() *report { return &report{at: make(map[string]Position)} }

func (r *report) add(at Position, path, format string, args ...any) {
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, Fault{Position: at, Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

// addAt is add for a path whose position was noted while decoding. A key that
// was never written is reported where its nearest written parent stands.
func (r *report) addAt(path, message string) {
	r.add(r.where(path), path, "%s", message)
}

func (r *report) where(path string) Position {
	for p := path; p != ""; p = parent(p) {
		if at, ok := r.at[p]; ok {
			return at
		}
	}
	return Position{}
}

// parent cuts the last key or index off a path; it is "" for a top-level key.
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

func (r *report) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{Faults: slices.Compact(r.faults)}
}
