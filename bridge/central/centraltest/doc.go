// Package centraltest is the conformance suite of central.Service.
//
// [Run] makes the same calls on every implementation: the emulator in memory, a client and a handler over a socket, the
// gateway's local API. What an implementation does not offer it says in [Capabilities]. [Validator] stands between a
// client and a server and checks every request and answer against the OpenAPI document.
package centraltest
