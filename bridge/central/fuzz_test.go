package central_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"iotc-gateway/bridge/central"
)

// Whatever the body, the answer is success or a refusal in the usual shape, and the service sees only JSON objects.
func FuzzHandlerBody(f *testing.F) {
	for i, seed := range []string{
		`{"temperature": 25.5, "timestamp": "2023-10-26T15:05:10Z"}`, `{"displayName":"x","enabled":false}`, `{"value":{"a":[1,2]}}`,
		`[`, `{"value"`, `null`, "{\"a\":\"\xff\"}", `{"enabled":1e999}`, `{"value":1,"value":2}`, strings.Repeat(`{"a":`, 50),
	} {
		f.Add(byte(i), []byte(seed))
	}
	targets := []struct{ method, path string }{
		{"POST", "/api/devices/d1/telemetry"},
		{"PUT", "/api/devices/d1"},
		{"PATCH", "/api/devices/d1"},
		{"PATCH", "/api/devices/d1/properties/p"},
		{"POST", "/api/devices/d1/commands/c"},
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		target := targets[int(which)%len(targets)]
		service := new(reference)
		h := central.NewHandler(service, central.HandlerOptions{Authorizer: central.StaticTokens("YOUR_API_TOKEN")})
		r := httptest.NewRequest(target.method, target.path+"?api-version=2022-07-31", strings.NewReader(string(body)))
		r.Header.Set("Authorization", "Bearer YOUR_API_TOKEN")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200, 204:
			if text, ok := service.got.(string); ok && text != "" && (!json.Valid([]byte(text)) || !utf8.ValidString(text)) {
				t.Fatalf("the service was given %q", text)
			}
		case 400:
			var refusal struct {
				Error struct{ Code, Message, RequestID, Time string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil || refusal.Error.Code == "" || refusal.Error.Message == "" {
				t.Fatalf("answered %s: %v", w.Body, err)
			}
		default:
			t.Fatalf("answered %d %s", w.Code, w.Body)
		}
	})
}

// Whatever a server answers, the client returns an error it can be judged by, without the token, or success.
func FuzzClientAnswer(f *testing.F) {
	f.Add(uint16(404), "application/json", `{"error":{"code":"DeviceNotFound","message":"no","requestId":"1","time":"2026-01-02T03:04:05Z"}}`)
	f.Add(uint16(200), "application/json", `{"devices":[{"id":"a"}],"nextLink":"http://x/"}`)
	f.Add(uint16(200), "text/html", `<html>`)
	f.Add(uint16(401), "text/plain", "bad token "+secret)
	f.Fuzz(func(t *testing.T, status uint16, kind, body string) {
		c := newClient(t, fixed(int(status%1000), kind, body))
		_, err := c.ListDevices(t.Context(), central.ListOptions{})
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Fatalf("the token is in %v", err)
		}
		if err != nil && central.StatusOf(err) == 0 && !central.MaybeSent(err) {
			t.Fatalf("an answer that was received counts as not sent: %v", err)
		}
	})
}
