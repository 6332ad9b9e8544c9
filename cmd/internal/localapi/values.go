package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/mapping"
	"iotc-gateway/mapping/template"
)

// Sentinels by which Values says why something was not stored.
var (
	// ErrBusy passes: the queue or the disk is full, or the gateway stops.
	ErrBusy = errors.New("the gateway cannot store it now")
	// ErrTooLarge does not pass.
	ErrTooLarge = errors.New("it is too large to be stored")
)

const timestampMember = "timestamp"

// earliest is the first time that can be right.
var earliest = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)

// SendTelemetry stores one event like a device's own.
func (s *Service) SendTelemetry(ctx context.Context, id string, body json.RawMessage, requestID string) error {
	d, err := s.device(id)
	if err != nil {
		return err
	}
	r, err := s.telemetryRecord(d.ID, body, time.Now().UTC())
	if err != nil {
		return err
	}
	_, err = s.once(ctx, "telemetry", d.ID, requestID, func(m Mark) error { return refusal(s.opts.Values.Telemetry(ctx, r, m)) })
	return err
}

// telemetryRecord takes the time out of the body and holds the rest against the
// device's template. A time that cannot be right is replaced by that of the
// receipt, as it is for devices.
func (s *Service) telemetryRecord(device string, body json.RawMessage, now time.Time) (mapping.Record, error) {
	r := mapping.Record{Kind: mapping.KindTelemetry, Device: device, Time: now, TimeFrom: mapping.Receipt, Origin: "api"}
	value, stamp, err := splitTimestamp(body)
	if err != nil {
		return r, err
	}
	if bound := s.opts.FutureBound(); !stamp.Before(earliest) && (bound == 0 || stamp.Sub(now) <= bound) {
		r.Time, r.TimeFrom = stamp, mapping.Payload
	}
	r.Value = value
	if t := s.opts.Template(device); t != nil {
		fitted, _, err := t.Telemetry(r.Value)
		if err != nil {
			return r, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The telemetry does not fit the template of the device %q: %s.", device, err)
		}
		r.Value = bytes.Clone(fitted)
	}
	return r, nil
}

// splitTimestamp returns the compacted object without its member timestamp, and
// that member's time, zero without one. Numbers stay as they are written.
func splitTimestamp(body json.RawMessage) (value json.RawMessage, stamp time.Time, err error) {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' || !json.Valid(body) || !utf8.Valid(body) {
		return nil, stamp, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "Telemetry must be a JSON object in UTF-8.")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		return nil, stamp, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "Telemetry must be a JSON object: %s.", err)
	}
	out := make([]byte, 0, compact.Len())
	out = append(out, '{')
	gjson.ParseBytes(compact.Bytes()).ForEach(func(key, v gjson.Result) bool {
		if key.Str == timestampMember {
			var wrong error
			if v.Type == gjson.String {
				stamp, wrong = time.Parse(time.RFC3339, v.Str)
			}
			if v.Type != gjson.String || wrong != nil {
				err = central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The member \"timestamp\" must be an RFC 3339 time such as \"2023-10-26T15:05:10Z\".")
			}
			return err == nil
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, key.Raw...)
		out = append(out, ':')
		out = append(out, v.Raw...)
		return true
	})
	return append(out, '}'), stamp.UTC(), err
}

// Property returns the last known value of a property.
func (s *Service) Property(_ context.Context, id, name string) (central.Property, error) {
	d, err := s.device(id)
	if err != nil {
		return central.Property{}, err
	}
	p, ok := s.opts.Values.Property(d.ID, name)
	if !ok {
		return central.Property{}, propertyNotFound(id, name)
	}
	return p, nil
}

// UpdateProperty takes a report from a gateway, and a desired value from
// anybody else.
func (s *Service) UpdateProperty(ctx context.Context, id, name string, value json.RawMessage, requestID string) (central.Property, error) {
	d, err := s.device(id)
	if err != nil {
		return central.Property{}, err
	}
	if value, err = s.propertyValue(d.ID, name, value); err != nil {
		return central.Property{}, err
	}
	caller, _ := access.PrincipalOf(ctx)
	_, err = s.once(ctx, "property/"+name, d.ID, requestID, func(m Mark) error {
		if caller.Role == access.Gateway {
			r := mapping.Record{Kind: mapping.KindProperty, Device: d.ID, Name: name, Value: value, Time: time.Now().UTC(), TimeFrom: mapping.Receipt, Origin: "api"}
			return refusal(s.opts.Values.Report(ctx, r, m))
		}
		if _, err := s.opts.Values.Desire(ctx, d.ID, name, value); err != nil {
			return refusal(err)
		}
		s.requests.saved(m)
		return nil
	})
	if err != nil {
		return central.Property{}, err
	}
	return s.Property(ctx, id, name)
}

// propertyValue checks a value, also against the device's template.
func (s *Service) propertyValue(device, name string, value json.RawMessage) (json.RawMessage, error) {
	if err := mapping.ValidName(name); err != nil {
		return nil, central.Errorf(http.StatusBadRequest, central.CodeInvalidRequest, "The property cannot have this name: %s.", err)
	}
	if !json.Valid(value) || !utf8.Valid(value) {
		return nil, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The property's value is not valid JSON in UTF-8.")
	}
	if t := s.opts.Template(device); t != nil {
		fitted, err := t.Property(name, value)
		switch {
		case unknownName(err):
			return nil, propertyNotFound(device, name)
		case err != nil:
			return nil, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The property %q does not fit the template of the device %q: %s.", name, device, err)
		}
		value = fitted
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, value); err != nil {
		return nil, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The property's value is not valid JSON: %s.", err)
	}
	return compact.Bytes(), nil
}

func propertyNotFound(device, name string) *central.Error {
	return central.Errorf(http.StatusNotFound, central.CodePropertyNotFound, "The device %q has no property %q.", device, name)
}

// unknownName tells of a property or command that the template does not have,
// or that the device's family does not know.
func unknownName(err error) bool {
	if errors.Is(err, template.ErrUnknownName) {
		return true
	}
	e, ok := errors.AsType[*mapping.Error](err)
	return ok && e.Code == mapping.CodeBadName
}

// refusal turns why something was not stored into an answer: 503 where it may
// be sent again.
func refusal(err error) error {
	switch {
	case errors.Is(err, ErrTooLarge):
		return central.Errorf(http.StatusRequestEntityTooLarge, central.CodeTooLarge, "It is too large to be stored.")
	case errors.Is(err, ErrBusy):
		e := central.Errorf(http.StatusServiceUnavailable, central.CodeUnavailable, "The gateway does not take it now: %s.", err)
		e.RetryAfter = time.Second
		return e
	}
	return err
}
