package mapping

import (
	"fmt"
	"slices"
	"time"

	"iotc-gateway/mapping/payload"
)

// readings makes records of a document that is a list of readings: those of one device and one time become one record.
func (x *routeRun) readings() error {
	if len(x.doc.Readings) == 0 {
		x.res.Tally.Empty++
		return nil
	}
	if len(x.doc.Readings) > maxItems {
		return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the payload holds more than %d readings", maxItems)}
	}
	var fixed string
	if x.r.device != nil || x.r.deviceCapture >= 0 {
		var err error
		if fixed, err = x.device(); err != nil {
			return err
		}
	}
	var open group
	for i := range x.doc.Readings {
		rd := &x.doc.Readings[i]
		if rd.Value == nil {
			continue
		}
		name := rd.Name
		if to, ok := x.r.spec.Rename[name]; ok {
			name = to
		}
		if slices.Contains(x.r.spec.Except, name) || slices.Contains(x.r.spec.Except, rd.Name) {
			continue
		}
		if err := validOutput(name); err != nil {
			e := asError(err)
			e.Hint = "give it another name with rename, or leave it out with except"
			return e
		}
		value, err := Encode(rd.Value)
		if err != nil {
			return &Error{Code: CodeUndecodable, Name: name, Message: name + ": " + err.Error()}
		}
		device := fixed
		if device == "" {
			device = rd.Device
		}
		if !open.takes(device, name, rd) {
			if err := x.flush(&open); err != nil {
				return err
			}
			open = group{device: device, time: rd.Time, relative: rd.Relative, historical: rd.Historical}
		}
		open.fields = append(open.fields, field{name, value})
	}
	return x.flush(&open)
}

// group is a record in the making.
type group struct {
	device               string
	time                 time.Time
	relative, historical bool
	fields               []field
}

func (g *group) takes(device, name string, rd *payload.Reading) bool {
	if g.fields == nil || g.device != device || !g.time.Equal(rd.Time) || g.historical != rd.Historical {
		return false
	}
	for _, f := range g.fields {
		if f.name == name {
			return false
		}
	}
	return true
}

func (x *routeRun) flush(g *group) error {
	if len(g.fields) == 0 {
		return nil
	}
	if err := x.convert(g.fields); err != nil {
		return err
	}
	r := Record{Kind: KindTelemetry, Device: g.device, Value: joined(g.fields), Time: x.in.now, TimeFrom: Receipt, Historical: g.historical, Origin: x.r.name}
	if !g.time.IsZero() {
		r.Time, r.TimeFrom = g.time.UTC(), Payload
		if !credible(r.Time, x.in.now, x.in.pub.FutureBound) {
			x.res.Tally.Implausible++
			r.Time, r.TimeFrom, r.Historical = x.in.now, Receipt, false
		} else if g.relative {
			r.TimeFrom = Receipt
		}
	}
	if r.Device == "" {
		return &Error{Code: CodeBadDevice, Message: "neither the topic nor the payload names a device", Hint: "write {device} into match, or give device: an expression"}
	}
	if err := ValidDeviceID(r.Device); err != nil {
		return err
	}
	return inDeviceOrNil(x.m.emit(x.in, x.res, r, x.r), r.Device)
}

func inDeviceOrNil(err error, device string) error {
	if err == nil {
		return nil
	}
	return inDevice(err, device)
}
