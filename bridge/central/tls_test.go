package central_test

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
)

// The client trusts the authorities of ca_file beside the system's, speaks HTTP/2 where it is offered, and keeps the
// connections of many parallel calls.
func TestTLS(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{true, false} {
		var mu sync.Mutex
		protocols, connections := map[string]bool{}, map[string]bool{}
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			protocols[r.Proto], connections[r.RemoteAddr] = true, true
			mu.Unlock()
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusNoContent)
		}))
		srv.EnableHTTP2 = http2
		srv.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
		srv.StartTLS()
		t.Cleanup(srv.Close)
		ca := filepath.Join(t.TempDir(), "ca.pem")
		write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
		cfg := central.DefaultConfig()
		cfg.URL = srv.URL
		opts := central.ClientOptions{Token: central.StaticToken(secret)}
		stranger, err := central.NewClient(cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		err = stranger.SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "id")
		if err == nil || central.MaybeSent(err) || !strings.Contains(err.Error(), "unknown authority") {
			t.Errorf("without the authority: %v", err)
		}
		cfg.CAFile = ca
		c, err := central.NewClient(cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.CloseIdleConnections)
		const parallel, rounds = 64, 5
		var wg sync.WaitGroup
		for range parallel {
			wg.Go(func() {
				for range rounds {
					if err := c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{"t":1}`), "id"); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		want := "HTTP/1.1"
		if http2 {
			want = "HTTP/2.0"
		}
		if len(protocols) != 1 || !protocols[want] {
			t.Errorf("spoke %v, want %s", protocols, want)
		}
		if len(connections) > 2*parallel {
			t.Errorf("%d connections for %d calls of %d at a time", len(connections), parallel*rounds, parallel)
		}
	}
}
