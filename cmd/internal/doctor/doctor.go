package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/configs"
)

// Options say what to examine. Only Config is needed.
type Options struct {
	// Config is the configuration in force, as far as it could be read, and
	// ConfigErr why it could not be read as a whole.
	Config    *configs.Config
	ConfigErr error
	// ConfigPath is the file, empty for the defaults.
	ConfigPath string
	Version    string
	// Offline leaves out what goes over the network.
	Offline bool

	// Now is the time against which certificates and tokens are held; zero is
	// the present one.
	Now time.Time
	// Proxy finds the proxy of a request; nil is that of the environment.
	Proxy func(*http.Request) (*url.URL, error)
}

// examination carries what the checks share.
type examination struct {
	Options
	report  Report
	running bool
	// inspected is what the store held, while the gateway is stopped.
	inspected *buffer.Inspection
	// health is the running gateway's own word, as JSON.
	health []byte
}

// Result is the report with the raw answers that a bundle adds to it.
type Result struct {
	Report    Report
	Inspected *buffer.Inspection
	Health    []byte
}

// Run examines everything. It never fails: what cannot be looked at is a
// finding as well.
func Run(ctx context.Context, opts Options) Result {
	if opts.Now.IsZero() {
		opts.Now = time.Now()
	}
	if opts.Proxy == nil {
		opts.Proxy = http.ProxyFromEnvironment
	}
	e := &examination{Options: opts}
	e.report = Report{Version: opts.Version, Time: opts.Now.UTC(), Config: opts.ConfigPath, DataDir: opts.Config.Gateway.DataDir}
	e.checkConfiguration()
	e.running = running(app.StoreDir(opts.Config.Gateway.DataDir))
	e.report.Running = e.running
	for _, check := range []func(context.Context){
		e.checkHealth, e.checkClock, e.checkDisk, e.checkPermissions, e.checkLimits, e.checkStore,
		e.checkListeners, e.checkCertificates, e.checkTemplates, e.checkUplink,
	} {
		if ctx.Err() != nil {
			e.fault("doctor", "was interrupted before everything was looked at", "run it again")
			break
		}
		check(ctx)
	}
	return Result{Report: e.report, Inspected: e.inspected, Health: e.health}
}

func (e *examination) add(check string, status Status, message, advice string) {
	e.report.Findings = append(e.report.Findings, Finding{check, status, message, advice})
}

func (e *examination) ok(check, format string, args ...any) {
	e.add(check, OK, fmt.Sprintf(format, args...), "")
}

func (e *examination) note(check, message, advice string) { e.add(check, Note, message, advice) }

func (e *examination) warn(check, message, advice string) { e.add(check, Warning, message, advice) }

func (e *examination) fault(check, message, advice string) { e.add(check, Fault, message, advice) }

// checkConfiguration reports what could not be read, or cannot work.
func (e *examination) checkConfiguration() {
	const check = "configuration"
	name := e.ConfigPath
	if name == "" {
		name = "the default configuration"
	}
	err := e.ConfigErr
	if err == nil {
		_, err = app.Compile(e.Config)
	}
	if faults, ok := errors.AsType[*configs.Error](err); ok {
		for _, f := range faults.Faults {
			e.fault(check, f.String(), "correct it; `iotc-gateway check` repeats this finding alone")
		}
	} else if err != nil {
		e.fault(check, err.Error(), "correct it; `iotc-gateway check` repeats this finding alone")
	} else {
		e.ok(check, "%s is valid", name)
	}
	for _, f := range e.Config.Unresolved() {
		e.note(check, f.String(), "what it names is not looked at; run doctor as root while the service runs to have it looked at")
	}
	if e.Config.Central.URL == "" {
		e.warn(check, "central.url is empty: records are stored and wait", "set central.url to the application's API, such as https://my-app.azureiotcentral.com/api")
	}
}

// running tells whether a gateway has the store open.
func running(dir string) bool { return buffer.InUse(dir) }
