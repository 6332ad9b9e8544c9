package payload

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Why a payload or a format was refused. An *Error wraps one of the first four.
var (
	ErrSyntax        = errors.New("not in this format")
	ErrTooLarge      = errors.New("larger than the limit")
	ErrTooDeep       = errors.New("nested deeper than the limit")
	ErrUnsupported   = errors.New("not supported")
	ErrUnknownFormat = errors.New("unknown payload format")
)

// Error says what is wrong with a payload and where.
type Error struct {
	Format  string // the format's name: "json"
	Offset  int    // of the first byte that does not fit, from 0; -1 when it is not known
	Line    int    // from 1, for formats made of text; else 0
	Column  int    // in bytes, from 1, for formats made of text; else 0
	Message string // what was expected and what was found; never longer than a line
	Err     error  // ErrSyntax, ErrTooLarge, ErrTooDeep or ErrUnsupported
}

// Error joins the format, the place and the message: "json: line 1, column 9: ...".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Format)
	switch {
	case e.Line > 0 && e.Column > 0:
		fmt.Fprintf(&b, ": line %d, column %d", e.Line, e.Column)
	case e.Line > 0:
		fmt.Fprintf(&b, ": line %d", e.Line)
	case e.Offset >= 0:
		fmt.Fprintf(&b, ": byte %d", e.Offset)
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	return b.String()
}

// Unwrap returns the sentinel, so that errors.Is tells a limit from a fault in the payload.
func (e *Error) Unwrap() error { return e.Err }

// syntaxAt reports a fault at a byte of a text.
func syntaxAt(format string, data []byte, offset int, message string, args ...any) *Error {
	return faultAt(format, data, offset, ErrSyntax, message, args...)
}

func faultAt(format string, data []byte, offset int, sentinel error, message string, args ...any) *Error {
	offset = min(max(offset, 0), len(data))
	before := data[:offset]
	return &Error{
		Format: format, Offset: offset,
		Line:    bytes.Count(before, []byte{'\n'}) + 1,
		Column:  offset - bytes.LastIndexByte(before, '\n'),
		Message: fmt.Sprintf(message, args...), Err: sentinel,
	}
}

// fault reports a fault at a byte of a binary format; offset -1 is nowhere in particular.
func fault(format string, offset int, sentinel error, message string, args ...any) *Error {
	return &Error{Format: format, Offset: offset, Message: fmt.Sprintf(message, args...), Err: sentinel}
}

// tooLarge reports a payload over Limits.MaxBytes.
func tooLarge(format string, size int, limits Limits) *Error {
	return fault(format, -1, ErrTooLarge, "the payload has %d bytes, the limit is %d", size, limits.MaxBytes)
}

// quote shows a piece of a payload in a message: short, printable, never raw control bytes.
func quote(piece []byte) string {
	const longest = 24
	if len(piece) > longest {
		return fmt.Sprintf("%q...", piece[:longest])
	}
	return fmt.Sprintf("%q", piece)
}
