// Package bench measures a gateway from outside, as a site would meet it: a child process with its own
// configuration and store, real MQTT sockets in front of it and an HTTP server behind it.
//
// Four processes besides the bench itself take part, so that nobody's work is counted as the gateway's:
//
//	load generator (this process) --MQTT--> gateway (child) --HTTP--> sink (child)
//	bare client (child) ----------------------------------HTTP--> the same sink
//
// In the gateway's place stands, before and after it, a bare broker (child): the broker library as it comes, which stores
// nothing, with 64 goroutines that post what is published. A millisecond of CPU is not the same work on
// every machine, so what the gateway needs is told as a part of what the bare broker needs, too.
//
// The load generator speaks MQTT 3.1.1 or 5 over raw sockets with a window of unacknowledged publishes, and
// behaves as a persistent session does: after a lost connection it sends everything unacknowledged again, with
// DUP, in the first order. Every publish carries a sequence number of its device. The sink writes down which
// sequence numbers arrived, under which request id and in which order. [Judge] joins the two and answers exactly:
// which acknowledged publishes never arrived, which arrived twice, which overtook an earlier one.
//
// # What counts as what
//
//   - lost: a publish that got its PUBACK and did not arrive before the queue was drained.
//   - duplicated: a publish that the sink took more often, under different request ids, than the client had sent it.
//   - resent twice: a publish that came twice because the client had sent it twice (DUP after a lost PUBACK). At least
//     once allows it.
//   - repeated: a call that came again under the request id it had before. A server that remembers the ids it has
//     answered drops it, so it is no duplicate; without a fault or a kill there is no reason for one.
//   - out of order: the first arrival of a publish after the first arrival of a later one of the same device.
//
// Loss, duplicates and disorder are broken promises and make the command fail. A figure short of its target is
// reported; it fails the command with Options.Strict only, because a slow or busy machine is not a defect.
//
// Figures of a process come from /proc: CPU is utime+stime, memory VmRSS, VmHWM and RssAnon, bytes written is
// write_bytes (what was handed to the block layer, page by page). On a file system in memory write_bytes stays zero
// and fdatasync costs nothing: the report says so.
package bench
