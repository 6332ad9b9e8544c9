package emulator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"iotc-gateway/bridge/central"
)

// SendTelemetry takes one event. An event whose request id was applied before is answered as it was then, and counted as a
// duplicate but not kept again.
func (a *Application) SendTelemetry(ctx context.Context, id string, body json.RawMessage, requestID string) error {
	end, err := a.begin(ctx, central.OpSendTelemetry, id)
	if err != nil {
		return err
	}
	return end(a.telemetry(id, body, requestID))
}

func (a *Application) telemetry(id string, body json.RawMessage, requestID string) error {
	d, err := a.lookup(id)
	if err != nil {
		return err
	}
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' || !gjson.ValidBytes(body) {
		return central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "Telemetry must be a JSON object.")
	}
	when, hasTime, err := timestamp(body)
	if err != nil {
		return err
	}
	if err := a.checkTelemetry(d, body); err != nil {
		return err
	}
	now := a.now()
	duplicate := a.applied(requestID)
	sequence := gjson.GetBytes(body, cmp.Or(a.SequenceMember, "seq"))
	sameContent := !duplicate && a.CompareContent && a.content.addKey(contentKey(id, body))

	a.totals.telemetry.Add(1)
	a.totals.bytes.Add(uint64(len(body)))
	d.mu.Lock()
	d.seen(now)
	d.account.Received++
	d.account.LastReceived = d.info.LastSeen
	if duplicate {
		d.account.Duplicates++
		d.mu.Unlock()
		return nil
	}
	d.account.Accepted++
	if sameContent {
		d.account.SameContent++
		a.totals.sameContent.Add(1)
	}
	behind := false
	if sequence.Type == gjson.Number {
		behind = d.sequence.reach(sequence.Num)
	} else if hasTime {
		behind = d.time.reach(float64(when.UnixNano()))
	}
	if behind {
		d.account.OutOfOrder++
		a.totals.outOfOrder.Add(1)
	}
	if a.History >= 0 {
		d.keep(Event{now, requestID, bytes.Clone(body)}, cmp.Or(a.History, DefaultHistory))
	}
	d.mu.Unlock()
	a.totals.accepted.Add(1)
	if a.OnTelemetry != nil {
		a.OnTelemetry(id, body, requestID)
	}
	return nil
}

// timestamp reads the member of that name, which is an RFC 3339 time if it is there.
func timestamp(body json.RawMessage) (time.Time, bool, error) {
	v := gjson.GetBytes(body, "timestamp")
	if !v.Exists() {
		return time.Time{}, false, nil
	}
	if v.Type == gjson.String {
		if t, err := time.Parse(time.RFC3339, v.Str); err == nil {
			return t, true, nil
		}
	}
	return time.Time{}, false, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody,
		"The member \"timestamp\" must be an RFC 3339 time such as \"2023-10-26T15:05:10Z\".")
}

func (a *Application) checkTelemetry(d *device, body json.RawMessage) error {
	t := a.template(d)
	if t == nil {
		return nil
	}
	if err := t.ValidateTelemetry(body); err != nil {
		return central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The telemetry does not fit the device template: %s.", err)
	}
	return nil
}

// template returns the device's template, nil for a device without a known one.
func (a *Application) template(d *device) Template {
	if len(a.Templates) == 0 {
		return nil
	}
	return a.Templates[d.snapshot().Template]
}

func contentKey(id string, body []byte) key {
	h := sha256.New()
	h.Write([]byte(id))
	h.Write([]byte{0})
	h.Write(body)
	return key(h.Sum(nil)[:16])
}

// Telemetry returns the last n events of a device, oldest first, without those that came again under the same request id.
func (a *Application) Telemetry(id string, n int) ([]Event, error) {
	a.init()
	d, err := a.lookup(id)
	if err != nil {
		return nil, err
	}
	return d.events(n), nil
}
