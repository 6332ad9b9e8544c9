package app

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/cmd/internal/console"
	"iotc-gateway/mapping"
)

// The gateway shows its own state on retained topics below
// gateway/{id}/status, for programs on site: a flow, a home automation, a lamp.
// Only the gateway publishes there, operators and monitors may subscribe.
//
//	state             {"state": "running" | "stopped", "version", "since"}
//	uplink            {"state", "reason", "since"}
//	backlog           {"records", "bytes", "deadLetters"}
//	health            {"ok", "ready", "checks": [{"name", "ok", "message", "advisory"}]}
//	commands          {"waiting", "awaiting"}: for devices that are away, for answers
//	devices           {"connected", "known"}
//	devices/{device}  {"connected", "since", "reason"}
//
// What moves all the time is looked at every few seconds and published when it
// changed; the uplink and devices are told of at once. QoS is 0: the last value
// is retained, and a session that is away shall not fill with old ones.
const statusInterval = 5 * time.Second

// statusTopics remembers what was published last.
type statusTopics struct {
	mu   sync.Mutex
	last map[string]string
}

type stateStatus struct {
	State   string    `json:"state"`
	Version string    `json:"version,omitempty"`
	Since   time.Time `json:"since"`
}

type uplinkStatus struct {
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

type backlogStatus struct {
	Records     uint64 `json:"records"`
	Bytes       int64  `json:"bytes"`
	DeadLetters int64  `json:"deadLetters"`
}

type healthStatus struct {
	OK     bool            `json:"ok"`
	Ready  bool            `json:"ready"`
	Checks []console.Check `json:"checks"`
}

type commandsStatus struct {
	Waiting  int `json:"waiting"`
	Awaiting int `json:"awaiting"`
}

type devicesStatus struct {
	Connected int `json:"connected"`
	Known     int `json:"known"`
}

type deviceStatus struct {
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`
	Reason    string    `json:"reason,omitempty"`
}

func (g *Gateway) statusTopic(name string) string {
	return "gateway/" + g.cfg.Gateway.ID + "/status/" + name
}

// tell publishes a status if it changed since it was published last.
func (g *Gateway) tell(name string, status any) {
	payload, err := json.Marshal(status)
	if err != nil {
		return
	}
	g.status.mu.Lock()
	defer g.status.mu.Unlock()
	if g.status.last[name] == string(payload) {
		return
	}
	if g.status.last == nil {
		g.status.last = make(map[string]string)
	}
	g.status.last[name] = string(payload)
	g.answer(mapping.Message{Topic: g.statusTopic(name), Payload: payload, Retain: true})
}

// tellStatus publishes the gateway's state until ctx ends.
func (g *Gateway) tellStatus(ctx context.Context) error {
	g.tell("state", stateStatus{"running", g.version, g.started.UTC().Truncate(time.Second)})
	g.disownConnections()
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for {
		g.tellFigures()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (g *Gateway) tellFigures() {
	if g.loop != nil {
		g.tellUplink(g.loop.Status())
	} else {
		g.tell("uplink", uplinkStatus{State: g.uplinkState()})
	}
	f, st := g.Figures(), g.store.Stats()
	_, bytes := g.store.Backlog()
	g.tell("backlog", backlogStatus{f.Waiting, bytes, st.DeadLetters})
	h := g.Health()
	g.tell("health", healthStatus{h.Healthy(), h.Ready(), h.Checks})
	c := g.commands.Stats()
	g.tell("commands", commandsStatus{c.Waiting, c.Awaiting})
	devices := devicesStatus{}
	for _, d := range g.registry.Statuses() {
		if d.Exists() {
			devices.Known++
		}
		if d.Connected {
			devices.Connected++
		}
	}
	g.tell("devices", devices)
}

func (g *Gateway) tellUplink(s bridge.Status) {
	g.tell("uplink", uplinkStatus{s.State.String(), s.Reason, s.Since.UTC().Truncate(time.Second)})
}

// tellStopped is the last word. The uplink's state ends with it.
func (g *Gateway) tellStopped() {
	g.tell("state", stateStatus{"stopped", g.version, time.Now().UTC().Truncate(time.Second)})
}

// tellDevice publishes that a device came or went. A client that has sent
// nothing yet is told of when it becomes a device.
func (g *Gateway) tellDevice(device string, connected bool, reason string) {
	if _, known := g.registry.Device(device); !known {
		return
	}
	g.publishDevice(device, deviceStatus{connected, time.Now().UTC().Truncate(time.Millisecond), reason})
}

func (g *Gateway) publishDevice(device string, s deviceStatus) {
	if payload, err := json.Marshal(s); err == nil {
		g.answer(mapping.Message{Topic: g.statusTopic("devices/" + device), Payload: payload, Retain: true})
	}
}

// disownConnections corrects what is retained of a gateway that was killed:
// nobody is connected when it starts.
func (g *Gateway) disownConnections() {
	for _, d := range g.registry.Statuses() {
		kept, ok := g.broker.Retained(g.statusTopic("devices/" + d.ID))
		var s deviceStatus
		if !ok || json.Unmarshal(kept, &s) != nil || !s.Connected || d.Connected {
			continue
		}
		g.publishDevice(d.ID, deviceStatus{Since: g.started.UTC().Truncate(time.Millisecond), Reason: "gateway_restarted"})
	}
}

// deviceMet is told of a device that became known: if it is connected by then,
// that was not told yet.
func (g *Gateway) deviceMet(d bridge.KnownDevice) {
	if s, ok := g.registry.Status(d.ID); ok && s.Connected {
		g.publishDevice(d.ID, deviceStatus{Connected: true, Since: s.Since.UTC().Truncate(time.Millisecond)})
	}
}

// deviceForgotten clears what is retained of a device that is no more.
func (g *Gateway) deviceForgotten(device string) {
	if topic := g.statusTopic("devices/" + device); g.broker != nil {
		if _, ok := g.broker.Retained(topic); ok {
			g.answer(mapping.Message{Topic: topic, Retain: true})
		}
	}
}
