package app

import (
	"fmt"

	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/console"
)

// Figures are the few numbers that a person wants first.
type Figures struct {
	Stored    uint64 // publications stored and acknowledged
	Waiting   uint64 // records that wait for the uplink
	Delivered uint64 // records that the uplink has taken
	Uplink    string
}

// Figures returns the present numbers.
func (g *Gateway) Figures() Figures {
	st := g.store.Stats()
	f := Figures{Stored: g.ingest.counters.Stored.Load(), Uplink: g.uplinkState()}
	for _, class := range buffer.Classes() {
		f.Waiting += uint64(max(0, st.Classes[class].Count))
		f.Delivered += st.Classes[class].Delivered
	}
	return f
}

func (g *Gateway) uplinkState() string {
	if g.loop == nil {
		return "not configured"
	}
	return g.loop.Status().State.String()
}

// Health says what is wrong, in words.
func (g *Gateway) Health() console.Health {
	st := g.store.Stats()
	waiting := g.Figures().Waiting
	checks := []console.Check{{
		Name: "store", OK: st.Failed == "", Message: fmt.Sprintf("%d records wait, %d dead letters are kept, %d MiB on disk", waiting, st.DeadLetters, st.DiskBytes>>20),
	}, {
		Name: "disk", OK: !st.DiskFull, Ready: true, Message: fmt.Sprintf("%d MiB free", st.FreeBytes>>20),
	}}
	if st.Waiting {
		checks[0].Message = "is not open: it waits for space on the disk, and nobody knows yet what it holds"
	}
	if st.Failed != "" {
		checks[0].Message = "the store does not take writes: " + st.Failed
	}
	if st.DiskFull {
		checks[1].Message += ": publications are refused until there is more than buffer.min_free_bytes"
	}
	if st.SetAside != "" {
		checks = append(checks, console.Check{Name: "recovery", Advisory: true, Message: "a store that could not be read was set aside in " + st.SetAside + "; keep it, nothing in it was deleted"})
	}
	uplink := console.Check{Name: "uplink", Advisory: true, Message: "central.url is empty: records are stored and wait"}
	if g.loop != nil {
		s := g.loop.Status()
		uplink.OK = s.State.Delivers()
		uplink.Message = fmt.Sprintf("%s since %s: %s", s.State, s.Since.UTC().Format("2006-01-02 15:04:05Z"), s.Reason)
	}
	clock := console.Check{Name: "clock", OK: g.clock.Synced(), Advisory: true, Message: "synchronised"}
	if !clock.OK {
		clock.Message = "not synchronised: times of receipt are corrected once it is"
	}
	return console.Health{Checks: append(checks, uplink, clock)}
}

// statusLine is what `systemctl status` shows.
func (g *Gateway) statusLine() string {
	if err := g.closed(); err != nil {
		return err.Error()
	}
	st, f := g.store.Stats(), g.Figures()
	return fmt.Sprintf("uplink %s; %d records waiting, %d delivered, %d dead letters", f.Uplink, f.Waiting, f.Delivered, st.DeadLetters)
}
