package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"iotc-gateway/bridge"
	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/cmd/internal/control"
	"iotc-gateway/configs"
	"iotc-gateway/mapping"
)

func tenths(payload string) []mapping.Route {
	return []mapping.Route{{Match: "plant/{device}/temp", Payload: payload, Telemetry: mapping.Outputs{Values: map[string]string{"temperature": "payload"}}}}
}

// dial reaches the gateway through its control socket.
func (b *bench) dial() *control.Client {
	b.t.Helper()
	c, err := control.Dial(b.t.Context(), b.cfg.Gateway.DataDir)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func letters(t *testing.T, c *control.Client, query string) (list []map[string]any) {
	t.Helper()
	err := c.Lines(t.Context(), http.MethodGet, "/v1/deadletters"+query, nil, func(line []byte) error {
		var l map[string]any
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		list = append(list, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A publication that a faulty mapping could not take is mapped again once the
// mapping was mended, and arrives.
func TestRetryAfterTheMappingWasMended(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *configs.Config) { cfg.Mapping.Routes = tenths("number") })
	device := b.connect("c1", "", "")
	if !publish(device, "plant/boiler/temp", "warm") {
		t.Fatal("poison was not acknowledged")
	}
	c := b.dial()
	if list := letters(t, c, ""); len(list) != 1 || list[0]["reason"] != "undecodable" || list[0]["payload"] != "warm" {
		t.Fatalf("dead letters %v", list)
	}
	if list := letters(t, c, "?reason=rejected"); len(list) != 0 {
		t.Fatalf("of another reason: %v", list)
	}
	var out control.Outcome
	if err := c.Call(t.Context(), http.MethodPost, "/v1/deadletters/retry", control.Selection{All: true}, &out); err != nil {
		t.Fatal(err)
	}
	if out.Done != 0 || out.Failed != 1 || !strings.Contains(out.Faults[0].Message, "expected a number") {
		t.Fatalf("retried with the faulty mapping: %+v", out)
	}

	next := *b.cfg
	next.Mapping.Routes = tenths("string")
	if err := b.gateway.Reload(&next); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), http.MethodPost, "/v1/deadletters/retry", control.Selection{Reason: "undecodable"}, &out); err != nil {
		t.Fatal(err)
	}
	if out.Done != 1 || out.Failed != 0 {
		t.Fatalf("retried with the mended mapping: %+v", out)
	}
	if list := letters(t, c, ""); len(list) != 0 {
		t.Fatalf("still there: %v", list)
	}
	b.eventually("the telemetry arrives", func() bool {
		got := b.bodies("boiler")
		return len(got) == 1 && strings.Contains(got[0], `"warm"`)
	})
}

// What the application refused goes to it again, and what is dropped is gone,
// also while the gateway does not run.
func TestDeadLettersOfAStoppedGateway(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *configs.Config) { cfg.Mapping.Routes = tenths("number") })
	device := b.connect("c1", "", "")
	for range 3 {
		if !publish(device, "plant/boiler/temp", "warm") {
			t.Fatal("poison was not acknowledged")
		}
	}
	b.stop()
	if _, err := control.Dial(t.Context(), b.cfg.Gateway.DataDir); !errors.Is(err, control.ErrNotRunning) {
		t.Fatalf("dial a stopped gateway: %v", err)
	}
	b.cfg.Mapping.Routes = tenths("string")
	stopped, err := app.OpenStopped(b.cfg, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	c := control.InProcess(control.NewHandler(stopped.Controls()))
	list := letters(t, c, "")
	if len(list) != 3 {
		t.Fatalf("%d dead letters", len(list))
	}
	first := uint64(list[0]["id"].(float64))
	var out control.Outcome
	if err := c.Call(t.Context(), http.MethodPost, "/v1/deadletters/retry", control.Selection{IDs: []uint64{first}}, &out); err != nil || out.Done != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	if err := c.Call(t.Context(), http.MethodPost, "/v1/deadletters/drop", control.Selection{All: true}, &out); err != nil || out.Done != 2 {
		t.Fatalf("%+v %v", out, err)
	}
	err = c.Call(t.Context(), http.MethodPost, "/v1/reload", nil, nil)
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Status != http.StatusConflict || e.Code != "NotRunning" {
		t.Fatalf("reload of a stopped gateway: %v", err)
	}
	if err := stopped.Close(); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.eventually("the telemetry arrives", func() bool { return len(b.bodies("boiler")) == 1 })
	if list := letters(t, b.dial(), ""); len(list) != 0 {
		t.Fatalf("dead letters after the restart: %v", list)
	}
}

