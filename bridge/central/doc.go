// Package central is the IoT Central REST API as a Go interface, with an HTTP client and an HTTP server for it.
//
// [Service] is the API: application, devices, telemetry, commands and properties. Three things implement it: [Client] over
// HTTP, the emulator in memory, and the gateway itself over its broker and store (the local API). [NewHandler] serves any
// of them, so all three speak exactly the same protocol and one conformance suite (package centraltest) runs on all.
//
// Because client and handler share their types, a mistake in a type would go unseen between them. Two further witnesses
// guard against it: openapi.yaml, written by hand from the API reference and served at /api/openapi.yaml, against which
// every request and response of the suite is validated, and the reference's own JSON examples as golden files.
//
// # Request ids
//
// Every write carries a request id chosen by the caller, the same on every retry; it travels as x-ms-client-request-id.
// A server that remembers the ids it has processed applies each write once. An empty id sends no header.
//
// # Errors
//
// What a server answered is an [*Error]. A call that got no answer is a [*TransportError], which tells whether the request
// may have reached the server: that decides whether a command, which is not idempotent, may be sent again. No error
// contains the token.
package central
