package configs_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"iotc-gateway/configs"
)

var update = flag.Bool("update", false, "write schema.json and gateway.yaml anew")

// The files that are made from the structs are up to date. It is not parallel:
// the other tests read what it writes.
func TestMadeFiles(t *testing.T) {
	for file, produce := range map[string]func() ([]byte, error){"schema.json": configs.Schema, "gateway.yaml": configs.Reference} {
		want, err := produce()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("configs/%s does not match the structs; run: go test ./configs -run Made -update", file)
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := configs.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// asJSON reads YAML the way an editor does.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		if !strings.HasPrefix(f, "compose") {
			out = append(out, f)
		}
	}
	if len(out) < 4 {
		t.Fatalf("only %d examples found: %v", len(out), out)
	}
	return out
}

// Every shipped example is a configuration that works as it stands, and says
// in its first lines what it is for.
func TestExamples(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	for _, file := range examples(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			cfg, err := configs.Load(file, []string{"CREDENTIALS_DIRECTORY=/run/credentials/iotc-gateway.service", "STATE_DIRECTORY=/var/lib/iotc-gateway"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if u := cfg.Unresolved(); len(u) != 0 {
				t.Errorf("unresolved: %v", u)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(text, []byte("# yaml-language-server: $schema=")) {
				t.Error("the first line must name the schema for editors")
			}
			if err := schema.Validate(asJSON(t, text)); err != nil {
				t.Errorf("the schema refuses it: %v", err)
			}
			printed, err := cfg.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(asJSON(t, printed)); err != nil {
				t.Errorf("the schema refuses what is printed of it: %v\n%s", err, printed)
			}
		})
	}
}

// Every key is documented: the schema is what an editor shows beside it.
func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := configs.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		if properties, ok := m["properties"].(map[string]any); ok {
			for key, inner := range properties {
				section := inner.(map[string]any)["properties"] != nil
				if d, _ := inner.(map[string]any)["description"].(string); d == "" && !section {
					t.Errorf("%s%s has no doc tag", path, key)
				}
				walk(path+key+".", inner)
			}
		}
		for _, k := range []string{"items", "additionalProperties"} {
			walk(path, m[k])
		}
		if choices, ok := m["anyOf"].([]any); ok {
			for _, inner := range choices {
				walk(path, inner)
			}
		}
	}
	walk("", asJSON(t, text))
}

func TestSchemaRefusesWhatTheLoaderRefuses(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	for _, text := range []string{"centrl: {}", "central: {timeout: 15}", "log: {level: trace}", "console: {hosts: a}", "central: {insecure: 'yes'}"} {
		if err := schema.Validate(asJSON(t, []byte(text))); err == nil {
			t.Errorf("the schema accepts %q", text)
		}
		if _, found := parse(t, text); len(found) == 0 {
			t.Errorf("the loader accepts %q", text)
		}
	}
}
