package broker

import (
	"bytes"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// unpinFrom is the size of a packet from which the strings in it get memory of their own. The library makes them point into
// the packet, so that whatever remembers a topic alias, a filter, a client identifier or the topic of a waiting message
// keeps all of the packet that it came in: a quarter of a megabyte for a filter of three bytes. Below that size the copy
// costs more than it saves.
const unpinFrom = 256

// unpin gives the strings of a packet, which may be remembered, memory of their own. Payloads are copied by whoever keeps
// them.
func unpin(pk *packets.Packet) {
	if pk.FixedHeader.Remaining < unpinFrom {
		return
	}
	pk.TopicName = strings.Clone(pk.TopicName)
	for i := range pk.Filters {
		pk.Filters[i].Filter = strings.Clone(pk.Filters[i].Filter)
	}
	unpinProperties(&pk.Properties)
	if c := &pk.Connect; pk.FixedHeader.Type == packets.Connect {
		c.ClientIdentifier, c.WillTopic = strings.Clone(c.ClientIdentifier), strings.Clone(c.WillTopic)
		c.Username = bytes.Clone(c.Username)
		unpinProperties(&c.WillProperties)
	}
}

func unpinProperties(p *packets.Properties) {
	p.ContentType, p.ResponseTopic = strings.Clone(p.ContentType), strings.Clone(p.ResponseTopic)
	p.AuthenticationMethod = strings.Clone(p.AuthenticationMethod)
	for i := range p.User {
		p.User[i].Key, p.User[i].Val = strings.Clone(p.User[i].Key), strings.Clone(p.User[i].Val)
	}
}
