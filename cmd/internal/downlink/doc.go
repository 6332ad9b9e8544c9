// Package downlink brings commands to devices and keeps the ledger of them.
//
//	Pending ---> Delivered ---> Completed | Failed    the device answered
//	   |             \--------> TimedOut              it did not, in time
//	   \----------------------> Expired               it never came for it
//
// A command is Pending from the moment that it was accepted, which is after its
// entry was synced. It becomes Delivered when a client that may act as the
// device is connected and subscribed to the topic that the command goes to: at
// once, or when such a client comes. The four others are final.
//
// # What is promised
//
//   - A command is handed to a device at most once. The entry says Delivered,
//     on disk, before the publish goes out; a gateway that is killed in between
//     does not publish it again, and the command is TimedOut in the end. What
//     MQTT repeats by itself (a QoS 1 publish whose PUBACK was lost, with DUP
//     set) has the same command id.
//   - A device's answer is acknowledged after the final state was synced. Killed
//     in between, the device sends its answer again and it counts.
//   - A command that has expired or timed out stays so: an answer that comes
//     later is counted, and changes nothing.
//   - The same request sent again is answered with the command that it made.
//   - The commands of one device are delivered in the order in which they came.
//
// # Limits
//
// A device has a bounded number of unfinished commands. The ledger as a whole is
// bounded in number and bytes; finished commands are forgotten, the oldest
// first, when it is full.
//
// Deadlines go by the monotonic clock. After a restart what is left of an expiry
// is measured by the wall clock, and is never more than it was at the beginning,
// so that a clock that went back does not keep a command for ever. A timeout
// begins anew: the device could not answer while the gateway was away.
package downlink
