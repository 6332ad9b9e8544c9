package central_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
)

// compressingClient sends bodies of more than 100 bytes compressed.
func compressingClient(t *testing.T, url string) *central.Client {
	t.Helper()
	cfg := central.DefaultConfig()
	cfg.URL, cfg.CompressOver = url, 100
	c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(secret)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// recorder notes the encoding and the size of every request's body in front of a handler.
type recorder struct {
	next http.Handler

	mu   sync.Mutex
	seen []string
	wire [][]byte
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.seen = append(r.seen, req.Header.Get("Content-Encoding"))
	r.wire = append(r.wire, body)
	r.mu.Unlock()
	req.Body = io.NopCloser(bytes.NewReader(body))
	r.next.ServeHTTP(w, req)
}

func telemetryOf(n int) json.RawMessage {
	return json.RawMessage(`{"text":"` + strings.Repeat("x", n-len(`{"text":""}`)) + `"}`)
}

// Bodies over the limit go compressed, others as they are; the application sees no difference; a retry is byte for byte
// what the first attempt was.
func TestBodiesAreCompressed(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string
	application := &emulator.Application{OnTelemetry: func(_ string, body json.RawMessage, _ string) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, string(body))
	}}
	rec := &recorder{next: emulator.NewServer(application, emulator.ServerOptions{Authorizer: central.StaticTokens(secret)})}
	server := httptest.NewServer(rec)
	defer server.Close()
	c := compressingClient(t, server.URL+"/api")
	if _, err := c.CreateDevice(t.Context(), "d1", central.DeviceCreate{}, ""); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{100, 101, 101} {
		if err := c.SendTelemetry(context.Background(), "d1", telemetryOf(n), ""); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"", "", "gzip", "gzip"}; strings.Join(rec.seen, ",") != strings.Join(want, ",") {
		t.Errorf("encodings %q, want %q", rec.seen, want)
	}
	if len(rec.wire[2]) >= 101 || !bytes.Equal(rec.wire[2], rec.wire[3]) {
		t.Errorf("%d bytes on the wire, the same again: %v", len(rec.wire[2]), bytes.Equal(rec.wire[2], rec.wire[3]))
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 3 || !strings.Contains(got[2], strings.Repeat("x", 90)) {
		t.Errorf("arrived %q", got)
	}
}

// A server that takes no compressed body gets it as it is, and every one after it.
func TestCompressionIsGivenUp(t *testing.T) {
	t.Parallel()
	rec := &recorder{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Encoding") != "" {
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	server := httptest.NewServer(rec)
	defer server.Close()
	c := compressingClient(t, server.URL)
	for range 2 {
		if err := c.SendTelemetry(t.Context(), "d1", telemetryOf(500), ""); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(rec.seen, ",") != "gzip,," {
		t.Errorf("encodings %q", rec.seen)
	}
}

// What is small on the wire may be large: the limit is on what comes out.
func TestPackedBodies(t *testing.T) {
	t.Parallel()
	h := emulator.NewServer(&emulator.Application{}, emulator.ServerOptions{Authorizer: central.StaticTokens(secret)})
	pack := func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	good := pack([]byte(`{}`))
	for name, c := range map[string]struct {
		body []byte
		want int
	}{
		"good":         {good, http.StatusOK},
		"bomb":         {pack(bytes.Repeat([]byte(" "), 32<<20)), http.StatusRequestEntityTooLarge},
		"at the limit": {pack(append(bytes.Repeat([]byte(" "), central.MaxTelemetryBytes-2), `{}`...)), http.StatusOK},
		"beyond it":    {pack(append(bytes.Repeat([]byte(" "), central.MaxTelemetryBytes-1), `{}`...)), http.StatusRequestEntityTooLarge},
		"cut off":      {good[:len(good)-4], http.StatusBadRequest},
		"not packed":   {[]byte(`{}`), http.StatusBadRequest},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/api/devices/"+strings.ReplaceAll(name, " ", "-")+"?api-version=2022-07-31", bytes.NewReader(c.body))
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Content-Encoding", "gzip")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != c.want {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.want)
		}
	}
}

func TestCompressOverIsChecked(t *testing.T) {
	t.Parallel()
	cfg := central.DefaultConfig()
	cfg.CompressOver = -1
	var found error
	cfg.Validate(func(path, message string) { found = errors.Join(found, errors.New(path+": "+message)) })
	if found == nil || !strings.Contains(found.Error(), "compress_over") {
		t.Error(found)
	}
}
