package emulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
)

// both runs a test on an application directly and through a client over a socket: faults act alike.
func both(t *testing.T, run func(t *testing.T, app *emulator.Application, s central.Service)) {
	t.Helper()
	t.Run("in memory", func(t *testing.T) {
		t.Parallel()
		app := new(emulator.Application)
		addDevice(t, app, "d1")
		run(t, app, app)
	})
	t.Run("over HTTP", func(t *testing.T) {
		t.Parallel()
		app := new(emulator.Application)
		addDevice(t, app, "d1")
		run(t, app, connect(t, serve(t, app), nil))
	})
}

func addDevice(t *testing.T, app *emulator.Application, id string) {
	t.Helper()
	if _, err := app.CreateDevice(t.Context(), id, central.DeviceCreate{}, ""); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, s central.Service, n int) error {
	t.Helper()
	return s.SendTelemetry(t.Context(), "d1", fmt.Appendf(nil, `{"seq":%d}`, n), fmt.Sprintf("request-%d", n))
}

func TestStatusForTheNextCalls(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, app *emulator.Application, s central.Service) {
		app.Faults.Set(
			emulator.Fault{Status: 503, Calls: 2},
			emulator.Fault{Status: 429, Calls: 1, RetryAfter: 3 * time.Second, Code: "Slow", Message: "Slow down."},
			emulator.Fault{Status: 500, Operations: []central.Operation{central.OpGetDevice}},
			emulator.Fault{Status: 500, Device: "another"},
		)
		for n, want := range []int{503, 503, 429, 0, 0} {
			err := send(t, s, n)
			if central.StatusOf(err) != want || want == 0 && err != nil {
				t.Errorf("call %d: %v, want %d", n, err, want)
			}
			if e, ok := errors.AsType[*central.Error](err); want == 429 && (!ok || e.RetryAfter != 3*time.Second || e.Code != "Slow" || e.Message != "Slow down.") {
				t.Errorf("call %d: %+v", n, e)
			}
		}
		if _, err := s.Device(t.Context(), "d1"); central.StatusOf(err) != 500 {
			t.Errorf("the other operation: %v", err)
		}
		if got := app.Totals(); got.Accepted != 2 || got.Faults != 4 {
			t.Errorf("counted %+v", got)
		}
		if left := len(app.Faults.List()); left != 2 {
			t.Errorf("%d faults are left, want 2", left)
		}
		app.Faults.Clear()
		if _, err := s.Device(t.Context(), "d1"); err != nil {
			t.Error(err)
		}
	})
}

// Not carried out and carried out: the two ways to lose an answer.
func TestDroppedConnections(t *testing.T) {
	t.Parallel()
	for drop, carriedOut := range map[string]bool{emulator.DropAfterReading: false, emulator.DropBeforeAnswering: true} {
		t.Run(drop, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, app *emulator.Application, s central.Service) {
				app.Faults.Set(emulator.Fault{Drop: drop, Calls: 1})
				err := send(t, s, 1)
				if err == nil || !central.MaybeSent(err) || central.StatusOf(err) != 0 {
					t.Errorf("the dropped call returned %v", err)
				}
				if events, _ := app.Telemetry("d1", 10); (len(events) == 1) != carriedOut {
					t.Errorf("%d events are there", len(events))
				}
				if err := send(t, s, 1); err != nil {
					t.Errorf("the retry: %v", err)
				}
				stats, _ := app.DeviceStats("d1")
				if stats.Accepted != 1 || (stats.Duplicates == 1) != carriedOut {
					t.Errorf("after the retry: %+v", stats)
				}
				app.Faults.Set(emulator.Fault{Drop: drop, Calls: 1})
				cmd, err := s.TriggerCommand(t.Context(), "d1", "reboot", nil, "command-1")
				if err == nil || !central.MaybeSent(err) {
					t.Errorf("the dropped command: %+v, %v", cmd, err)
				}
				if stats, _ := app.DeviceStats("d1"); (stats.Commands == 1) != carriedOut {
					t.Errorf("%d commands are there", stats.Commands)
				}
			})
		})
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, app *emulator.Application, s central.Service) {
		app.Faults.SetDown(true)
		if err := send(t, s, 1); err == nil || central.StatusOf(err) != 0 {
			t.Errorf("while it is down: %v", err)
		}
		if got := app.Totals().Telemetry; got != 0 || !app.Faults.Down() {
			t.Errorf("%d events arrived while it was down", got)
		}
		app.Faults.SetDown(false)
		if err := send(t, s, 1); err != nil {
			t.Errorf("when it is up again: %v", err)
		}
	})
}

