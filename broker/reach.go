package broker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// Reaches tells whether a client is connected now that may act as the device and would be given a message to the topic.
//
// A client that merely watches is no device: operators and monitors are left out, and so is an anonymous client whose filter
// takes in every device (`#`, `+/#`, `devices/#`, `devices/+/#`), such as that of somebody who looks what is going on.
func (b *Broker) Reaches(device, topic string) bool {
	subs := b.server.Topics.Subscribers(topic)
	for id := range subs.Subscriptions {
		if b.acts(id, device, topic) {
			return true
		}
	}
	for _, group := range subs.Shared {
		for id := range group {
			if b.acts(id, device, topic) {
				return true
			}
		}
	}
	return false
}

// acts tells whether a client that is subscribed to the topic is connected and may act as the device.
func (b *Broker) acts(client, device, topic string) bool {
	b.mu.Lock()
	s := b.sessions[client]
	connected := s != nil && s.link != nil
	b.mu.Unlock()
	if !connected {
		return false
	}
	cl, identity := s.client.Load(), s.identity.Load()
	if cl == nil || cl.Closed() || !identity.MayWrite(device) {
		return false
	}
	return identity.Name != "" || names(cl, topic)
}

// names tells whether a filter of the client that matches the topic is about something less than every device.
func names(cl *mqtt.Client, topic string) bool {
	parts := strings.Split(topic, "/")
	for filter := range cl.State.Subscriptions.GetAll() {
		inner, ok := unshare(filter)
		if !ok || !filterMatches(inner, parts) {
			continue
		}
		switch inner {
		case "#", "+/#", "devices/#", "devices/+/#":
		default:
			return true
		}
	}
	return false
}

// filterMatches matches a filter with the levels of a topic (MQTT 5 §4.7).
func filterMatches(filter string, topic []string) bool {
	for i, more := 0, true; more; i++ {
		var part string
		part, filter, more = strings.Cut(filter, "/")
		switch {
		case part == "#":
			return i > 0 || !strings.HasPrefix(topic[0], "$")
		case i >= len(topic):
			return false
		case part == "+":
			if i == 0 && strings.HasPrefix(topic[0], "$") {
				return false
			}
		case part != topic[i]:
			return false
		}
		if !more {
			return i == len(topic)-1
		}
	}
	return false
}
