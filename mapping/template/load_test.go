package template_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"iotc-gateway/mapping/template"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		g, w := line(gotLines, i), line(wantLines, i)
		if g != w {
			t.Errorf("%s:%d\n got %s\nwant %s", name, i+1, g, w)
		}
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

func models(t testing.TB) *template.Set {
	t.Helper()
	set, err := template.Load(os.DirFS("testdata/models"))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// load reads one file.
func load(text string) (*template.Set, error) {
	return template.Load(fstest.MapFS{"model.json": &fstest.MapFile{Data: []byte(text)}})
}

func TestLoadFaults(t *testing.T) {
	t.Parallel()
	set, err := template.Load(os.DirFS("testdata/faulty"))
	if set != nil || err == nil {
		t.Fatalf("Load = %v, %v; want no set and all faults", set, err)
	}
	if _, ok := errors.AsType[template.Problems](err); !ok {
		t.Fatalf("error is %T, want Problems", err)
	}
	golden(t, "faulty.golden", err.Error()+"\n")
}

func TestLoadWarnings(t *testing.T) {
	t.Parallel()
	set, err := load("\ufeff" + `{
  "@context": "dtmi:dtdl:context;2", "@id": "dtmi:com:example:x;1", "@type": "Interface",
  "contens": [],
  "contents": [
    {"@type": ["Telemetry", "Temperature"], "name": "t", "schema": "double", "unit": "degreeCelcius"},
    {"@type": ["Telemetry", "Temperature"], "name": "ok", "schema": "double", "unit": "kelvin"},
    {"@type": ["Telemetry", "Odd"], "name": "odd", "schema": "double", "oddity": 3},
    {"@type": "Telemetry", "name": "u", "schema": "double", "displayName": 3}
  ]
}`)
	if err != nil {
		t.Fatal(err)
	}
	want := `model.json:3:3: warning: the key "contens" is not one of DTDL's here (did you mean "contents"?)
model.json:5:86: warning: "degreeCelcius" is no unit of Temperature (did you mean "degreeCelsius"?)
model.json:8:76: warning: "displayName" is 3 and no string`
	if got := set.Warnings().Error(); got != want {
		t.Errorf("warnings:\n%s\nwant:\n%s", got, want)
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	set := models(t)
	want := "dtmi:abc:motor;1 dtmi:abc:pump;1 dtmi:abc:pumpBasics;1 dtmi:com:example:base;1 dtmi:com:example:house;1 dtmi:com:example:thermostat;1"
	if got := strings.Join(set.IDs(), " "); got != want {
		t.Errorf("IDs = %s", got)
	}
	pump, ok := set.Get("dtmi:modelDefinition:abc;1")
	if !ok || pump.ID() != "dtmi:abc:pump;1" || pump.DisplayName() != "Pump" || pump.File() != "central.json" {
		t.Fatalf("the device template's own identifier finds %+v, %v", pump, ok)
	}
	if _, ok := pump.FindTelemetry("flow"); !ok {
		t.Error("what is inherited from an interface in place is missing")
	}
	if _, ok := pump.FindCommand("motor*stop"); !ok || len(pump.Commands()) != 0 || len(pump.Components()) != 1 {
		t.Errorf("motor*stop found: %v; commands of the pump itself: %v", ok, pump.Commands())
	}
	thermostat, _ := set.Get("dtmi:com:example:thermostat;1")
	if thermostat.DisplayName() != "Thermostat" {
		t.Errorf("display name %q, want the English one", thermostat.DisplayName())
	}
	for name, want := range map[string]bool{"target": true, "owner": true, "firmware": false, "nothing": false} {
		if got := thermostat.Writable(name); got != want {
			t.Errorf("Writable(%q) = %v", name, got)
		}
	}
	v, _ := thermostat.FindTelemetry("temperature")
	if v.Semantic != "Temperature" || v.Unit != "degreeCelsius" || v.Schema != "double" {
		t.Errorf("temperature is %+v", v)
	}
	if house, _ := set.Get("dtmi:com:example:house;1"); !house.Writable("upstairs.target") {
		t.Error("a property of a component is not found by its qualified name")
	}
}

func TestNilSet(t *testing.T) {
	t.Parallel()
	var set *template.Set
	if _, ok := set.Get("dtmi:a;1"); ok || set.Len() != 0 || set.IDs() != nil || set.Warnings() != nil {
		t.Error("a nil set is not empty")
	}
}

// chain returns interfaces that each extend the next.
func chain(version, levels int) string {
	var b strings.Builder
	b.WriteString("[")
	for i := range levels + 1 {
		fmt.Fprintf(&b, `{"@context": "dtmi:dtdl:context;%d", "@id": "dtmi:x:level%d;1", "@type": "Interface"`, version, i)
		if i < levels {
			fmt.Fprintf(&b, `, "extends": "dtmi:x:level%d;1"},`, i+1)
		}
	}
	return b.String() + "}]"
}

func TestExtendsDepth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version, levels int
		ok              bool
	}{{2, 10, true}, {2, 11, false}, {3, 10, true}, {3, 11, false}, {4, 12, true}, {4, 13, false}} {
		if _, err := load(chain(c.version, c.levels)); (err == nil) != c.ok {
			t.Errorf("v%d, %d levels: %v", c.version, c.levels, err)
		}
	}
}

