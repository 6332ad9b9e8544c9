package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"iotc-gateway/configs"
)

// configFlags are the flags of every command that reads the configuration.
type configFlags struct {
	path string
	set  []string
}

func (f *configFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.path, "config", "c", "", "configuration file (YAML); without one the defaults hold")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "override one key, as in --set central.url=http://127.0.0.1:9000/api; may be repeated")
}

// overrides splits the --set flags.
func (f *configFlags) overrides() (map[string]string, error) {
	out := make(map[string]string)
	for _, s := range f.set {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, usageError("--set %s: write it as key=value", s)
		}
		out[key] = value
	}
	return out, nil
}

// load reads the configuration with all that lies over it.
func (f *configFlags) load() (*configs.Config, error) {
	o, err := f.overrides()
	if err != nil {
		return nil, err
	}
	return configs.Load(f.path, os.Environ(), o)
}

// outputFlag adds -o, which every command that prints data has.
func outputFlag(cmd *cobra.Command, output *string) {
	formats := []string{"text", "json"}
	cmd.Flags().StringVarP(output, "output", "o", "text", "text for people or json for programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	check := func(*cobra.Command, []string) error {
		if !slices.Contains(formats, *output) {
			return usageError("--output %s: must be text or json", *output)
		}
		return nil
	}
	cmd.PreRunE = check
}
