package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
)

// emulatorFlags are the flags of the emulator command.
type emulatorFlags struct {
	listen           string
	token, tokenFile string
	certFile         string
	keyFile          string
	devices          []string
	faults           []string
	history          int
	sequence         string
	commandDelay     time.Duration
	compare          bool
	forward          string
	forwardTokenFile string
	forwardCAFile    string
	output           string
}

func newEmulatorCommand() *cobra.Command {
	var flags emulatorFlags
	cmd := &cobra.Command{
		Use:   "emulator",
		Short: "Serve an IoT Central application in memory, to develop and test against",
		Long: `emulator serves the IoT Central REST API from memory: devices, telemetry,
commands and properties, with the answers of the reference. It needs no
subscription and no network, and forgets everything when it stops.

What it received is at /emulator/stats (counts, duplicates by request id,
readings out of order) and /emulator/devices/ID/telemetry. It can be made to
fail while it runs, at /emulator/faults, or from the start with --fault:

  status=CODE            answer with an error; with retryAfter=2s, code=, message=
  latency=200ms          answer late; with jitter=100ms
  drop=after_reading     close the connection, the call was not carried out
  drop=before_answering  close the connection, the call was carried out
  blackHole              never answer
  each with calls=N, probability=0.1, device=ID, operations=sendTelemetry+getDevice

All pages need the token. With --forward-commands, commands are handed to a
gateway's local API, as an application would that reaches devices through it.`,
		Example: `  iotc-gateway emulator --token secret
  iotc-gateway emulator --listen :8443 --token-file token --tls-cert cert.pem --tls-key key.pem
  iotc-gateway emulator --token secret --fault status=503,calls=20 --fault latency=50ms,jitter=50ms

  curl -H 'Authorization: Bearer secret' http://127.0.0.1:8090/emulator/stats
  curl -H 'Authorization: Bearer secret' -X PUT -d '{"down": true}' http://127.0.0.1:8090/emulator/faults
  curl -H 'Authorization: Bearer secret' -X DELETE http://127.0.0.1:8090/emulator/faults`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runEmulator(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), flags)
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.listen, "listen", "127.0.0.1:8090", "address to serve on; port 0 takes a free one")
	f.StringVar(&flags.token, "token", "", "token that callers must send; a new one is made if neither token nor file is given")
	f.StringVar(&flags.tokenFile, "token-file", "", "file that holds the token, which then shows in no list of processes")
	f.StringVar(&flags.certFile, "tls-cert", "", "PEM file of the certificate, to serve https")
	f.StringVar(&flags.keyFile, "tls-key", "", "PEM file of the certificate's key")
	f.StringSliceVar(&flags.devices, "device", nil, "ids of devices that are there from the start")
	f.StringArrayVar(&flags.faults, "fault", nil, "a fault in force from the start, as name=value,...; may be repeated")
	f.IntVar(&flags.history, "history", emulator.DefaultHistory, "telemetry events kept for each device; 0 counts only")
	f.StringVar(&flags.sequence, "sequence", "seq", "numeric member of telemetry that tells the order; without it the timestamp does")
	f.DurationVar(&flags.commandDelay, "command-delay", time.Second, "how long a command stays Pending")
	f.BoolVar(&flags.compare, "compare-content", false, "also count telemetry that equals an earlier event under another request id")
	f.StringVar(&flags.forward, "forward-commands", "", "URL of a gateway's local API, such as http://127.0.0.1:8080/api, to hand commands to")
	f.StringVar(&flags.forwardTokenFile, "forward-token-file", "", "file that holds a token of the gateway's local API")
	f.StringVar(&flags.forwardCAFile, "forward-ca-file", "", "PEM file of an authority that the gateway's certificate comes from")
	f.StringVarP(&flags.output, "output", "o", "text", "text or json: one line at the start and one at the end")
	cmd.MarkFlagsMutuallyExclusive("token", "token-file")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.MarkFlagsRequiredTogether("forward-commands", "forward-token-file")
	return cmd
}

