package central_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/central/centraltest"
)

// failing is a service whose telemetry ends in whatever a test wants.
type failing struct {
	reference
	telemetry func(ctx context.Context) error
}

func (f *failing) SendTelemetry(ctx context.Context, _ string, _ json.RawMessage, _ string) error {
	return f.telemetry(ctx)
}

// observed is one call of HandlerOptions.Observe.
type observed struct {
	op     central.Operation
	status int
}

// refusal is what the suite of refusals expects.
func TestHandlerRefusals(t *testing.T) {
	t.Parallel()
	const version = "?api-version=2022-07-31"
	telemetry := "/api/devices/d1/telemetry" + version
	type request struct {
		method, target, body string
		header               []string
	}
	for name, test := range map[string]struct {
		request
		status int
		code   string
		text   string // in the message
		header [2]string
	}{
		"no token":           {request{"POST", telemetry, `{}`, []string{"Authorization", ""}}, 401, central.CodeUnauthorized, "Bearer YOUR_API_TOKEN", [2]string{"WWW-Authenticate", "Bearer"}},
		"basic":              {request{"POST", telemetry, `{}`, []string{"Authorization", "Basic abc"}}, 401, central.CodeUnauthorized, "Bearer", [2]string{}},
		"bearer of nothing":  {request{"POST", telemetry, `{}`, []string{"Authorization", "Bearer "}}, 401, central.CodeUnauthorized, "Bearer", [2]string{}},
		"wrong token":        {request{"POST", telemetry, `{}`, []string{"Authorization", "Bearer WRONG_TOKEN"}}, 401, central.CodeUnauthorized, "not valid", [2]string{}},
		"token's beginning":  {request{"POST", telemetry, `{}`, []string{"Authorization", "Bearer YOUR_API_TOKE"}}, 401, central.CodeUnauthorized, "not valid", [2]string{}},
		"wrong signature":    {request{"POST", telemetry, `{}`, []string{"Authorization", "SharedAccessSignature x"}}, 401, central.CodeUnauthorized, "not valid", [2]string{}},
		"no version":         {request{"POST", "/api/devices/d1/telemetry", `{}`, nil}, 400, central.CodeInvalidAPIVersion, "2022-07-31", [2]string{}},
		"empty version":      {request{"GET", "/api/devices?api-version=", ``, nil}, 400, central.CodeInvalidAPIVersion, "2022-07-31", [2]string{}},
		"unknown version":    {request{"GET", "/api/v1/devices?api-version=1.0", ``, nil}, 400, central.CodeInvalidAPIVersion, "2022-07-31", [2]string{}},
		"two versions":       {request{"GET", "/api/devices?api-version=2022-07-31&api-version=2022-07-31", ``, nil}, 400, central.CodeInvalidAPIVersion, "2 times", [2]string{}},
		"bad query":          {request{"GET", "/api/devices?api-version=2022-07-31&x=%zz", ``, nil}, 400, central.CodeInvalidRequest, "escaped", [2]string{}},
		"unknown path":       {request{"GET", "/api/rules" + version, ``, nil}, 404, central.CodeNotFound, "/api/openapi.yaml", [2]string{}},
		"deep path":          {request{"GET", "/api/devices/d1/properties/p/q" + version, ``, nil}, 404, central.CodeNotFound, "no resource", [2]string{}},
		"beside the API":     {request{"GET", "/apidevices" + version, ``, nil}, 404, central.CodeNotFound, "no resource", [2]string{}},
		"trailing slash":     {request{"GET", "/api/devices/d1/telemetry/" + version, ``, nil}, 404, central.CodeNotFound, "no resource", [2]string{}},
		"empty device":       {request{"POST", "/api/devices//telemetry" + version, `{}`, nil}, 400, central.CodeInvalidRequest, "device id must not be empty", [2]string{}},
		"dots":               {request{"GET", "/api/devices/%2e%2e/properties/x" + version, ``, nil}, 400, central.CodeInvalidRequest, `must not be ".."`, [2]string{}},
		"NUL":                {request{"GET", "/api/devices/d1/properties/a%00b" + version, ``, nil}, 400, central.CodeInvalidRequest, "control characters", [2]string{}},
		"not UTF-8":          {request{"GET", "/api/devices/d1/properties/%ff" + version, ``, nil}, 400, central.CodeInvalidRequest, "UTF-8", [2]string{}},
		"get of telemetry":   {request{"GET", telemetry, ``, nil}, 405, central.CodeMethodNotAllowed, "POST", [2]string{"Allow", "POST"}},
		"post of a device":   {request{"POST", "/api/devices/d1" + version, `{}`, nil}, 405, central.CodeMethodNotAllowed, "PATCH", [2]string{"Allow", "GET, PUT, PATCH, DELETE"}},
		"delete of property": {request{"DELETE", "/api/devices/d1/properties/p" + version, ``, nil}, 405, central.CodeMethodNotAllowed, "GET", [2]string{"Allow", "GET, PATCH"}},
		"too large":          {request{"POST", telemetry, `{"a":"` + strings.Repeat("x", 1<<10) + `"}`, nil}, 413, central.CodeTooLarge, "1024 bytes", [2]string{}},
		"form":               {request{"POST", telemetry, `{}`, []string{"Content-Type", "application/x-www-form-urlencoded"}}, 415, central.CodeMediaType, "application/json", [2]string{}},
		"compressed":         {request{"POST", telemetry, `{}`, []string{"Content-Encoding", "br"}}, 415, central.CodeMediaType, "br", [2]string{}},
		"empty body":         {request{"POST", telemetry, ``, nil}, 400, central.CodeInvalidBody, "empty", [2]string{}},
		"array":              {request{"POST", telemetry, `[1]`, nil}, 400, central.CodeInvalidBody, "an array", [2]string{}},
		"broken":             {request{"POST", telemetry, `{"a":1,}`, nil}, 400, central.CodeInvalidBody, "byte 8", [2]string{}},
		"two objects":        {request{"POST", telemetry, `{}{}`, nil}, 400, central.CodeInvalidBody, "not valid JSON", [2]string{}},
		"bad UTF-8":          {request{"POST", telemetry, "{\"a\":\"\xff\"}", nil}, 400, central.CodeInvalidBody, "UTF-8", [2]string{}},
		"unknown member":     {request{"PATCH", "/api/devices/d1" + version, `{"displayname":"x","colour":"red"}`, nil}, 400, central.CodeInvalidBody, `"colour" is not known. Known members: displayName`, [2]string{}},
		"wrong type":         {request{"PATCH", "/api/devices/d1" + version, `{"enabled":"yes"}`, nil}, 400, central.CodeInvalidBody, `"enabled" must be a boolean, not a string`, [2]string{}},
		"bad device id":      {request{"PUT", "/api/devices/pump." + version, `{}`, nil}, 400, central.CodeInvalidDeviceID, "ends in", [2]string{}},
		"no value":           {request{"PATCH", "/api/devices/d1/properties/p" + version, `{}`, nil}, 400, central.CodeInvalidBody, `{"value": 21.5}`, [2]string{}},
		"bare value":         {request{"PATCH", "/api/devices/d1/properties/p" + version, `5`, nil}, 400, central.CodeInvalidBody, "a number", [2]string{}},
		"bad arguments":      {request{"POST", "/api/devices/d1/commands/c" + version, `"x"`, nil}, 400, central.CodeInvalidBody, "command arguments must be a JSON object", [2]string{}},
		"bad top":            {request{"GET", "/api/devices" + version + "&$top=ten", ``, nil}, 400, central.CodeInvalidRequest, "1 to 100", [2]string{}},
		"zero top":           {request{"GET", "/api/devices" + version + "&$top=0", ``, nil}, 400, central.CodeInvalidRequest, "1 to 100", [2]string{}},
		"bad filter":         {request{"GET", "/api/devices" + version + "&$filter=simulated%20gt%201", ``, nil}, 400, central.CodeInvalidFilter, "position 11", [2]string{}},
		"long request id":    {request{"POST", telemetry, `{}`, []string{"x-ms-client-request-id", strings.Repeat("x", 129)}}, 400, central.CodeInvalidRequest, "x-ms-client-request-id", [2]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen []observed
			now := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)
			h := central.NewHandler(new(reference), central.HandlerOptions{
				Authorizer: central.StaticTokens("YOUR_API_TOKEN"), MaxBodyBytes: 1 << 10, Now: func() time.Time { return now },
				Observe: func(op central.Operation, status int) { seen = append(seen, observed{op, status}) },
			})
			r := httptest.NewRequest(test.method, test.target, strings.NewReader(test.body))
			r.Header.Set("Authorization", "Bearer YOUR_API_TOKEN")
			for i := 0; i < len(test.request.header); i += 2 {
				r.Header.Set(test.request.header[i], test.request.header[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var body struct {
				Error struct{ Code, Message, RequestID, Time string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatalf("answered %d %s: %v", w.Code, w.Body, err)
			}
			e := body.Error
			if w.Code != test.status || e.Code != test.code || !strings.Contains(e.Message, test.text) {
				t.Errorf("answered %d %s, want %d %s with %q", w.Code, w.Body, test.status, test.code, test.text)
			}
			if e.RequestID == "" || e.RequestID != w.Header().Get("x-ms-request-id") || e.Time != "2026-01-02T03:04:05.678Z" {
				t.Errorf("the request id is %q in the body and %q in the header, the time %q", e.RequestID, w.Header().Get("x-ms-request-id"), e.Time)
			}
			if name := test.header[0]; name != "" && w.Header().Get(name) != test.header[1] {
				t.Errorf("%s is %q, want %q", name, w.Header().Get(name), test.header[1])
			}
			if len(seen) != 1 || seen[0].status != test.status {
				t.Errorf("observed %v", seen)
			}
		})
	}
}

func TestHandlerServiceErrors(t *testing.T) {
	t.Parallel()
	shared := &central.Error{Status: 429, RetryAfter: 1500 * time.Millisecond}
	for name, test := range map[string]struct {
		err    func(context.Context) error
		status int
		code   string
		retry  string
		logged int
	}{
		"refusal":    {func(context.Context) error { return fmt.Errorf("wrapped: %w", central.DeviceNotFound("d1")) }, 404, central.CodeDeviceNotFound, "", 0},
		"limit":      {func(context.Context) error { return shared }, 429, "TooManyRequests", "2", 0},
		"plain":      {func(context.Context) error { return errors.New("disk on fire, password hunter2") }, 500, central.CodeInternal, "", 1},
		"behind":     {func(context.Context) error { return &central.TransportError{Op: "x", Err: io.EOF} }, 502, central.CodeBadGateway, "", 1},
		"panic":      {func(context.Context) error { panic("password hunter2") }, 500, central.CodeInternal, "", 1},
		"odd status": {func(context.Context) error { return &central.Error{Status: 200, Message: "hunter2"} }, 500, central.CodeInternal, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, logs := observer.New(zap.InfoLevel)
			h := central.NewHandler(&failing{telemetry: test.err}, central.HandlerOptions{Authorizer: central.StaticTokens("YOUR_API_TOKEN"), Log: zap.New(core)})
			w := call(h, "POST", "/api/devices/d1/telemetry?api-version=2022-07-31", `{}`)
			var body struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			if w.Code != test.status || body.Error.Code != test.code || w.Header().Get("Retry-After") != test.retry {
				t.Errorf("answered %d %s, retry after %q", w.Code, w.Body, w.Header().Get("Retry-After"))
			}
			if body.Error.Message == "" || strings.Contains(w.Body.String(), "hunter2") {
				t.Errorf("the message is %q", body.Error.Message)
			}
			if logs.Len() != test.logged {
				t.Errorf("logged %v", logs.All())
			}
		})
	}
}

// A service may close the connection without an answer.
func TestHandlerAborts(t *testing.T) {
	t.Parallel()
	var seen []observed
	h := central.NewHandler(&failing{telemetry: func(context.Context) error { return central.ErrAbortConnection }}, central.HandlerOptions{
		Authorizer: central.StaticTokens("YOUR_API_TOKEN"), Observe: func(op central.Operation, status int) { seen = append(seen, observed{op, status}) },
	})
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("recovered %v", err)
		}
		if !slices.Equal(seen, []observed{{central.OpSendTelemetry, 0}}) {
			t.Errorf("observed %v", seen)
		}
	}()
	call(h, "POST", "/api/devices/d1/telemetry?api-version=2022-07-31", `{}`)
	t.Error("the connection was not closed")
}

