package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"iotc-gateway/bridge/central"
)

// firmwareProperty is the property that shows as the device's firmwareVersion.
const firmwareProperty = "firmwareVersion"

// Property returns a property that was set before.
func (a *Application) Property(ctx context.Context, id, name string) (central.Property, error) {
	end, err := a.begin(ctx, central.OpGetProperty, id)
	if err != nil {
		return central.Property{}, err
	}
	d, err := a.lookup(id)
	if err != nil {
		return central.Property{}, end(err)
	}
	d.mu.Lock()
	p, ok := d.properties[name]
	d.mu.Unlock()
	if !ok {
		return central.Property{}, end(propertyNotFound(id, name))
	}
	p.Value = bytes.Clone(p.Value)
	return p, end(nil)
}

// UpdateProperty sets a property. A device without a template has whatever properties are set, so that reports arrive.
func (a *Application) UpdateProperty(ctx context.Context, id, name string, value json.RawMessage, requestID string) (central.Property, error) {
	end, err := a.begin(ctx, central.OpUpdateProperty, id)
	if err != nil {
		return central.Property{}, err
	}
	p, err := a.setProperty(id, name, value, requestID)
	return p, end(err)
}

func (a *Application) setProperty(id, name string, value json.RawMessage, requestID string) (central.Property, error) {
	d, err := a.lookup(id)
	if err != nil {
		return central.Property{}, err
	}
	if !json.Valid(value) {
		return central.Property{}, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The property's value is not valid JSON.")
	}
	if t := a.template(d); t != nil {
		if err := t.ValidateProperty(name, value); errors.Is(err, ErrNotInTemplate) {
			return central.Property{}, propertyNotFound(id, name)
		} else if err != nil {
			return central.Property{}, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The property %q does not fit the device template: %s.", name, err)
		}
	}
	now := a.now().Truncate(time.Millisecond)
	duplicate := a.applied(requestID)
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.properties[name]; ok && duplicate {
		p.Value = bytes.Clone(p.Value)
		return p, nil
	}
	if _, ok := d.properties[name]; !ok && len(d.properties) >= maxProperties {
		return central.Property{}, central.Errorf(http.StatusBadRequest, central.CodeInvalidRequest, "The device has its most properties, %d.", maxProperties)
	}
	if d.properties == nil {
		d.properties = make(map[string]central.Property)
	}
	d.properties[name] = central.Property{Value: bytes.Clone(value), LastReportedTime: now}
	d.account.Properties++
	a.totals.properties.Add(1)
	d.seen(now)
	if name == firmwareProperty {
		var version string
		if json.Unmarshal(value, &version) == nil {
			d.info.FirmwareVersion = version
		}
	}
	return central.Property{Value: bytes.Clone(value), LastReportedTime: now}, nil
}

func propertyNotFound(id, name string) *central.Error {
	return central.Errorf(http.StatusNotFound, central.CodePropertyNotFound, "The device %q has no property %q.", id, name)
}
