// Package broker is the gateway's embedded MQTT broker: listeners, authentication, access control, sessions, and the
// duty to acknowledge a publication only when somebody durable has taken it.
//
// # What it promises
//
//   - A QoS 1 PUBACK and a QoS 2 PUBREC are written only after [Publication.Settle] was called with a code below 0x80.
//     Acknowledgements leave in the order the publications arrived (MQTT 5 §4.6), whatever the order they were settled in,
//     and many of them share one write. The client's read loop is not blocked meanwhile, until its window is full; then TCP
//     pushes back.
//   - A refusal is a reason code in MQTT 5 (PUBACK for QoS 1, PUBREC for QoS 2); MQTT 3.1.1 has none, so there the
//     connection is closed after a short delay and nothing more is acknowledged: the client sends again after it reconnected.
//   - A client publishes and subscribes within what its [Identity] may; see [ACL]. Its last will passes the same checks.
//   - Every queue, map and pool has a limit, see [Limits]; every refusal and drop has a counter, see [Stats].
//
// # What it does not promise
//
// Subscribers on this broker see a message at once, before it is durable. A message for a session is written to the store
// within a quarter of a second, so a power cut may forget the last of them (the upward path is not affected). Message expiry
// follows the wall clock; session expiry follows the monotonic clock and starts anew with the process.
//
// # How it stands on mochi
//
// The protocol machine is github.com/mochi-mqtt/server/v2. Nothing of it appears in an exported signature. One hook (hook.go)
// and one connection type (link.go) surround it and mend what was found wanting in v2.7.9; the tests named TestMochi… fail
// when an upgrade changes what we rely on. The chief trick: mochi reads Client.Net.Inline only while it processes a PUBLISH,
// on the client's own goroutine. Set there, it makes mochi retain and fan out a publication and leave packet identifiers and
// acknowledgements alone; both directions' identifiers live in one map there and collide. So QoS 1 and QoS 2 of what
// clients publish are ours (acks.go, exactlyonce.go), and mochi's in-flight map holds only what goes out to subscribers.
//
// Outwards the library keeps the queue of each session; what it gets wrong there is mended around it: Receive Maximum
// (window.go), retained messages, packets that a client does not take and the members of shared subscriptions
// (subscribe.go), and bursts, for which publishers wait a moment (session.go).
//
// What is not mended: a message for a subscriber that is slow for longer than that is dropped and counted, QoS 1 too; the
// broker sends no topic aliases; and one goroutine of each connection, the library's that writes, is beyond our recover.
package broker
