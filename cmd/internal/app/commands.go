package app

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/downlink"
	"iotc-gateway/mapping"
)

// openCommands makes the ledger of commands for devices.
func (g *Gateway) openCommands() {
	g.commands = downlink.New(g.cfg.Bridge.DeviceCommands, downlink.Options{
		Store: commandStore{g.store, g.ingest.state}, Field: commandField{g}, Map: g.mapCommand, OnChange: g.commandChanged, Log: g.log.Named("commands"),
	})
}

// mapCommand turns a command into messages. Families keep state, so nothing
// else may be mapped before the store has the changes.
func (g *Gateway) mapCommand(e downlink.Entry, now time.Time, use func(mapping.Result, error)) {
	g.ingest.stateful.Lock()
	defer g.ingest.stateful.Unlock()
	use(g.ingest.mapper.Load().Command(e.Device, e.Name, e.ID, e.Args, now, g.ingest.state))
}

// commandStore keeps the ledger in the store.
type commandStore struct {
	store *buffer.Store
	state *mappingState
}

func (s commandStore) Load(fn func(key string, value []byte)) error {
	return s.store.Space(spaceCommands).Scan("", func(key string, value []byte) error { fn(key, value); return nil })
}

func (s commandStore) Commit(ledger []downlink.Change, state []mapping.Change, done func(error)) {
	batch := &buffer.Batch{}
	for _, c := range ledger {
		batch.Puts = append(batch.Puts, buffer.KV{Space: spaceCommands, Key: c.Key, Value: c.Value})
	}
	s.state.changes(batch, state)
	s.store.Append(batch, func(err error) {
		if errors.Is(err, buffer.ErrClosed) {
			// A closed store answers on the caller's goroutine, which holds the
			// ledger's lock.
			go done(err)
			return
		}
		done(err)
	})
}

// commandField is the broker as the ledger needs it.
type commandField struct{ g *Gateway }

func (f commandField) Reaches(device, topic string) bool { return f.g.broker.Reaches(device, topic) }

func (f commandField) Publish(m mapping.Message, expiry time.Duration) error {
	msg := broker.Message{
		Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, ResponseTopic: m.ResponseTopic, CorrelationData: m.CorrelationData, Expiry: expiry,
		// The ledger knows that it was delivered. A session that brought it again after a restart would have it run twice.
		Transient: true,
	}
	for _, p := range m.Properties {
		msg.Properties = append(msg.Properties, broker.Property(p))
	}
	return f.g.broker.PublishWith(msg)
}

// commandedBy is the device whose commands a filter of the native scheme asks
// for: a device that only obeys is known by that it listens.
func commandedBy(filter string) string {
	rest, ok := strings.CutPrefix(filter, "devices/")
	device, rest, more := strings.Cut(rest, "/")
	if !ok || !more || mapping.ValidDeviceID(device) != nil || rest != "#" && !strings.HasPrefix(rest, "commands/") {
		return ""
	}
	return device
}

// commandStatus is what is published of a command at each change.
type commandStatus struct {
	ID            string          `json:"id"`
	CommandID     string          `json:"commandId"`
	Status        string          `json:"status"`
	Result        json.RawMessage `json:"result,omitempty"`
	CompletedTime time.Time       `json:"completedTime,omitzero"`
}

// commandChanged tells who listens to the command's status topic.
func (g *Gateway) commandChanged(e downlink.Entry) {
	c := e.Command()
	payload, err := json.Marshal(commandStatus{c.CommandID, c.CommandID, c.Status, c.Result, c.CompletedTime})
	if err != nil {
		return
	}
	g.answer(mapping.Message{Topic: "devices/" + e.Device + "/commands/" + e.Name + "/status/" + e.ID, Payload: payload, QoS: 1})
}

// Commands is the ledger of commands for devices.
func (g *Gateway) Commands() *downlink.Ledger { return g.commands }
