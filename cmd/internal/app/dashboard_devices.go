package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/console"
)

// Devices joins what the registry, the broker and the activity know.
func (d dashboard) Devices() []console.Device {
	connected := d.connected()
	byID := map[string]*console.Device{}
	order := []*console.Device{}
	get := func(id string) *console.Device {
		key := strings.ToLower(id)
		dev := byID[key]
		if dev == nil {
			dev = &console.Device{ID: id, Template: d.g.templateOf(id), Values: []console.Value{}}
			byID[key] = dev
			order = append(order, dev)
		}
		return dev
	}
	for _, k := range d.g.registry.Devices() {
		dev := get(k.ID)
		dev.State, dev.Disabled, dev.DisabledHere, dev.LastSeen = string(k.State), k.Disabled, k.DisabledHere, k.LastSeen
	}
	d.g.ingest.activity.each(func(s seen) { describe(get(s.id), &s, connected) })
	out := make([]console.Device, len(order))
	for i, dev := range order {
		out[i] = *dev
	}
	slices.SortFunc(out, func(a, b console.Device) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// connected are the ids of the clients that are connected.
func (d dashboard) connected() map[string]bool {
	clients := d.g.broker.Clients()
	out := make(map[string]bool, len(clients))
	for i := range clients {
		out[clients[i].ID] = true
	}
	return out
}

func describe(dev *console.Device, s *seen, connected map[string]bool) {
	dev.Client, dev.Values, dev.Errors = s.client, s.values, s.errors
	if s.lastSeen.After(dev.LastSeen) {
		dev.LastSeen = s.lastSeen
	}
	if len(s.faults) > 0 {
		dev.LastError = &s.faults[0]
	}
	switch {
	// What a device, or the bridge before it, says of itself counts more than
	// the connection that it came by.
	case s.online != nil && *s.online, s.online == nil && connected[s.client]:
		dev.Connection = "connected"
	case s.online != nil, s.client != "":
		dev.Connection = "offline"
	}
}

// Device implements console.Source.
func (d dashboard) Device(id string) (console.DeviceDetail, bool) {
	s, active := d.g.ingest.activity.of(id)
	known, registered := d.g.registry.Device(id)
	if !active && !registered {
		return console.DeviceDetail{}, false
	}
	out := console.DeviceDetail{
		Device:       console.Device{ID: cmp.Or(known.ID, s.id, id), Values: []console.Value{}},
		Publications: []console.Seen{}, Properties: []console.Property{}, Faults: []console.Fault{}, Commands: []string{},
	}
	if registered {
		out.State, out.Disabled, out.DisabledHere, out.LastSeen = string(known.State), known.Disabled, known.DisabledHere, known.LastSeen
	}
	out.Template = d.g.templateOf(out.ID)
	if active {
		describe(&out.Device, &s, d.connected())
		out.Publications = append(out.Publications, s.publications...)
		out.Faults = append(out.Faults, s.faults...)
	}
	d.templated(&out)
	return out, true
}

// templated adds what the store and the template know of properties and
// commands.
func (d dashboard) templated(out *console.DeviceDetail) {
	properties := map[string]*console.Property{}
	get := func(name string) *console.Property {
		p := properties[name]
		if p == nil {
			p = &console.Property{Name: name, Writable: d.g.cloudOwns(out.ID, name)}
			properties[name] = p
		}
		return p
	}
	for _, e := range d.g.desired.Of(out.ID) {
		p := get(e.Name)
		p.Desired, p.Version, p.Reported = e.Desired, e.Version, e.Reported
		p.Acknowledged, p.Pending = e.Acknowledged, e.Pending()
	}
	prefix := propertyKey(out.ID, "")
	_ = d.g.store.Space(spaceReported).Scan(prefix, func(key string, value []byte) error {
		get(strings.TrimPrefix(key, prefix)).Reported = value
		return nil
	})
	if set := d.g.rules.Load().templates; set != nil {
		if t, ok := set.Get(out.Template); ok {
			for _, p := range t.Properties() {
				get(p.Name)
			}
			for _, c := range t.Commands() {
				out.Commands = append(out.Commands, c.Name)
			}
		}
	}
	for _, name := range d.g.rules.Load().desired {
		get(name)
	}
	for _, p := range properties {
		out.Properties = append(out.Properties, *p)
	}
	slices.SortFunc(out.Properties, func(a, b console.Property) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(out.Commands)
}

// ApproveDevice implements console.Source.
func (d dashboard) ApproveDevice(id string) error {
	if err := d.g.registry.Approve(id); err != nil {
		return fmt.Errorf("%w: %w", console.ErrRefused, err)
	}
	return nil
}

// SetProperty implements console.Source.
func (d dashboard) SetProperty(ctx context.Context, device, name string, value json.RawMessage) error {
	_, err := d.g.api.UpdateProperty(ctx, device, name, value, uuid.NewString())
	return fromService(err)
}

// TriggerCommand implements console.Source.
func (d dashboard) TriggerCommand(ctx context.Context, device, name string, args json.RawMessage) (console.Command, error) {
	c, err := d.g.api.TriggerCommand(ctx, device, name, args, uuid.NewString())
	return command(c), fromService(err)
}

// CommandStatus implements console.Source.
func (d dashboard) CommandStatus(ctx context.Context, device, id string) (console.Command, error) {
	c, err := d.g.api.CommandStatus(ctx, device, id)
	return command(c), fromService(err)
}

func command(c central.Command) console.Command {
	return console.Command{ID: c.CommandID, Status: c.Status, Result: c.Result, Completed: c.CompletedTime, Final: c.Final()}
}

// fromService gives an error of the API the console's meaning.
func fromService(err error) error {
	e, ok := errors.AsType[*central.Error](err)
	switch {
	case err == nil:
		return nil
	case ok && e.Status == http.StatusNotFound:
		return fmt.Errorf("%s: %w", e.Message, console.ErrNotFound)
	case ok && e.Status < 500:
		return fmt.Errorf("%w: %s", console.ErrRefused, e.Message)
	default:
		return err
	}
}

// Connections implements console.Source.
func (d dashboard) Connections() []console.Connection {
	out := []console.Connection{}
	for _, c := range d.g.broker.Clients() {
		out = append(out, console.Connection{
			Client: c.ID, User: c.User, Role: string(c.Role), Remote: c.Remote, Listener: c.Listener,
			Protocol: protocolName(&c), TLS: c.TLS, Connected: c.Connected, InFlight: c.InFlight,
		})
	}
	return out
}

func protocolName(c *broker.ClientInfo) string {
	name := map[byte]string{3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5"}[c.Protocol]
	if c.WebSocket {
		name += " over WebSocket"
	}
	return name
}

// Disconnect implements console.Source.
func (d dashboard) Disconnect(client, why string) error {
	err := d.g.broker.Disconnect(client, why)
	if errors.Is(err, broker.ErrNoClient) {
		return fmt.Errorf("client %s: %w", client, console.ErrNotFound)
	}
	return err
}

// settled tells those who want to know what became of a lease.
func (g *Gateway) settled(l *bridge.Lease, v bridge.Verdict) {
	g.triggers.Settled(l, v)
	g.noteVerdict(l, v)
}

// noteVerdict keeps what the uplink refused of a device for its page.
func (g *Gateway) noteVerdict(l *bridge.Lease, v bridge.Verdict) {
	if v.Action != bridge.Rejected || v.Unreachable {
		return
	}
	message := cmp.Or(v.Message, v.Reason)
	g.ingest.activity.fault(l.Device, console.Fault{Time: time.Now(), Where: "uplink", Reason: v.Reason, Message: message})
}
