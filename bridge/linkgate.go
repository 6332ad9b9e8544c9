package bridge

import "sync"

// linkGate tells those who work in the background whether the uplink answers.
// It begins open: nothing is known yet, and the first call will tell.
type linkGate struct {
	mu      sync.Mutex
	up      bool
	changed chan struct{} // closed and replaced when up changes
	returns int           // how often the link came back
}

func newLinkGate() *linkGate { return &linkGate{up: true, changed: make(chan struct{})} }

// set takes over a state of the uplink.
func (g *linkGate) set(s State) {
	up := s != Offline && s != Unauthorised
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.up == up {
		return
	}
	g.up = up
	if up {
		g.returns++
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// look returns whether the link is up, a channel that closes when that
// changes, and how often it came back so far.
func (g *linkGate) look() (up bool, changed <-chan struct{}, returns int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.up, g.changed, g.returns
}
