package app_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

var (
	metricName = regexp.MustCompile(`\b(?:iotc_gateway|process|go)_[a-z0-9_]+`)
	// A name with its selector, for the labels in it.
	selector = regexp.MustCompile(`\b((?:iotc_gateway|process|go)_[a-z0-9_]+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|=)"([^"]*)"`)
	// Labels that Prometheus adds, or a function.
	foreignLabels = []string{"instance", "job", "le"}
)

// expressions are what Grafana's dashboard and the alert rules ask for.
func expressions(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	read(t, "../../../configs/monitoring/grafana-dashboard.json", func(b []byte) error { return json.Unmarshal(b, &board) })
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			out["panel "+p.Title] = append(out["panel "+p.Title], target.Expr)
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	read(t, "../../../configs/monitoring/prometheus-alerts.yaml", func(b []byte) error { return yaml.Unmarshal(b, &rules) })
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			out["alert "+r.Alert] = append(out["alert "+r.Alert], r.Expr)
		}
	}
	if len(out) < 30 {
		t.Fatalf("only %d panels and alerts were found", len(out))
	}
	return out
}

func read(t *testing.T, file string, decode func([]byte) error) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = decode(b)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestDashboardAndAlertsNameWhatThereIs looks for every metric and label that
// they name on the page of a gateway that runs.
func TestDashboardAndAlertsNameWhatThereIs(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	c := b.connect("sensor", "", "")
	publish(c, "devices/sensor/telemetry", `{"n":0}`)
	publish(c, "devices/sensor/telemetry", `{"n":`)
	b.eventually("delivery", func() bool { return len(b.bodies("sensor")) == 1 })

	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(get(t, "http://"+b.gateway.ConsoleAddr().String()+"/metrics")))
	if err != nil {
		t.Fatal(err)
	}
	// values of the labels of each metric, by label
	page := map[string]map[string][]string{}
	for name, family := range families {
		labels := map[string][]string{}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
		page[name] = labels
		if family.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
	named := map[string]bool{}
	for who, list := range expressions(t) {
		for _, expr := range list {
			for _, name := range metricName.FindAllString(expr, -1) {
				named[base(name, page)] = true
				if page[base(name, page)] == nil {
					t.Errorf("%s asks for %s, which is not on the page", who, name)
				}
			}
			for _, fault := range unknownLabels(expr, page) {
				t.Errorf("%s: %s", who, fault)
			}
		}
	}
	// What a person should see without knowing its name.
	for _, name := range []string{"store_sync_seconds", "uplink_call_seconds", "queue_oldest_seconds", "queue_dropped_total", "dead_letters", "queue_capacity_hours"} {
		if !named["iotc_gateway_"+name] {
			t.Errorf("neither dashboard nor alerts speak of %s", name)
		}
	}
}

// base is the name of a histogram's family, for one of its series.
func base(name string, page map[string]map[string][]string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if short, ok := strings.CutSuffix(name, suffix); ok && page[short] != nil {
			return short
		}
	}
	return name
}

// unknownLabels finds selectors that no series of the page can match.
func unknownLabels(expr string, page map[string]map[string][]string) (faults []string) {
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			label, op, value := m[1], m[2], m[3]
			if slices.Contains(foreignLabels, label) {
				continue
			}
			have := page[base(s[1], page)][label]
			want := []string{value}
			if op == "=~" {
				want = strings.Split(value, "|")
			}
			for _, w := range want {
				if !slices.Contains(have, w) {
					faults = append(faults, fmt.Sprintf("%s has no %s=%q, only %q", s[1], label, w, have))
				}
			}
		}
	}
	return faults
}
