package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/cmd/internal/control"
	"iotc-gateway/configs"
)

// withControl runs fn with a way to administrate the gateway of a
// configuration: the running one through its control socket, else its data
// directory, which is open as long as fn runs.
func withControl(cmd *cobra.Command, flags *configFlags, fn func(ctx context.Context, c *control.Client) error) error {
	cfg, err := flags.load()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	client, err := control.Dial(ctx, cfg.Gateway.DataDir)
	switch {
	case err == nil:
		return fn(ctx, client)
	case !errors.Is(err, control.ErrNotRunning):
		return err
	}
	return withStopped(cmd, cfg, fn)
}

func withStopped(cmd *cobra.Command, cfg *configs.Config, fn func(ctx context.Context, c *control.Client) error) (err error) {
	log, err := newLogger("warn", "console", cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	stopped, err := app.OpenStopped(cfg, log)
	if err != nil {
		return explain(cfg, err)
	}
	defer func() { err = errors.Join(err, stopped.Close()) }()
	opts := stopped.Controls()
	// Who did it sees it on the terminal.
	opts.Log = zap.NewNop()
	return fn(cmd.Context(), control.InProcess(control.NewHandler(opts)))
}

// withRunning is withControl for what only a running gateway can do.
func withRunning(cmd *cobra.Command, flags *configFlags, fn func(ctx context.Context, c *control.Client) error) error {
	cfg, err := flags.load()
	if err != nil {
		return err
	}
	client, err := control.Dial(cmd.Context(), cfg.Gateway.DataDir)
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("%w on gateway.data_dir %s: start it, or name its configuration with --config", err, cfg.Gateway.DataDir)
	}
	if err != nil {
		return err
	}
	return fn(cmd.Context(), client)
}
