package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"iotc-gateway/bridge/central"
)

// FaultSet is the body of /emulator/faults.
type FaultSet struct {
	Down   bool    `json:"down"`
	Faults []Fault `json:"faults"`
}

// faultJSON is a Fault as it is written in JSON, with durations such as "250ms".
type faultJSON struct {
	Operations  []central.Operation `json:"operations,omitempty"`
	Device      string              `json:"device,omitempty"`
	Calls       int                 `json:"calls,omitempty"`
	Probability float64             `json:"probability,omitempty"`
	Latency     duration            `json:"latency,omitzero"`
	Jitter      duration            `json:"jitter,omitzero"`
	Status      int                 `json:"status,omitempty"`
	Code        string              `json:"code,omitempty"`
	Message     string              `json:"message,omitempty"`
	RetryAfter  duration            `json:"retryAfter,omitzero"`
	Drop        string              `json:"drop,omitempty"`
	BlackHole   bool                `json:"blackHole,omitempty"`
}

type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration such as \"250ms\" or \"2s\"", text)
	}
	*d = duration(v)
	return nil
}

// MarshalJSON writes durations as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultJSON{
		f.Operations, f.Device, f.Calls, f.Probability, duration(f.Latency), duration(f.Jitter), f.Status, f.Code, f.Message,
		duration(f.RetryAfter), f.Drop, f.BlackHole,
	})
}

// UnmarshalJSON refuses members it does not know.
func (f *Fault) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var j faultJSON
	if err := dec.Decode(&j); err != nil {
		return err
	}
	*f = Fault{
		j.Operations, j.Device, j.Calls, j.Probability, time.Duration(j.Latency), time.Duration(j.Jitter), j.Status, j.Code,
		j.Message, time.Duration(j.RetryAfter), j.Drop, j.BlackHole,
	}
	return nil
}

// ParseFault reads a fault from one word of a command line: members of the JSON form joined by commas, such as
// "status=429,calls=10,retryAfter=2s" or "drop=before_answering,probability=0.1,operations=sendTelemetry+updateProperty".
func ParseFault(s string) (Fault, error) {
	var f Fault
	for part := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok && name != "blackHole" {
			return Fault{}, fmt.Errorf("fault %q: %q is not of the form name=value", s, part)
		}
		if err := f.set(strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
			return Fault{}, fmt.Errorf("fault %q: %w", s, err)
		}
	}
	if err := f.Validate(); err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", s, err)
	}
	return f, nil
}

func (f *Fault) set(name, value string) (err error) {
	number := func(what string, to *int) {
		if *to, err = strconv.Atoi(value); err != nil {
			err = fmt.Errorf("%s must be a whole number, not %q", what, value)
		}
	}
	wait := func(to *time.Duration) {
		var d duration
		err = d.UnmarshalText([]byte(value))
		*to = time.Duration(d)
	}
	switch name {
	case "operations":
		for op := range strings.SplitSeq(value, "+") {
			f.Operations = append(f.Operations, central.Operation(op))
		}
	case "device":
		f.Device = value
	case "calls":
		number(name, &f.Calls)
	case "probability":
		if f.Probability, err = strconv.ParseFloat(value, 64); err != nil {
			err = fmt.Errorf("probability must be a number from 0 to 1, not %q", value)
		}
	case "latency":
		wait(&f.Latency)
	case "jitter":
		wait(&f.Jitter)
	case "status":
		number(name, &f.Status)
	case "code":
		f.Code = value
	case "message":
		f.Message = value
	case "retryAfter":
		wait(&f.RetryAfter)
	case "drop":
		f.Drop = value
	case "blackHole":
		f.BlackHole = value == "" || value == "true"
		if !f.BlackHole && value != "false" {
			return errors.New("blackHole is true or false")
		}
	default:
		return fmt.Errorf("%q is unknown; known are operations, device, calls, probability, latency, jitter, status, code, message, retryAfter, drop, blackHole", name)
	}
	return err
}
