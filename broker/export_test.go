package broker

import "time"

// ExpireSessions lets tests expire sessions without waiting.
func (b *Broker) ExpireSessions(now time.Time) { b.expireSessions(now) }
