package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
)

// DashboardOptions are what a Dashboard is made of.
type DashboardOptions struct {
	Source Source
	Tokens *access.Tokens
	// TokenCommand is what the login page tells people to type for a token.
	TokenCommand string
	Log          *zap.Logger
	Now          func() time.Time // nil: time.Now
	// Closed says why nothing may be changed at the moment, or nil. Nil is
	// allowed.
	Closed func() error
}

// Dashboard is the operators' page with its JSON endpoints below /console/.
// Make one with NewDashboard; Run keeps its history.
type Dashboard struct {
	source   Source
	tokens   *access.Tokens
	command  string
	log      *zap.Logger
	now      func() time.Time
	closed   func() error
	sessions *sessions
	audit    *audit
	history  History
	streams  streams
	snapshot snapshot
	handler  http.Handler
}

// maxBody is the largest request: a payload for the playground.
const maxBody = 512 << 10

// NewDashboard makes a dashboard.
func NewDashboard(opts DashboardOptions) *Dashboard {
	now := opts.Now
	if now == nil {
		now = time.Now
	}
	d := &Dashboard{
		source: opts.Source, tokens: opts.Tokens, command: opts.TokenCommand, log: opts.Log, now: now, closed: opts.Closed,
		sessions: newSessions(opts.Tokens, now), audit: &audit{log: opts.Log.Named("audit"), now: now},
		streams: streams{most: streamsMost, done: make(chan struct{})},
	}
	d.handler = d.routes()
	return d
}

// ServeHTTP answers what is below /console/, and sends / there.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.handler.ServeHTTP(w, r) }

