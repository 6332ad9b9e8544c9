package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/cmd/internal/doctor"
	"iotc-gateway/configs"
)

const token = "the-right-token"

// bundle is an application behind TLS and a configuration that fits it.
type bundle struct {
	*testing.T
	dir         string
	application *emulator.Application
	server      *httptest.Server
	set         map[string]string
	opts        doctor.Options
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{T: t, dir: t.TempDir(), application: &emulator.Application{}}
	b.server = httptest.NewTLSServer(emulator.NewServer(b.application, emulator.ServerOptions{Authorizer: central.StaticTokens(token)}))
	t.Cleanup(b.server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.server.Certificate().Raw})
	b.write("ca.pem", string(ca))
	b.write("token", token)
	b.set = map[string]string{
		"gateway.id": "gw", "gateway.report": "off", "gateway.data_dir": filepath.Join(b.dir, "data"),
		"central.url": b.server.URL + "/api", "central.token_file": filepath.Join(b.dir, "token"), "central.ca_file": filepath.Join(b.dir, "ca.pem"),
		"broker.listeners": `[{name: local, address: "127.0.0.1:0"}]`, "console.address": "127.0.0.1:0",
		"buffer.min_free_bytes": "1MiB",
	}
	b.opts.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	return b
}

func (b *bundle) write(name, text string) string {
	b.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func (b *bundle) run() doctor.Result {
	b.Helper()
	if b.opts.Config == nil {
		b.opts.Config, b.opts.ConfigErr = configs.Load("", nil, b.set)
	}
	return doctor.Run(b.Context(), b.opts)
}

// want looks for a finding and fails with all of them when there is none.
func (b *bundle) want(r doctor.Result, check string, status doctor.Status, part string) doctor.Finding {
	b.Helper()
	for _, f := range r.Report.Findings {
		if f.Check == check && f.Status == status && strings.Contains(f.Message, part) {
			if status == doctor.Fault && f.Advice == "" {
				b.Errorf("no advice with %+v", f)
			}
			return f
		}
	}
	var text strings.Builder
	_ = r.Report.Write(&text)
	b.Errorf("no %s of %s with %q in\n%s", status, check, part, text.String())
	return doctor.Finding{}
}

func TestSoundGateway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.run()
	b.want(r, "configuration", doctor.OK, "valid")
	b.want(r, "tls", doctor.OK, "TLS 1.3")
	b.want(r, "token", doctor.OK, "accepts it")
	b.want(r, "clock", doctor.OK, "agrees with the application's")
	b.want(r, "certificates", doctor.OK, "central.ca_file")
	b.want(r, "store", doctor.Note, "none yet")
	if n := r.Report.Count(doctor.Fault); n != 0 {
		t.Errorf("%d faults in %+v", n, r.Report.Findings)
	}
}

func TestUplinkFaults(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for name, test := range map[string]struct {
		change func(b *bundle)
		check  string
		part   string
		advice string
	}{
		"refused token": {func(b *bundle) { b.write("token", "a-wrong-token") }, "token", "refuses it", "revoked"},
		"empty token":   {func(b *bundle) { b.write("token", "\n") }, "token", "is empty", "create"},
		"no token":      {func(b *bundle) { b.set["central.token_file"] = "" }, "token", "neither", "create"},
		"missing token": {func(b *bundle) { b.set["central.token_file"] = filepath.Join(b.dir, "none") }, "token", "no such file", "create"},
		"ended token":   {func(b *bundle) { b.write("token", "SharedAccessSignature sr=a&sig=b&skn=c&se=1500000000") }, "token", "ended on 2017-07-14", "create"},
		"unknown CA":    {func(b *bundle) { b.set["central.ca_file"] = "" }, "tls", "unknown authority", "central.ca_file"},
		"other name": {func(b *bundle) {
			b.set["central.url"] = strings.Replace(b.server.URL, "127.0.0.1", "localhost", 1) + "/api"
		}, "tls", "localhost", "a name that the certificate has"},
		"nobody there":      {func(b *bundle) { b.set["central.url"] = closed.URL + "/api" }, "connection", "refused", "firewall"},
		"plain for TLS":     {func(b *bundle) { b.set["central.url"] = "https://" + plainServer(b) + "/api" }, "tls", "", "scheme and port"},
		"wrong path":        {func(b *bundle) { b.set["central.url"] = b.server.URL + "/elsewhere" }, "uplink", "does not know the API", "path in central.url"},
		"broken CA file":    {func(b *bundle) { b.write("ca.pem", "no certificate") }, "certificates", "holds no PEM certificate", "PEM"},
		"clock in the past": {func(b *bundle) { b.opts.Now = time.Unix(0, 0) }, "clock", "cannot be", "time service"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			test.change(b)
			f := b.want(b.run(), test.check, doctor.Fault, test.part)
			if !strings.Contains(f.Advice, test.advice) {
				t.Errorf("advice %q, want %q in it", f.Advice, test.advice)
			}
		})
	}
}

func plainServer(b *bundle) string {
	s := httptest.NewServer(http.NotFoundHandler())
	b.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestServerClock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inner := b.server.Config.Handler
	b.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-2*time.Hour).UTC().Format(http.TimeFormat))
		inner.ServeHTTP(w, r)
	})
	b.want(b.run(), "clock", doctor.Fault, "differs from the application's by 2h0m0s")
}

