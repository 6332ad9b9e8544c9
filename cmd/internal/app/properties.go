package app

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/mapping"
)

// openProperties makes the part that carries desired values.
func (g *Gateway) openProperties(service central.Service) error {
	properties, err := bridge.NewProperties(g.cfg.Bridge.Properties, bridge.PropertiesOptions{
		Service: service, Pacer: g.pacer, Registry: g.registry, Store: propertyStore{g.store},
		CloudOwned: g.cloudOwns, Names: g.cloudNames, Deliver: g.deliverDesired, Log: g.log.Named("properties"),
	})
	if err != nil {
		return err
	}
	g.desired = properties
	return nil
}

// cloudNames lists the properties of a device that the cloud owns.
func (g *Gateway) cloudNames(device string) []string {
	r := g.rules.Load()
	names := slices.Clone(r.desired)
	if r.templates == nil {
		return names
	}
	t, ok := r.templates.Get(g.templateOf(device))
	if !ok {
		return names
	}
	for _, v := range t.Properties() {
		if (v.Writable || v.Cloud) && !slices.Contains(names, v.Name) {
			names = append(names, v.Name)
		}
	}
	return names
}

// deliverDesired publishes a desired value in the device's own way.
func (g *Gateway) deliverDesired(v bridge.DesiredValue) (retained bool, err error) {
	res, err := g.ingest.mapper.Load().Desired(v.Device, v.Name, v.Value, v.Version, time.Now(), g.ingest.state)
	if err != nil {
		return false, err
	}
	for _, m := range res.Publish {
		if v.Value == nil && !m.Retain {
			continue // to take back what no broker keeps would set a value
		}
		retained = retained || m.Retain
		if err := g.publish(m); err != nil {
			return retained, err
		}
	}
	if len(res.Changes) > 0 {
		batch := &buffer.Batch{}
		g.ingest.state.changes(batch, res.Changes)
		g.store.Append(batch, nil)
	}
	return retained, nil
}

// restoreDesired publishes retained values again that the broker has lost: it
// writes them down a little later than the gateway does.
func (g *Gateway) restoreDesired() {
	g.desired.All(func(e bridge.PropertyEntry) {
		if !e.Published || !e.Retained || e.Desired == nil {
			return
		}
		res, err := g.ingest.mapper.Load().Desired(e.Device, e.Name, e.Desired, e.Version, time.Now(), g.ingest.state)
		if err != nil {
			return
		}
		for _, m := range res.Publish {
			if kept, ok := g.broker.Retained(m.Topic); m.Retain && (!ok || string(kept) != string(m.Payload)) {
				g.answer(m)
			}
		}
	})
}

// reported tells the owner of desired values what a device said of a property.
func (g *Gateway) reported(r *mapping.Record) { g.desired.Reported(r.Device, r.Name, r.Value, r.Time) }

// propertyStore keeps desired values in the store.
type propertyStore struct{ store *buffer.Store }

func (s propertyStore) LoadProperties(fn func(bridge.PropertyEntry)) error {
	return s.store.Space(spaceDesired).Scan("", func(key string, value []byte) error {
		var e bridge.PropertyEntry
		if err := json.Unmarshal(value, &e); err != nil {
			return fmt.Errorf("entry %q: %w", key, err)
		}
		fn(e)
		return nil
	})
}

func (s propertyStore) SaveProperty(e bridge.PropertyEntry, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	b, err := json.Marshal(e)
	if err != nil {
		done(err)
		return
	}
	s.store.Append(&buffer.Batch{Puts: []buffer.KV{{Space: spaceDesired, Key: propertyKey(e.Device, e.Name), Value: b}}}, done)
}

// propertyKey is where the last reported value of a property is kept.
func propertyKey(device, name string) string { return strings.ToLower(device) + "/" + name }

// The first byte of a reported value that is kept with its time; no JSON text
// begins with it.
const reportedWithTime = 1

const reportedHeader = 9

// reportedProperty is a device's report as it is kept: the time and the value.
func reportedProperty(r *mapping.Record) buffer.KV {
	b := make([]byte, 0, reportedHeader+len(r.Value))
	b = append(b, reportedWithTime)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time.UnixNano()))
	return buffer.KV{Space: spaceReported, Key: propertyKey(r.Device, r.Name), Value: append(b, r.Value...)}
}

// lastReported returns what a device last said of a property, and when.
func (g *Gateway) lastReported(device, name string) (value json.RawMessage, at time.Time, ok bool) {
	b, ok := g.store.Space(spaceReported).Get(propertyKey(device, name))
	if !ok {
		return nil, time.Time{}, false
	}
	value, at = decodeReported(b)
	return value, at, true
}

func decodeReported(b []byte) (value json.RawMessage, at time.Time) {
	if len(b) < reportedHeader || b[0] != reportedWithTime {
		return b, time.Time{}
	}
	return b[reportedHeader:], time.Unix(0, int64(binary.BigEndian.Uint64(b[1:reportedHeader]))).UTC()
}

// publish publishes a message of the gateway's own to the field.
func (g *Gateway) publish(m mapping.Message) error {
	return g.broker.PublishWith(broker.Message{
		Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain,
		ResponseTopic: m.ResponseTopic, CorrelationData: m.CorrelationData,
	})
}

// answer publishes what nobody waits for.
func (g *Gateway) answer(m mapping.Message) {
	if err := g.publish(m); err != nil {
		g.log.Warn("publish to the field", zap.String("topic", m.Topic), zap.Error(err))
	}
}
