package payload

import (
	"errors"
	"time"

	"iotc-gateway/mapping/payload/sparkplug"
)

// sparkplugDecoder reads one Sparkplug B payload by itself, without the session that it belongs to: a metric of
// which only the alias is known is named "alias_12", and one without a type is taken as the field it stands in. The
// sparkplug preset, which knows the session, is what resolves both. Document.Value has seq, uuid and time where
// told, and metrics: a list of objects with name, value, type and, where they say something, alias, time,
// historical, transient and properties. Null metrics and template definitions make no reading.
type sparkplugDecoder struct{ limits sparkplug.Limits }

func newSparkplug(opts Options) (Decoder, error) {
	return &sparkplugDecoder{sparkplug.Limits(opts.Limits)}, nil
}

func (d *sparkplugDecoder) Decode(data []byte, _ time.Time) (Document, error) {
	p, err := sparkplug.Decode(data, d.limits)
	if err != nil {
		return Document{}, sparkplugFault(err)
	}
	metrics := make([]any, 0, len(p.Metrics))
	doc := Document{Readings: make([]Reading, 0, len(p.Metrics))}
	for i := range p.Metrics {
		m := &p.Metrics[i]
		value, err := m.Value(sparkplug.Unknown)
		if err != nil {
			return Document{}, sparkplugFault(err)
		}
		name := m.Name
		if name == "" && m.HasAlias {
			name = sparkplug.AliasName(m.Alias)
		}
		metrics = append(metrics, metricTree(m, name, value))
		if value == nil || m.Definition() {
			continue
		}
		reading := Reading{Name: name, Value: value, Time: m.Time, Historical: m.Historical}
		if reading.Time.IsZero() {
			reading.Time = p.Time
		}
		reading.Unit, _ = m.Properties["engUnit"].(string)
		doc.Readings = append(doc.Readings, reading)
	}
	tree := map[string]any{"metrics": metrics}
	if p.HasSeq {
		tree["seq"] = int64(p.Seq)
	}
	if p.UUID != "" {
		tree["uuid"] = p.UUID
	}
	if !p.Time.IsZero() {
		tree["time"] = p.Time
	}
	doc.Value = tree
	return doc, nil
}

func metricTree(m *sparkplug.Metric, name string, value any) map[string]any {
	tree := map[string]any{"name": name, "value": value, "type": m.Type.String()}
	if m.HasAlias {
		tree["alias"] = int64(m.Alias)
		if int64(m.Alias) < 0 {
			tree["alias"] = m.Alias
		}
	}
	if !m.Time.IsZero() {
		tree["time"] = m.Time
	}
	if m.Historical {
		tree["historical"] = true
	}
	if m.Transient {
		tree["transient"] = true
	}
	if m.Properties != nil {
		tree["properties"] = m.Properties
	}
	return tree
}

// sparkplugFault turns an error of the wire decoder into this package's.
func sparkplugFault(err error) error {
	e := fault("sparkplug", -1, ErrSyntax, "%v", err)
	if at, ok := errors.AsType[*sparkplug.Error](err); ok {
		e.Offset, e.Message = at.Offset, at.Message
	}
	switch {
	case errors.Is(err, sparkplug.ErrTooLarge):
		e.Err = ErrTooLarge
	case errors.Is(err, sparkplug.ErrTooDeep):
		e.Err = ErrTooDeep
	}
	return e
}
