package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/cmd/internal/doctor"
	"iotc-gateway/configs"
)

func newDoctorCommand() *cobra.Command {
	var (
		flags   configFlags
		output  string
		bundle  string
		offline bool
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong, and what to do about it",
		Long: `doctor examines a gateway, running or stopped: configuration, clock, disk,
permissions, limits, the store record by record (while stopped), listeners,
certificates, templates, and the way to the application step by step: name,
connection, TLS, token, devices. Each finding says what to do about it. It
changes nothing.

Run it as the gateway's user or as root, with the configuration that the
service has. The exit code is 0 without a fault, 1 with one; warnings and notes
are no faults.

--bundle writes an archive for whoever helps: the findings, the configuration
in force, versions, health, metrics, a list of files and the end of the log.
Tokens, passwords and keys are taken out of all of it.`,
		Example: `  sudo iotc-gateway doctor --config /etc/iotc-gateway/gateway.yaml
  iotc-gateway doctor --offline -o json
  sudo iotc-gateway doctor --config /etc/iotc-gateway/gateway.yaml --bundle support.tar.gz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			overrides, err := flags.overrides()
			if err != nil {
				return err
			}
			cfg, err := configs.Load(flags.path, serviceEnvironment(), overrides)
			if _, faults := errors.AsType[*configs.Error](err); err != nil && !faults {
				return err
			}
			opts := doctor.Options{Config: cfg, ConfigErr: err, ConfigPath: flags.path, Version: version, Offline: offline, Now: time.Now()}
			result := doctor.Run(cmd.Context(), opts)
			if bundle != "" {
				if err := writeBundle(cmd, bundle, doctor.Bundle{Options: opts, Result: result, Build: build()}); err != nil {
					return err
				}
			}
			if output == "json" {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				err = encoder.Encode(result.Report)
			} else {
				err = result.Report.Write(cmd.OutOrStdout())
			}
			if err != nil {
				return err
			}
			if result.Report.Count(doctor.Fault) > 0 {
				return exitCode{code: exitFailed}
			}
			return nil
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&bundle, "bundle", "", "also write a support archive (tar.gz) without secrets to this file; - is standard output, with the report left out")
	cmd.Flags().BoolVar(&offline, "offline", false, "leave out what goes over the network")
	return cmd
}

// serviceEnvironment is the environment with what systemd gives the service
// and not an administrator's shell, where it is there to be seen.
func serviceEnvironment() []string {
	env := os.Environ()
	for name, dir := range map[string]string{
		"CREDENTIALS_DIRECTORY": "/run/credentials/iotc-gateway.service",
		"STATE_DIRECTORY":       "/var/lib/iotc-gateway",
	} {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			env = append(env, name+"="+dir)
		}
	}
	return env
}

// writeBundle writes the archive. A file is for its owner alone: what was
// taken out is secret, and what is left is still nobody else's business.
func writeBundle(cmd *cobra.Command, name string, b doctor.Bundle) (err error) {
	if name == "-" {
		err = doctor.WriteBundle(cmd.Context(), cmd.OutOrStdout(), b)
		cmd.SetOut(io.Discard)
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("--bundle: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := doctor.WriteBundle(cmd.Context(), f, b); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s; look through it before you pass it on\n", name)
	return err
}
