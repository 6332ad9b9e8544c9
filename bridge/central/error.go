package central

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Error is what a server answered instead of success. Its JSON is the object of {"error": ...}.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is a short stable word such as "DeviceNotFound"; empty if the server sent no error body.
	Code string
	// Message is the server's sentence for a person.
	Message string
	// RequestID is the server's own id of the request.
	RequestID string
	// Time is the server's time of the answer, zero if it gave none.
	Time time.Time
	// RetryAfter is how long the server asks to wait, 0 if it does not ask.
	RetryAfter time.Duration
	// Allow lists the methods of the resource; only with status 405.
	Allow string
}

// The codes that this package and the emulator give. A foreign server may use others: decide by Status first.
const (
	CodeInvalidRequest    = "InvalidRequest"
	CodeInvalidBody       = "InvalidBody"
	CodeInvalidAPIVersion = "InvalidApiVersion"
	CodeInvalidDeviceID   = "InvalidDeviceId"
	CodeInvalidFilter     = "InvalidFilter"
	CodeUnauthorized      = "Unauthorized"
	CodeForbidden         = "Forbidden"
	CodeNotFound          = "NotFound"
	CodeDeviceNotFound    = "DeviceNotFound"
	CodeCommandNotFound   = "CommandNotFound"
	CodePropertyNotFound  = "PropertyNotFound"
	CodeMethodNotAllowed  = "MethodNotAllowed"
	CodeDeviceExists      = "DeviceExists"
	CodeConflict          = "Conflict"
	CodeTooLarge          = "RequestBodyTooLarge"
	CodeMediaType         = "UnsupportedMediaType"
	CodeTooManyRequests   = "TooManyRequests"
	CodeInternal          = "InternalServerError"
	CodeUnavailable       = "ServiceUnavailable"
	CodeBadGateway        = "BadGateway"
	// CodeRedirect is given by Client to an answer 3xx, which it does not follow.
	CodeRedirect = "Redirect"
)

// Errorf makes an Error with a formatted message.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// DeviceNotFound is the answer to a call that names an unknown device.
func DeviceNotFound(device string) *Error {
	return Errorf(http.StatusNotFound, CodeDeviceNotFound, "There is no device %q.", device)
}

// Unauthorized is the answer to a request without a valid token.
func Unauthorized(format string, args ...any) *Error {
	return Errorf(http.StatusUnauthorized, CodeUnauthorized, format, args...)
}

// MissingRole is the answer to a valid token that lacks a role.
func MissingRole(role string) *Error {
	return Errorf(http.StatusForbidden, CodeForbidden, "The token lacks the role %q that this call needs.", role)
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server answered %d", e.Status)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

// StatusOf returns the HTTP status of the [*Error] in err's chain, 0 if there is none.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// TransportError is a call that ended without an answer.
type TransportError struct {
	// Op is the operation in words, such as "send telemetry".
	Op string
	// MaybeSent is false only if the server cannot have seen the request: the address was not found, the connection was
	// refused, the TLS handshake failed, there was no token. It is true in every doubtful case.
	MaybeSent bool
	Err       error
}

func (e *TransportError) Error() string {
	if e.MaybeSent {
		return e.Op + ": no answer: " + e.Err.Error()
	}
	return e.Op + ": not sent: " + e.Err.Error()
}

func (e *TransportError) Unwrap() error { return e.Err }

// Timeout tells whether the call ran out of time.
func (e *TransportError) Timeout() bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.Err)
	return ok && t.Timeout()
}

// MaybeSent tells whether the call that returned err may have had an effect although it reports none. It is false for a
// request that certainly was not sent and for an answer that refuses it. An answer 5xx leaves the doubt, for a proxy gives
// it too when it lost the server's own, some even 503. One that asks to come again later (503 with Retry-After, RFC 9110
// §15.6.4) or that lacks the method or the version (501, 505) says that nothing was done.
func MaybeSent(err error) bool {
	if err == nil {
		return false
	}
	if e, ok := errors.AsType[*TransportError](err); ok {
		return e.MaybeSent
	}
	e, answered := errors.AsType[*Error](err)
	if !answered {
		return true
	}
	switch e.Status {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	case http.StatusServiceUnavailable:
		return e.RetryAfter <= 0
	}
	return e.Status >= 500
}

var (
	// ErrNoToken means that the token is missing or unreadable; nothing was sent.
	ErrNoToken = errors.New("no token for the uplink")
	// ErrNotAnAnswer means that what answered does not speak this API: a captive portal, a proxy's page, an answer that
	// is too large or no JSON.
	ErrNotAnAnswer = errors.New("the answer is not one of the IoT Central API")
	// ErrAbortConnection makes a Handler close the connection without an answer when a Service returns it. The emulator's
	// fault hooks use it.
	ErrAbortConnection = errors.New("connection aborted")
)
