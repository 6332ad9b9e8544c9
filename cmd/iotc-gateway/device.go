package main

import (
	"context"
	"encoding/json"
	"errors"
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
		Short:   "List the devices that the gateway knows, approve new ones, disable others",
		Long: `The gateway keeps a registry of its devices and of their place in the
application. With bridge.registry.unknown: approve, a device that the application
does not have waits, with its data, until it is approved here or created there.

A device that is disabled is disconnected and refused, and what it has stored
waits, until it is enabled where it was disabled: here, or in the application.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDeviceListCommand(), newDeviceActionCommand(&cobra.Command{
		Use: "approve ID...", Short: "Let devices be created in the application", Example: "  iotc-gateway device approve boiler-7",
	}, "approve", "approved"), newDeviceActionCommand(&cobra.Command{
		Use: "disable ID...", Short: "Keep devices from connecting and publishing", Example: "  iotc-gateway device disable boiler-7",
	}, "disable", "disabled"), newDeviceActionCommand(&cobra.Command{
		Use: "enable ID...", Short: "Let devices connect and publish again", Example: "  iotc-gateway device enable boiler-7",
	}, "enable", "enabled"))
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
				var all []bridge.DeviceStatus
				if err := c.Call(ctx, http.MethodGet, "/v1/devices", nil, &all); err != nil {
					return err
				}
				list := []bridge.DeviceStatus{}
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

func printDevices(cmd *cobra.Command, list []bridge.DeviceStatus, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		return json.NewEncoder(out).Encode(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "no devices")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tCONNECTION\tLAST SEEN\tTEMPLATE")
	for i := range list {
		d := &list[i]
		state := string(d.State)
		if d.Disabled {
			state += ", disabled"
		}
		if d.DisabledHere {
			state += ", disabled here"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.ID, state, connection(d), when(d.LastSeen), oneLine(d.Template, 60))
	}
	return w.Flush()
}

func connection(d *bridge.DeviceStatus) string {
	switch {
	case d.Connected:
		return "connected"
	case d.Reason != "":
		return "away: " + d.Reason
	}
	return "-"
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime + "Z")
}

// newDeviceActionCommand completes a command that does one thing to devices.
func newDeviceActionCommand(cmd *cobra.Command, action, done string) *cobra.Command {
	var flags configFlags
	cmd.Args = cobra.MinimumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
			var failed []error
			for _, id := range args {
				if err := c.Call(ctx, http.MethodPost, "/v1/devices/"+url.PathEscape(id)+"/"+action, nil, nil); err != nil {
					failed = append(failed, err)
					continue
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", done, id); err != nil {
					return err
				}
			}
			return errors.Join(failed...)
		})
	}
	flags.register(cmd)
	return cmd
}
