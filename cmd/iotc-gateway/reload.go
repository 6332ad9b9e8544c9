package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"iotc-gateway/cmd/internal/control"
)

func newReloadCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Let the running gateway read its configuration again",
		Long: `reload puts routes, presets, templates, users and the uplink's token in force
without losing anything, all of them or none. With none, the reason is printed
here and everything goes on as before. The gateway reads the file that it was
started with; --config only says which gateway is meant, by its data directory.`,
		Example: "  iotc-gateway reload --config /etc/iotc-gateway/gateway.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withRunning(cmd, &flags, func(ctx context.Context, c *control.Client) error {
				var done control.Reloaded
				if err := c.Call(ctx, http.MethodPost, "/v1/reload", nil, &done); err != nil {
					return err
				}
				if len(done.Restart) > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "these sections changed and hold only after a restart: %s\n", strings.Join(done.Restart, ", "))
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "reloaded")
				return err
			})
		},
	}
	flags.register(cmd)
	return cmd
}
