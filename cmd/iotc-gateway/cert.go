package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/cmd/internal/pki"
	"iotc-gateway/mapping"
)

func newCertCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Make certificates for a site that has no authority of its own",
		Long: `cert makes a small certificate authority, a certificate for the gateway and one
for each device, as files under <data_dir>/pki. A device that shows its
certificate needs no password: its common name is its device id.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCertInitCommand(), newCertServerCommand(), newCertDeviceCommand(), newCertListCommand())
	return cmd
}

// certFlags say where the certificates are.
type certFlags struct {
	configFlags
	dir string
}

func (f *certFlags) register(cmd *cobra.Command) {
	f.configFlags.register(cmd)
	cmd.Flags().StringVar(&f.dir, "dir", "", "folder of the certificates (default: pki in the data directory)")
}

func (f *certFlags) folder() (string, error) {
	if f.dir != "" {
		return filepath.Abs(f.dir)
	}
	cfg, err := f.load()
	if err != nil {
		return "", err
	}
	return filepath.Abs(filepath.Join(cfg.Gateway.DataDir, "pki"))
}

func newCertInitCommand() *cobra.Command {
	var (
		flags certFlags
		hosts []string
		name  string
		days  int
	)
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the authority and the gateway's certificate",
		Example: `  iotc-gateway cert init --host gateway.plant.example --host 192.0.2.10
  iotc-gateway cert init --dir /root/site-ca`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := flags.folder()
			if err != nil {
				return err
			}
			validity, err := validityOf(days, pki.ServerValidity)
			if err != nil {
				return err
			}
			if len(hosts) == 0 {
				hosts = ownHosts()
			}
			a, err := pki.Create(dir, name, time.Now)
			if err != nil {
				return certError(err)
			}
			if err := a.Server(hosts, validity); err != nil {
				return certError(err)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), initAdvice(dir, hosts))
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().StringArrayVar(&hosts, "host", nil, "name or address that devices connect to; may be repeated (default: this machine's own)")
	cmd.Flags().StringVar(&name, "name", "iotc-gateway site authority", "name of the authority")
	cmd.Flags().IntVar(&days, "days", 0, "validity of the gateway's certificate in days (default 825)")
	return cmd
}

func initAdvice(dir string, hosts []string) string {
	file := func(name string) string { return filepath.Join(dir, name) }
	return fmt.Sprintf(`made in %[1]s:

  ca.crt      copy it to every device, which knows the gateway by it
  ca.key      whoever has it can make devices: keep it here, or better take it
              away from the gateway and bring it back for new devices
  server.crt  the gateway's certificate, for %[2]s
  server.key  and its key

Put a listener into the configuration and restart the gateway:

  broker:
    listeners:
      - name: field-tls
        address: ":8883"
        tls:
          cert_file: %[3]s
          key_file: %[4]s
          client_ca_file: %[5]s

Then make a certificate for each device:

  iotc-gateway cert device NAME
`, dir, strings.Join(hosts, ", "), file(pki.ServerCert), file(pki.ServerKey), file(pki.CACert))
}

func newCertServerCommand() *cobra.Command {
	var (
		flags certFlags
		hosts []string
		days  int
	)
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Renew the gateway's certificate",
		Long: `server replaces the gateway's certificate and key. A running gateway takes them
