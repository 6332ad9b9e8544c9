package template_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"iotc-gateway/mapping/template"
)

// TestValues runs testdata/values.txt: what each value becomes, or why it does not fit.
func TestValues(t *testing.T) {
	t.Parallel()
	set := models(t)
	text, err := os.ReadFile("testdata/values.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for row := range strings.Lines(string(text)) {
		row = strings.TrimSuffix(row, "\n")
		if row == "" || strings.HasPrefix(row, "#") {
			fmt.Fprintln(&out, row)
			continue
		}
		head, value, _ := strings.Cut(row, "|")
		value = strings.TrimPrefix(value, " ")
		words := append(strings.Fields(head), "")
		tmpl, ok := set.Get("dtmi:com:example:" + words[1] + ";1")
		if !ok {
			t.Fatalf("no template in %q", row)
		}
		got, err := apply(tmpl, words[0], words[2], value)
		fmt.Fprintf(&out, "%s\n", row)
		if err != nil {
			fmt.Fprintf(&out, "    ! %s\n", strings.ReplaceAll(err.Error(), " (template "+tmpl.ID()+")", ""))
			continue
		}
		if got == value {
			got = "unchanged"
		}
		fmt.Fprintf(&out, "    = %s\n", got)
	}
	golden(t, "values.golden", out.String())
}

func apply(tmpl *template.Template, what, name, value string) (string, error) {
	raw := json.RawMessage(value)
	switch what {
	case "telemetry":
		got, known, err := tmpl.TelemetryValue(name, raw)
		if !known {
			return "unknown", nil
		}
		return string(got), err
	case "body":
		got, unknown, err := tmpl.Telemetry(raw)
		if unknown > 0 {
			return fmt.Sprintf("%s with %d unmodelled", got, unknown), err
		}
		return string(got), err
	case "property":
		got, err := tmpl.Property(name, raw)
		return string(got), err
	case "command":
		got, err := tmpl.Command(name, raw)
		return string(got), err
	default:
		got, err := tmpl.Response(name, raw)
		return string(got), err
	}
}

func TestErrorsAreData(t *testing.T) {
	t.Parallel()
	tmpl, _ := models(t).Get("dtmi:com:example:thermostat;1")
	_, err := tmpl.Property("limits", []byte(`{"north": "x"}`))
	fault, ok := errors.AsType[template.Fault](err)
	if want := (template.Fault{Path: "limits.north", Expected: "integer from -2147483648 to 2147483647", Found: `"x"`}); !ok || fault != want {
		t.Errorf("fault %+v, want %+v", fault, want)
	}
	_, err = tmpl.Command("nothing", nil)
	if !errors.Is(err, template.ErrUnknownName) {
		t.Errorf("an unknown command: %v", err)
	}
	_, _, err = tmpl.Telemetry([]byte(`{"readings": [` + strings.Repeat(`{"t": "x"},`, 20) + `{}]}`))
	if e, ok := errors.AsType[*template.Error](err); !ok || len(e.Faults) != template.MaxFaults || e.More != 12 {
		t.Errorf("many faults: %v", err)
	}
}

func TestValueDepth(t *testing.T) {
	t.Parallel()
	tmpl, _ := models(t).Get("dtmi:com:example:thermostat;1")
	nested := func(n int) []byte {
		return []byte(`{"other": ` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	if _, _, err := tmpl.Telemetry(nested(template.MaxValueDepth - 1)); err != nil {
		t.Errorf("within the limit: %v", err)
	}
	if _, _, err := tmpl.Telemetry(nested(10000)); err == nil {
		t.Error("10,000 levels pass")
	}
}

func TestFittingCostsNoAllocation(t *testing.T) {
	tmpl, _ := models(t).Get("dtmi:com:example:thermostat;1")
	body := []byte(`{"temperature": 21.5, "count": 3, "on": true, "mode": 2, "motion": {"x": 1, "y": 2}}`)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := tmpl.Telemetry(body); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzTelemetry(f *testing.F) {
	set := models(f)
	tmpl, _ := set.Get("dtmi:com:example:thermostat;1")
	house, _ := set.Get("dtmi:com:example:house;1")
	text, err := os.ReadFile("testdata/values.txt")
	if err != nil {
		f.Fatal(err)
	}
	for row := range strings.Lines(string(text)) {
		head, value, ok := strings.Cut(strings.TrimSpace(row), " | ")
		if words := strings.Fields(head); ok && len(words) == 3 {
			value = fmt.Sprintf(`{%q: %s}`, words[2], value)
		}
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		for _, tmpl := range []*template.Template{tmpl, house} {
			got, _, err := tmpl.Telemetry(body)
			if string(body) != before {
				t.Fatal("the input was written to")
			}
			if err != nil {
				if _, ok := errors.AsType[*template.Error](err); !ok || len(err.Error()) > 4096 {
					t.Fatalf("%T of %d bytes", err, len(err.Error()))
				}
				continue
			}
			if !json.Valid(got) {
				t.Fatalf("accepted %q as %q, which is no JSON", body, got)
			}
			again, _, err := tmpl.Telemetry(got)
			if err != nil || string(again) != string(got) {
				t.Fatalf("%q became %q, which becomes %q, %v", body, got, again, err)
			}
		}
		if _, err := tmpl.Command("move", body); err == nil && len(strings.TrimSpace(before)) > 0 && !json.Valid(body) {
			t.Fatalf("took the arguments %q", body)
		}
	})
}

func FuzzLoad(f *testing.F) {
	for _, name := range []string{"models/thermostat.json", "models/base.json", "models/central.json", "faulty/contents.json", "faulty/identity.json", "faulty/deep.json"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := load(string(text))
		if err == nil && !json.Valid(text) && !json.Valid([]byte(strings.TrimPrefix(string(text), "\ufeff"))) {
			t.Fatalf("loaded %q", text)
		}
		problems, _ := errors.AsType[template.Problems](err)
		for _, p := range problems {
			if p.Message == "" || p.File == "" || p.Line < 0 {
				t.Fatalf("problem %+v", p)
			}
		}
		for _, id := range set.IDs() {
			tmpl, ok := set.Get(id)
			if !ok {
				t.Fatalf("no template %q", id)
			}
			_, _, _ = tmpl.Telemetry([]byte(`{"a": {"b": [1, "x", null, true]}}`))
		}
	})
}
