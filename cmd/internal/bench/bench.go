package bench

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Options say what to measure and how.
type Options struct {
	Scenarios  []string      // names; empty for all
	Runs       int           // of each scenario; figures are medians
	Quick      bool          // small sizes, for a look in between
	Messages   int           // of the scenarios that publish a number of messages; 0 for their own
	Duration   time.Duration // of the scenarios that last a time; 0 for their own
	Version    byte          // of MQTT: 4 for 3.1.1 (the default), 5
	DataDir    string        // where stores are made; empty for a temporary directory on disk
	Keep       bool          // leave stores, configurations and logs behind
	Profiles   string        // directory for profiles of every gateway: CPU and allocations; empty for none
	Executable string        // the gateway; empty for this program
	Yardstick  string        // the program that plays the application and both yardsticks; empty for Executable
	Label      string        // the gateway's version, for the report

	// Stall is how long a drain may stand still before what has not come counts as lost; 0 for 75 s, which is longer
	// than a gateway's longest backoff.
	Stall time.Duration

	// Progress is called with one line a step. It may be nil.
	Progress func(line string)
}

var errRunLimit = errors.New("not finished in time")

// ErrUnknownScenario says that Options.Scenarios has a name that is none.
var ErrUnknownScenario = errors.New("unknown scenario")

// scenario is one line or more of the table.
type scenario struct {
	name  string
	about string
	run   func(context.Context, *run) error
	asked bool // runs only when it is asked for by name
}

// Scenarios lists the names in the order in which they run.
func Scenarios() []string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	return names
}

// Run measures. The error is about the bench itself; what the gateway did wrong is in the report.
func Run(ctx context.Context, opts Options) (Report, error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	opts.Runs = max(opts.Runs, 1)
	opts.Version = cmp.Or(opts.Version, 4)
	opts.Stall = cmp.Or(opts.Stall, 75*time.Second)
	chosen, err := choose(opts.Scenarios)
	if err != nil {
		return Report{}, err
	}
	if opts.Executable == "" {
		if opts.Executable, err = os.Executable(); err != nil {
			return Report{}, fmt.Errorf("find own executable: %w", err)
		}
	}
	opts.Yardstick = cmp.Or(opts.Yardstick, opts.Executable)
	if opts.Profiles != "" {
		if err := os.MkdirAll(opts.Profiles, 0o700); err != nil {
			return Report{}, fmt.Errorf("make the directory for profiles: %w", err)
		}
	}
	root, err := makeRoot(opts.DataDir)
	if err != nil {
		return Report{}, err
	}
	if opts.Keep {
		opts.Progress("stores, configurations and logs are kept in " + root)
	} else {
		defer func() { _ = os.RemoveAll(root) }()
	}
	report := Report{Time: time.Now(), Version: opts.Label, Runs: opts.Runs, Quick: opts.Quick}
	if report.Machine, err = describe(root, opts.Quick); err != nil {
		return Report{}, err
	}
	sink, err := startSink(ctx, opts.Yardstick)
	if err != nil {
		return Report{}, err
	}
	defer sink.end()
	for _, s := range chosen {
		report.Results = append(report.Results, measure(ctx, s, opts, root, sink))
		if ctx.Err() != nil {
			return report, ctx.Err()
		}
	}
	return report, nil
}

func choose(names []string) ([]scenario, error) {
	all := scenarios()
	if len(names) == 0 {
		return slices.DeleteFunc(all, func(s scenario) bool { return s.asked }), nil
	}
	wanted := make(map[string]bool)
	for _, name := range names {
		wanted[name] = true
	}
	var chosen []scenario
	for _, s := range all {
		if wanted[s.name] {
			chosen = append(chosen, s)
			delete(wanted, s.name)
		}
	}
	for name := range wanted {
		return nil, fmt.Errorf("%w %q; there are %s", ErrUnknownScenario, name, strings.Join(Scenarios(), ", "))
	}
	return chosen, nil
}

