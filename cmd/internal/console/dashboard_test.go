package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/console"
)

// bundle is a console over a gateway that is made up.
type bundle struct {
	t      *testing.T
	source *fake
	tokens *access.Tokens
	page   *console.Dashboard
	url    string
	logs   *observer.ObservedLogs
	mu     sync.Mutex
	now    time.Time
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, now: time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)}
	b.source = healthy(b.clock).withLetters()
	core, logs := observer.New(zap.InfoLevel)
	b.logs = logs
	var err error
	if b.tokens, err = access.Open(filepath.Join(t.TempDir(), "tokens.json"), access.Options{}); err != nil {
		t.Fatal(err)
	}
	b.page = console.NewDashboard(console.DashboardOptions{Source: b.source, Tokens: b.tokens, TokenCommand: "make a token", Log: zap.New(core), Now: b.clock})
	server, err := console.New(console.Options{
		Address: "127.0.0.1:0", Health: func() console.Health { return console.Health{} }, Metrics: prometheus.NewRegistry(), Dashboard: b.page, Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.url = "http://" + server.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return b
}

func (b *bundle) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bundle) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// token makes a token of a role and returns its secret.
func (b *bundle) token(role access.Role, devices ...string) (id, secret string) {
	b.t.Helper()
	t, secret, err := b.tokens.Create(access.Token{Name: "the " + string(role), Role: role, Devices: devices}, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return t.ID, secret
}

// browser keeps a cookie.
type browser struct {
	b      *bundle
	cookie *http.Cookie
}

func (b *bundle) login(role access.Role, devices ...string) *browser {
	b.t.Helper()
	_, secret := b.token(role, devices...)
	w := &browser{b: b}
	status, body := w.do("POST", "login", fmt.Sprintf(`{"token":%q}`, secret))
	if status != http.StatusOK || w.cookie == nil {
		b.t.Fatalf("login as %s: %d %s", role, status, body)
	}
	return w
}

func (w *browser) request(method, path, body string) *http.Request {
	w.b.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(w.b.t.Context(), method, w.b.url+"/console/api/"+path, reader)
	if err != nil {
		w.b.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if w.cookie != nil {
		r.AddCookie(w.cookie)
	}
	return r
}

func (w *browser) do(method, path, body string) (status int, answer string) {
	w.b.t.Helper()
	return w.send(w.request(method, path, body))
}

func (w *browser) send(r *http.Request) (status int, answer string) {
	w.b.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.b.t.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		w.cookie = c
	}
	return resp.StatusCode, string(text)
}

// TestRoles asks every endpoint as everybody.
func TestRoles(t *testing.T) {
	t.Parallel()
	const all, none = "reader operator device-admin admin", ""
	tests := []struct {
		method, path, body string
		allowed            string // roles
		status             int
	}{
		{"GET", "overview", "", all, 200},
		{"GET", "history?minutes=60", "", all, 200},
		{"GET", "devices", "", all, 200},
		{"GET", "devices/pump-7", "", all, 200},
		{"GET", "devices/nobody", "", all, 404},
		{"POST", "devices/plug-kitchen/approve", "{}", "device-admin admin", 200},
		{"PUT", "devices/pump-7/properties/interval", `{"value":5}`, "operator admin", 200},
		{"PUT", "devices/pump-7/properties/interval", `{"value":"refused"}`, "operator admin", 422},
		{"PUT", "devices/pump-7/properties/interval", `{}`, "operator admin", 400},
		{"POST", "devices/pump-7/commands/reboot", `{"arguments":{"hard":true}}`, "operator admin", 202},
		{"GET", "devices/pump-7/commands/c1", "", all, 200},
		{"GET", "devices/pump-7/commands/c2", "", all, 404},
		{"GET", "connections", "", all, 200},
		{"POST", "connections/disconnect", `{"client":"pump-7"}`, "operator admin", 200},
		{"POST", "connections/disconnect", `{"client":"gone"}`, "operator admin", 404},
		{"GET", "dead-letters", "", all, 200},
		{"GET", "dead-letters?reason=template", "", all, 200},
		{"GET", "dead-letters?reason=template&page=x", "", all, 400},
		{"GET", "dead-letters/2", "", all, 200},
		{"GET", "dead-letters/999", "", all, 404},
		{"GET", "dead-letters/x", "", all, 400},
		{"POST", "dead-letters/retry", `{"ids":[1]}`, "operator admin", 200},
		{"POST", "dead-letters/retry", `{"ids":[1],"reason":"template"}`, "operator admin", 400},
		{"POST", "dead-letters/drop", `{"ids":[]}`, "operator admin", 404},
		{"POST", "dead-letters/drop", `{"reason":"nobody"}`, "operator admin", 404},
		{"POST", "try", `{"topic":"devices/a/telemetry","payload":"{}"}`, all, 200},
		{"POST", "try", `{"topic":"","payload":"{}"}`, all, 400},
		{"POST", "try", `{"topic":"a","payload":"!","binary":true}`, all, 400},
		{"POST", "try", `{"topic":"a","nonsense":1}`, all, 400},
		{"GET", "sessions", "", all, 200},
		{"POST", "sessions/nobody/end", "{}", "admin", 404},
		{"GET", "tokens", "", "admin", 200},
		{"POST", "tokens", `{"name":"x","role":"reader"}`, "admin", 201},
		{"POST", "tokens", `{"name":"x","role":"king"}`, "admin", 400},
		{"POST", "tokens", `{"name":"x","role":"reader","expires":"soon"}`, "admin", 400},
		{"DELETE", "tokens/nobody", "", "admin", 404},
		{"GET", "audit", "", "admin", 200},
		{"GET", "nonsense", "", all, 404},
	}
	b := setup(t)
	nobody := &browser{b: b}
	for _, role := range []access.Role{access.Reader, access.Operator, access.DeviceAdmin, access.Admin} {
		w := b.login(role)
		for _, tc := range tests {
			want := tc.status
			if !slices.Contains(strings.Fields(tc.allowed), string(role)) {
				want = http.StatusForbidden
			}
			if status, body := w.do(tc.method, tc.path, tc.body); status != want {
				t.Errorf("%s: %s %s answers %d (%s), want %d", role, tc.method, tc.path, status, body, want)
			}
		}
	}
	for _, tc := range tests {
		want := http.StatusUnauthorized
		if tc.path == "nonsense" {
			want = http.StatusNotFound
		}
		if status, _ := nobody.do(tc.method, tc.path, tc.body); status != want {
			t.Errorf("without a login %s %s answers %d, want %d", tc.method, tc.path, status, want)
		}
	}
	for _, a := range b.source.noted() {
		if strings.Contains(a, "the reader") {
			t.Errorf("a reader did %s", a)
		}
	}
}

func TestRoleGatewayMayNotLogIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, secret := b.token(access.Gateway)
	w := &browser{b: b}
	if status, _ := w.do("POST", "login", fmt.Sprintf(`{"token":%q}`, secret)); status != http.StatusForbidden || w.cookie != nil {
		t.Errorf("a gateway's token is answered %d and gets the cookie %v", status, w.cookie)
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := &browser{b: b}
	if _, body := w.do("GET", "session", ""); body != `{"command":"make a token","loggedIn":false}` {
		t.Errorf("without a login the page is told %s", body)
	}
	if status, _ := w.do("POST", "login", `{"token":"iotcgw_nonsense_x"}`); status != http.StatusUnauthorized {
		t.Errorf("a wrong token is answered %d", status)
	}
	w = b.login(access.Operator)
	if c := w.cookie; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" {
		t.Errorf("the cookie is %v", c)
	}
	if status, body := w.do("GET", "session", ""); status != 200 || !strings.Contains(body, `"may":["gateway.read","gateway.operate","properties.write","commands.trigger"]`) {
		t.Errorf("the session is %s", body)
	}

	b.pass(2*time.Hour - time.Minute)
	if status, _ := w.do("GET", "overview", ""); status != 200 {
		t.Errorf("a session that was idle for less than two hours is answered %d", status)
	}
	b.pass(2*time.Hour + time.Second)
	if status, _ := w.do("GET", "overview", ""); status != http.StatusUnauthorized {
		t.Errorf("a session that was idle for two hours is answered %d", status)
	}

	w = b.login(access.Operator)
	for range 12 {
		b.pass(time.Hour)
		w.do("GET", "overview", "")
	}
	b.pass(time.Second)
	if status, _ := w.do("GET", "overview", ""); status != http.StatusUnauthorized {
		t.Errorf("a session of more than twelve hours is answered %d", status)
	}

	w = b.login(access.Operator)
	before := *w
	w.do("POST", "logout", "{}")
	if status, _ := before.do("GET", "overview", ""); status != http.StatusUnauthorized {
		t.Errorf("a session that was logged out is answered %d", status)
	}
}

func TestRevokedTokenEndsItsSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, w := b.login(access.Admin), b.login(access.Reader)
	for _, tok := range b.tokens.List() {
		if tok.Role == access.Reader {
			if status, body := admin.do("DELETE", "tokens/"+tok.ID, ""); status != 200 {
				t.Fatalf("revoke: %d %s", status, body)
			}
			continue
		}
		if status, _ := admin.do("DELETE", "tokens/"+tok.ID, ""); status != http.StatusUnprocessableEntity {
			t.Errorf("an admin who revokes the own token is answered %d", status)
		}
	}
	if status, _ := w.do("GET", "overview", ""); status != http.StatusUnauthorized {
		t.Errorf("a session of a revoked token is answered %d", status)
	}
}

func TestAdminEndsSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, w := b.login(access.Admin), b.login(access.Reader)
	_, body := admin.do("GET", "sessions", "")
	var list struct {
		Sessions []struct{ ID, Role string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Sessions) != 2 {
		t.Fatalf("sessions: %s (%v)", body, err)
	}
	if _, own := w.do("GET", "sessions", ""); strings.Count(own, `"role"`) != 1 {
		t.Errorf("a reader sees the sessions %s", own)
	}
	for _, s := range list.Sessions {
		if s.Role == "reader" {
			admin.do("POST", "sessions/"+s.ID+"/end", "{}")
		}
	}
	if status, _ := w.do("GET", "overview", ""); status != http.StatusUnauthorized {
		t.Errorf("a session that was ended is answered %d", status)
	}
}

