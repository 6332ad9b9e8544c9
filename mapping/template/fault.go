package template

import (
	"errors"
	"fmt"
	"strings"
)

// Fault is one value that does not fit its schema.
type Fault struct {
	Path     string `json:"path"`     // from the name of the telemetry, property or command: position.lat, readings[3].t
	Expected string `json:"expected"` // such as "integer from -2147483648 to 2147483647"
	Found    string `json:"found"`    // such as `"warm"`, cut after 64 bytes
}

// Error implements error.
func (f Fault) Error() string {
	if f.Path == "" {
		return "expected " + f.Expected + ", found " + f.Found
	}
	return f.Path + ": expected " + f.Expected + ", found " + f.Found
}

// Error says why values do not fit a template.
type Error struct {
	Template string  `json:"template"`
	Faults   []Fault `json:"faults"`         // the first MaxFaults
	More     int     `json:"more,omitempty"` // faults beyond those
}

// Error implements error: every fault in one line.
func (e *Error) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Error())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "; and %d more", e.More)
	}
	fmt.Fprintf(&b, " (template %s)", e.Template)
	return b.String()
}

// Unwrap lets errors.As find a single Fault.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Faults))
	for i := range e.Faults {
		errs[i] = e.Faults[i]
	}
	return errs
}

// ErrUnknownName is behind every *UnknownNameError: the template has no property or command of that name.
var ErrUnknownName = errors.New("not in the device template")

// UnknownNameError says which property or command a template does not have. The application would answer 404.
type UnknownNameError struct {
	Template string
	What     string // property or command
	Name     string
	Near     string // a name that was perhaps meant, or ""
}

// Error implements error.
func (e *UnknownNameError) Error() string {
	text := fmt.Sprintf("the template %s has no %s %q", e.Template, e.What, clip(e.Name))
	if e.Near != "" {
		text += fmt.Sprintf(" (did you mean %q?)", e.Near)
	}
	return text
}

// Is makes errors.Is(err, ErrUnknownName) true.
func (e *UnknownNameError) Is(target error) bool { return target == ErrUnknownName }
