package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/configs"
)

func newCheckCommand() *cobra.Command {
	var (
		flags  configFlags
		output string
		show   bool
	)
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration and report every fault at once",
		Long: `check reads a configuration as run would, with the environment and --set over
it, and reports every fault with file, line and key, in the device templates too.
It warns of routes that can never match or that hide others. It starts nothing,
and opens neither store nor network.`,
		Example: `  iotc-gateway check /etc/iotc-gateway/gateway.yaml
  iotc-gateway check --config gateway.yaml --show   print what would be in force`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if flags.path != "" {
					return usageError("name the file once, as an argument or with --config")
				}
				flags.path = args[0]
			}
			cfg, err := flags.load()
			var warnings []configs.Fault
			if err == nil {
				warnings, err = compile(cfg)
			}
			if output == "json" {
				return printCheckJSON(cmd, warnings, err)
			}
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
			}
			if show {
				text, err := cfg.Marshal()
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			name := flags.path
			if name == "" {
				name = "the default configuration"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", name)
			return err
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&show, "show", false, "print the configuration in force, secrets left out")
	return cmd
}

// printCheckJSON prints the faults as an array and ends with the same code as
// the text.
func printCheckJSON(cmd *cobra.Command, warnings []configs.Fault, err error) error {
	report := struct {
		Valid    bool            `json:"valid"`
		Faults   []configs.Fault `json:"faults"`
		Warnings []configs.Fault `json:"warnings"`
	}{Valid: err == nil, Faults: []configs.Fault{}, Warnings: warnings}
	if err != nil {
		report.Faults = app.Faults(err)
	}
	if warnings == nil {
		report.Warnings = []configs.Fault{}
	}
	if err := json.NewEncoder(cmd.OutOrStdout()).Encode(report); err != nil {
		return err
	}
	if !report.Valid {
		return exitCode{code: exitUsage}
	}
	return nil
}

// compile finds the faults that only show when the mapping is made.
func compile(cfg *configs.Config) (warnings []configs.Fault, err error) {
	if warnings, err = app.Compile(cfg); err != nil {
		return nil, exitCode{exitUsage, err}
	}
	return warnings, nil
}
