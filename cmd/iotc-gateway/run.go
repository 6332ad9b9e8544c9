package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/configs"
)

func newRunCommand() *cobra.Command {
	var (
		flags        configFlags
		cpuProfile   string
		allocProfile string
		profile      string
		debuggable   bool
	)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the gateway",
		Long: `run starts the gateway and serves until it gets SIGTERM or SIGINT. It then
refuses new publications, settles what is under way, and closes the store last.

Without a configuration it listens for MQTT on 127.0.0.1:1883 and shows its
console on 127.0.0.1:8080; records are stored and wait for central.url.

SIGHUP reads the configuration again and puts routes, presets, templates, users
and the uplink's token in force, all of them or, with an error in the log, none.`,
		Example: `  iotc-gateway run
  iotc-gateway run --config /etc/iotc-gateway/gateway.yaml
  iotc-gateway run --set central.url=http://127.0.0.1:8090/api --set central.token_file=token
  IOTC_CENTRAL_URL=https://my-app.azureiotcentral.com/api IOTC_CENTRAL_TOKEN=... iotc-gateway run --set central.token_env=IOTC_CENTRAL_TOKEN`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if profile != "" {
				flags.set = append(flags.set, "gateway.profile="+profile)
			}
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			log, err := newLogger(cfg.Log.Level, cfg.Log.Format, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer func() { _ = log.Sync() }()
			if !debuggable {
				if err := forbidCoreDumps(); err != nil {
					log.Warn("memory of this process may reach the disk in a core dump", zap.Error(err))
				}
			}
			tuneMemory(cfg.Runtime(), os.Getenv)
			stopProfile, err := startProfile(cpuProfile)
			if err != nil {
				return err
			}
			defer stopProfile()
			if allocProfile != "" {
				defer func() { err = errors.Join(err, writeAllocations(allocProfile)) }()
			}
			hangup, stopHangup := onHangup()
			defer stopHangup()
			g, err := app.New(cfg, app.Options{
				Log: log, Version: version, Notify: app.Systemd{Log: log.Named("systemd")}, Load: flags.load, Reload: hangup,
			})
			if err != nil {
				return explain(cfg, err)
			}
			return g.Run(cmd.Context())
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&profile, "profile", "", "defaults that hold: default, or small for 512 MiB boards and 32-bit systems (the key gateway.profile)")
	_ = cmd.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions([]string{"default", "small"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVar(&cpuProfile, "cpuprofile", "", "write a CPU profile for `go tool pprof` to this file until the gateway stops")
	_ = cmd.Flags().MarkHidden("cpuprofile")
	cmd.Flags().StringVar(&allocProfile, "allocprofile", "", "write what was allocated, for `go tool pprof`, to this file when the gateway has stopped")
	_ = cmd.Flags().MarkHidden("allocprofile")
	cmd.Flags().BoolVar(&debuggable, "debuggable", false, "allow core dumps and debuggers, which see tokens and payloads")
	_ = cmd.Flags().MarkHidden("debuggable")
	return cmd
}

// tuneMemory sets what the profile asks of Go's memory management, unless the
// environment says it already.
func tuneMemory(want configs.Runtime, getenv func(string) string) {
	if want.MemoryLimit > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(want.MemoryLimit)
	}
	if want.GCPercent > 0 && getenv("GOGC") == "" {
		debug.SetGCPercent(want.GCPercent)
	}
}

// onHangup delivers whenever the process gets SIGHUP.
func onHangup() (events <-chan struct{}, stop func()) {
	signals, out := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		for range signals {
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out, func() {
		signal.Stop(signals)
		close(signals)
	}
}

// startProfile profiles the process into a file; without one it does nothing.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("--cpuprofile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("--cpuprofile: %w", err), f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

// writeAllocations writes down what the process has allocated since its start.
func writeAllocations(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--allocprofile: %w", err)
	}
	runtime.GC() // the profile is as of the last collection
	if err := errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close()); err != nil {
		return fmt.Errorf("--allocprofile: %w", err)
	}
	return nil
}

// explain says what to do about the common reasons for which a gateway does
// not start.
func explain(cfg *configs.Config, err error) error {
	switch _, bind := errors.AsType[*net.OpError](err); {
	case errors.Is(err, buffer.ErrLocked):
		return fmt.Errorf("%w; another gateway runs on gateway.data_dir %s: stop it, or give this one a directory of its own", err, cfg.Gateway.DataDir)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; gateway.data_dir is %s: choose one that this user may write", err, cfg.Gateway.DataDir)
	case bind:
		return fmt.Errorf("%w; change the listener's address in the configuration, or stop what uses it", err)
	}
	return err
}

// newLogger makes the one logger that everything logs through.
func newLogger(level, format string, out io.Writer) (*zap.Logger, error) {
	lvl, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, usageError("log.level: %v", err)
	}
	cfg := zap.NewProductionEncoderConfig()
	cfg.TimeKey, cfg.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	cfg.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(cfg)
	if format == "console" {
		cfg.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoder = zapcore.NewConsoleEncoder(cfg)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), lvl)), nil
}
