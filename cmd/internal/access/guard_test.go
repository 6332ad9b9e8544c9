package access_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
	"iotc-gateway/cmd/internal/access"
)

// served is the API before an application, behind a guard.
func (b *bundle) served() (http.Handler, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.InfoLevel)
	app := &emulator.Application{}
	for _, id := range []string{"hall-1", "yard-1"} {
		if _, err := app.CreateDevice(b.Context(), id, central.DeviceCreate{}, ""); err != nil {
			b.Fatal(err)
		}
	}
	guard := access.NewGuard(b.tokens, zap.New(core))
	return guard.Wrap(central.NewHandler(app, central.HandlerOptions{Authorizer: guard})), logs
}

func call(h http.Handler, method, path, token, body string) (int, string) {
	r := httptest.NewRequest(method, "/api/"+path+"?api-version=2022-07-31", strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	text, _ := io.ReadAll(w.Body)
	return w.Code, string(text)
}

// endpoints is the table of roles as the documentation has it.
var endpoints = []struct {
	method, path, body string
	roles              string // that may
	missing            string // that a refusal names
}{
	{"GET", "apps/app", "", "reader operator device-admin gateway admin", ""},
	{"GET", "devices", "", "reader operator device-admin gateway admin", ""},
	{"GET", "devices/hall-1", "", "reader operator device-admin gateway admin", ""},
	{"PUT", "devices/hall-2", "{}", "device-admin gateway admin", "device-admin"},
	{"PATCH", "devices/hall-1", "{}", "device-admin admin", "device-admin"},
	{"DELETE", "devices/hall-2", "", "device-admin admin", "device-admin"},
	{"POST", "devices/hall-1/telemetry", `{"t":1}`, "gateway admin", "gateway"},
	{"POST", "devices/hall-1/commands/reboot", "{}", "operator admin", "operator"},
	{"GET", "devices/hall-1/commands/cmd-1/status", "", "reader operator device-admin admin", "reader"},
	{"PATCH", "devices/hall-1/properties/p", `{"value":1}`, "operator gateway admin", "operator"},
	{"GET", "devices/hall-1/properties/p", "", "reader operator device-admin gateway admin", ""},
}

func TestEveryRoleAtEveryEndpoint(t *testing.T) {
	t.Parallel()
	for _, role := range access.Roles() {
		for _, e := range endpoints {
			t.Run(string(role)+" "+e.method+" "+e.path, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				h, _ := b.served()
				// Something for the calls that read it.
				_, admin := b.create(access.Admin)
				call(h, "PATCH", "devices/hall-1/properties/p", admin, `{"value":1}`)
				call(h, "POST", "devices/hall-1/commands/reboot", admin, "")
				if e.method == "DELETE" {
					call(h, "PUT", e.path, admin, "{}")
				}
				_, secret := b.create(role)
				may := strings.Contains(" "+e.roles+" ", " "+string(role)+" ")
				switch status, body := call(h, e.method, e.path, secret, e.body); {
				case may && status/100 != 2:
					t.Errorf("%d %s", status, body)
				case !may && (status != 403 || !strings.Contains(body, `lacks the role \"`+e.missing+`\"`)):
					t.Errorf("%d %s, want a refusal that names %s", status, body, e.missing)
				}
				_, bound := b.create(role, "yard-*")
				if strings.Contains(e.path, "hall") {
					if status, body := call(h, e.method, e.path, bound, e.body); status != 403 {
						t.Errorf("bound to other devices: %d %s", status, body)
					}
				}
			})
		}
	}
}

func TestNoTokenAndFlood(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h, logs := b.served()
	if status, _ := call(h, "GET", "devices", "", ""); status != 401 {
		t.Errorf("without a token: %d", status)
	}
	if status, _ := call(h, "GET", "openapi.yaml", "", ""); status != 200 {
		t.Errorf("the description: %d", status)
	}
	logs.TakeAll()
	var last int
	var body string
	for range 15 {
		last, body = call(h, "GET", "devices", "iotcgw_aaaaaaaa_wrong", "")
	}
	if last != 429 || !strings.Contains(body, "TooManyRequests") {
		t.Errorf("after many failures: %d %s", last, body)
	}
	if n := logs.Len(); n != 10 {
		t.Errorf("%d lines in the audit log, want one for each failure that was not held back", n)
	}
}

func TestAuditLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h, logs := b.served()
	made, operator := b.create(access.Operator)
	_, gateway := b.create(access.Gateway)
	call(h, "GET", "devices", operator, "")
	call(h, "POST", "devices/hall-1/telemetry", gateway, `{"t":1}`)
	call(h, "PATCH", "devices/hall-1/properties/p", gateway, `{"value":1}`)
	if n := logs.Len(); n != 0 {
		t.Errorf("%d lines for reading and data: %v", n, logs.All())
	}
	call(h, "PATCH", "devices/hall-1/properties/p", operator, `{"value":"a secret"}`)
	call(h, "DELETE", "devices/hall-1", operator, "")
	lines := logs.TakeAll()
	if len(lines) != 2 {
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	for i, want := range []struct {
		message string
		status  int64
	}{{"write", 200}, {"refused", 403}} {
		fields := lines[i].ContextMap()
		if lines[i].LoggerName != "audit" || lines[i].Message != want.message || fields["status"] != want.status || fields["token"] != made.ID || fields["role"] != "operator" || fields["from"] != "192.0.2.1" {
			t.Errorf("line %d: %s %s %v", i, lines[i].LoggerName, lines[i].Message, fields)
		}
		for name, value := range fields {
			if s, ok := value.(string); ok && (strings.Contains(s, "secret") || strings.Contains(s, operator)) {
				t.Errorf("%s holds what it should not: %s", name, s)
			}
		}
	}
}

func TestServiceLearnsWhoCalls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var got access.Principal
	var known bool
	spy := spyService{Service: &emulator.Application{}, see: func(p access.Principal, ok bool) { got, known = p, ok }}
	guard := access.NewGuard(b.tokens, zap.NewNop())
	h := guard.Wrap(central.NewHandler(spy, central.HandlerOptions{Authorizer: guard}))
	made, secret := b.create(access.Gateway, "a*")
	call(h, "GET", "apps/app", secret, "")
	if !known || got.ID != made.ID || got.Role != access.Gateway || len(got.Devices) != 1 {
		t.Errorf("the service saw %+v, %v", got, known)
	}
	if _, ok := access.PrincipalOf(t.Context()); ok {
		t.Error("somebody calls where nobody does")
	}
}
