package central

import "time"

// LookAtIdleConnections makes the client look at every idle connection before it uses it, without waiting first.
func LookAtIdleConnections(c *Client) { c.rt.(*direct).lookAfter = 0 }

// WaitQuickly bounds the quick way of a call.
func WaitQuickly(c *Client, patience time.Duration) { c.rt.(*direct).patience = patience }

// ParsePlain shows what is taken for a plain answer.
func ParsePlain(b []byte) (status int, kind string, body []byte, n int, ok bool) {
	a, n, ok := parsePlain(b)
	return a.status, a.kind, a.body, n, ok
}
