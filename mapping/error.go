package mapping

import "strings"

// The codes of an Error. They are part of the output of tools and do not change.
const (
	CodeUnmapped     = "unmapped"      // nothing knows the topic
	CodeUndecodable  = "undecodable"   // the payload is not what it should be
	CodeBadDevice    = "bad_device"    // the application would refuse the device id
	CodeBadName      = "bad_name"      // the application would refuse the name of a value
	CodeTooLarge     = "too_large"     // a limit in bytes, count or depth
	CodeTemplate     = "template"      // the device's template says otherwise
	CodeExpression   = "expression"    // an expression failed on this payload
	CodeForeignTopic = "foreign_topic" // a discovery message claims a topic that its sender may not publish
	CodeInternal     = "internal"      // a fault of the mapping itself
	CodeState        = "state"         // a family needs a message that it has not seen, such as a BIRTH
)

// Error says why a publication, or something for a device, could not be mapped.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do about it, if that is known
	Device  string `json:"device,omitempty"`
	Name    string `json:"name,omitempty"`
	Route   string `json:"route,omitempty"`
	Err     error  `json:"-"` // what is behind it, such as the template's own error; may be nil
}

// Unwrap returns what is behind the error.
func (e *Error) Unwrap() error { return e.Err }

// Error implements error: the code stays out of it, the hint is part of it.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Route != "" && e.Route != native {
		b.WriteString(e.Route)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(" (")
		b.WriteString(e.Hint)
		b.WriteString(")")
	}
	return b.String()
}
