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
// # Who owns a property
//
// The API has one slot for each property and no ETag, so each property has one
// owner: the application where its template says writable or
// bridge.properties.desired names it, else the device. [Properties] keeps to
// this table:
//
//	                              application owns it                device owns it
//	device reports a value        recorded as acknowledgement where  PATCHed up through the
//	                              equal to the desired one, never    queue, last value wins
//	                              sent up
//	value changes in the          polled; version counts on, on      never polled
//	application                   disk, then published retained
//	local operator sets a value   version counts on, published;      published as desired; never
//	                              goes up once when the link allows  sent up; taken back once the
//	                                                                 device reports it
//	both set one while the link   the local value goes up once, then -
//	is down                       the application's holds
//	answer to a local value lost  the application is asked: ours     -
//	                              means arrived, the one before it
//	                              means send again, any other one
//	                              is newer and holds
//	application refuses a local   its own value holds and is         -
//	value                         published
//	device reconnects             told again what it did not report, unless its session's
//	                              queue or a retained message tells it anyway
//
// A question to the application costs a call of central.rate, so they are
// asked with care: of connected devices each bridge.properties.poll_interval,
// six times as often while a property changes, twenty times as seldom while
// the device is away, and at once when it comes or when the same property of
// another device changed.
//
// A second kind of uplink stands beside [REST] by implementing [Uplink];
// nothing in the loop knows of HTTP.
package bridge
