// Package sparkplug reads and writes the payloads of Eclipse Sparkplug B and follows the sessions of edge nodes.
//
// Decode reads the protobuf message as Sparkplug 3.0 §6.4 describes it, straight off the wire and within limits:
// all data types, data sets, templates, property sets, packed arrays. Generated code would bring the protobuf
// runtime, reflection and an allocation for each optional scalar.
//
// Step is the host's side of a session (§5) as a pure function over a small key space: it resolves aliases and
// types from BIRTH certificates, watches the sequence number, tells who is online, and says when the node should
// be asked for rebirth. An unknown node, a gap, and metrics that no BIRTH defines are such times; a node that does
// not answer is asked ever more rarely.
//
// After a gap values are still resolved. Sparkplug data travels at QoS 0, so a message lost is not sent again, and
// to drop what arrives as well until the node answers would lose more. A new session with other aliases cannot
// hide in a gap: it begins with the death of the old one, after which no alias is known.
//
// NDEATH counts only when its bdSeq is that of the session that is alive; one without bdSeq, which the
// specification does not allow, is believed.
package sparkplug
