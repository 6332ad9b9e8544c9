package central_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"iotc-gateway/bridge/central"
)

const secret = "s3cr3t-token-value"

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answer makes a response.
func answer(status int, kind, body string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	if kind != "" {
		resp.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// newClient makes a client over a transport; nil is a real one to a closed port.
func newClient(t *testing.T, rt http.RoundTripper) *central.Client {
	t.Helper()
	return newClientTo(t, "http://127.0.0.1:1/api", rt)
}

func newClientTo(t *testing.T, url string, rt http.RoundTripper) *central.Client {
	t.Helper()
	cfg := central.DefaultConfig()
	cfg.URL = url
	c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(secret), Transport: rt, MaxResponseBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// fixed answers every request alike.
func fixed(status int, kind, body string, header ...string) http.RoundTripper {
	return roundTrip(func(*http.Request) (*http.Response, error) { return answer(status, kind, body, header...), nil })
}

func TestAcceptedAnswers(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 201, 202, 204} {
		c := newClient(t, fixed(status, "", ""))
		if err := c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "id"); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		p, err := c.UpdateProperty(t.Context(), "d1", "p", json.RawMessage(`5`), "id")
		if err != nil || string(p.Value) != "5" {
			t.Errorf("%d without a body: %s, %v", status, p.Value, err)
		}
		d, err := c.CreateDevice(t.Context(), "d1", central.DeviceCreate{DisplayName: "D"}, "id")
		if err != nil || d.ID != "d1" || d.DisplayName != "D" || !d.Enabled {
			t.Errorf("%d without a body: %+v, %v", status, d, err)
		}
	}
}

// A page where JSON should be, an answer cut off or too large is no acceptance: whoever took it for one would lose data.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	large := `{"value":"` + strings.Repeat("x", 2<<10) + `"}`
	for name, rt := range map[string]http.RoundTripper{
		"captive portal": fixed(200, "text/html; charset=utf-8", "<html>Please log in</html>"),
		"too large":      fixed(200, "application/json", large),
		"too large, of unknown length": roundTrip(func(*http.Request) (*http.Response, error) {
			resp := answer(200, "application/json", large)
			resp.ContentLength = -1
			return resp, nil
		}),
	} {
		c := newClient(t, rt)
		err := c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "id")
		if !errors.Is(err, central.ErrNotAnAnswer) || !central.MaybeSent(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := newClient(t, fixed(200, "application/json", `{"id": `))
	if _, err := c.Device(t.Context(), "d1"); !errors.Is(err, central.ErrNotAnAnswer) {
		t.Errorf("broken JSON: %v", err)
	}
	if _, err := c.TriggerCommand(t.Context(), "d1", "reboot", nil, "id"); !central.MaybeSent(err) {
		t.Errorf("broken JSON after a command: %v, want it to be in doubt", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		resp *http.Response
		want central.Error
	}{
		"full body": {
			answer(404, "application/json", `{"error":{"code":"DeviceNotFound","message":"no such device","requestId":"r1","time":"2026-01-02T03:04:05Z"}}`),
			central.Error{Status: 404, Code: "DeviceNotFound", Message: "no such device", RequestID: "r1", Time: now},
		},
		"no body":         {answer(500, "", ""), central.Error{Status: 500, Message: "Internal Server Error"}},
		"plain text":      {answer(502, "text/plain", "bad\r\n gateway\x00\x1b[31m"), central.Error{Status: 502, Message: "bad   gateway[31m"}},
		"html":            {answer(503, "text/html", "<html>"), central.Error{Status: 503, Message: "Service Unavailable"}},
		"other JSON":      {answer(400, "application/json", `["x"]`), central.Error{Status: 400, Message: "Bad Request"}},
		"header id":       {answer(409, "", "", "x-ms-request-id", "r2"), central.Error{Status: 409, Message: "Conflict", RequestID: "r2"}},
		"seconds":         {answer(429, "", "", "Retry-After", "7"), central.Error{Status: 429, Message: "Too Many Requests", RetryAfter: 7 * time.Second}},
		"date":            {answer(429, "", "", "Retry-After", "Fri, 02 Jan 2026 03:05:05 GMT"), central.Error{Status: 429, Message: "Too Many Requests", RetryAfter: time.Minute}},
		"date by theirs":  {answer(503, "", "", "Retry-After", "Tue, 06 Jan 2026 00:00:30 GMT", "Date", "Tue, 06 Jan 2026 00:00:00 GMT"), central.Error{Status: 503, Message: "Service Unavailable", RetryAfter: 30 * time.Second}},
		"date in past":    {answer(503, "", "", "Retry-After", "Thu, 01 Jan 2026 00:00:00 GMT"), central.Error{Status: 503, Message: "Service Unavailable"}},
		"endless seconds": {answer(503, "", "", "Retry-After", "99999999999999999999"), central.Error{Status: 503, Message: "Service Unavailable"}},
		"many seconds":    {answer(503, "", "", "Retry-After", "9999999999"), central.Error{Status: 503, Message: "Service Unavailable", RetryAfter: 24 * time.Hour}},
		"nonsense wait":   {answer(503, "", "", "Retry-After", "soon"), central.Error{Status: 503, Message: "Service Unavailable"}},
		"redirect":        {answer(302, "", "", "Location", "https://elsewhere.example/login"), central.Error{Status: 302, Code: central.CodeRedirect, Message: "The server redirects to https://elsewhere.example/login, which is not followed."}},
		"quoted token":    {answer(401, "application/json", `{"error":{"message":"token `+secret+` is bad"}}`), central.Error{Status: 401, Message: "token [token] is bad"}},
		"odd success":     {answer(206, "", ""), central.Error{Status: 206, Message: "Partial Content"}},
	} {
		cfg := central.DefaultConfig()
		cfg.URL = "https://app.example/api"
		c, err := central.NewClient(cfg, central.ClientOptions{
			Token: central.StaticToken(secret), Now: func() time.Time { return now },
			Transport: roundTrip(func(*http.Request) (*http.Response, error) { return test.resp, nil }),
		})
		if err != nil {
			t.Fatal(err)
		}
		err = c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "id")
		got, ok := errors.AsType[*central.Error](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.Time.Equal(test.want.Time) {
			t.Errorf("%s: the time is %v", name, got.Time)
		}
		test.want.Time = got.Time
		if *got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, *got, test.want)
		}
		if central.StatusOf(fmt.Errorf("wrapped: %w", err)) != test.want.Status {
			t.Errorf("%s: StatusOf differs", name)
		}
	}
}