func TestHandlerRequestIDs(t *testing.T) {
	t.Parallel()
	h := central.NewHandler(new(reference), central.HandlerOptions{Authorizer: central.StaticTokens("YOUR_API_TOKEN")})
	own := map[string]bool{}
	for range 3 {
		r := httptest.NewRequest(http.MethodGet, "/api/apps/app?api-version=2022-07-31", nil)
		r.Header.Set("Authorization", "bearer YOUR_API_TOKEN")
		r.Header.Set("X-Ms-Client-Request-Id", "mine-1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 || w.Header().Get("x-ms-client-request-id") != "mine-1" {
			t.Errorf("answered %d with the client's id %q", w.Code, w.Header().Get("x-ms-client-request-id"))
		}
		own[w.Header().Get("x-ms-request-id")] = true
	}
	if len(own) != 3 || own[""] {
		t.Errorf("the server's ids are %v", own)
	}
}

// roles lets a token do what it names.
type roles struct{}

func (roles) Authorize(_ context.Context, token string, need central.Permission, device string) (string, error) {
	if token != "viewer" {
		return "", central.Unauthorized("The API token is not valid.")
	}
	if need != central.ReadApplication && device != "own" {
		return "", central.MissingRole("operator")
	}
	return "Vera", nil
}

func TestHandlerAuthorizer(t *testing.T) {
	t.Parallel()
	var caller string
	h := central.NewHandler(&failing{telemetry: func(ctx context.Context) error {
		caller = central.Caller(ctx)
		return nil
	}}, central.HandlerOptions{Authorizer: roles{}})
	send := func(device string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/api/devices/"+device+"/telemetry?api-version=2022-07-31", strings.NewReader(`{}`))
		r.Header.Set("Authorization", "Bearer viewer")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	if w := send("other"); w.Code != 403 || !strings.Contains(w.Body.String(), `\"operator\"`) {
		t.Errorf("answered %d %s, want 403 with the role", w.Code, w.Body)
	}
	if w := send("own"); w.Code != 204 || caller != "Vera" {
		t.Errorf("answered %d %s to %q", w.Code, w.Body, caller)
	}
	closed := central.NewHandler(new(reference), central.HandlerOptions{})
	if w := call(closed, "GET", "/api/apps/app?api-version=2022-07-31", ""); w.Code != 401 {
		t.Errorf("a handler without an authorizer answered %d", w.Code)
	}
	empty := central.NewHandler(new(reference), central.HandlerOptions{Authorizer: central.StaticTokens("")})
	r := httptest.NewRequest(http.MethodGet, "/api/apps/app?api-version=2022-07-31", nil)
	r.Header.Set("Authorization", "Bearer  ")
	w := httptest.NewRecorder()
	if empty.ServeHTTP(w, r); w.Code != 401 {
		t.Errorf("the empty token was answered %d", w.Code)
	}
}

// The media types that JSON is sent as.
func TestHandlerMediaTypes(t *testing.T) {
	t.Parallel()
	h := central.NewHandler(new(reference), central.HandlerOptions{Authorizer: central.StaticTokens("YOUR_API_TOKEN")})
	for kind, want := range map[string]int{
		"": 204, "application/json": 204, "Application/JSON; charset=utf-8": 204, "application/merge-patch+json": 204,
		"text/plain": 415, "application/jsonx": 415, "application/xml": 415,
	} {
		r := httptest.NewRequest(http.MethodPost, "/api/devices/d1/telemetry?api-version=2022-07-31", strings.NewReader(`{}`))
		r.Header.Set("Authorization", "Bearer YOUR_API_TOKEN")
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q was answered %d, want %d", kind, w.Code, want)
		}
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	t.Parallel()
	h := central.NewHandler(new(reference), central.HandlerOptions{})
	for _, path := range []string{"/api/openapi.yaml", "/api/v1/openapi.yaml"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != 200 || w.Body.String() != string(central.OpenAPI()) || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/yaml") {
			t.Errorf("%s answered %d %v", path, w.Code, w.Header())
		}
	}
}

