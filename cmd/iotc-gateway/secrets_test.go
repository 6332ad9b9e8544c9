package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Secrets that the test plants. None may come out anywhere.
const (
	plantedToken    = "planted-central-token-7f3a"
	plantedPassword = "planted-password-19c4"
	plantedWrong    = "planted-wrong-password-55aa"
)

// everything collects what the gateway says.
type everything struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (e *everything) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.buf.Write(p)
}

func (e *everything) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.buf.String()
}

// site is a gateway that runs in this process, with secrets in all places that have any.
type site struct {
	t       *testing.T
	dir     string
	config  string
	mqtt    string
	console string
	said    everything
	secrets map[string]string // what is secret -> where it comes from
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), secrets: map[string]string{
		plantedToken: "the uplink's token", plantedPassword: "a password", plantedWrong: "a wrong password",
	}}
	// An application that repeats what it was sent in every way it can.
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(map[bool]int{true: http.StatusUnauthorized, false: http.StatusBadRequest}[r.Method == http.MethodGet])
		fmt.Fprintf(w, `{"error": {"code": "Echo", "message": "you sent %s"}}`, r.Header.Get("Authorization"))
	}))
	t.Cleanup(application.Close)
	s.mqtt, s.console = freeAddress(t), freeAddress(t)
	s.write("token", plantedToken+"\n")
	s.config = s.write("gateway.yaml", fmt.Sprintf(`
gateway: {id: gw, data_dir: %q, report: "off"}
central: {url: %q, token_file: %q, timeout: 2s}
broker:
  listeners:
    - name: tls
      address: %q
      anonymous: never
      tls: {cert_file: %[5]s/server.crt, key_file: %[5]s/server.key, client_ca_file: %[5]s/ca.crt, client_auth: optional}
  auth: {failure_delay: 1ms, max_delay: 1ms}
console: {address: %[6]q}
log: {level: debug, format: json}
`, filepath.Join(s.dir, "data"), application.URL+"/api", filepath.Join(s.dir, "token"), s.mqtt, filepath.Join(s.dir, "data", "pki"), s.console))
	s.run(0, "cert", "init", "--config", s.config, "--host", "127.0.0.1")
	s.run(0, "cert", "device", "dev", "--config", s.config)
	var errs bytes.Buffer
	root := newRootCommand()
	root.SetArgs([]string{"user", "add", "dev1", "--password-stdin", "--config", s.config})
	root.SetIn(strings.NewReader(plantedPassword + "\n"))
	root.SetOut(&s.said)
	root.SetErr(&errs)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err, errs.String())
	}
	for _, key := range []string{"server.key", "ca.key", "devices/dev.key"} {
		text, err := os.ReadFile(filepath.Join(s.dir, "data", "pki", key))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "-----") {
				s.secrets[strings.TrimSpace(line)] = key
			}
		}
	}
	users, err := os.ReadFile(filepath.Join(s.dir, "data", "users.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, hash, _ := strings.Cut(string(users), "p=1$")
	hash, _, _ = strings.Cut(hash, `"`)
	s.secrets[hash] = "the password's hash"
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *site) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// run runs a command and keeps what it says; code -1 does not care how it ends.
func (s *site) run(code int, args ...string) {
	s.t.Helper()
	if got := execute(s.t.Context(), args, &s.said, &s.said); code >= 0 && got != code {
		s.t.Fatalf("%v: exit code %d\n%s", args, got, s.said.String())
	}
}

// connect connects over TLS, with a password.
func (s *site) connect(client, user, password string) (mqtt.Client, error) {
	ca, err := os.ReadFile(filepath.Join(s.dir, "data", "pki", "ca.crt"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + s.mqtt).SetClientID(client).SetUsername(user).SetPassword(password).
		SetTLSConfig(&tls.Config{RootCAs: pool}).SetAutoReconnect(false).SetConnectTimeout(5 * time.Second))
	token := c.Connect()
	token.WaitTimeout(10 * time.Second)
	return c, token.Error()
}

func (s *site) get(path string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.console+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Fprintf(&s.said, "%s %d %v\n", path, resp.StatusCode, resp.Header)
	if _, err := io.Copy(&s.said, resp.Body); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("never: %s\n%s", what, s.said.String())
		}
	}
}

// Tokens, passwords and keys are planted wherever the gateway has any, things are made to go wrong with them, and everything
// that is said about it, by logs at the lowest level, pages, metrics and commands, is searched for them.
func TestSecretsComeOutNowhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- execute(ctx, []string{"run", "--debuggable", "--config", s.config}, &s.said, &s.said) }()
	s.eventually("the broker listens", func() bool { return strings.Contains(s.said.String(), `"accepting MQTT"`) })

	device, err := s.connect("c1", "dev1", plantedPassword)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"devices/dev1/telemetry", "devices/other/telemetry", "devices/dev1/properties"} {
		device.Publish(topic, 1, false, `{"temperature": 1}`).WaitTimeout(2 * time.Second)
	}
	for _, login := range [][2]string{{"dev1", plantedWrong}, {"nobody", plantedPassword}, {"", plantedWrong}, {"dev1", plantedPassword + plantedWrong}} {
		if _, err := s.connect("c2", login[0], login[1]); err == nil {
			t.Fatalf("%v was let in", login)
		}
	}
	s.eventually("the uplink's refusal is logged", func() bool { return strings.Contains(s.said.String(), "unauthorised") })
	for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/api/devices", "/nothing?token=x"} {
		s.get(path)
	}

	s.run(-1, "doctor", "--config", s.config)
	s.run(-1, "doctor", "--config", s.config, "-o", "json")
	s.run(0, "check", "--config", s.config, "--show")
	s.run(0, "user", "list", "--config", s.config, "-o", "json")
	s.run(0, "cert", "list", "--config", s.config)
	s.run(1, "cert", "init", "--config", s.config)
	s.run(0, "acl", "test", "--config", s.config, "--user", "dev1", "--topic", "devices/dev1/telemetry")
	s.run(1, "user", "add", "dev1", "--generate", "--config", s.config)
	s.run(-1, "token", "list", "--config", s.config)

	// The token's file is gone wrong in some ways.
	if err := os.Chmod(filepath.Join(s.dir, "token"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.run(-1, "doctor", "--config", s.config)
	s.write("inline.yaml", "central: {token: "+plantedToken+", token_file: ["+plantedToken+"]}\n")
	s.run(2, "check", "--config", filepath.Join(s.dir, "inline.yaml"))
	device.Disconnect(0)
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("the gateway ended with %d", code)
	}

	said := s.said.String()
	for secret, from := range s.secrets {
		forms := map[string]string{"": secret, " in base64": base64.StdEncoding.EncodeToString([]byte(secret)), " in hex": fmt.Sprintf("%x", secret)}
		for form, text := range forms {
			if at := strings.Index(said, text); at >= 0 {
				t.Errorf("%s%s came out: …%q…", from, form, said[max(0, at-200):min(len(said), at+200)])
			}
		}
	}
	if len(said) < 5000 || len(s.secrets) < 6 {
		t.Errorf("only %d bytes were searched for %d secrets", len(said), len(s.secrets))
	}
}
