package app

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/buffer"
)

// ownHealth is what the gateway reports of itself, as telemetry of the device
// gateway.id and through the same queue as everybody's.
type ownHealth struct {
	Backlog        uint64   `json:"backlog"`
	BacklogBytes   int64    `json:"backlogBytes"`
	DeadLetters    int64    `json:"deadLetters"`
	StoreBytes     int64    `json:"storeBytes"`
	DiskFreeBytes  int64    `json:"diskFreeBytes"`
	Clients        int64    `json:"clients"`
	Uplink         string   `json:"uplink"`
	ClockSynced    bool     `json:"clockSynchronised"`
	UptimeSeconds  int64    `json:"uptimeSeconds"`
	Version        string   `json:"version"`
	CPUTemperature *float64 `json:"cpuTemperature,omitempty"`
}

// reportHealth stores a report each interval while gateway.report is on. A
// gateway without an uplink has nobody to report to.
func (g *Gateway) reportHealth(ctx context.Context) error {
	if g.cfg.Gateway.Report != "on" || g.loop == nil {
		return nil
	}
	tick := time.NewTicker(g.cfg.Gateway.ReportInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		value, err := json.Marshal(g.ownHealth())
		if err != nil {
			return err
		}
		g.store.Append(&buffer.Batch{Records: []buffer.Record{{
			Class: buffer.ClassTelemetry, Device: g.cfg.Gateway.ID, Value: value, Time: time.Now().UnixNano(),
		}}}, func(err error) {
			if err != nil {
				g.ingest.log.Warn("report of the gateway's own health", zap.Error(err))
			}
		})
	}
}

func (g *Gateway) ownHealth() ownHealth {
	st, f := g.store.Stats(), g.Figures()
	_, bytes := g.store.Backlog()
	return ownHealth{
		Backlog: f.Waiting, BacklogBytes: bytes, DeadLetters: st.DeadLetters, StoreBytes: st.DiskBytes, DiskFreeBytes: st.FreeBytes,
		Clients: g.broker.Stats().Clients, Uplink: f.Uplink, ClockSynced: g.clock.Synced(),
		UptimeSeconds: int64(time.Since(g.started).Seconds()), Version: g.version, CPUTemperature: cpuTemperature(),
	}
}

// cpuTemperature reads the first thermal zone in degrees Celsius, nil where
// there is none, as in most virtual machines.
func cpuTemperature() *float64 {
	b, err := os.ReadFile("/sys/class/thermal/thermal_zone0/temp")
	if err != nil {
		return nil
	}
	milli, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	if err != nil {
		return nil
	}
	return new(milli / 1000)
}
