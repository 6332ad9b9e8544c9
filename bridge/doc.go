// Package bridge carries what the gateway has stored to the cloud.
//
// A [Loop] takes leases from a durable [Queue] and hands each to an [Uplink].
// The uplink answers with a [Verdict]: the record was taken, can never be
// taken, should be tried again, or the whole uplink has to pause. The loop is
// the only place that turns a verdict into what happens to the record, and
// [REST.Deliver] the only one that turns an answer of the REST API into a
// verdict, so there is one table to read and to test.
//
// # What the loop promises
//
//   - A lease is committed only after the uplink took it, and dead-lettered
//     only for a reason that will not pass by itself.
//   - Devices are independent: a device that answers 4xx or 5xx for ever waits
//     in its own backoff while the others go on.
//   - While the uplink as a whole is unreachable nothing is leased; probes with
//     full-jitter backoff find out when it is back, and a change of the host's
//     routes makes the next probe immediate.
//   - A request is repeated under the same request id, so a server that
//     remembers ids sees each record once.
//
// A second kind of uplink stands beside [REST] by implementing [Uplink];
// nothing in the loop knows of HTTP.
package bridge
