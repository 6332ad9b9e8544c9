package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
)

// Control is the permission that the pages under /emulator need.
const Control central.Permission = "emulator.control"

// ServerOptions configure a server.
type ServerOptions struct {
	// Authorizer decides who may call the API and the pages under /emulator. Nil refuses everyone.
	Authorizer central.Authorizer
	// Log receives what callers cannot be told; nil logs nothing.
	Log *zap.Logger
}

// maxControlBytes bounds a body of faults.
const maxControlBytes = 64 << 10

// NewServer serves the application's API under /api and /api/v1, and under /emulator:
//
//	GET    /emulator/stats                          what was received; ?devices=false leaves out the devices
//	GET    /emulator/devices/{id}/telemetry?last=N  the last N events of a device (100) and its counts
//	GET    /emulator/faults                         the faults in force, with the calls left to each
//	PUT    /emulator/faults                         replace them: {"down": false, "faults": [{"status": 503, "calls": 10}]}
//	DELETE /emulator/faults                         end them all
//	POST   /emulator/reset                          forget devices, counts and request ids; the faults stay
func NewServer(app *Application, opts ServerOptions) http.Handler {
	s := &server{app: app, auth: opts.Authorizer}
	if s.auth == nil {
		s.auth = central.StaticTokens()
	}
	s.api = central.NewHandler(app, central.HandlerOptions{Authorizer: s.auth, Log: opts.Log})
	s.control = http.NewServeMux()
	s.control.HandleFunc("GET /emulator/stats", s.stats)
	s.control.HandleFunc("GET /emulator/devices/{id}/telemetry", s.telemetry)
	s.control.HandleFunc("GET /emulator/faults", s.getFaults)
	s.control.HandleFunc("PUT /emulator/faults", s.putFaults)
	s.control.HandleFunc("DELETE /emulator/faults", s.deleteFaults)
	s.control.HandleFunc("POST /emulator/reset", s.reset)
	return s
}

type server struct {
	app     *Application
	auth    central.Authorizer
	api     http.Handler
	control *http.ServeMux
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/emulator/") {
		if s.app.Faults.Down() {
			// Down means down: nothing is read first, not even the token.
			panic(http.ErrAbortHandler)
		}
		s.api.ServeHTTP(w, r)
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, central.Unauthorized("Send \"Authorization: Bearer TOKEN\" with the emulator's token."))
		return
	}
	if _, err := s.auth.Authorize(r.Context(), token, Control, ""); err != nil {
		refuse(w, err)
		return
	}
	s.control.ServeHTTP(w, r)
}

func (s *server) stats(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("devices") == "false" {
		answer(w, s.app.Totals())
		return
	}
	answer(w, s.app.Stats())
}

func (s *server) telemetry(w http.ResponseWriter, r *http.Request) {
	id, last := r.PathValue("id"), 100
	if text := r.URL.Query().Get("last"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			refuse(w, central.Errorf(http.StatusBadRequest, central.CodeInvalidRequest, "last must be a whole number."))
			return
		}
		last = n
	}
	events, err := s.app.Telemetry(id, last)
	if err != nil {
		refuse(w, err)
		return
	}
	stats, _ := s.app.DeviceStats(id)
	answer(w, struct {
		Device    string      `json:"device"`
		Stats     DeviceStats `json:"stats"`
		Telemetry []Event     `json:"telemetry"`
	}{id, stats, events})
}

func (s *server) getFaults(w http.ResponseWriter, _ *http.Request) {
	set := FaultSet{Down: s.app.Faults.Down(), Faults: s.app.Faults.List()}
	if set.Faults == nil {
		set.Faults = []Fault{}
	}
	answer(w, set)
}

func (s *server) putFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBytes))
	if err != nil {
		refuse(w, central.Errorf(http.StatusRequestEntityTooLarge, central.CodeTooLarge, "The body is larger than %d bytes.", maxControlBytes))
		return
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var set FaultSet
	if err = dec.Decode(&set); err == nil {
		err = s.app.Faults.Replace(set.Down, set.Faults)
	}
	if err != nil {
		refuse(w, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The faults cannot be used: %s.", err))
		return
	}
	s.getFaults(w, r)
}

func (s *server) deleteFaults(w http.ResponseWriter, _ *http.Request) {
	s.app.Faults.Clear()
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) reset(w http.ResponseWriter, _ *http.Request) {
	s.app.Reset()
	w.WriteHeader(http.StatusNoContent)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	// A caller that is gone needs no answer.
	_ = enc.Encode(v)
}

func refuse(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*central.Error](err)
	if !ok {
		e = central.Errorf(http.StatusInternalServerError, central.CodeInternal, "The server failed to handle the request.")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": e.Code, "message": e.Message}})
}

// The time that callers get, and that stopping takes at most.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = time.Minute
	idleTimeout   = 3 * time.Minute
	stopTimeout   = 5 * time.Second
)

// Serve answers on the listener until ctx ends, then lets the calls in progress finish, for 5 s at most; a call that a
// fault swallowed ends at once. It closes the listener.
func Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return calls },
		// Closed connections are what faults are made of; nobody needs to read of them.
		ErrorLog: zap.NewStdLog(zap.NewNop()),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the emulator: %w", err)
	case <-ctx.Done():
	}
	cancel()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the emulator: %w", err)
	}
	return nil
}
