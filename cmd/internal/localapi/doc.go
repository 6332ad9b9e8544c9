// Package localapi is the IoT Central API served by the gateway itself: the
// same calls, answered from the gateway's own registry, queue and ledger, with
// or without a link to the application. SCADA, scripts and other gateways use
// it as they would use the application.
//
//   - Telemetry goes into the queue like a device's, past the routes: it is
//     checked against the device's template, and 204 is answered when it is on
//     disk.
//   - A property that is set by a token of the role gateway is a report of the
//     device, and goes up. Set by anybody else it is a desired value, and goes
//     down to the device.
//   - A command goes down to the device; see package downlink.
//   - Devices are those of the registry. A device that is created here is
//     created in the application as well, as soon as the link allows. What is
//     changed or deleted here is changed here only: the application's word on
//     its own devices is its operators'.
//
// A write that carries an x-ms-client-request-id is carried out once: the id is
// kept with what it wrote, in the same transaction, so that a gateway below
// this one can send again whatever it got no answer for. The last 65,536 ids are
// remembered.
package localapi