func TestDiamondIsNoConflict(t *testing.T) {
	t.Parallel()
	set, err := load(`[
	{"@context": "dtmi:dtdl:context;3", "@id": "dtmi:x:top;1", "@type": "Interface", "extends": ["dtmi:x:left;1", "dtmi:x:right;1"]},
	{"@context": "dtmi:dtdl:context;3", "@id": "dtmi:x:left;1", "@type": "Interface", "extends": "dtmi:x:root;1"},
	{"@context": "dtmi:dtdl:context;3", "@id": "dtmi:x:right;1", "@type": "Interface", "extends": "dtmi:x:root;1"},
	{"@context": "dtmi:dtdl:context;3", "@id": "dtmi:x:root;1", "@type": "Interface", "contents": {"@type": "Telemetry", "name": "t", "schema": "double"}}]`)
	if err != nil {
		t.Fatal(err)
	}
	top, _ := set.Get("dtmi:x:top;1")
	if n := len(top.TelemetryValues()); n != 1 {
		t.Errorf("%d telemetry values, want 1", n)
	}
}

func TestLoadLimits(t *testing.T) {
	t.Parallel()
	if _, err := load(strings.Repeat("[", 200) + strings.Repeat("]", 200)); err == nil || !strings.Contains(err.Error(), "1:66: nested deeper than 64 levels") {
		t.Errorf("deep nesting: %v", err)
	}
	many := "[" + strings.Repeat("1,\n", 1000) + "1]"
	_, err := load(many)
	problems, _ := errors.AsType[template.Problems](err)
	if len(problems) != template.MaxProblems+1 || !strings.Contains(problems[len(problems)-1].Message, "801 more problems") {
		t.Errorf("%d problems, the last %v", len(problems), problems[len(problems)-1])
	}
	if set, err := template.Load(fstest.MapFS{}); err != nil || set.Len() != 0 {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := template.LoadDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestLoadDirNamesFilesAsGiven(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"a.json": "{", ".hidden.json": "{", "notes.txt": "{"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := filepath.Join(dir, "a.json") + ":1:2: the file ends early, expected a key in double quotes (the file must be JSON)"
	if _, err := template.LoadDir(dir); err == nil || err.Error() != want {
		t.Errorf("LoadDir: %v\nwant %s", err, want)
	}
	if _, err := template.LoadFiles(filepath.Join(dir, "a.json")); err == nil || err.Error() != want {
		t.Errorf("LoadFiles: %v\nwant %s", err, want)
	}
}

// TestSchemasShareWhatTheyName loads what would be 100 million schemas if each use of a name were compiled anew.
func TestSchemasShareWhatTheyName(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"@context": "dtmi:dtdl:context;3", "@id": "dtmi:x:bomb;1", "@type": "Interface", "schemas": [`)
	for level := range 5 {
		if level > 0 {
			b.WriteString(",")
		}
		next := fmt.Sprintf("dtmi:x:bomb:l%d;1", level+1)
		if level == 4 {
			next = "double"
		}
		fmt.Fprintf(&b, `{"@id": "dtmi:x:bomb:l%d;1", "@type": "Object", "fields": [`, level)
		for i := range 40 {
			if i > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, `{"name": "f%d", "schema": %q}`, i, next)
		}
		b.WriteString("]}")
	}
	b.WriteString(`], "contents": [{"@type": "Telemetry", "name": "t", "schema": "dtmi:x:bomb:l0;1"}`)
	deep := `, {"@type": "Telemetry", "name": "u", "schema": {"@type": "Array", "elementSchema": "dtmi:x:bomb:l0;1"}}`
	if _, err := load(b.String() + "]}"); err != nil {
		t.Fatal(err)
	}
	if _, err := load(b.String() + deep + "]}"); err == nil || !strings.Contains(err.Error(), "more than 5 levels") {
		t.Errorf("six levels: %v", err)
	}
}