// TestBoundToken sees and touches its own devices only.
func TestBoundToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.login(access.Operator, "pump-*")
	if _, body := w.do("GET", "devices", ""); strings.Count(body, `"id"`) != 2 {
		t.Errorf("the devices are %s", body)
	}
	for _, path := range []string{"devices/boiler", "devices/boiler/commands/c1", "connections"} {
		if status, _ := w.do("GET", path, ""); status != http.StatusForbidden && status != http.StatusUnprocessableEntity {
			t.Errorf("%s is answered %d", path, status)
		}
	}
	if status, _ := w.do("PUT", "devices/boiler/properties/p", `{"value":1}`); status != http.StatusForbidden {
		t.Errorf("a property of another device: %d", status)
	}
	if _, body := w.do("GET", "dead-letters", ""); strings.Contains(body, "template") || !strings.Contains(body, "status_422") {
		t.Errorf("the dead letters are %s", body)
	}
	if status, _ := w.do("GET", "dead-letters/1", ""); status != http.StatusNotFound {
		t.Errorf("a dead letter of another device: %d", status)
	}
	if status, _ := w.do("POST", "dead-letters/drop", `{"ids":[1,2,3]}`); status != http.StatusNotFound {
		t.Errorf("dropping dead letters of another device: %d", status)
	}
}

// TestOtherSites are refused, whatever cookie the browser sends along.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.login(access.Operator)
	for name, change := range map[string]func(*http.Request){
		"another origin":      func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"another site":        func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"a neighbouring site": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
	} {
		r := w.request("POST", "dead-letters/drop", `{"ids":[1]}`)
		change(r)
		if status, _ := w.send(r); status != http.StatusForbidden {
			t.Errorf("%s is answered %d", name, status)
		}
	}
	r := w.request("POST", "dead-letters/drop", `{"ids":[1]}`)
	r.Header.Set("Content-Type", "text/plain")
	if status, _ := w.send(r); status != http.StatusBadRequest {
		t.Errorf("a form is answered %d", status)
	}
	if got := b.source.noted(); len(got) != 0 {
		t.Errorf("they did %v", got)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for path, kind := range map[string]string{
		"/console/": "text/html", "/console/js/main.js": "text/javascript", "/console/css/base.css": "text/css", "/console/icon.svg": "image/svg+xml",
		"/console/vendor/uplot/LICENSE": "text/plain",
	} {
		resp, err := http.Get(b.url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(h.Get("Content-Type"), kind) || h.Get("ETag") == "" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, h)
		}
		if p := h.Get("Content-Security-Policy"); strings.Contains(p, "unsafe") || !strings.Contains(p, "default-src 'none'") || !strings.Contains(p, "frame-ancestors 'none'") {
			t.Errorf("%s has the policy %s", path, p)
		}
	}
	resp, err := http.Get(b.url + "/console/../server.go")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a file outside is answered %d", resp.StatusCode)
	}
	if resp, err = http.Get(b.url + "/"); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := resp.Request.URL.Path; got != "/console/" {
		t.Errorf("/ leads to %s", got)
	}
}

