package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"

	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/cmd/internal/console"
)

// checkStore reads a stopped gateway's store from end to end.
func (e *examination) checkStore(context.Context) {
	const check = "store"
	dir := app.StoreDir(e.Config.Gateway.DataDir)
	if e.running {
		e.ok(check, "is in use by the running gateway, which watches it; stop the gateway to have every record read")
		e.setAside(dir)
		return
	}
	in, err := buffer.Inspect(dir, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.note(check, "there is none yet; the first start makes it", "")
		e.setAside(dir)
		return
	case errors.Is(err, buffer.ErrNewerFormat):
		e.fault(check, err.Error(), "install the newer version again; this one leaves the store as it is")
		return
	case errors.Is(err, fs.ErrPermission):
		e.fault(check, err.Error(), "run doctor as the gateway's user or as root")
		return
	case err != nil:
		// What follows the first line is for the library's authors.
		reason, _, _ := strings.Cut(err.Error(), "\n")
		e.fault(check, "cannot be read: "+strings.TrimSpace(reason),
			"nothing is lost: the next start sets it aside and begins a fresh one; then `iotc-gateway buffer recover` brings back what is readable")
		e.setAside(dir)
		return
	}
	e.inspected = &in
	var waiting, bytes int64
	for _, c := range buffer.Classes() {
		waiting += in.Records[c]
		bytes += in.Bytes[c]
	}
	if in.Unreadable > 0 {
		e.fault(check, fmt.Sprintf("%s cannot be decoded", plural(int(in.Unreadable), "value")), "back up the store's directory; the gateway counts and passes over them. Look into dmesg for a failing disk")
	} else {
		e.ok(check, "every record is readable: %d wait (%s), %s; %s on disk", waiting, mib(bytes), plural(int(in.DeadLetters), "dead letter"), mib(in.DiskBytes))
	}
	if in.Torn > 0 {
		e.note(check, fmt.Sprintf("an unfinished write of %d bytes ends the log, as a kill or a power failure leaves it", in.Torn), "none: it was never acknowledged, and the next start cuts it off")
	}
	e.setAside(dir)
}

func (e *examination) setAside(dir string) {
	list, err := buffer.SetAside(dir)
	if err != nil {
		return
	}
	for _, aside := range list {
		e.warn("store", fmt.Sprintf("%s was set aside because it could not be opened", aside),
			fmt.Sprintf("iotc-gateway buffer recover %s brings back what is readable; then move it away", aside))
	}
}

const healthTimeout = 5 * time.Second

// checkHealth asks the running gateway for its own word.
func (e *examination) checkHealth(ctx context.Context) {
	const check = "gateway"
	if !e.running {
		e.note(check, "is not running: "+app.StoreDir(e.Config.Gateway.DataDir)+" is not in use", "")
		return
	}
	if e.Config.Console.Address == "" {
		e.note(check, "runs; its console is turned off, so it cannot be asked how it is", "")
		return
	}
	health, err := e.askHealth(ctx)
	if err != nil {
		e.fault(check, fmt.Sprintf("has its store open and its console does not answer: %v", err),
			"was it started with this configuration? Otherwise look into its log: journalctl -u iotc-gateway")
		return
	}
	e.ok(check, "runs and answers")
	for _, c := range health.Checks {
		f := Finding{Check: "gateway/" + c.Name, Status: OK, Message: c.Message}
		switch {
		case c.OK:
		case c.Advisory:
			f.Status = Warning
		default:
			f.Status = Fault
		}
		e.report.Findings = append(e.report.Findings, f)
	}
}

func (e *examination) askHealth(ctx context.Context) (health console.Health, err error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	body, err := e.askConsole(ctx, "/healthz")
	if err != nil {
		return health, err
	}
	e.health = body
	if err := json.Unmarshal(body, &health); err != nil {
		return health, fmt.Errorf("read the health: %w", err)
	}
	return health, nil
}

// askConsole gets a page of the running gateway's console. Unhealthy is an
// answer as well.
func (e *examination) askConsole(ctx context.Context, path string) ([]byte, error) {
	cfg := e.Config.Console
	host, port, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("console.address: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if cfg.TLS.CertFile != "" {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = "localhost"
	req.Header.Set("Accept", "application/json")
	// The certificate is not checked here: it is this machine that is asked,
	// nothing secret is sent, and expiry is a finding of its own.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	const largest = 4 << 20
	return io.ReadAll(io.LimitReader(resp.Body, largest))
}
