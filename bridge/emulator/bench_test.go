package emulator_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
)

// The calls that a gateway makes all day: through the client, through a bare net/http client that sends the same, and
// the application by itself.
func BenchmarkSendTelemetry(b *testing.B) {
	const callers = 32
	body := json.RawMessage(`{"seq":123456,"temperature":21.5,"humidity":60.25,"pressure":1013.2,"status":"ok","timestamp":"2026-01-02T03:04:05.678Z"}`)
	setup := func(b *testing.B) *emulator.Application {
		b.Helper()
		app := &emulator.Application{History: emulator.CountOnly}
		if _, err := app.CreateDevice(b.Context(), "device001", central.DeviceCreate{}, ""); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		b.SetParallelism(callers)
		return app
	}
	var serial atomic.Uint64
	id := func() string {
		return "00000000-0000-5000-8000-" + strconv.FormatUint(100_000_000_000+serial.Add(1), 10)
	}
	b.Run("memory", func(b *testing.B) {
		app := setup(b)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := app.SendTelemetry(b.Context(), "device001", body, id()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("client", func(b *testing.B) {
		app := setup(b)
		c := connect(b, serve(b, app), nil)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := c.SendTelemetry(b.Context(), "device001", body, id()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("bare", func(b *testing.B) {
		app := setup(b)
		url := serve(b, app) + "/api/devices/device001/telemetry?api-version=2022-07-31"
		c := &http.Client{Transport: &http.Transport{MaxIdleConns: 128, MaxIdleConnsPerHost: 128}}
		b.Cleanup(c.CloseIdleConnections)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+token)
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("x-ms-client-request-id", id())
				resp, err := c.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNoContent {
					b.Error(resp.Status, err)
					return
				}
			}
		})
	})
}
