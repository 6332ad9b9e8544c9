package mapping

import (
	"encoding/json"
	"net/url"
	"time"
)

// Kind says what a record tells the application.
type Kind uint8

// The kinds of records.
const (
	KindTelemetry Kind = iota + 1
	KindProperty
	KindCommand
	KindDevice
)

// String returns the kind's word: telemetry, property, command or device.
func (k Kind) String() string {
	switch k {
	case KindTelemetry:
		return "telemetry"
	case KindProperty:
		return "property"
	case KindCommand:
		return "command"
	case KindDevice:
		return "device"
	default:
		return "unknown"
	}
}

// MarshalText writes the kind's word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// TimeSource says where a record's time comes from.
type TimeSource uint8

// The sources of a record's time.
const (
	Receipt TimeSource = iota // the gateway's clock when the publication came
	Payload                   // the device's own word
)

// Record is one thing to tell the application.
type Record struct {
	Kind   Kind
	Device string
	Name   string // property or command; empty for telemetry and device
	// Value is JSON. Telemetry: an object without its timestamp. Property: the bare value. Command: the arguments, or nothing.
	// Device: the body of its creation, or nothing. It may alias the publication's payload.
	Value      json.RawMessage
	Time       time.Time // UTC
	TimeFrom   TimeSource
	Historical bool   // told later than it happened, as the device says
	Origin     string // the route, "native", or the device family
	// Response is where the one who triggered a command wants the answer (MQTT 5), nil if he did not say.
	Response *Reply
}

// Reply is an MQTT 5 response topic with its correlation data.
type Reply struct {
	Topic       string
	Correlation []byte
}

// timestampFormat keeps what a device said to the nanosecond and ends in Z.
const timestampFormat = time.RFC3339Nano

// Request returns the REST call that the record becomes. The path begins at /devices; body is nil where there is none.
func (r Record) Request() (method, path string, body []byte) {
	base := "/devices/" + url.PathEscape(r.Device)
	switch r.Kind {
	case KindTelemetry:
		return "POST", base + "/telemetry", r.TelemetryBody()
	case KindProperty:
		body = make([]byte, 0, len(r.Value)+len(`{"value":}`))
		body = append(body, `{"value":`...)
		body = append(body, r.Value...)
		return "PATCH", base + "/properties/" + url.PathEscape(r.Name), append(body, '}')
	case KindCommand:
		return "POST", base + "/commands/" + url.PathEscape(r.Name), r.Value
	case KindDevice:
		if len(r.Value) == 0 {
			return "PUT", base, []byte("{}")
		}
		return "PUT", base, r.Value
	default:
		return "", "", nil
	}
}

// TelemetryBody is the body of a telemetry record's request. It puts the time back into the object: {"temperature":21.50}
// becomes {"temperature":21.50,"timestamp":"..."}.
func (r *Record) TelemetryBody() []byte {
	n := len(r.Value)
	if n < 2 {
		return nil
	}
	b := make([]byte, 0, n+len(`,"timestamp":""`)+len(timestampFormat))
	b = append(b, r.Value[:n-1]...)
	if n > 2 {
		b = append(b, ',')
	}
	b = append(b, `"timestamp":"`...)
	b = r.Time.UTC().AppendFormat(b, timestampFormat)
	return append(b, `"}`...)
}
