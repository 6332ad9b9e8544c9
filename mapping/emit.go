package mapping

import (
	"encoding/json"
	"errors"
	"fmt"

	"iotc-gateway/mapping/template"
)

// Template checks a device's values against its device template, and coerces them where nothing is lost. What it returns takes
// the place of what it was given. *template.Template is one.
type Template interface {
	Telemetry(body json.RawMessage) (fitted json.RawMessage, unknown int, err error)
	Property(name string, value json.RawMessage) (json.RawMessage, error)
	Command(name string, args json.RawMessage) (json.RawMessage, error)
}

// emitChecked validates what the native scheme has validated on its way, and emits the record.
func (m *Mapper) emitChecked(in *input, res *Result, r Record) error {
	if err := ValidDeviceID(r.Device); err != nil {
		return err
	}
	if r.Kind == KindProperty || r.Kind == KindCommand {
		if err := ValidName(r.Name); err != nil {
			return err
		}
	}
	if r.TimeFrom == Payload {
		r.Time = r.Time.UTC()
		if !credible(r.Time, in.now, in.pub.FutureBound) {
			res.Tally.Implausible++
			r.Time, r.TimeFrom, r.Historical = in.now, Receipt, false
		}
	}
	if r.Kind == KindTelemetry {
		if err := checkObject(r.Value); err != nil {
			e := asError(err)
			e.Device = r.Device
			return e
		}
	}
	return m.emit(in, res, r, nil)
}

// emit is the one door through which records enter a result: size, replay, template, report on change. r is the route that made
// the record, nil for the native scheme and families.
func (m *Mapper) emit(in *input, res *Result, rec Record, r *route) error {
	if int64(len(rec.Value)) > m.cfg.MaxRecordBytes {
		return tooLarge(len(rec.Value), m.cfg.MaxRecordBytes)
	}
	if in.pub.Replayed && rec.Kind == KindTelemetry {
		if rec.TimeFrom == Receipt {
			res.Tally.Replayed++
			return nil
		}
		rec.Historical = true
	}
	if m.template != nil {
		if modelled, err := m.fit(res, &rec, r == nil && rec.Origin != native); err != nil || !modelled {
			return err
		}
	}
	if rec.Kind == KindTelemetry {
		rules := reporting{def: m.cfg.Report, byName: m.cfg.Reports}
		if r != nil {
			rules = reporting{def: r.report, byName: r.reports}
		}
		if rules.active() && !rec.Historical {
			if keep := m.thin(in, res, &rec, rules); !keep {
				return nil
			}
		}
	}
	res.Records = append(res.Records, rec)
	return nil
}

// fit holds a record against its device's template. A property online that the template does not have is left out and counted:
// availability is the gateway's own knowledge, and not a fault of the device. So is any other property that a family has found: it
// tells all that the device says of itself, and nobody has written a template for a preset.
func (m *Mapper) fit(res *Result, rec *Record, family bool) (modelled bool, err error) {
	t := m.template(rec.Device)
	if t == nil {
		return true, nil
	}
	var value json.RawMessage
	switch rec.Kind {
	case KindTelemetry:
		var unknown int
		value, unknown, err = t.Telemetry(rec.Value)
		res.Tally.Unmodelled += unknown
	case KindProperty:
		value, err = t.Property(rec.Name, rec.Value)
		if rec.Name == PropertyOnline && errors.Is(err, template.ErrUnknownName) {
			res.Tally.NoOnline++
			return false, nil
		}
		if family && errors.Is(err, template.ErrUnknownName) {
			res.Tally.NoProperty++
			return false, nil
		}
	case KindCommand:
		value, err = t.Command(rec.Name, rec.Value)
	default:
		return true, nil
	}
	if err != nil {
		return true, templateError(err, rec.Device, rec.Name)
	}
	rec.Value = value
	return true, nil
}

// templateError says which device sent, or is sent, what its template does not allow.
func templateError(err error, device, name string) *Error {
	return &Error{Code: CodeTemplate, Device: device, Name: name, Message: "device " + device + ": " + err.Error(), Err: err}
}

func tooLarge(n int, limit int64) *Error {
	return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the record has %d bytes, at most %d are allowed", n, limit)}
}
