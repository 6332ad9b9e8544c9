package emulator_test

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/central/centraltest"
	"iotc-gateway/bridge/emulator"
)

// clock is a wall clock that tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

const commandDelay = time.Hour

// newApplication makes an application whose commands end when finish is called.
func newApplication() (app *emulator.Application, finish func(*testing.T)) {
	c := new(clock)
	app = &emulator.Application{CommandDelay: commandDelay, Now: c.now}
	return app, func(*testing.T) { c.advance(commandDelay) }
}

const token = "test-token-0123456789"

// serve serves the application on a socket until the test ends and returns its address.
func serve(t testing.TB, app *emulator.Application) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	handler := emulator.NewServer(app, emulator.ServerOptions{Authorizer: central.StaticTokens(token)})
	go func() { done <- emulator.Serve(ctx, l, handler) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

// connect makes a client of a server; the transport may be nil.
func connect(t testing.TB, base string, rt http.RoundTripper) *central.Client {
	t.Helper()
	cfg := central.DefaultConfig()
	cfg.URL = base
	c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(token), Transport: rt})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestConformanceInMemory(t *testing.T) {
	t.Parallel()
	centraltest.Run(t, centraltest.Suite{
		Capabilities: centraltest.Everything,
		New: func(*testing.T) centraltest.Target {
			app, finish := newApplication()
			return centraltest.Target{Service: app, FinishCommands: finish}
		},
	})
}

func TestConformanceOverHTTP(t *testing.T) {
	t.Parallel()
	validator := centraltest.NewValidator(t, nil)
	for _, prefix := range []string{"", "/api/v1"} {
		t.Run("at "+prefix, func(t *testing.T) {
			centraltest.Run(t, centraltest.Suite{
				Capabilities: centraltest.Everything,
				New: func(t *testing.T) centraltest.Target {
					app, finish := newApplication()
					return centraltest.Target{Service: connect(t, serve(t, app)+prefix, validator), FinishCommands: finish}
				},
			})
		})
	}
	for _, want := range []struct {
		op     central.Operation
		status []int
	}{
		{central.OpGetApplication, []int{200}},
		{central.OpListDevices, []int{200, 400}},
		{central.OpCreateDevice, []int{200, 400, 409}},
		{central.OpGetDevice, []int{200, 404}},
		{central.OpUpdateDevice, []int{200, 404}},
		{central.OpDeleteDevice, []int{204, 404}},
		{central.OpSendTelemetry, []int{204, 400, 404}},
		{central.OpTriggerCommand, []int{200, 404}},
		{central.OpGetCommandStatus, []int{200, 404}},
		{central.OpGetProperty, []int{200, 404}},
		{central.OpUpdateProperty, []int{200, 404}},
	} {
		for _, status := range want.status {
			if validator.Saw(want.op, status) == 0 {
				t.Errorf("the suite saw no %s answered %d", want.op, status)
			}
		}
	}
}