// makeRoot prefers /var/tmp, which the file hierarchy standard keeps on disk, to /tmp, which often is memory.
func makeRoot(dir string) (string, error) {
	if dir == "" {
		if info, err := os.Stat("/var/tmp"); err == nil && info.IsDir() {
			dir = "/var/tmp"
		}
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	root, err := os.MkdirTemp(dir, "iotc-gateway-bench-*")
	if err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	return root, nil
}

func describe(root string, quick bool) (Machine, error) {
	m := Machine{CPU: "unknown CPU", Cores: runtime.NumCPU(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Load: "unknown"}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			if name = strings.TrimSpace(name); name == "model name" || name == "Model" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(text))[:1], " ")
	}
	m.FileSystem, m.InMemory = fileSystem(root)
	var syncs Histogram
	probes := 500
	if quick {
		probes = 50
	}
	if err := probeSyncs(root, probes, &syncs); err != nil {
		return m, err
	}
	m.SyncP50, m.SyncP99 = milliseconds(syncs.Percentile(50)), milliseconds(syncs.Percentile(99))
	return m, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

func measure(ctx context.Context, s scenario, opts Options, root string, sink *sinkProcess) Result {
	start := time.Now()
	var outcomes []*outcome
	var failure error
	for i := range opts.Runs {
		opts.Progress(fmt.Sprintf("%s, run %d of %d", s.name, i+1, opts.Runs))
		r := &run{opts: opts, root: root, sink: sink, name: s.name}
		limited, cancel := context.WithTimeoutCause(ctx, runLimit+opts.Duration, errRunLimit)
		err := s.run(limited, r)
		if cause := context.Cause(limited); cause != nil {
			err = cause
		}
		cancel()
		if r.outcome.broken() {
			r.tellLogs()
		}
		r.end()
		outcomes = append(outcomes, &r.outcome)
		if err != nil {
			failure = err
			opts.Progress(fmt.Sprintf("%s: %v", s.name, err))
			break
		}
	}
	result := merge(s.name, s.about, outcomes)
	if failure != nil {
		result.Error = failure.Error()
	}
	result.Elapsed = time.Since(start).Round(time.Second).String()
	return result
}

// sinkProcess is the sink's child process.
type sinkProcess struct {
	SinkControl
	token   string
	process *process
	input   interface{ Close() error }
}

func startSink(ctx context.Context, executable string) (*sinkProcess, error) {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // crypto/rand never fails
	token := hex.EncodeToString(random)
	cmd := exec.CommandContext(ctx, executable, "bench", "sink")
	cmd.Env = environment(tokenVariable + "=" + token)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start sink: %w", err)
	}
	outputReader, outputWriter, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start sink: %w", err)
	}
	defer func() { _ = outputReader.Close() }()
	cmd.Stdout = outputWriter
	process, err := startProcess(cmd)
	_ = outputWriter.Close()
	if err != nil {
		return nil, err
	}
	_ = outputReader.SetReadDeadline(time.Now().Add(startLimit))
	var addresses sinkAddresses
	if err := json.NewDecoder(outputReader).Decode(&addresses); err != nil {
		process.kill()
		return nil, fmt.Errorf("start sink: it told no address: %w", err)
	}
	if ctx.Err() != nil {
		process.kill()
		return nil, ctx.Err()
	}
	control := SinkControl{API: addresses.API, base: addresses.Control, client: &http.Client{Timeout: time.Minute}}
	return &sinkProcess{SinkControl: control, token: token, process: process, input: input}, nil
}

func (s *sinkProcess) end() {
	_ = s.input.Close()
	s.process.kill()
}

// tokenVariable hands the token to the children, where no list of processes shows it.
const tokenVariable = "IOTC_BENCH_TOKEN"

// TokenFromEnvironment is the token that the bench has made for its child.
func TokenFromEnvironment() string { return os.Getenv(tokenVariable) }
