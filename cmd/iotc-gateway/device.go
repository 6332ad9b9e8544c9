package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/bridge"
	"iotc-gateway/cmd/internal/control"
)

func newDeviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "device",
		Aliases: []string{"devices"},
		Short:   "List the devices that the gateway knows, and approve new ones",
		Long: `The gateway keeps a registry of its devices and of their place in the
application. With bridge.registry.unknown: approve, a device that the application
does not have waits, with its data, until it is approved here or created there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDeviceListCommand(), newDeviceActionCommand(&cobra.Command{
		Use: "approve ID...", Short: "Let devices be created in the application", Example: "  iotc-gateway device approve boiler-7",
	}, "approve", "approved"))
	return cmd
}

func newDeviceListCommand() *cobra.Command {
	var (
		flags  configFlags
		output string
		state  string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the devices",
		Example: `  iotc-gateway device list
  iotc-gateway device list --state pending
  iotc-gateway device list -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
				var all []bridge.KnownDevice
				if err := c.Call(ctx, http.MethodGet, "/v1/devices", nil, &all); err != nil {
					return err
				}
				list := []bridge.KnownDevice{}
				for _, d := range all {
					if state == "" || state == string(d.State) {
						list = append(list, d)
					}
				}
				return printDevices(cmd, list, output == "json")
			})
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&state, "state", "", "only those in this state: registered, pending, approved, refused or deleted")
	return cmd
}

func printDevices(cmd *cobra.Command, list []bridge.KnownDevice, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		return json.NewEncoder(out).Encode(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "no devices")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tTEMPLATE\tSINCE")
	for _, d := range list {
		state := string(d.State)
		if d.Disabled {
			state += ", disabled"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.ID, state, oneLine(d.Template, 60), d.Changed.UTC().Format(time.DateTime+"Z"))
	}
	return w.Flush()
}

// newDeviceActionCommand completes a command that does one thing to devices.
func newDeviceActionCommand(cmd *cobra.Command, action, done string) *cobra.Command {
	var flags configFlags
	cmd.Args = cobra.MinimumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
			for _, id := range args {
				if err := c.Call(ctx, http.MethodPost, "/v1/devices/"+url.PathEscape(id)+"/"+action, nil, nil); err != nil {
					return err
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", done, id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	flags.register(cmd)
	return cmd
}
