package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "iotc-gateway"

// pkg is what `go list` tells about a package.
type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
	GoFiles    []string
}

// floor is what a part may and may not build on. Names are folders of this
// module; a folder stands for everything below it.
type floor struct {
	part  string
	never []string
}

var floors = []floor{
	{part: "broker", never: []string{"mapping", "buffer", "bridge", "configs", "cmd"}},
	{part: "mapping", never: []string{"broker", "buffer", "bridge", "configs", "cmd"}},
	{part: "buffer", never: []string{"broker", "mapping", "bridge", "configs", "cmd"}},
	{part: "bridge", never: []string{"broker", "buffer", "configs", "cmd"}},
	{part: "bridge/central", never: []string{"mapping", "broker", "buffer", "configs", "cmd"}},
	{part: "configs", never: []string{"cmd"}},
}

// owners says where a library may be imported at all.
var owners = map[string][]string{
	// The bench measures a gateway beside the library as it comes.
	"github.com/mochi-mqtt/server": {"broker", "cmd/internal/bench/barebroker"},
	"github.com/dgraph-io/badger":  {"buffer"},
	"github.com/eclipse/paho.mqtt": {"bridge", "cmd"},
	"github.com/expr-lang/expr":    {"mapping"},
	"github.com/fxamacker/cbor":    {"mapping"},
	"github.com/spf13/cobra":       {"cmd"},
	"github.com/prometheus":        {"cmd"},
	"github.com/coreos/go-systemd": {"cmd"},
	"go.yaml.in/yaml":              {"configs", "cmd"},
	module + "/configs":            {"cmd"},
	module + "/bridge/emulator":    {"bridge/emulator", "cmd"},
	// These are for tests; the program must not carry them.
	"testing":                              {"bridge/central/centraltest"},
	"github.com/getkin/kin-openapi":        {"bridge/central/centraltest"},
	module + "/bridge/central/centraltest": {},
	"github.com/rogpeppe/go-internal":      {},
	"github.com/santhosh-tekuri":           {},
	"pgregory.net/rapid":                   {},
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,Deps,GoFiles", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// within tells whether an import path is a folder of this module or below it.
func within(path, folder string) bool { return under(path, module+"/"+folder) }

func under(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func TestFloors(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		for _, f := range floors {
			if !within(p.ImportPath, f.part) {
				continue
			}
			for _, below := range f.never {
				for _, d := range p.Deps {
					if within(d, below) {
						t.Errorf("%s is built on %s: %s never imports %s", p.ImportPath, d, f.part, below)
					}
				}
			}
		}
	}
}

func TestLibrariesStayWithTheirOwners(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		for _, imported := range p.Imports {
			for library, parts := range owners {
				own := slices.ContainsFunc(parts, func(part string) bool { return within(p.ImportPath, part) })
				if under(imported, library) && !own {
					t.Errorf("%s imports %s; it belongs to %v", p.ImportPath, imported, parts)
				}
			}
		}
	}
}

// The names that say nothing about what is inside.
func TestPackageNames(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		for element := range strings.SplitSeq(p.ImportPath, "/") {
			switch element {
			case "util", "utils", "common", "types", "models", "manager", "helper", "helpers", "misc":
				t.Errorf("%s: the name %q tells nothing", p.ImportPath, element)
			}
		}
	}
}
