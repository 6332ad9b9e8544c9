package mapping_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"iotc-gateway/mapping"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden maps every capture under testdata as `iotc-gateway map --file -o json` does, and compares line by line.
func TestGolden(t *testing.T) {
	t.Parallel()
	captures, err := filepath.Glob("testdata/*/capture.jsonl")
	if err != nil || len(captures) < 2 {
		t.Fatalf("%d captures, %v", len(captures), err)
	}
	for _, capture := range captures {
		dir := filepath.Dir(capture)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			cfg := mapping.DefaultConfig()
			read(t, filepath.Join(dir, "mapping.json"), &cfg)
			m, err := mapping.New(cfg, mapping.Options{})
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(capture)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			rehearsal := m.Rehearse()
			for scan := bufio.NewScanner(bytes.NewReader(text)); scan.Scan(); {
				var line mapping.Captured
				if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
					t.Fatal(err)
				}
				got, err := rehearsal.Try(line.Publication(), receipt).MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				out.Write(append(got, '\n'))
			}
			golden := filepath.Join(dir, "golden.jsonl")
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			gotLines, wantLines := bytes.Split(out.Bytes(), []byte("\n")), bytes.Split(want, []byte("\n"))
			for i := range max(len(gotLines), len(wantLines)) {
				var g, w []byte
				if i < len(gotLines) {
					g = gotLines[i]
				}
				if i < len(wantLines) {
					w = wantLines[i]
				}
				if !bytes.Equal(g, w) {
					t.Errorf("line %d: got\n%s\nwant\n%s", i+1, g, w)
				}
			}
		})
	}
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
