package bench_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iotc-gateway/cmd/internal/bench"
)

func measure(t *testing.T, opts bench.Options) bench.Report {
	t.Helper()
	opts.Quick = true
	if opts.DataDir == "" {
		opts.DataDir = t.TempDir()
	}
	opts.Progress = func(line string) { t.Log(line) }
	report, err := bench.Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// A gateway that keeps its promises is found to, through every kind of trouble, and nothing is left behind.
func TestPromisesKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	report := measure(t, bench.Options{Messages: 200, Duration: 50 * time.Millisecond, DataDir: dir})
	if report.Broken() || len(report.Results) != len(wantAims) {
		var table bytes.Buffer
		_ = report.WriteTable(&table)
		t.Errorf("promises were kept, yet:\n%s", &table)
	}
	for _, result := range report.Results {
		if v := result.Account; v != nil && (v.Acked == 0 || v.Arrived < v.Acked) {
			t.Errorf("%s: account %+v", result.Scenario, v)
		}
		if targets := aims(result); !slices.Equal(targets, wantAims[result.Scenario]) {
			t.Errorf("%s: targets for %q", result.Scenario, targets)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// wantAims are the figures that have a target, by scenario.
var wantAims = map[string][]string{
	"start": {"start to first acknowledged publish", "stop on SIGTERM"},
	"idle": {
		"no clients, resident memory", "no clients, of one core", "no clients, written to disk",
		"1,000 clients, resident memory", "1,000 clients, of one core", "1,000 clients, written to disk",
	},
	"accepts":         {"one client, of sync: never", "50 clients, of sync: never", "one in flight, p50 above one fdatasync"},
	"steady":          {"delivered, of the bare client", "CPU per 1,000", "CPU, of the bare broker's", "bytes written per accepted byte"},
	"steady-coalesce": {"times as many as without"},
	"slow-sink":       {"strict order, of devices / 20 ms", "8 in flight per device"},
	"flaky":           {"after, of without"},
	"kill":            nil,
	"outage": {
		"stop on SIGTERM with the backlog", "start with the backlog to first acknowledged publish",
		"drained, of the bare client", "resident memory, peak", "disk after the drain",
	},
}

func aims(r bench.Result) []string {
	var found []string
	for _, f := range r.Figures {
		if f.Target != nil {
			found = append(found, f.Name)
		}
	}
	return found
}

func TestMQTT5(t *testing.T) {
	t.Parallel()
	report := measure(t, bench.Options{Scenarios: []string{"start"}, Runs: 2, Version: 5})
	if result := report.Results[0]; report.Broken() || result.Account.Acked != 2 || len(result.Figures[0].Runs) != 2 {
		t.Errorf("got %+v", result)
	}
}

// Each broken promise is found under its own name.
func TestPromisesBroken(t *testing.T) {
	t.Parallel()
	report := measure(t, bench.Options{
		Scenarios: []string{"steady"}, Messages: 1000, Stall: 500 * time.Millisecond,
		Executable: writeScript(t, `TOY_DEFECT="lose duplicate reorder reuse" exec "$self" "$@"`),
	})
	if !report.Broken() {
		t.Fatalf("not found: %+v", report.Results)
	}
	v := report.Results[0].Account
	if v == nil || v.Lost == 0 || v.Duplicated == 0 || v.OutOfOrder == 0 || v.IDsReused == 0 {
		t.Errorf("account %+v, error %q", v, report.Results[0].Error)
	}
}

// A gateway that cannot start is reported with the end of its log, and the bench ends.
func TestGatewayThatDies(t *testing.T) {
	t.Parallel()
	report := measure(t, bench.Options{Scenarios: []string{"start"}, Executable: writeScript(t, "echo no such luck >&2; exit 3")})
	if !report.Broken() || !strings.Contains(report.Results[0].Error, "no such luck") {
		t.Errorf("got %+v", report.Results)
	}
}

// writeScript makes a program that is this test binary for the children of the bench, and a script as the gateway.
func writeScript(t *testing.T, script string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "gateway")
	text := "#!/bin/sh\nself='" + self + "'\nif [ \"$1\" = bench ]; then exec \"$self\" \"$@\"; fi\n" + script + "\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnknownScenario(t *testing.T) {
	t.Parallel()
	_, err := bench.Run(t.Context(), bench.Options{Scenarios: []string{"steady", "stedy"}})
	if !errors.Is(err, bench.ErrUnknownScenario) || !strings.Contains(err.Error(), "slow-sink") {
		t.Errorf("got %v", err)
	}
}
