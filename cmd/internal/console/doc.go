// Package console is the operators' HTTP listener: health and metrics, and an
// API where one is given to it.
//
//   - GET /healthz answers 200 while the gateway's own parts work. An uplink
//     that is down is no fault of the gateway's.
//   - GET /readyz answers 200 while publications are accepted.
//   - GET /metrics is Prometheus' text format.
//
// Both health pages say in words what is wrong, and in JSON to a client that
// asks for it with Accept: application/json.
package console
