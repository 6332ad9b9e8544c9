package app

import (
	"strconv"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/mapping"
)

// deviceChanged acts on a change of the registry.
func (g *Gateway) deviceChanged(before, after bridge.KnownDevice) {
	if g.broker != nil && before.Enabled() && !after.Enabled() {
		where := "at the gateway"
		if after.Disabled {
			where = "in the application"
		}
		g.log.Warn("device disabled", zap.String("device", after.ID), zap.String("where", where))
		g.broker.DisconnectDevice(after.ID, "the device was disabled "+where)
	}
	if !before.Enabled() && after.Enabled() && before.ID != "" {
		g.log.Info("device enabled", zap.String("device", after.ID))
	}
	switch {
	case g.broker == nil:
	case before.ID == "":
		g.deviceMet(after)
	case !after.Local && after.State == "":
		g.deviceForgotten(after.ID)
	}
	if delivers(after) && !delivers(before) {
		// What waited for this in the queue need not wait any longer.
		g.store.Wake()
	}
	if g.desired != nil && (before.State != after.State || before.Local != after.Local || before.Template != after.Template || before.Enabled() != after.Enabled()) {
		g.desired.Track(after.ID)
	}
}

func delivers(d bridge.KnownDevice) bool {
	return d.Enabled() && (d.State == bridge.DeviceRegistered || d.State == bridge.DeviceApproved)
}

// connected, disconnected and subscribed are told by the broker.
func (g *Gateway) connected(c broker.ClientInfo) {
	g.commands.Wake()
	device := g.ownDevice(c)
	if device == "" {
		return
	}
	came := g.registry.Connected(device, time.Now())
	g.desired.Connected(device, c.Persistent && c.Subscriptions > 0)
	if came {
		g.reportConnection(device, true)
		g.tellDevice(device, true, "")
	}
}

func (g *Gateway) disconnected(c broker.ClientInfo, reason string) {
	device := g.ownDevice(c)
	if device == "" {
		return
	}
	g.desired.Disconnected(device)
	if g.registry.Disconnected(device, reason, time.Now()) {
		g.reportConnection(device, false)
		g.tellDevice(device, false, reason)
	}
}

func (g *Gateway) subscribed(c broker.ClientInfo, filter string) {
	if device := commandedBy(filter); device != "" {
		g.registry.Meet(device, time.Now())
	}
	g.commands.Wake()
	if device := g.ownDevice(c); device != "" {
		g.desired.Subscribed(device, filter)
	}
}

// ownDevice is the device whose own connection a client is, "" for any other
// client. An anonymous client may have any identifier, so it must be one that
// a device can have.
func (g *Gateway) ownDevice(c broker.ClientInfo) string {
	if mapping.ValidDeviceID(c.Device) != nil {
		return ""
	}
	return c.Device
}

// reportConnection tells the application that a device came or went, where the
// configuration names a property for it.
func (g *Gateway) reportConnection(device string, online bool) {
	name := g.cfg.Bridge.Registry.ConnectionProperty
	if name == "" || g.cloudOwns(device, name) {
		return
	}
	if _, known := g.registry.Device(device); !known {
		return // a client without data is no device
	}
	r := mapping.Record{Kind: mapping.KindProperty, Device: device, Name: name, Value: strconv.AppendBool(nil, online), Time: time.Now()}
	rec, err := stored(&r)
	if err != nil {
		return
	}
	g.store.Append(&buffer.Batch{Records: []buffer.Record{rec}, Puts: []buffer.KV{reportedProperty(&r)}}, func(err error) {
		if err != nil {
			g.ingest.log.Warn("report of a device's connection", zap.String("device", device), zap.Error(err))
		}
	})
}