// A redirect is not followed, least of all with the token.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	base := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	err := newClientTo(t, base+"/api", nil).SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "id")
	if central.StatusOf(err) != 307 || asked.Load() != 1 {
		t.Errorf("got %v after %d requests", err, asked.Load())
	}
}

func TestTokenForms(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]string{
		"abc": "Bearer abc",
		"SharedAccessSignature sr=1&sig=2&skn=3&se=4": "SharedAccessSignature sr=1&sig=2&skn=3&se=4",
	} {
		var got string
		cfg := central.DefaultConfig()
		cfg.URL = "https://app.example"
		c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(token), Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			got = r.Header.Get("Authorization")
			return answer(204, "", ""), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.DeleteDevice(t.Context(), "d1", ""); err != nil || got != want {
			t.Errorf("%q was sent as %q, %v", token, got, err)
		}
	}
}

// While there is no token nothing is sent, and the file is looked at again; after a 401 too.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	var sent []string
	cfg := central.DefaultConfig()
	cfg.URL, cfg.TokenFile = "https://app.example/api", path
	status := 204
	c, err := central.NewClient(cfg, central.ClientOptions{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.Header.Get("Authorization"))
		return answer(status, "", ""), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	send := func() error { return c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "") }
	if err := send(); !errors.Is(err, central.ErrNoToken) || central.MaybeSent(err) {
		t.Errorf("without a file: %v", err)
	}
	write(t, path, "one\r\ntwo")
	if err := send(); !errors.Is(err, central.ErrNoToken) || strings.Contains(err.Error(), "two") {
		t.Errorf("with two lines: %v", err)
	}
	write(t, path, " one\n")
	if err := send(); err != nil {
		t.Error(err)
	}
	write(t, path, "two\n")
	status = 401
	if err := send(); central.StatusOf(err) != 401 {
		t.Errorf("got %v, want 401", err)
	}
	status = 204
	if err := send(); err != nil {
		t.Error(err)
	}
	write(t, path, "three")
	if err := c.ReloadToken(); err != nil {
		t.Error(err)
	}
	if err := send(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := c.ReloadToken(); !errors.Is(err, central.ErrNoToken) {
		t.Errorf("reload of a lost file: %v", err)
	}
	if err := send(); err != nil {
		t.Errorf("after a failed reload: %v", err)
	}
	want := "[Bearer one Bearer one Bearer two Bearer three Bearer three]"
	if got := fmt.Sprint(sent); got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestListEnvelopesAndNextLink(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"":    `{"value":[{"id":"a"},{"id":"b"}],"nextLink":"https://app.example/api/devices?api-version=1999-01-01&$skiptoken=x%20y"}`,
		"x y": `{"devices":[{"id":"c"}],"nextLink":"/api/devices?$skiptoken=z"}`,
		"z":   `{"value":[]}`,
	}
	cfg := central.DefaultConfig()
	cfg.URL = "https://app.example/api"
	c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(secret), Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if v := r.URL.Query()["api-version"]; len(v) != 1 || v[0] != central.DefaultAPIVersion {
			t.Errorf("the api-version is %v", v)
		}
		return answer(200, "application/json", pages[r.URL.Query().Get("$skiptoken")]), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for d, err := range c.Devices(t.Context(), "simulated eq true") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d.ID)
	}
	if fmt.Sprint(got) != "[a b c]" {
		t.Errorf("got %v", got)
	}
	for _, link := range []string{"https://evil.example/api/devices", "http://app.example/api/devices", "https://user@app.example/api/devices", "https://app.example/other", "::"} {
		_, err := c.ListDevices(t.Context(), central.ListOptions{Continuation: link})
		if err == nil || central.MaybeSent(err) {
			t.Errorf("the link %s was followed: %v", link, err)
		}
	}
}