func TestBlackHole(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, app *emulator.Application, s central.Service) {
		app.Faults.Set(emulator.Fault{BlackHole: true})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := s.SendTelemetry(ctx, "d1", json.RawMessage(`{}`), "")
		if !errors.Is(err, context.DeadlineExceeded) || !central.MaybeSent(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dice := 0.5
		app := &emulator.Application{}
		app.Faults.Random = func() float64 { return dice }
		addDevice(t, app, "d1")
		app.Faults.Set(emulator.Fault{Latency: 200 * time.Millisecond, Jitter: 100 * time.Millisecond}, emulator.Fault{Latency: time.Second, Status: 503, Probability: 0.5})
		start := time.Now()
		if err := send(t, app, 1); err != nil || time.Since(start) != 250*time.Millisecond {
			t.Errorf("%v after %v, want success after 250ms", err, time.Since(start))
		}
		dice, start = 0.4, time.Now()
		if err := send(t, app, 2); central.StatusOf(err) != 503 || time.Since(start) != 1240*time.Millisecond {
			t.Errorf("%v after %v, want 503 after 1.24s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start = time.Now()
		err := app.SendTelemetry(ctx, "d1", json.RawMessage(`{}`), "")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("%v after %v, want the caller's own end", err, time.Since(start))
		}
	})
}

func TestParseFault(t *testing.T) {
	t.Parallel()
	got, err := emulator.ParseFault("status=429, calls=10,retryAfter=2s,probability=0.5,operations=sendTelemetry+getDevice,device=d1,latency=1ms,jitter=2ms,code=C,message=Slow down")
	want := `{"operations":["sendTelemetry","getDevice"],"device":"d1","calls":10,"probability":0.5,"latency":"1ms","jitter":"2ms","status":429,"code":"C","message":"Slow down","retryAfter":"2s"}`
	if text, _ := json.Marshal(got); err != nil || string(text) != want {
		t.Errorf("got %s, %v", text, err)
	}
	if got, err := emulator.ParseFault("blackHole"); err != nil || !got.BlackHole {
		t.Errorf("got %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                              "form name=value",
		"status":                        "form name=value",
		"status=200":                    "from 400 to 599",
		"status=many":                   "whole number",
		"status=500,drop=after_reading": "exclude each other",
		"drop=now":                      "after_reading or before_answering",
		"latency=5":                     `"250ms"`,
		"calls=3":                       "does nothing",
		"status=500,probability=2":      "from 0 to 1",
		"status=500,operations=send":    "unknown operation",
		"status=500,calls=-1":           "negative",
		"speed=3":                       "is unknown",
		"blackHole=maybe":               "true or false",
	} {
		if _, err := emulator.ParseFault(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// ask makes a request of the pages under /emulator.
func ask(t *testing.T, method, url, bearer, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestControlPages(t *testing.T) {
	t.Parallel()
	app := new(emulator.Application)
	addDevice(t, app, "d1")
	base := serve(t, app)
	c := connect(t, base, nil)
	for n := range 3 {
		if err := send(t, c, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		method, path, bearer, body string
		status                     int
		want                       string
	}{
		{"GET", "/stats", "", "", 401, "Bearer TOKEN"},
		{"GET", "/stats", "wrong", "", 401, "not valid"},
		{"GET", "/stats", token, "", 200, `"d1": {`},
		{"GET", "/stats?devices=false", token, "", 200, `"deviceCount": 1`},
		{"GET", "/devices/d1/telemetry?last=1", token, "", 200, `"requestId": "request-2"`},
		{"GET", "/devices/d1/telemetry?last=x", token, "", 400, "whole number"},
		{"GET", "/devices/nobody/telemetry", token, "", 404, "nobody"},
		{"GET", "/faults", token, "", 200, `"faults": []`},
		{"PUT", "/faults", token, `{"faults":[{"status":503,"calls":3,"latency":"5ms"}]}`, 200, `"calls": 3`},
		{"PUT", "/faults", token, `{"faults":[{"status":503,"colour":"red"}]}`, 400, "colour"},
		{"PUT", "/faults", token, `{"faults":[{"status":99}]}`, 400, "fault 1: status"},
		{"PUT", "/faults", token, `{"faults":[{"latency":"soon"}]}`, 400, "no duration"},
		{"PUT", "/faults", token, strings.Repeat(" ", 65<<10), 413, "65536"},
		{"GET", "/faults", token, "", 200, `"status": 503`},
		{"PUT", "/faults", token, `{"down":true}`, 200, `"down": true`},
		{"DELETE", "/faults", token, "", 204, ""},
		{"POST", "/reset", token, "", 204, ""},
		{"GET", "/stats", token, "", 200, `"deviceCount": 0`},
		{"GET", "/nothing", token, "", 404, ""},
		{"POST", "/stats", token, "", 405, ""},
	} {
		status, body := ask(t, step.method, base+"/emulator"+step.path, step.bearer, step.body)
		if status != step.status || !strings.Contains(body, step.want) {
			t.Errorf("%s %s answered %d %s, want %d with %s", step.method, step.path, status, body, step.status, step.want)
		}
	}
}
