package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iotc-gateway/cmd/internal/simulate"
	"iotc-gateway/mapping/template"
)

// simulateFlags are what becomes simulate.Options only after files were read.
type simulateFlags struct {
	opts         simulate.Options
	template, id string
	faults       string
	passwordFile string
	caFile       string
	certFile     string
	keyFile      string
	output       string
}

func newSimulateCommand() *cobra.Command {
	var flags simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Simulate devices of a device template over MQTT",
		Long: `simulate connects devices that follow a device template (DTDL) to a gateway's
broker, or to any other: each with a connection of its own, publishing plausible
values by schema, semantic type, unit and name, reporting properties,
acknowledging desired ones and answering commands, in the native topic scheme
(devices/{device}/telemetry and so on).

--faults makes things go wrong with a probability each:
` + faultList() + `
It prints progress to standard error and a summary at the end. The exit code is
1 when the first connections fail or a publish was never acknowledged.`,
		Example: `  iotc-gateway simulate --template thermostat.json
  iotc-gateway simulate --template templates/ --id 'dtmi:example:Pump;1' --devices 50 --rate 0.2 --duration 10m
  iotc-gateway simulate --template pump.json --faults disconnect=0.001,wrong_type=0.01,late=0.05
  iotc-gateway simulate --template pump.json --broker mqtts://gateway:8883 --ca-file ca.pem --username site --password-file pw
  iotc-gateway simulate --template pump.json --devices 10 --messages 100 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.read(); err != nil {
				return err
			}
			opts := flags.opts
			opts.Progress = cmd.ErrOrStderr()
			opts.Terminal = opts.Progress == os.Stderr && term.IsTerminal(int(os.Stderr.Fd()))
			summary, err := simulate.Run(cmd.Context(), opts)
			if errors.Is(err, simulate.ErrOptions) {
				return usageError("%w", err)
			}
			if err != nil {
				return fmt.Errorf("simulate: %w", err)
			}
			if flags.output == "json" {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(summary)
			} else {
				err = writeSummary(cmd.OutOrStdout(), summary)
			}
			if err == nil && summary.Unacknowledged > 0 {
				return exitCode{code: exitFailed}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.template, "template", "", "file of a device template, or folder of several (DTDL, also as IoT Central exports it)")
	f.StringVar(&flags.id, "id", "", "interface to simulate, when there are several")
	f.StringVar(&flags.opts.Broker, "broker", "127.0.0.1:1883", "broker to connect to: host:port, mqtt:// or mqtts://")
	f.IntVar(&flags.opts.Devices, "devices", 3, "number of devices")
	f.StringVar(&flags.opts.Prefix, "prefix", "sim-", "what the device ids begin with; they end in 001, 002, ...")
	f.Float64Var(&flags.opts.Rate, "rate", 1, "telemetry publishes a second of each device")
	f.Uint8Var(&flags.opts.QoS, "qos", 1, "quality of service of publishes: 0, 1 or 2")
	f.DurationVar(&flags.opts.Duration, "duration", 0, "how long to publish; 0 is until Ctrl-C")
	f.IntVar(&flags.opts.Messages, "messages", 0, "telemetry publishes of each device; 0 sets no limit")
	f.DurationVar(&flags.opts.PropertiesEvery, "properties-every", 5*time.Minute, "time between two reports of the properties")
	f.StringVar(&flags.faults, "faults", "", "what goes wrong how often, as name=probability,...")
	f.Uint64Var(&flags.opts.Seed, "seed", 1, "another number makes other values")
	f.StringVar(&flags.opts.Username, "username", "", "one user for all devices (without it, and with a password, each device is a user of its own name)")
	f.StringVar(&flags.passwordFile, "password-file", "", "file that holds the password")
	f.StringVar(&flags.caFile, "ca-file", "", "PEM file of the authority that the broker's certificate comes from")
	f.StringVar(&flags.certFile, "cert-file", "", "PEM file of a client certificate for all devices")
	f.StringVar(&flags.keyFile, "key-file", "", "PEM file of its key")
	outputFlag(cmd, &flags.output)
	_ = cmd.MarkFlagRequired("template")
	cmd.MarkFlagsRequiredTogether("cert-file", "key-file")
	return cmd
}

func faultList() string {
	all := simulate.AllFaults()
	var b strings.Builder
	for _, f := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "  %-11s %s\n", f, all[f])
	}
	return b.String()
}

// read turns the names of files into what they hold.
func (f *simulateFlags) read() error {
	var err error
	if f.opts.Faults, err = simulate.ParseFaults(f.faults); err != nil {
		return usageError("--faults: %w", err)
	}
	info, err := os.Stat(f.template)
	if err != nil {
		return usageError("--template: %w", err)
	}
	load := func() (*template.Set, error) { return template.LoadFiles(f.template) }
	if info.IsDir() {
		load = func() (*template.Set, error) { return template.LoadDir(f.template) }
	}
	set, err := load()
	if err != nil {
		return usageError("--template: %w", err)
	}
	if f.opts.Template, err = simulate.Choose(set, f.id); err != nil {
		return usageError("--id: %w", err)
	}
	if f.passwordFile != "" {
		text, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return usageError("--password-file: %w", err)
		}
		f.opts.Password = strings.TrimRight(string(text), "\r\n")
	}
	f.opts.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if f.caFile != "" {
		text, err := os.ReadFile(f.caFile)
		if err != nil {
			return usageError("--ca-file: %w", err)
		}
		f.opts.TLS.RootCAs = x509.NewCertPool()
		if !f.opts.TLS.RootCAs.AppendCertsFromPEM(text) {
			return usageError("--ca-file: %s holds no PEM certificate", f.caFile)
		}
	}
	if f.certFile != "" {
		pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return usageError("--cert-file: %w", err)
		}
		f.opts.TLS.Certificates = []tls.Certificate{pair}
	}
	return nil
}

func writeSummary(w io.Writer, s simulate.Summary) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d devices of %s, %.1f s\n", s.Devices, s.Template, s.Seconds)
	fmt.Fprintf(&b, "published     %d: %d acknowledged, %d not\n", s.Published, s.Acknowledged, s.Unacknowledged)
	fmt.Fprintf(&b, "telemetry     %d\nproperties    %d\n", s.Telemetry, s.Properties)
	fmt.Fprintf(&b, "desired       %d received\ncommands      %d received, %d answered\nreconnects    %d\n", s.Desired, s.Commands, s.Answered, s.Reconnects)
	for _, f := range slices.Sorted(maps.Keys(s.Faults)) {
		fmt.Fprintf(&b, "fault         %s %d\n", f, s.Faults[f])
	}
	for _, l := range s.LeftOut {
		fmt.Fprintf(&b, "left out      %s\n", l)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
