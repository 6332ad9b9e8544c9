package central

// LookAtIdleConnections makes the client look at every idle connection before it uses it, without waiting first.
func LookAtIdleConnections(c *Client) { c.rt.(*direct).lookAfter = 0 }
