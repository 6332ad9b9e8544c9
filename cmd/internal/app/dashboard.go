package app

import (
	"maps"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/console"
)

// dashboard shows the gateway to the console. It implements console.Source.
type dashboard struct{ g *Gateway }

var _ console.Source = dashboard{}

func (d dashboard) Gateway() console.Gateway {
	return console.Gateway{ID: d.g.cfg.Gateway.ID, Version: d.g.version, Started: d.g.started}
}

func (d dashboard) Overview() console.Overview {
	g := d.g
	st, mqtt := g.store.Stats(), g.broker.Stats()
	o := console.Overview{
		Now: time.Now(), Checks: g.Health().Checks, Uplink: d.uplink(), Totals: d.totals(&st),
		Backlog: backlog(&st, g.store.Oldest()),
		Store: console.Store{
			LimitBytes: st.LimitBytes, DiskBytes: st.DiskBytes, FreeBytes: st.FreeBytes, DiskFull: st.DiskFull, Failed: st.Failed,
		},
		DeadLetters: st.DeadLetters, DeadLetterBytes: st.DeadLetterBytes,
		Clients: mqtt.Clients, Sessions: mqtt.Sessions, ClockSynced: g.clock.Synced(),
	}
	o.Totals.Bytes = uint64(max(0, mqtt.ReceivedBytes))
	known := g.registry.Devices()
	o.Devices = len(known)
	for _, k := range known {
		if k.State == bridge.DevicePending {
			o.Waiting++
		}
	}
	return o
}

func backlog(st *buffer.Stats, oldest [len(buffer.Stats{}.Classes)]time.Duration) console.Backlog {
	b := console.Backlog{HoursLeft: st.HoursLeft}
	for _, class := range buffer.Classes() {
		k := &st.Classes[class]
		age := oldest[class].Seconds()
		b.Records += k.Count
		b.Bytes += k.Bytes
		b.OldestSeconds = max(b.OldestSeconds, age)
		b.Classes = append(b.Classes, console.BacklogClass{
			Name: class.String(), Records: k.Count, Bytes: k.Bytes, OldestSeconds: age,
			Stored: k.Stored, Delivered: k.Delivered, Dropped: k.Dropped,
		})
	}
	return b
}

func (d dashboard) uplink() console.Uplink {
	g := d.g
	if g.loop == nil {
		return console.Uplink{State: "none", Reason: "central.url is empty"}
	}
	st := g.loop.Stats()
	u := console.Uplink{
		State: st.Status.State.String(), Delivers: st.Status.State.Delivers(), Since: st.Status.Since, Reason: st.Status.Reason,
		LastSuccess: st.Status.LastSuccess, NextProbe: st.Status.NextProbe, PausedKinds: st.Status.PausedKinds, URL: g.cfg.Central.URL,
		CallSeconds: st.Latency.Sum.Seconds(),
	}
	for _, n := range st.Latency.Counts {
		u.Calls += n
	}
	u.RateLimit, _ = g.pacer.Rate()
	return u
}

func (d dashboard) totals(st *buffer.Stats) console.Totals {
	n := &d.g.ingest.counters
	t := console.Totals{
		Received: n.Received.Load(), Stored: n.Stored.Load(), Records: n.Records.Load(), Unmapped: n.Unmapped.Load(),
		Refused: n.Refused.Load(), Resent: n.Resent.Load(), DeadLetters: n.DeadLettered.Load(),
		Dropped: map[string]uint64{}, Reasons: map[string]uint64{}, DiskBytes: writtenBytes(),
	}
	for i := range st.Classes {
		t.Delivered += st.Classes[i].Delivered
		for reason, k := range st.Classes[i].Dropped {
			if k > 0 {
				t.Dropped[reason] += k
			}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.Copy(t.Reasons, n.reasons)
	return t
}
