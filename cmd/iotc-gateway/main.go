// Command iotc-gateway connects field devices that speak MQTT with an Azure
// IoT Central application that takes REST calls, and keeps everything that
// the devices report on disk until the application has taken it.
//
// Each subcommand has a file of its own; what they start is wired in
// cmd/internal/app.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"iotc-gateway/configs"
)

// Exit codes, part of the command line's contract.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if code, ok := errors.AsType[exitCode](err); ok && code.err == nil {
		return code.code
	}
	fmt.Fprintf(stderr, "%s: %v\n", cmd.CommandPath(), err)
	code, known := errors.AsType[exitCode](err)
	_, config := errors.AsType[*configs.Error](err)
	switch {
	case known:
		return code.code
	case config:
		return exitUsage
	case isUsage(err):
		fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// exitCode ends the program with a code of its own. Without an error nothing
// more is printed.
type exitCode struct {
	code int
	err  error
}

func (e exitCode) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitCode) Unwrap() error { return e.err }

// usageError says that the command line itself is wrong.
func usageError(format string, args ...any) error {
	return exitCode{exitUsage, fmt.Errorf(format, args...)}
}

// isUsage recognises the errors that cobra and pflag make of a wrong command
// line; they have no type of their own.
func isUsage(err error) bool {
	text := err.Error()
	for _, start := range []string{"unknown command", "unknown flag", "unknown shorthand", "flag needs an argument", "invalid argument", "accepts ", "requires ", "required flag", "bad flag syntax", "if any flags in the group", "at least one of the flags"} {
		if strings.HasPrefix(text, start) {
			return true
		}
	}
	return false
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "iotc-gateway",
		Short: "MQTT in the field, IoT Central in the cloud, nothing lost in between",
		Long: `iotc-gateway is an edge gateway: devices publish over MQTT to its embedded
broker, a mapping turns topics into calls of the IoT Central REST API, and a
durable queue keeps everything until the application has taken it.

Without anything else installed:

  iotc-gateway demo                 see it work, with an emulated application
  iotc-gateway run                  run with defaults: MQTT on 127.0.0.1:1883
  iotc-gateway run --config F       run with a configuration
  iotc-gateway check --config F     find every fault of a configuration`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(commands()...)
	root.AddCommand(releaseCommands()...)
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "user", "token", "deadletter", "device", "buffer":
			keepOwners(cmd)
		}
	}
	return root
}