// No path that a server or a proxy would resolve to another resource is ever sent.
func TestOddNames(t *testing.T) {
	t.Parallel()
	var path string
	c := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		path = r.URL.RequestURI()
		return answer(200, "application/json", `{"value":1}`), nil
	}))
	for _, name := range []string{"", ".", "..", "a\x00b", "a\nb", "\xff", strings.Repeat("x", 300)} {
		path = ""
		if _, err := c.Property(t.Context(), "d1", name); err == nil || central.MaybeSent(err) || path != "" {
			t.Errorf("the property %q was asked for at %s: %v", name, path, err)
		}
		if err := c.SendTelemetry(t.Context(), name, json.RawMessage(`{}`), ""); err == nil || path != "" {
			t.Errorf("telemetry of the device %q was sent to %s", name, path)
		}
	}
	if _, err := c.Property(t.Context(), "a/b", "x/../y?z=1#%ü"); err != nil {
		t.Fatal(err)
	}
	if want := "/api/devices/a%2Fb/properties/x%2F..%2Fy%3Fz=1%23%25%C3%BC?api-version=2022-07-31"; path != want {
		t.Errorf("asked for %s, want %s", path, want)
	}
}

// Which errors leave the doubt whether a command was sent.
func TestMaybeSent(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + closed.Addr().String() + "/api"
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	var commands atomic.Int32
	drop := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		commands.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	// A plain server does not understand a TLS handshake.
	noTLS := strings.Replace(drop, "http://", "https://", 1)
	for _, test := range []struct {
		name, url string
		want      bool
	}{
		{"refused", refused, false},
		{"unknown host", "https://nowhere.invalid/api", false},
		{"no TLS", noTLS + "/api", false},
		{"dropped", drop + "/api", true},
	} {
		c := newClientTo(t, test.url, nil)
		_, commandErr := c.TriggerCommand(t.Context(), "d1", "reboot", nil, "id")
		for _, err := range []error{commandErr, c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "id")} {
			if _, ok := errors.AsType[*central.TransportError](err); !ok || central.MaybeSent(err) != test.want {
				t.Errorf("%s: MaybeSent = %v of %v", test.name, central.MaybeSent(err), err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the token is in the error", test.name)
			}
		}
	}
	if n := commands.Load(); n != 2 {
		t.Errorf("the server that drops was asked %d times, want 2: nothing is repeated", n)
	}
	if central.MaybeSent(nil) || !central.MaybeSent(io.EOF) || !central.MaybeSent(&central.Error{Status: 502}) || !central.MaybeSent(&central.Error{Status: 503}) ||
		central.MaybeSent(&central.Error{Status: 503, RetryAfter: time.Second}) || central.MaybeSent(&central.Error{Status: 501}) || central.MaybeSent(&central.Error{Status: 429}) {
		t.Error("MaybeSent is wrong on plain errors")
	}
}

// listen serves a handler on a loopback socket until the test ends.
func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}

// A call ends after the configured time exactly, and gives up the idle connections of the silent link once.
func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rt := new(silent)
		c := newClient(t, rt)
		for range 3 {
			start := time.Now()
			err := c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "id")
			e, ok := errors.AsType[*central.TransportError](err)
			if !ok || !e.Timeout() || !e.MaybeSent || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took != 15*time.Second {
				t.Errorf("the call took %v", took)
			}
		}
		if rt.closed != 1 {
			t.Errorf("idle connections were given up %d times", rt.closed)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := c.SendTelemetry(ctx, "d1", json.RawMessage(`{}`), "id"); err == nil || time.Since(start) != time.Second {
			t.Errorf("the caller's own deadline: %v after %v", err, time.Since(start))
		}
	})
}

// silent never answers.
type silent struct{ closed int }

func (*silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func (s *silent) CloseIdleConnections() { s.closed++ }

func TestExtraHeadersAndRequestID(t *testing.T) {
	t.Parallel()
	cfg := central.DefaultConfig()
	cfg.URL = "https://app.example/api"
	cfg.Headers = map[string]string{"x-proxy-key": "k"}
	var got http.Header
	c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(secret), UserAgent: "test/1", Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return answer(204, "", ""), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "request-1"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"X-Proxy-Key": "k", "User-Agent": "test/1", "X-Ms-Client-Request-Id": "request-1", "Accept": "application/json"} {
		if got.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Get(name), want)
		}
	}
}

// A token that everybody on the machine may read is none (containers mount theirs as they like).
func TestTokenFileIsRefusedWhenEverybodyReadsIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "planted-secret")
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o644: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		token, err := central.TokenFile(path)()
		if ok != (err == nil) || ok != (token == "planted-secret") {
			t.Errorf("mode %04o: %q %v", mode, token, err)
		}
		if err != nil && (!errors.Is(err, central.ErrPermissions) || strings.Contains(err.Error(), "planted") || !strings.Contains(err.Error(), "chmod 600")) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}
