package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/app"
)

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Manage who may use the local API and the dashboard",
		Long: `Tokens live in tokens.json in the data directory; of a token only a hash is
kept. What is created or revoked is in force at once, also in a gateway that
runs.

  reader        sees devices, properties, commands and the gateway's state
  operator      also commands devices and sets properties
  device-admin  also creates, changes and deletes devices, but is no operator
  gateway       sends telemetry and reports: a gateway below this one, a program
  admin         everything`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreateCommand(), newTokenListCommand(), newTokenRevokeCommand())
	return cmd
}

func openTokens(flags *configFlags) (*access.Tokens, error) {
	cfg, err := flags.load()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Gateway.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("gateway.data_dir: %w", err)
	}
	return access.Open(app.TokensFile(cfg.Gateway.DataDir), access.Options{})
}

func newTokenCreateCommand() *cobra.Command {
	var (
		flags   configFlags
		spec    access.Token
		role    string
		expires string
		output  string
	)
	cmd := &cobra.Command{
		Use:   "create --role ROLE",
		Short: "Make a token and show it, once",
		Example: `  iotc-gateway token create --role operator
  iotc-gateway token create --role gateway --devices 'hall-3-*' --expires 90d --name "gateway of hall 3"
  iotc-gateway token create --role reader -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if spec.Role, err = access.ParseRole(role); err != nil {
				return usageError("--role: %w", err)
			}
			good, err := access.ParseExpiry(expires)
			if err != nil {
				return usageError("--expires: %w", err)
			}
			tokens, err := openTokens(&flags)
			if err != nil {
				return err
			}
			created, secret, err := tokens.Create(spec, good)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if output == "json" {
				return json.NewEncoder(out).Encode(struct {
					Token string `json:"token"`
					ID    string `json:"id"`
				}{secret, created.ID})
			}
			fmt.Fprintln(out, secret)
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "This is the only time that the token is shown. Its id is %s, its role %s; it is good %s.\n", created.ID, created.Role, until(created))
			return err
		},
	}
	flags.register(cmd)
	f := cmd.Flags()
	f.StringVar(&role, "role", "", "reader, operator, device-admin, gateway or admin")
	f.StringSliceVar(&spec.Devices, "devices", nil, "device ids it may touch, with * for any characters (default: all)")
	f.StringVar(&expires, "expires", "never", "how long it is good, as in 90d or 12h")
	f.StringVar(&spec.Name, "name", "", "what it is for, shown in lists and in the audit log")
	outputFlag(cmd, &output)
	_ = cmd.MarkFlagRequired("role")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"reader", "operator", "device-admin", "gateway", "admin"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func until(t access.Token) string {
	if t.Expires.IsZero() {
		return "until it is revoked"
	}
	return "until " + t.Expires.Format(time.RFC3339)
}

func newTokenListCommand() *cobra.Command {
	var (
		flags  configFlags
		output string
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the tokens, without their secrets",
		Example: "  iotc-gateway token list\n  iotc-gateway token list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tokens, err := openTokens(&flags)
			if err != nil {
				return err
			}
			list, out := tokens.List(), cmd.OutOrStdout()
			if output == "json" {
				return json.NewEncoder(out).Encode(list)
			}
			if len(list) == 0 {
				_, err = fmt.Fprintln(out, "no tokens; make one with: iotc-gateway token create --role ROLE")
				return err
			}
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tROLE\tDEVICES\tCREATED\tEXPIRES\tNAME")
			for _, t := range list {
				devices, expires := strings.Join(t.Devices, ","), "never"
				if devices == "" {
					devices = "*"
				}
				if !t.Expires.IsZero() {
					expires = t.Expires.Format(time.DateOnly)
					if t.Expired(time.Now()) {
						expires += " (expired)"
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Role, devices, t.Created.Format(time.DateOnly), expires, t.Name)
			}
			return w.Flush()
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func newTokenRevokeCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:     "revoke ID",
		Short:   "Take a token back, at once",
		Example: "  iotc-gateway token revoke k3xw7qpa",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			tokens, err := openTokens(&flags)
			if err != nil {
				return err
			}
			revoked, err := tokens.Revoke(args[0])
			if err != nil {
				return fmt.Errorf("%w; iotc-gateway token list shows their ids", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "revoked %s token %s\n", revoked.Role, revoked.ID)
			return err
		},
	}
	flags.register(cmd)
	return cmd
}