// Refusals conform to the OpenAPI document too.
func TestRefusalsConform(t *testing.T) {
	t.Parallel()
	base := listen(t, central.NewHandler(new(reference), central.HandlerOptions{Authorizer: central.StaticTokens("YOUR_API_TOKEN"), MaxBodyBytes: 100}))
	v := centraltest.NewValidator(t, nil)
	for _, test := range []struct {
		method, path, token, body, kind string
		status                          int
	}{
		{"GET", "/devices?api-version=2022-07-31", "WRONG", "", "", 401},
		{"GET", "/devices", "YOUR_API_TOKEN", "", "", 400},
		{"POST", "/devices/d1/telemetry?api-version=2022-07-31", "YOUR_API_TOKEN", `{"a":"` + strings.Repeat("x", 200) + `"}`, "application/json", 413},
		{"POST", "/devices/d1/telemetry?api-version=2022-07-31", "YOUR_API_TOKEN", `<a/>`, "application/xml", 415},
		{"PUT", "/devices/d1/telemetry?api-version=2022-07-31", "YOUR_API_TOKEN", `{}`, "application/json", 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, base+"/api"+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+test.token)
		if test.kind != "" {
			req.Header.Set("Content-Type", test.kind)
		}
		resp, err := v.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != test.status {
			t.Errorf("%s %s answered %d, want %d", test.method, test.path, resp.StatusCode, test.status)
		}
	}
}

// Paths that no client of Go would send: nothing is cleaned, nothing redirected, nothing panics.
func TestHandlerRawPaths(t *testing.T) {
	t.Parallel()
	addr := strings.TrimPrefix(listen(t, central.NewHandler(new(reference), central.HandlerOptions{Authorizer: central.StaticTokens("YOUR_API_TOKEN")})), "http://")
	for path, want := range map[string]int{
		"/api/devices/d1/../../apps/app": 404, "//api/devices": 404, "/api//devices": 404, "/api/./devices": 404, "/api/devices/..": 400,
		"/api/devices/a%2Fb": 200, "/api/v1/v1/devices": 404, "/": 404, "/api": 404, "/api/": 404, "/api/devices/d1%2ftelemetry": 200,
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s?api-version=2022-07-31 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer YOUR_API_TOKEN\r\nConnection: close\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s was answered %d, want %d", path, resp.StatusCode, want)
		}
		if err := errors.Join(resp.Body.Close(), conn.Close()); err != nil {
			t.Error(err)
		}
	}
}