up by itself within half a minute; connected devices stay connected.`,
		Example: "  iotc-gateway cert server\n  iotc-gateway cert server --host new-name.plant.example",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := flags.folder()
			if err != nil {
				return err
			}
			validity, err := validityOf(days, pki.ServerValidity)
			if err != nil {
				return err
			}
			a, err := pki.Open(dir, time.Now)
			if err != nil {
				return certError(err)
			}
			if len(hosts) == 0 {
				hosts = formerHosts(dir)
			}
			if err := a.Server(hosts, validity); err != nil {
				return certError(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "renewed %s for %s\n", filepath.Join(dir, pki.ServerCert), strings.Join(hosts, ", "))
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().StringArrayVar(&hosts, "host", nil, "name or address that devices connect to; may be repeated (default: those of the present certificate)")
	cmd.Flags().IntVar(&days, "days", 0, "validity in days (default 825)")
	return cmd
}

// formerHosts are those of the certificate that is there, or the machine's own.
func formerHosts(dir string) []string {
	list, err := pki.List(dir)
	if err != nil {
		return ownHosts()
	}
	for _, e := range list {
		if e.Kind == "server" && len(e.Hosts) > 0 {
			return e.Hosts
		}
	}
	return ownHosts()
}

// ownHosts are the names and addresses under which devices are likely to reach
// this machine.
func ownHosts() []string {
	var hosts []string
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
		if !strings.Contains(name, ".") {
			hosts = append(hosts, name+".local")
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		addresses = nil
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return append(hosts, "localhost", "127.0.0.1", "::1")
}

func newCertDeviceCommand() *cobra.Command {
	var (
		flags  certFlags
		days   int
		output string
	)
	cmd := &cobra.Command{
		Use:   "device NAME...",
		Short: "Make certificates for devices",
		Example: `  iotc-gateway cert device sensor-17
  iotc-gateway cert device press-1 press-2 press-3`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if err := mapping.ValidDeviceID(name); err != nil {
					return usageError("%q cannot be a device: %v", name, err)
				}
			}
			dir, err := flags.folder()
			if err != nil {
				return err
			}
			validity, err := validityOf(days, pki.DeviceValidity)
			if err != nil {
				return err
			}
			a, err := pki.Open(dir, time.Now)
			if err != nil {
				return certError(err)
			}
			return makeDevices(cmd, a, dir, args, validity, output == "json")
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().IntVar(&days, "days", 0, "validity in days (default 3650)")
	return cmd
}

// deviceFiles is what a device needs.
type deviceFiles struct {
	Device string `json:"device"`
	Cert   string `json:"cert_file"`
	Key    string `json:"key_file"`
	CA     string `json:"ca_file"`
}

func makeDevices(cmd *cobra.Command, a *pki.Authority, dir string, names []string, validity time.Duration, asJSON bool) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	for _, name := range names {
		cert, key, err := a.Device(name, validity)
		if err != nil {
			return certError(err)
		}
		f := deviceFiles{name, cert, key, filepath.Join(dir, pki.CACert)}
		if asJSON {
			if err := enc.Encode(f); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprint(cmd.OutOrStdout(), deviceAdvice(f, formerHosts(dir)[0])); err != nil {
			return err
		}
	}
	return nil
}

func deviceAdvice(f deviceFiles, host string) string {
	return fmt.Sprintf(`%[1]s: copy these three to the device, and the key nowhere else:

  %[2]s
  %[3]s
  %[4]s

To try it from here:

  mosquitto_pub -h %[5]s -p 8883 --cafile %[2]s \
    --cert %[3]s --key %[4]s \
    -i %[1]s -q 1 -t devices/%[1]s/telemetry -m '{"temperature": 21.5}'

`, f.Device, f.CA, f.Cert, f.Key, host)
}

func newCertListCommand() *cobra.Command {
	var (
		flags  certFlags
		output string
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the certificates and when they expire",
		Example: "  iotc-gateway cert list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := flags.folder()
			if err != nil {
				return err
			}
			list, err := pki.List(dir)
			if err != nil {
				return err
			}
			if output == "json" {
				if list == nil {
					list = []pki.Entry{}
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			if len(list) == 0 {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "no certificates in %s; make them with: iotc-gateway cert init\n", dir)
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KIND\tNAME\tEXPIRES\tFOR")
			for _, e := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Kind, e.Name, e.Expires.Format(time.DateOnly), strings.Join(slices.Clip(e.Hosts), ", "))
			}
			return w.Flush()
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func validityOf(days int, fallback time.Duration) (time.Duration, error) {
	switch {
	case days == 0:
		return fallback, nil
	case days < 1 || days > 36500:
		return 0, usageError("--days %d: must be between 1 and 36500", days)
	}
	return time.Duration(days) * 24 * time.Hour, nil
}

// certError says what to do.
func certError(err error) error {
	switch {
	case errors.Is(err, pki.ErrNone):
		return fmt.Errorf("%w; make one with: iotc-gateway cert init", err)
	case errors.Is(err, pki.ErrClock):
		return fmt.Errorf("%w: set it first", err)
	case errors.Is(err, pki.ErrName):
		return usageError("%w", err)
	case errors.Is(err, pki.ErrExists):
		return fmt.Errorf("%w; it is not overwritten: remove it first if it is to be made anew", err)
	}
	return err
}
