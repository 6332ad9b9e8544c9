package main

import (
	"errors"

	"github.com/spf13/cobra"

	"iotc-gateway/cmd/internal/app"
)

// keepOwners lets root use the commands that write into the data directory of
// a gateway which runs as another user: what they make there is given to the
// directory's owner afterwards.
func keepOwners(cmds ...*cobra.Command) {
	for _, cmd := range cmds {
		keepOwners(cmd.Commands()...)
		run := cmd.RunE
		if run == nil || cmd.Flags().Lookup("config") == nil {
			continue
		}
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			var flags configFlags
			var err error
			if flags.path, err = cmd.Flags().GetString("config"); err != nil {
				return err
			}
			if flags.set, err = cmd.Flags().GetStringArray("set"); err != nil {
				return err
			}
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			restore := app.KeepOwner(cfg.Gateway.DataDir)
			err = run(cmd, args)
			if kept := restore(); kept != nil {
				// What the command itself has to say comes first.
				err = errors.Join(err, kept)
			}
			return err
		}
	}
}
