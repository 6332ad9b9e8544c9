// Package console is the operators' HTTP listener: health and metrics, the
// dashboard, and an API where one is given to it.
//
//   - GET /healthz answers 200 while the gateway's own parts work. An uplink
//     that is down is no fault of the gateway's.
//   - GET /readyz answers 200 while publications are accepted.
//   - GET /metrics is Prometheus' text format.
//   - /console/ is the dashboard.
//
// Both health pages say in words what is wrong, and in JSON to a client that
// asks for it with Accept: application/json.
//
// # Dashboard
//
// [Dashboard] serves a page that is embedded in the program (folder assets:
// plain HTML, style sheets and JavaScript modules, and the chart library uPlot)
// and needs nothing from elsewhere. The page gets everything from endpoints
// below /console/api/, and those get it from a [Source]: what the dashboard
// shows and does is that interface, and the gateway implements it.
//
// Nothing but the page itself is served without a login, on loopback as
// elsewhere: who may open a port on this machine may well be nobody who should
// see what the devices send. A token ([access.Tokens]) is exchanged for a
// session; the cookie is HttpOnly, SameSite=Strict, and Secure where the
// console speaks TLS. Sessions are in memory, at most 256 of them, for two
// hours without use and twelve hours in all; each request asks for the token
// again, so that a revoked one ends its sessions at once. What another site has
// a browser do is refused by its Sec-Fetch-Site and Origin headers, and by the
// type application/json, which no form can send. The content security policy
// allows no inline script or style and no markup made from strings.
//
// The role decides what may be done (package access has the table), and a token
// that is bound to devices sees and touches those only. Every action, done or
// refused, is a line of the logger audit; the last 500 are shown.
//
// # Bounds
//
// The history is 4,320 samples, one each five seconds for six hours, in memory
// only. 32 streams of events are open at once. A watcher of publications that
// is slow misses some and is told how many; nobody else waits for it.
package console
