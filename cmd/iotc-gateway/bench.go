package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/cmd/internal/bench"
)

var (
	errPromiseBroken = errors.New("a promise was broken or a scenario could not be finished; the table says which")
	errTargetMissed  = errors.New("a figure fell short of its target; the table says which")
)

// newBenchCommand measures a gateway of this very program on this very machine.
func newBenchCommand() *cobra.Command {
	var (
		opts   bench.Options
		mqtt   string
		output string
		file   string
		strict bool
	)
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure speed, size and delivery of a gateway on this machine",
		Long: `Start a gateway, load it over MQTT, count what arrives at a server in place of the
application, and print a table: throughput, CPU, memory, bytes written, latency, and
the exact number of publishes lost, duplicated or out of order.

Scenarios: ` + strings.Join(bench.Scenarios(), ", ") + `.

Everything stays on loopback and in a temporary directory. The full table takes about
half an hour, --quick about two minutes. The exit code is 1 when a publish was lost,
duplicated or out of order, with --strict also when a figure fell short of its target.`,
		Example: `  iotc-gateway bench --quick
  iotc-gateway bench --json report.json
  iotc-gateway bench --scenario steady,accepts --runs 3
  iotc-gateway bench --scenario outage --messages 200000 --data-dir /mnt/sdcard -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch mqtt {
			case "3.1.1":
				opts.Version = 4
			case "5":
				opts.Version = 5
			default:
				return usageError("--mqtt %s: must be 3.1.1 or 5", mqtt)
			}
			if opts.Quick && !cmd.Flags().Changed("runs") {
				opts.Runs = 1
			}
			start := time.Now()
			opts.Progress = func(line string) {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%7.1fs  %s\n", time.Since(start).Seconds(), line)
			}
			opts.Label = build().Version
			if opts.Executable != "" {
				// Another gateway is measured by this program's own yardsticks.
				self, err := os.Executable()
				if err != nil {
					return fmt.Errorf("bench: find own executable: %w", err)
				}
				opts.Yardstick = self
			}
			report, err := bench.Run(cmd.Context(), opts)
			if errors.Is(err, bench.ErrUnknownScenario) {
				return usageError("--scenario: %w", err)
			}
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			if output == "json" {
				err = writeReport(cmd.OutOrStdout(), report)
			} else {
				err = report.WriteTable(cmd.OutOrStdout())
			}
			if file != "" {
				err = errors.Join(err, saveReport(file, report))
			}
			switch {
			case err != nil:
				return fmt.Errorf("bench: %w", err)
			case report.Broken():
				return fmt.Errorf("bench: %w", errPromiseBroken)
			case strict && report.Short():
				return fmt.Errorf("bench: %w", errTargetMissed)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&opts.Scenarios, "scenario", nil, "scenarios to run, separated by commas (default all but matrix and soak)")
	flags.IntVar(&opts.Runs, "runs", 3, "runs of each scenario; figures are their medians (default with --quick 1)")
	flags.BoolVar(&opts.Quick, "quick", false, "small sizes: shows what breaks, measures roughly")
	flags.IntVar(&opts.Messages, "messages", 0, "publishes of every scenario that sends a number of them (default its own)")
	flags.DurationVar(&opts.Duration, "duration", 0, "length of the scenarios that last a time, and of steady (default their own)")
	flags.StringVar(&mqtt, "mqtt", "3.1.1", "version of MQTT that the clients speak: 3.1.1 or 5")
	flags.StringVar(&opts.DataDir, "data-dir", "", "directory on the disk to be measured (default /var/tmp)")
	flags.BoolVar(&opts.Keep, "keep", false, "leave stores, configurations and logs behind")
	flags.StringVar(&file, "json", "", "write the report as JSON to this file as well")
	flags.StringVar(&opts.Profiles, "profiles", "", "directory for profiles (CPU, allocations) of every gateway that is not killed, for go tool pprof")
	flags.StringVar(&opts.Executable, "gateway", "", "another build of this program to measure (default this one)")
	flags.BoolVar(&strict, "strict", false, "fail also when a figure falls short of its target")
	outputFlag(cmd, &output)
	cmd.AddCommand(newBenchSinkCommand(), newBenchBareCommand(), newBenchBareBrokerCommand())
	return cmd
}

// saveReport writes the report beside the table.
func saveReport(path string, report bench.Report) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return errors.Join(writeReport(f, report), f.Close())
}

func writeReport(w io.Writer, report bench.Report) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// newBenchSinkCommand is the child process that stands for the application.
func newBenchSinkCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "sink",
		Short:  "Count telemetry in place of an application (started by bench)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.ServeSink(bench.TokenFromEnvironment(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// newBenchBareCommand is the child process that posts without a gateway.
func newBenchBareCommand() *cobra.Command {
	cfg := bench.BareConfig{Token: bench.TokenFromEnvironment(), Connections: 32, Size: 200}
	cmd := &cobra.Command{
		Use:    "bare",
		Short:  "Post telemetry with a bare HTTP client (started by bench)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := bench.RunBare(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(result)
		},
	}
	cmd.Flags().StringVar(&cfg.API, "api", "", "base URL of the sink")
	cmd.Flags().IntVar(&cfg.Messages, "messages", 10_000, "number of calls")
	return cmd
}

// newBenchBareBrokerCommand is the child process that is measured beside a gateway.
func newBenchBareBrokerCommand() *cobra.Command {
	cfg := bench.BareBrokerConfig{Token: bench.TokenFromEnvironment(), Posters: 64}
	cmd := &cobra.Command{
		Use:    "bare-broker",
		Short:  "Post what a bare broker is told (started by bench)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.RunBareBroker(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringVar(&cfg.Listen, "listen", "", "address of the broker")
	cmd.Flags().StringVar(&cfg.API, "api", "", "base URL of the sink")
	return cmd
}