// certificate makes a self-signed one that ends after so long.
func (b *bundle) certificate(name string, left time.Duration, names ...string) (cert, key string) {
	b.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(left),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		b.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		b.Fatal(err)
	}
	return b.write(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		b.write(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	delete(b.set, "central.url")
	fine, fineKey := b.certificate("fine", 90*24*time.Hour, "gw.example")
	ending, endingKey := b.certificate("ending", 5*24*time.Hour+time.Hour)
	ended, endedKey := b.certificate("ended", -time.Minute, "gw.example")
	listener := func(i int, cert, key string) string {
		return fmt.Sprintf(`{name: l%d, address: "127.0.0.1:0", tls: {cert_file: "%s", key_file: "%s"}}`, i, cert, key)
	}
	b.set["broker.listeners"] = "[" + strings.Join([]string{
		listener(0, fine, fineKey), listener(1, ending, endingKey), listener(2, ended, endedKey), listener(3, fine, endedKey),
		listener(4, filepath.Join(b.dir, "none.pem"), fineKey),
	}, ", ") + "]"
	r := b.run()
	b.want(r, "certificates", doctor.OK, `"fine" ends on`)
	b.want(r, "certificates", doctor.Warning, `"ending" ends on`)
	b.want(r, "certificates", doctor.Warning, "in 5 days")
	b.want(r, "certificates", doctor.Warning, "names no host")
	b.want(r, "certificates", doctor.Fault, `"ended" ended on`)
	b.want(r, "certificates", doctor.Fault, "broker.listeners[3].tls: tls: private key does not match")
	b.want(r, "certificates", doctor.Fault, "none.pem: no such file")
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write("templates/pump.json", `{"@context": "dtmi:dtdl:context;2", "@id": "dtmi:x:pump;1", "@type": "Interface", "contents": [{"@type": "Telemetry", "name": "t", "schema": "double"}]}`)
	b.set["mapping.templates_dir"] = filepath.Join(b.dir, "templates")
	for id, template := range map[string]string{"p1": "dtmi:x:pump;1", "v1": "dtmi:x:valve;1", "v2": "dtmi:x:valve;1", "n1": ""} {
		if _, err := b.application.CreateDevice(t.Context(), id, central.DeviceCreate{DisplayName: id, Template: template}, ""); err != nil {
			t.Fatal(err)
		}
	}
	r := b.run()
	b.want(r, "templates", doctor.OK, "1 interface in")
	b.want(r, "templates", doctor.Warning, "2 devices in the application follow dtmi:x:valve;1")
	b.want(r, "templates", doctor.Note, "1 device in the application have no template")
}

func TestStore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	delete(b.set, "central.url")
	cfg, err := configs.Load("", nil, b.set)
	if err != nil {
		t.Fatal(err)
	}
	g, err := app.New(cfg, app.Options{Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()

	// Running: its console answers, and what it says becomes findings.
	b.set["console.address"] = g.ConsoleAddr().String()
	r := b.run()
	if !r.Report.Running {
		t.Error("not seen to run")
	}
	b.want(r, "gateway", doctor.OK, "runs and answers")
	b.want(r, "gateway/store", doctor.OK, "0 records wait")
	b.want(r, "gateway/uplink", doctor.Warning, "central.url is empty")
	b.want(r, "listeners", doctor.OK, "answers")
	if len(r.Health) == 0 {
		t.Error("no health for the bundle")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	// Stopped: every record is read.
	r = b.run()
	b.want(r, "store", doctor.OK, "every record is readable: 0 wait")
	store := app.StoreDir(cfg.Gateway.DataDir)
	tables, _ := filepath.Glob(filepath.Join(store, "db", "*.sst"))
	if len(tables) == 0 {
		t.Fatal("no table in the store")
	}
	if err := os.Truncate(tables[0], 10); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(store, "corrupt-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cfg.Gateway.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	r = b.run()
	b.want(r, "store", doctor.Fault, "cannot be read")
	b.want(r, "store", doctor.Warning, "corrupt-1 was set aside")
	b.want(r, "permissions", doctor.Warning, "has mode 0755")
	if os.Getuid() == 0 {
		// The directory may be a link of root's, as systemd makes it.
		if err := os.Chown(cfg.Gateway.DataDir, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(b.dir, "link")
		if err := os.Symlink(cfg.Gateway.DataDir, link); err != nil {
			t.Fatal(err)
		}
		linked := *cfg
		linked.Gateway.DataDir = link
		opts := b.opts
		opts.Config = &linked
		r := doctor.Run(t.Context(), opts)
		b.want(r, "permissions", doctor.Fault, filepath.Join(cfg.Gateway.DataDir, "store"))
		for _, f := range r.Report.Findings {
			if strings.HasSuffix(f.Message, ": "+link) {
				t.Errorf("the link itself is a fault: %+v", f)
			}
		}
		if err := os.Chown(cfg.Gateway.DataDir, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(store, "lock"), 12345, 12345); err != nil {
			t.Fatal(err)
		}
		f := b.want(b.run(), "permissions", doctor.Fault, "1 file in")
		if !strings.Contains(f.Advice, "chown -R --reference="+cfg.Gateway.DataDir) {
			t.Errorf("advice %q", f.Advice)
		}
	}
}

func TestListeners(t *testing.T) {
	t.Parallel()
	b := setup(t)
	delete(b.set, "central.url")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b.set["broker.listeners"] = `[{name: taken, address: "` + l.Addr().String() + `"}, {name: elsewhere, address: "192.0.2.1:1883"}]`
	r := b.run()
	b.want(r, "listeners", doctor.Fault, "broker.listeners[0] (taken)")
	b.want(r, "listeners", doctor.Fault, "broker.listeners[1] (elsewhere)")
}