func TestRetryAndDrop(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.login(access.Operator)
	if _, body := w.do("POST", "dead-letters/retry", `{"reason":"undecodable"}`); !strings.Contains(body, `"failed":5`) || !strings.Contains(body, `"retried":0`) {
		t.Errorf("a retry that cannot succeed: %s", body)
	}
	if _, body := w.do("POST", "dead-letters/retry", `{"reason":"template"}`); !strings.Contains(body, `"failed":0`) || !strings.Contains(body, `"retried":28`) {
		t.Errorf("a retry: %s", body)
	}
	if _, body := w.do("POST", "dead-letters/drop", `{"reason":"status_422"}`); body != `{"dropped":5,"more":false}` {
		t.Errorf("a drop: %s", body)
	}
	_, body := w.do("GET", "dead-letters", "")
	var left struct{ Groups []struct{ Reason string } }
	if err := json.Unmarshal([]byte(body), &left); err != nil || len(left.Groups) != 1 || left.Groups[0].Reason != "undecodable" {
		t.Errorf("what is left: %s", body)
	}
	// Who did it, and what came of it.
	var lines []string
	for _, e := range b.logs.All() {
		m := e.ContextMap()
		lines = append(lines, fmt.Sprint(e.LoggerName, " ", m["name"], ": ", m["action"], " ", m["target"]))
	}
	for _, want := range []string{"audit the operator: log in ", "audit the operator: retry dead letters 28 of template: 28 retried, 0 failed", "audit the operator: drop dead letters 5 of status_422"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the audit log lacks %q: %q", want, lines)
		}
	}
}

// TestNoSecretInLog looks for tokens and cookies in everything that was logged.
func TestNoSecretInLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, secret := b.token(access.Admin)
	w := &browser{b: b}
	w.do("POST", "login", fmt.Sprintf(`{"token":%q}`, secret))
	_, created := w.do("POST", "tokens", `{"name":"new","role":"reader"}`)
	var answer struct{ Secret string }
	if err := json.Unmarshal([]byte(created), &answer); err != nil || answer.Secret == "" {
		t.Fatal(created)
	}
	w.do("POST", "login", `{"token":"iotcgw_wrong_secretsecret"}`)
	_, audit := w.do("GET", "audit", "")
	text := audit
	for _, e := range b.logs.All() {
		text += fmt.Sprint(e.Message, e.ContextMap())
	}
	for _, s := range []string{secret, answer.Secret, w.cookie.Value, "secretsecret"} {
		if strings.Contains(text, s) {
			t.Errorf("%q stands in the log", s)
		}
	}
}

func TestTooManyWrongTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := &browser{b: b}
	last := 0
	for range 15 {
		last, _ = w.do("POST", "login", `{"token":"iotcgw_wrong_x"}`)
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the fifteenth wrong token is answered %d", last)
	}
	b.login(access.Reader) // a right one is let in all the same
}

// TestEvents reads the streams as a browser does.
func TestEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.login(access.Reader)
	resp, err := http.DefaultClient.Do(w.request("GET", "tap?topic=devices/%2B/telemetry", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b.source.events <- console.TapEvent{Topic: "devices/a/telemetry", Outcome: "stored", Devices: []string{"a"}}
	if name, data := nextEvent(t, resp.Body); name != "publications" || !strings.Contains(data, `"dropped":3`) || !strings.Contains(data, "devices/a/telemetry") {
		t.Errorf("the tap sent %s %s", name, data)
	}

	overview, err := http.DefaultClient.Do(w.request("GET", "events", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer overview.Body.Close()
	if name, data := nextEvent(t, overview.Body); name != "overview" || !strings.Contains(data, `"headline":"All goes up, but 38 messages could not be used."`) {
		t.Errorf("the stream sent %s %s", name, data)
	}
}

func nextEvent(t *testing.T, r io.Reader) (name, data string) {
	t.Helper()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = v
		}
		if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			return name, v
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return "", ""
}

// TestStreamsAreBounded refuses the thirty-third, and lets another in when one
// is closed.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.login(access.Reader)
	var open []*http.Response
	for range 32 {
		resp, err := http.DefaultClient.Do(w.request("GET", "events", ""))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	if status, body := w.do("GET", "tap", ""); status != http.StatusServiceUnavailable {
		t.Errorf("one stream too many is answered %d %s", status, body)
	}
	for _, resp := range open {
		_ = resp.Body.Close()
	}
}

// TestSecureCookie is what a console with TLS gives.
func TestSecureCookie(t *testing.T) {
	t.Parallel()
	b := setup(t)
	server := httptest.NewTLSServer(b.page)
	defer server.Close()
	_, secret := b.token(access.Reader)
	resp, err := server.Client().Post(server.URL+"/console/api/login", "application/json", strings.NewReader(fmt.Sprintf(`{"token":%q}`, secret)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	c := resp.Cookies()[0]
	if c.Name != "__Host-iotc_session" || !c.Secure || !c.HttpOnly {
		t.Errorf("the cookie is %v", c)
	}
}
