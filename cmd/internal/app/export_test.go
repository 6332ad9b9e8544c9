package app

import (
	"iotc-gateway/bridge"
	"iotc-gateway/broker"
	"iotc-gateway/mapping"
)

// Registry shows tests the device registry.
func (g *Gateway) Registry() *bridge.Registry { return g.registry }

// MayAnswer shows tests which response topics are answered on.
func (g *Gateway) MayAnswer(id *broker.Identity, topic string) bool { return g.mayAnswer(id, topic) }

// Publish publishes as the gateway itself.
func (g *Gateway) Publish(topic string, payload []byte, retain bool) error {
	return g.publish(mapping.Message{Topic: topic, Payload: payload, Retain: retain})
}