// runEmulator serves until ctx ends.
func runEmulator(ctx context.Context, out, warn io.Writer, flags emulatorFlags) error {
	if flags.output != "text" && flags.output != "json" {
		return usageError("--output is text or json, not %q", flags.output)
	}
	app, err := flags.application(ctx)
	if err != nil {
		return err
	}
	token, err := flags.readToken()
	if err != nil {
		return err
	}
	made := token == ""
	if made {
		token = rand.Text()
	}
	handler := emulator.NewServer(app, emulator.ServerOptions{Authorizer: central.StaticTokens(token)})
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", flags.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	scheme := "http"
	if flags.certFile != "" {
		cert, err := tls.LoadX509KeyPair(flags.certFile, flags.keyFile)
		if err != nil {
			return errors.Join(fmt.Errorf("load the certificate: %w", err), l.Close())
		}
		scheme = "https"
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	} else if host, _, _ := net.SplitHostPort(flags.listen); !isLoopbackHost(host) {
		fmt.Fprintln(warn, "warning: serving plain http beyond loopback: the token can be read on the way; use --tls-cert and --tls-key")
	}
	if !made {
		token = "" // It is known to whoever gave it, and shown to nobody else.
	}
	if err := flags.announce(out, scheme+"://"+reachable(l.Addr()), token); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := emulator.Serve(ctx, l, handler); err != nil {
		return err
	}
	s := app.Totals()
	if flags.output == "json" {
		return json.NewEncoder(out).Encode(s)
	}
	_, err = fmt.Fprintf(out, "stopped: %d events accepted from %d devices, %d duplicates, %d out of order\n", s.Accepted, s.DeviceCount, s.Duplicates, s.OutOfOrder)
	return err
}

// application makes the application that the flags describe.
func (flags emulatorFlags) application(ctx context.Context) (*emulator.Application, error) {
	app := &emulator.Application{
		History:        cmp.Or(flags.history, emulator.CountOnly),
		SequenceMember: flags.sequence,
		CompareContent: flags.compare,
		CommandDelay:   flags.commandDelay,
	}
	if flags.history < 0 {
		return nil, usageError("--history must not be negative")
	}
	var faults []emulator.Fault
	for _, text := range flags.faults {
		fault, err := emulator.ParseFault(text)
		if err != nil {
			return nil, usageError("--fault: %w", err)
		}
		faults = append(faults, fault)
	}
	for _, id := range flags.devices {
		if _, err := app.CreateDevice(ctx, id, central.DeviceCreate{}, ""); err != nil {
			return nil, usageError("--device %s: %w", id, err)
		}
	}
	if flags.forward != "" {
		cfg := central.DefaultConfig()
		cfg.URL, cfg.TokenFile, cfg.CAFile = flags.forward, flags.forwardTokenFile, flags.forwardCAFile
		client, err := central.NewClient(cfg, central.ClientOptions{})
		if err != nil {
			return nil, usageError("--forward-commands: %w", err)
		}
		app.Forward = client
	}
	app.Faults.Set(faults...)
	return app, nil
}

// readToken returns the token of the flags, empty if they give none.
func (flags emulatorFlags) readToken() (string, error) {
	if flags.tokenFile == "" {
		return flags.token, nil
	}
	token, err := central.TokenFile(flags.tokenFile)()
	if err != nil {
		return "", err
	}
	if token == "" {
		return "", fmt.Errorf("read the token: %s is empty", flags.tokenFile)
	}
	return token, nil
}

// announce says where the emulator is and how a gateway finds it. The token is that which was made here, or empty.
func (flags emulatorFlags) announce(out io.Writer, base, token string) error {
	if flags.output == "json" {
		return json.NewEncoder(out).Encode(struct {
			URL     string `json:"url"`
			Control string `json:"control"`
			Token   string `json:"token,omitempty"`
		}{base + "/api", base + "/emulator", token})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "IoT Central emulator\n  API       %s/api\n  OpenAPI   %s/api/openapi.yaml\n  received  %s/emulator/stats\n  faults    %s/emulator/faults\n", base, base, base, base)
	if token != "" {
		fmt.Fprintf(&b, "  token     %s\n", token)
	}
	if flags.forward != "" {
		fmt.Fprintf(&b, "  commands  handed to %s\n", flags.forward)
	}
	fmt.Fprintf(&b, "\nPoint a gateway at it with\n\n  central:\n    url: %s/api\n", base)
	if flags.tokenFile != "" {
		fmt.Fprintf(&b, "    token_file: %s\n", flags.tokenFile)
	} else {
		b.WriteString("    token_env: CENTRAL_TOKEN      # set CENTRAL_TOKEN to the token\n")
	}
	if flags.certFile != "" {
		fmt.Fprintf(&b, "    ca_file: %s\n", flags.certFile)
	}
	_, err := fmt.Fprintln(out, b.String())
	return err
}

// reachable is the address that a client on this machine uses for a listener.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func isLoopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
