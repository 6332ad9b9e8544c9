package app

import (
	"iotc-gateway/bridge"
	"iotc-gateway/broker"
)

// Registry shows tests the device registry.
func (g *Gateway) Registry() *bridge.Registry { return g.registry }

// MayAnswer shows tests which response topics are answered on.
func (g *Gateway) MayAnswer(id *broker.Identity, topic string) bool { return g.mayAnswer(id, topic) }
