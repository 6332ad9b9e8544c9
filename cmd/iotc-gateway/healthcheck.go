package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newHealthcheckCommand() *cobra.Command {
	var (
		flags configFlags
		ready bool
	)
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the running gateway for its health; exit 0 when it is well",
		Long: `healthcheck asks the console of the gateway with this configuration for
/healthz, or with --ready for /readyz, and prints the answer. It is what the
container's health check runs.`,
		Example: "  iotc-gateway healthcheck --config /etc/iotc-gateway/gateway.yaml\n  iotc-gateway healthcheck --ready",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			if cfg.Console.Address == "" {
				return usageError("console.address is empty: the console is turned off")
			}
			scheme, path := "http", "/healthz"
			if cfg.Console.TLS.CertFile != "" {
				scheme = "https"
			}
			if ready {
				path = "/readyz"
			}
			address, err := local(cfg.Console.Address)
			if err != nil {
				return err
			}
			return askHealth(cmd.Context(), cmd.OutOrStdout(), scheme+"://"+address+path)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether publications are accepted")
	return cmd
}

// local turns the address that the console listens on into one to connect to.
func local(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("console.address: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

func askHealth(ctx context.Context, out io.Writer, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask for the health: %w", err)
	}
	req.Host = "localhost"
	// The certificate is not checked: it is this machine that is asked, and
	// nothing secret is sent.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("the gateway does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(out, io.LimitReader(resp.Body, 64<<10)); err != nil {
		return fmt.Errorf("read the health: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return exitCode{code: exitFailed}
	}
	return nil
}