// What a publisher might not write does not get in by a retry either, unless
// its rights were mended.
func TestRetryKeepsToTheRightsOfTheSender(t *testing.T) {
	t.Parallel()
	var users *broker.Users
	b := setup(t, func(cfg *configs.Config) {
		cfg.Mapping.Routes = []mapping.Route{{Match: "shop/{sender}/{device}", Payload: "number", Telemetry: mapping.Outputs{Values: map[string]string{"x": "payload"}}}}
		if err := os.MkdirAll(cfg.Gateway.DataDir, 0o700); err != nil {
			t.Fatal(err)
		}
		var err error
		if users, err = broker.OpenUsers(app.UsersFile(cfg.Gateway.DataDir)); err != nil {
			t.Fatal(err)
		}
		if err := users.Add(broker.User{Name: "d1", Role: broker.RoleDevice, Topics: []string{"shop/d1/+"}}, []byte("right"), false); err != nil {
			t.Fatal(err)
		}
	})
	device := b.connect("d1", "d1", "right")
	if !publish(device, "shop/d1/other", "1") {
		t.Fatal("not acknowledged")
	}
	c := b.dial()
	if list := letters(t, c, "?device=other"); len(list) != 1 || list[0]["reason"] != "foreign_device" {
		t.Fatalf("dead letters %v", list)
	}
	var out control.Outcome
	if err := c.Call(t.Context(), http.MethodPost, "/v1/deadletters/retry", control.Selection{All: true}, &out); err != nil || out.Failed != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	if err := users.Add(broker.User{Name: "d1", Role: broker.RoleBridge, Devices: []string{"*"}, Topics: []string{"shop/d1/+"}}, []byte("right"), true); err != nil {
		t.Fatal(err)
	}
	if err := b.gateway.Reload(b.cfg); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), http.MethodPost, "/v1/deadletters/retry", control.Selection{Device: "other"}, &out); err != nil || out.Done != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	b.eventually("the telemetry arrives", func() bool { return len(b.bodies("other")) == 1 })
}

// A call that does not say what it means changes nothing.
func TestSelectionsAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	device := b.connect("c1", "", "")
	if !publish(device, "devices/boiler/telemetry", `{"a":`) {
		t.Fatal("poison was not acknowledged")
	}
	c := b.dial()
	for _, body := range []any{control.Selection{}, control.Selection{IDs: []uint64{1}, All: true}, map[string]any{"every": true}} {
		err := c.Call(t.Context(), http.MethodPost, "/v1/deadletters/drop", body, nil)
		if e, ok := errors.AsType[*control.Error](err); !ok || e.Status != http.StatusBadRequest {
			t.Errorf("drop %+v: %v", body, err)
		}
	}
	if list := letters(t, c, ""); len(list) != 1 {
		t.Fatalf("a refused call changed something: %v", list)
	}
	err := c.Call(t.Context(), http.MethodGet, "/v1/deadletters/99", nil, nil)
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Status != http.StatusNotFound {
		t.Errorf("a letter that is not there: %v", err)
	}
}

// The socket is for its owner alone and goes away with the gateway; one that a
// killed process left behind is no obstacle.
func TestControlSocket(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	path := control.SocketPath(b.cfg.Gateway.DataDir)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	var devices []bridge.KnownDevice
	if err := b.dial().Call(t.Context(), http.MethodGet, "/v1/devices", nil, &devices); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("after the stop: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	if err := b.dial().Call(t.Context(), http.MethodGet, "/v1/devices", nil, &devices); err != nil {
		t.Fatal(err)
	}
}

// A data directory whose path does not fit into a socket's address works too.
func TestControlSocketWithALongPath(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *configs.Config) { cfg.Gateway.DataDir += "/" + strings.Repeat("long/", 30) })
	var devices []bridge.KnownDevice
	if err := b.dial().Call(t.Context(), http.MethodGet, "/v1/devices", nil, &devices); err != nil {
		t.Fatal(err)
	}
}

// The running gateway shows what comes in with what became of it, and tells
// what it would make of a publication without making anything.
func TestTapAndTrial(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *configs.Config) { cfg.Mapping.Routes = tenths("number") })
	c := b.dial()
	err := c.Lines(t.Context(), http.MethodPost, "/v1/map", strings.NewReader(`{"topic":"plant/x/temp","payload":"5"}{"topic":"nobody/knows","payload":"5"}`), func(line []byte) error {
		if !bytes.Contains(line, []byte(`"temperature":5`)) && !bytes.Contains(line, []byte(`"unmapped"`)) {
			t.Errorf("trial %s", line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	device := b.connect("c1", "", "")
	seen := make(chan string, 64)
	watching := make(chan error, 1)
	go func() {
		watching <- c.Lines(ctx, http.MethodGet, "/v1/tap", nil, func(line []byte) error {
			seen <- string(line)
			return nil
		})
	}()
	// The tap shows what comes after it was opened.
	for !publish(device, "plant/b7/temp", "21") || len(seen) == 0 {
		if ctx.Err() != nil {
			t.Fatal("nothing was shown")
		}
	}
	line := <-seen
	for _, want := range []string{`"topic":"plant/b7/temp"`, `"payload":"21"`, `"client":"c1"`, `"temperature":21`, `"route":"routes[0]"`} {
		if !strings.Contains(line, want) {
			t.Errorf("%s lacks %s", line, want)
		}
	}
	cancel()
	if err := <-watching; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
