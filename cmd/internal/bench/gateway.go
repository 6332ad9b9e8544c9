package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// startLimit bounds the wait for a gateway to serve, and stopLimit the wait for it to end by itself.
const (
	startLimit = 60 * time.Second
	stopLimit  = 20 * time.Second
)

// Settings are the keys of the configuration in which the scenarios differ.
type Settings struct {
	URL         string // of the application
	Sync        string // buffer.sync
	Concurrency int
	InFlight    int
	Coalesce    time.Duration
	MemoryLimit string // GOMEMLIMIT; "" leaves it to the gateway
	MinFree     string // buffer.min_free_bytes; "" leaves it to the gateway
	Limits      string // broker.limits in YAML's flow style; "" leaves them to the gateway but for a few
}

// gateway is one gateway under test, or what is measured beside it: its directory outlives its processes.
type gateway struct {
	executable string
	dir        string // config, token, log, and the data directory in it
	mqtt       string
	console    string
	memory     string
	profile    string   // where each process leaves its profiles; empty for none
	started    int      // processes so far
	bare       []string // command line of a bare broker in its place; nil for a gateway
	secrets    []string // environment of that

	process *process
	watch   *watch
	peakRSS int64 // over all processes
	peakAno int64
}

// newGateway writes a configuration into a new directory under root.
func newGateway(executable, root, token string, s Settings) (*gateway, error) {
	dir, err := os.MkdirTemp(root, "gateway-*")
	if err != nil {
		return nil, fmt.Errorf("prepare gateway: %w", err)
	}
	g := &gateway{executable: executable, dir: dir, memory: s.MemoryLimit}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	g.mqtt, g.console = ports[0], ports[1]
	files := map[string]string{"token": token + "\n", "gateway.yaml": g.configuration(s)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("prepare gateway: %w", err)
		}
	}
	if err := os.Mkdir(g.data(), 0o700); err != nil {
		return nil, fmt.Errorf("prepare gateway: %w", err)
	}
	return g, nil
}

func (g *gateway) data() string { return filepath.Join(g.dir, "data") }

func (g *gateway) configuration(s Settings) string {
	return fmt.Sprintf(`gateway: {id: bench-gateway, data_dir: %q, report: "off"}
central: {url: %q, token_file: %q, rate: 0}
broker:
  listeners: [{name: bench, address: %q}]
  auth: {anonymous: loopback}
  limits: {%s}
buffer: {sync: %s, min_free_bytes: %s}
bridge:
  concurrency: %d
  in_flight_per_device: %d
  coalesce: %s
  registry: {unknown: create, create_rate: 0}
console: {address: %q}
log: {level: warn, format: json}
`, g.data(), s.URL, filepath.Join(g.dir, "token"), g.mqtt, cmp.Or(s.Limits, "max_clients: 2000"), cmp.Or(s.Sync, "always"), cmp.Or(s.MinFree, "64MiB"), max(s.Concurrency, 1), max(s.InFlight, 1), s.Coalesce, g.console)
}

// freePorts finds loopback addresses that nobody listens on. They are free again when it returns, so another program
// could take one; a gateway that cannot bind says so.
func freePorts(n int) ([]string, error) {
	var addresses []string
	for range n {
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		addresses = append(addresses, listener.Addr().String())
		defer func() { _ = listener.Close() }() // all are held until all are found, so that they differ
	}
	return addresses, nil
}

// start starts the process and returns when a client can connect.
func (g *gateway) start(ctx context.Context) error {
	if err := g.spawn(ctx); err != nil {
		return err
	}
	probe := NewFleet(FleetConfig{Address: g.mqtt, Clients: 1, Window: 1, Version: 4, Prefix: "probe", Clean: true})
	defer probe.Close()
	return g.await(ctx, func(ctx context.Context) error { return probe.clients[0].connect(ctx) })
}

// startPublishing starts the process and returns how long it took until the first publish was acknowledged.
func (g *gateway) startPublishing(ctx context.Context, fleet *Fleet) (time.Duration, error) {
	begin := time.Now()
	if err := g.spawn(ctx); err != nil {
		return 0, err
	}
	if err := g.await(ctx, func(ctx context.Context) error { return fleet.clients[0].connect(ctx) }); err != nil {
		return 0, err
	}
	if err := fleet.Publish(ctx, 1); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

func (g *gateway) spawn(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(g.dir, "gateway.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start gateway: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	args := g.bare
	if args == nil {
		args = []string{"run", "--config", filepath.Join(g.dir, "gateway.yaml"), "--debuggable"}
		if g.started++; g.profile != "" {
			path := fmt.Sprintf("%s-%d", g.profile, g.started)
			args = append(args, "--cpuprofile", path+".pprof", "--allocprofile", path+".allocs.pprof")
		}
	}
	cmd := exec.CommandContext(ctx, g.executable, args...) //nolint:gosec // it is this program
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = environment(g.secrets...)
	if g.memory != "" {
		cmd.Env = append(cmd.Env, "GOMEMLIMIT="+g.memory)
	}
	g.process, err = startProcess(cmd)
	if err != nil {
		return err
	}
	g.watch = watchMemory(g.process.pid())
	return nil
}

// await tries until it works, the process has ended or the time is up.
func (g *gateway) await(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if g.process.exited() {
			return fmt.Errorf("start gateway: %w\n%s", errExited, g.lastLines(12))
		}
		if pause(ctx, 2*time.Millisecond) != nil {
			return fmt.Errorf("start gateway: not serving: %w\n%s", err, g.lastLines(12))
		}
	}
}

// alive is nil as long as the process runs.
func (g *gateway) alive() error {
	if g.process == nil || g.process.exited() {
		return fmt.Errorf("gateway: %w\n%s", errExited, g.lastLines(12))
	}
	return nil
}

func (g *gateway) usage() (Usage, error) {
	if err := g.alive(); err != nil {
		return Usage{}, err
	}
	return readUsage(g.process.pid())
}

func (g *gateway) unwatch() {
	if g.watch != nil {
		rss, anonymous := g.watch.end()
		g.peakRSS, g.peakAno = max(g.peakRSS, rss), max(g.peakAno, anonymous)
		g.watch = nil
	}
}

// kill is kill -9.
func (g *gateway) kill() {
	if g.process != nil {
		g.unwatch()
		g.process.kill()
		g.process = nil
	}
}

// stop is SIGTERM; it reports how long the gateway took.
func (g *gateway) stop() (time.Duration, error) {
	if g.process == nil {
		return 0, nil
	}
	g.unwatch()
	took, err := g.process.stop(stopLimit)
	g.process = nil
	if err != nil {
		return took, fmt.Errorf("stop gateway: %w\n%s", err, g.lastLines(12))
	}
	return took, nil
}

// lastLines is the end of the gateway's log, for a message about its failure.
func (g *gateway) lastLines(n int) string {
	text, err := os.ReadFile(filepath.Join(g.dir, "gateway.log"))
	if err != nil {
		return ""
	}
	var lines []string
	scan := bufio.NewScanner(bytes.NewReader(text))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		lines = append(lines, "  | "+scan.Text())
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
