//go:build e2e

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program builds the gateway once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "iotc-gateway-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "iotc-gateway")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func binary(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// process is one process that a test started and will end by its id.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	err  error
}

// start runs a command with its output in a file, which is shown when the
// test fails.
func start(t *testing.T, stdin *os.File, env []string, name string, args ...string) *process {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(name, args...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = log, log, 5*time.Second
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("output of %s %s:\n%s", filepath.Base(name), strings.Join(args, " "), tail(p.output(), 4000))
		}
	})
	return p
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func (p *process) output() string {
	b, err := os.ReadFile(p.log.Name())
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// signal sends a signal and, for one that ends the process, waits for its end.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.cmd.Process.Signal(s)
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		select {
		case <-p.done:
		case <-time.After(15 * time.Second):
			p.t.Errorf("%s did not end within 15 s of %v", p.cmd.Path, s)
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
}

// freeAddress is a loopback address that nothing listens on now. Restarted
// processes need the same one again, so the kernel cannot choose for them; and
// it lies below the ports that the kernel gives to outgoing connections, one of
// which would take it while the process is down.
func freeAddress(t *testing.T) string {
	t.Helper()
	const first, last = 20000, 32000
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first)))
		if err == nil {
			_ = l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// eventually polls, for what other processes do.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

// call makes an HTTP request with a token and decodes the JSON answer into
// out; it returns the status, 0 without an answer.
func call(t *testing.T, method, url, token string, body io.Reader, out any) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	if text, ok := out.(*string); ok {
		b, _ := io.ReadAll(resp.Body)
		*text = string(b)
	} else if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			t.Fatalf("%s %s: %v", method, url, err)
		}
	}
	return resp.StatusCode
}

// site is a gateway with an emulated application above it.
type site struct {
	t                       *testing.T
	dir, mqtt, console, api string
	gateway, application    *process
}

const siteToken = "e2e-token"

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), mqtt: freeAddress(t), console: freeAddress(t), api: freeAddress(t)}
	if err := os.WriteFile(filepath.Join(s.dir, "token"), []byte(siteToken), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// configure writes the gateway's configuration with more sections below it.
func (s *site) configure(more string) {
	text := fmt.Sprintf(`gateway: {id: e2e, data_dir: %q, report: "off"}
central: {url: "http://%s/api", token_file: %q, rate: 0}
console: {address: %q}
log: {format: console}
`, filepath.Join(s.dir, "data"), s.api, filepath.Join(s.dir, "token"), s.console)
	if !strings.Contains(more, "broker:") {
		text += fmt.Sprintf("broker: {listeners: [{name: field, address: %q}]}\n", s.mqtt)
	}
	if err := os.WriteFile(s.config(), []byte(text+more), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) config() string { return filepath.Join(s.dir, "gateway.yaml") }

func (s *site) startApplication(args ...string) {
	s.application = start(s.t, nil, nil, binary(s.t), append([]string{"emulator", "--listen", s.api, "--token-file", filepath.Join(s.dir, "token"), "--history", "100000"}, args...)...)
	eventually(s.t, 10*time.Second, "the emulator answers", func() bool {
		return call(s.t, http.MethodGet, "http://"+s.api+"/emulator/stats", siteToken, nil, nil) == http.StatusOK
	})
}

func (s *site) startGateway() {
	s.gateway = start(s.t, nil, nil, binary(s.t), "run", "--config", s.config())
	eventually(s.t, 20*time.Second, "the gateway is ready", func() bool {
		return call(s.t, http.MethodGet, "http://"+s.console+"/readyz", "", nil, nil) == http.StatusOK
	})
}

// metric sums the series of a metric on the gateway's page.
func (s *site) metric(name string) float64 {
	s.t.Helper()
	var page string
	if call(s.t, http.MethodGet, "http://"+s.console+"/metrics", "", nil, &page) != http.StatusOK {
		return -1
	}
	sum := 0.0
	for line := range strings.Lines(page) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, _, _ := strings.Cut(series, "{"); n == "iotc_gateway_"+name || series == "iotc_gateway_"+name {
			var v float64
			if _, err := fmt.Sscan(value, &v); err == nil {
				sum += v
			}
		}
	}
	return sum
}

// received is the telemetry that the application has of a device, in order.
func (s *site) received(device string) []map[string]any {
	s.t.Helper()
	var answer struct {
		Telemetry []struct {
			Body map[string]any `json:"body"`
		} `json:"telemetry"`
	}
	status := call(s.t, http.MethodGet, "http://"+s.api+"/emulator/devices/"+device+"/telemetry?last=100000", siteToken, nil, &answer)
	if status == http.StatusNotFound {
		return nil
	}
	var bodies []map[string]any
	for _, e := range answer.Telemetry {
		bodies = append(bodies, e.Body)
	}
	return bodies
}
