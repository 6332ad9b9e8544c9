package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"iotc-gateway/mapping"
)

// mappingTest is the outcome of one test of a user's file.
type mappingTest struct {
	Name        string   `json:"name"`
	Passed      bool     `json:"passed"`
	Differences []string `json:"differences,omitempty"`
}

// runMappingTests runs the tests of a file and fails if one of them does.
func runMappingTests(cmd *cobra.Command, mapper *mapping.Mapper, path string, asJSON bool) error {
	tests, err := readMappingTests(path)
	if err != nil {
		return err
	}
	failed := 0
	out, enc := cmd.OutOrStdout(), json.NewEncoder(cmd.OutOrStdout())
	for i, test := range tests {
		differences, err := test.Run(mapper)
		if err != nil {
			return usageError("%s: tests[%d] %s: %w", path, i, test.Name, err)
		}
		if len(differences) > 0 {
			failed++
		}
		result := mappingTest{test.Name, len(differences) == 0, differences}
		if asJSON {
			if err := enc.Encode(result); err != nil {
				return err
			}
			continue
		}
		if err := result.write(out); err != nil {
			return err
		}
	}
	if !asJSON {
		fmt.Fprintf(out, "%d passed, %d failed\n", len(tests)-failed, failed)
	}
	if failed > 0 {
		return exitCode{code: exitFailed}
	}
	return nil
}

func (r mappingTest) write(out io.Writer) error {
	verdict := "ok    "
	if !r.Passed {
		verdict = "FAILED"
	}
	_, err := fmt.Fprintf(out, "%s  %s\n", verdict, r.Name)
	for _, d := range r.Differences {
		if err == nil {
			_, err = fmt.Fprintf(out, "        %s\n", strings.ReplaceAll(d, "\n", "\n        "))
		}
	}
	return err
}

func readMappingTests(path string) ([]mapping.Test, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usageError("--tests: %w", err)
	}
	var file struct {
		Tests []mapping.Test `yaml:"tests"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, usageError("%s: %s", path, yamlFault(err))
	}
	if len(file.Tests) == 0 {
		return nil, usageError("%s: there are no tests; a file has a list `tests` of {name, topic, payload, calls | error}", path)
	}
	for i := range file.Tests {
		if file.Tests[i].Name == "" {
			file.Tests[i].Name = fmt.Sprintf("tests[%d]", i)
		}
	}
	return file.Tests, nil
}

// yamlFault says what is wrong with a file without the names of our types.
func yamlFault(err error) string {
	faults, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err.Error()
	}
	lines := make([]string, len(faults.Errors))
	for i, fault := range faults.Errors {
		lines[i], _, _ = strings.Cut(fault, " in type ")
	}
	return strings.Join(lines, "; ")
}
