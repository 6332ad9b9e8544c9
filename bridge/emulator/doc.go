// Package emulator is an IoT Central application in memory, for tests, for the demo and for whoever develops against IoT
// Central without a subscription.
//
// [Application] is a central.Service; its zero value works. It counts exactly what arrived: per device, how often a request
// id came again, how often a reading came out of order. Its [Faults] make it fail the ways a real uplink fails, and they act
// alike on a direct call and on one over HTTP. [NewServer] serves it with the pages under /emulator that read the accounts
// and set the faults.
//
// What the emulator takes from the real service beyond the API reference: the page sizes of lists, the rule for device
// ids, and ids of requests (x-ms-client-request-id) by which it recognises a write that it has already applied.
package emulator
