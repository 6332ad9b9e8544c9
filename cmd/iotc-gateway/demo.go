package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iotc-gateway/cmd/internal/demo"
)

func newDemoCommand() *cobra.Command {
	var (
		opts    demo.Options
		output  string
		verbose bool
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on this machine, with nothing else installed",
		Long: `demo starts an emulated IoT Central application, the gateway and some sensors
that publish over real MQTT connections, shows what is published, waiting and
delivered, cuts the uplink for a while, and ends with the proof from the
application's own account: published = delivered, nothing lost, nothing twice,
in order. Ctrl-C ends it early, with the proof.

It listens on 127.0.0.1:1883 (MQTT), :8080 (console) and :8090 (application),
or on free ports where these are taken, and prints how to publish to it.`,
		Example: `  iotc-gateway demo
  iotc-gateway demo --duration 2m --devices 50 --rate 20
  iotc-gateway demo --duration 0        until Ctrl-C`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case opts.Devices < 1 || opts.Devices > 1000:
				return usageError("--devices must be between 1 and 1000, got %d", opts.Devices)
			case opts.Rate <= 0 || opts.Rate > 1000:
				return usageError("--rate must be above 0 and at most 1000, got %g", opts.Rate)
			case opts.Duration < 0 || opts.Duration > 0 && opts.Duration < 3*time.Second:
				return usageError("--duration must be 0 or at least 3s, got %s", opts.Duration)
			}
			opts.Out = cmd.OutOrStdout()
			opts.Terminal = opts.Out == os.Stdout && term.IsTerminal(int(os.Stdout.Fd()))
			if output == "json" {
				opts.Out, opts.Terminal = cmd.ErrOrStderr(), false
			}
			if verbose {
				log, err := newLogger("info", "console", cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				opts.Log = log
			}
			proof, err := demo.Run(cmd.Context(), opts)
			if err != nil {
				return err
			}
			if output == "json" {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(proof); err != nil {
					return err
				}
			}
			if !proof.Holds() {
				return exitCode{code: exitFailed}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.DurationVar(&opts.Duration, "duration", 30*time.Second, "how long the sensors publish; 0 is until Ctrl-C")
	f.IntVar(&opts.Devices, "devices", 10, "number of sensors")
	f.Float64Var(&opts.Rate, "rate", 5, "readings a second of each sensor")
	f.BoolVar(&verbose, "verbose", false, "show the gateway's log too")
	outputFlag(cmd, &output)
	return cmd
}
