package access

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
)

// Guard stands before the local API: it authorises each call by its token and
// writes the audit log. It is a [central.Authorizer] for requests that came
// through [Guard.Wrap].
//
// The audit log is the logger named audit. It has a line for every write that
// changes something (who, from where, what, and with what result) and for every
// refusal of a token. Telemetry and the reports of a gateway are data and no
// interventions, so they are counted and not written there. Failures of an
// address that has failed too often are left out: they are limited, and a flood
// of them must not fill the log.
type Guard struct {
	tokens *Tokens
	audit  *zap.Logger
}

// NewGuard makes a guard; log gets the name audit.
func NewGuard(tokens *Tokens, log *zap.Logger) *Guard {
	return &Guard{tokens: tokens, audit: log.Named("audit")}
}

// request is what is known of a request on its way.
type request struct {
	from      netip.Addr
	principal Principal
	need      central.Permission
	failed    error // of the authentication
}

type requestKey struct{}

// Wrap lets requests pass to a handler that has the guard as its authorizer.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := &request{from: addressOf(r)}
		answer := &statusWriter{ResponseWriter: w}
		begin := time.Now()
		defer func() { g.record(r, state, answer.status, time.Since(begin)) }()
		next.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), requestKey{}, state)))
	})
}

// Authorize implements [central.Authorizer].
func (g *Guard) Authorize(ctx context.Context, token string, need central.Permission, device string) (caller string, err error) {
	state, _ := ctx.Value(requestKey{}).(*request)
	if state == nil {
		state = &request{}
	}
	state.need = need
	state.principal, err = g.tokens.Authenticate(token, state.from)
	if err != nil {
		state.failed = err
		return "", refusal(err)
	}
	return state.principal.String(), state.principal.May(need, device)
}

// refusal is the answer to a token that is not valid.
func refusal(err error) error {
	if errors.Is(err, ErrTooManyFailures) {
		e := central.Errorf(http.StatusTooManyRequests, central.CodeTooManyRequests, "There were too many attempts with tokens that are not valid from this address. Wait, and use a valid one.")
		e.RetryAfter = failureEvery
		return e
	}
	return central.Unauthorized("The API token is not valid: it is not known, was revoked or has expired.")
}

// PrincipalOf returns who makes a call that a Guard has authorised.
func PrincipalOf(ctx context.Context) (Principal, bool) {
	state, _ := ctx.Value(requestKey{}).(*request)
	if state == nil || state.principal.ID == "" {
		return Principal{}, false
	}
	return state.principal, true
}

// WithPrincipal says who makes a call that came another way, such as from a
// page of the dashboard.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, requestKey{}, &request{principal: p})
}

// record writes the audit log.
func (g *Guard) record(r *http.Request, state *request, status int, took time.Duration) {
	write := r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
	data := state.need == central.WriteTelemetry || state.need == central.WriteProperties && state.principal.Role == Gateway
	refused := status == http.StatusUnauthorized || status == http.StatusForbidden
	if errors.Is(state.failed, ErrTooManyFailures) || !refused && (!write || data) {
		return
	}
	fields := []zap.Field{
		zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Int("status", status),
		zap.String("token", state.principal.ID), zap.String("name", state.principal.Name), zap.String("role", string(state.principal.Role)),
		zap.Stringer("from", state.from), zap.String("request_id", r.Header.Get("X-Ms-Client-Request-Id")), zap.Duration("took", took),
	}
	if refused {
		g.audit.Warn("refused", fields...)
		return
	}
	g.audit.Info("write", fields...)
}

// addressOf is where a request comes from. Headers that proxies set are not
// believed: anybody can set them.
func addressOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what is below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
