// Package control is how a gateway is administrated from its own machine: an
// HTTP API on the socket control.sock in the data directory, which only the
// owner of that directory may open. So no token is needed to look after a
// gateway, not even to make its first token.
//
// [NewHandler] serves the API for whatever has a store: a running gateway
// through [Listen], or a data directory whose gateway is stopped through
// [InProcess]. A [Client] does not know which of the two it talks to; what only
// a running gateway can do answers 409 there.
//
//	GET  /v1/deadletters?reason=&device=&after=&limit=   JSON lines
//	GET  /v1/deadletters/{id}
//	POST /v1/deadletters/retry   {"ids": [], "reason": "", "device": "", "all": true}
//	POST /v1/deadletters/drop    the same
//	GET  /v1/devices
//	POST /v1/devices/{id}/approve
//	POST /v1/devices/{id}/disable
//	POST /v1/devices/{id}/enable
//	GET  /v1/buffer              what waits, what became of the rest, what the disk had to write
//	GET  /v1/buffer/records      JSON lines of what waits
//	POST /v1/buffer/purge
//	POST /v1/reload              {"restart": [sections that hold only after a restart]}
//	POST /v1/map                 JSON lines of captured publications; JSON lines of what they become
//	GET  /v1/tap                 JSON lines of publications as they come in, with what became of them
//
// An error is {"error": {"code", "message"}} with a fitting status.
package control