// Run takes samples for the history until ctx ends.
func (d *Dashboard) Run(ctx context.Context) error {
	tick := time.NewTicker(historyInterval)
	defer tick.Stop()
	for {
		d.sample()
		select {
		case <-ctx.Done():
			d.EndStreams()
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// EndStreams ends the streams of events, which would hold up a stop.
func (d *Dashboard) EndStreams() { d.streams.end() }

func (d *Dashboard) sample() {
	o := d.source.Overview()
	d.history.Add(Sample{
		Time: o.Now, In: o.Totals.Records, Out: o.Totals.Delivered, Backlog: o.Backlog.Records, Bytes: o.Backlog.Bytes,
		OldestSeconds: o.Backlog.OldestSeconds, Delivers: o.Uplink.Delivers,
	})
}

// rateSpan is the time that a rate is measured over.
const rateSpan = 10 * time.Second

// snapshot keeps the last overview for a moment: many browsers cost no more
// than one.
type snapshot struct {
	mu sync.Mutex
	at time.Time
	o  Overview
}

const snapshotAge = time.Second

// overview is the source's, with what can be said of it.
func (d *Dashboard) overview() Overview {
	d.snapshot.mu.Lock()
	defer d.snapshot.mu.Unlock()
	if now := d.now(); d.snapshot.at.IsZero() || now.Sub(d.snapshot.at) >= snapshotAge || now.Before(d.snapshot.at) {
		o := d.source.Overview()
		if before, ok := d.history.last(o.Now, rateSpan); ok {
			seconds := o.Now.Sub(before.Time).Seconds()
			o.Rates = Rates{In: rate(before.In, o.Totals.Records, seconds), Out: rate(before.Out, o.Totals.Delivered, seconds)}
		}
		o.Backlog.DrainSeconds = drain(&o)
		o.Verdict = Judge(&o)
		d.snapshot.at, d.snapshot.o = now, o
	}
	return d.snapshot.o
}

// drain is the time until nothing waits at the present rates, negative if that
// will not come about.
func drain(o *Overview) float64 {
	if o.Backlog.Records == 0 {
		return 0
	}
	if net := o.Rates.Out - o.Rates.In; net > 0 && o.Uplink.Delivers {
		return float64(o.Backlog.Records) / net
	}
	return -1
}

func (d *Dashboard) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/console/", http.StatusSeeOther))
	mux.Handle("GET /console", http.RedirectHandler("/console/", http.StatusSeeOther))
	mux.Handle("/console/", assets())
	mux.HandleFunc("POST /console/api/login", d.login)
	mux.HandleFunc("GET /console/api/session", d.whoAmI)
	mux.HandleFunc("POST /console/api/logout", d.logout)
	for _, e := range d.endpoints() {
		mux.Handle(e.pattern, d.guard(e))
	}
	mux.HandleFunc("/console/api/", func(w http.ResponseWriter, _ *http.Request) {
		d.fail(w, http.StatusNotFound, "there is no such endpoint")
	})
	return d.protect(mux)
}

// endpoint is a call that needs a login.
type endpoint struct {
	pattern string
	need    central.Permission
	// action names what is done in the audit log; empty for what only looks.
	action string
	serve  func(w http.ResponseWriter, r *http.Request, who *session) (target string, err error)
}

func (d *Dashboard) endpoints() []endpoint {
	return []endpoint{
		{"GET /console/api/overview", access.ReadGateway, "", d.getOverview},
		{"GET /console/api/history", access.ReadGateway, "", d.getHistory},
		{"GET /console/api/events", access.ReadGateway, "", d.getEvents},
		{"GET /console/api/devices", access.ReadGateway, "", d.getDevices},
		{"GET /console/api/devices/{device}", access.ReadGateway, "", d.getDevice},
		{"POST /console/api/devices/{device}/approve", central.WriteDevices, "approve device", d.approveDevice},
		{"PUT /console/api/devices/{device}/properties/{name}", central.WriteProperties, "set property", d.setProperty},
		{"POST /console/api/devices/{device}/commands/{name}", central.TriggerCommands, "trigger command", d.triggerCommand},
		{"GET /console/api/devices/{device}/commands/{id}", access.ReadGateway, "", d.commandStatus},
		{"GET /console/api/connections", access.ReadGateway, "", d.getConnections},
		{"POST /console/api/connections/disconnect", access.OperateGateway, "disconnect client", d.disconnect},
		{"GET /console/api/dead-letters", access.ReadGateway, "", d.getDeadLetters},
		{"GET /console/api/dead-letters/{id}", access.ReadGateway, "", d.getDeadLetter},
		{"POST /console/api/dead-letters/retry", access.OperateGateway, "retry dead letters", d.retryDeadLetters},
		{"POST /console/api/dead-letters/drop", access.OperateGateway, "drop dead letters", d.dropDeadLetters},
		{"GET /console/api/tap", access.ReadGateway, "", d.getTap},
		{"POST /console/api/try", access.ReadGateway, "", d.try},
		{"GET /console/api/sessions", access.ReadGateway, "", d.getSessions},
		{"POST /console/api/sessions/{id}/end", access.ManageGateway, "end session", d.endSession},
		{"GET /console/api/tokens", access.ManageGateway, "", d.getTokens},
		{"POST /console/api/tokens", access.ManageGateway, "create token", d.createToken},
		{"DELETE /console/api/tokens/{id}", access.ManageGateway, "revoke token", d.revokeToken},
		{"GET /console/api/audit", access.ManageGateway, "", d.getAudit},
	}
}

// guard lets only those in who may, answers errors and keeps the audit log.
func (d *Dashboard) guard(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		who, ok := d.sessions.find(r)
		if !ok {
			d.fail(w, http.StatusUnauthorized, "log in first")
			return
		}
		if err := who.principal.May(e.need, r.PathValue("device")); err != nil {
			if e.action != "" {
				d.audit.note(r, who, e.action, r.URL.Path, err)
			}
			d.fail(w, http.StatusForbidden, refusalText(err))
			return
		}
		if e.action != "" && d.closed != nil {
			if err := d.closed(); err != nil {
				d.audit.note(r, who, e.action, r.URL.Path, err)
				d.fail(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		target, err := e.serve(w, r.WithContext(access.WithPrincipal(r.Context(), who.principal)), who)
		if e.action != "" {
			d.audit.note(r, who, e.action, target, err)
		}
		if err != nil {
			d.fail(w, statusOf(err), err.Error())
		}
	})
}

// refusalText is the sentence of a refusal without its code.
func refusalText(err error) string {
	if e, ok := errors.AsType[*central.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// badRequest is a request that cannot be understood.
type badRequest struct{ error }

func badf(format string, args ...any) error { return badRequest{fmt.Errorf(format, args...)} }

func statusOf(err error) int {
	if _, ok := errors.AsType[badRequest](err); ok {
		return http.StatusBadRequest
	}
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, access.ErrNoToken):
		return http.StatusNotFound
	case errors.Is(err, ErrUnavailable), errors.Is(err, errBusy):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrRefused), errors.Is(err, access.ErrTooManyTokens):
		return http.StatusUnprocessableEntity
	default:
		return http.StatusInternalServerError
	}
}

func (d *Dashboard) fail(w http.ResponseWriter, status int, message string) {
	d.answerStatus(w, status, map[string]string{"error": message})
}

func (d *Dashboard) answer(w http.ResponseWriter, value any) { d.answerStatus(w, http.StatusOK, value) }

func (d *Dashboard) answerStatus(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		d.log.Error("write an answer", zap.Error(err))
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer could not be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// read decodes a request's JSON. That it has to be JSON keeps forms of other
// sites out even where a browser sends no Origin.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		return badf("the request has to be application/json")
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return badf("the request cannot be read: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badf("the request has something behind its JSON")
	}
	return nil
}

// contentPolicy lets the page use what this server serves, and nothing inline.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// protect refuses requests that another site had a browser make, and sets the
// headers that keep the page to itself.
func (d *Dashboard) protect(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d.fail(w, http.StatusForbidden, "the request comes from another site")
	}))
	inner := cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		inner.ServeHTTP(w, r)
	})
}
