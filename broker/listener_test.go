package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/gorilla/websocket"

	"iotc-gateway/broker"
)

// authority is a small certificate authority.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	a.key, a.cert = a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, "ca")
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.crt and name.key.
func (a *authority) issue(tmpl *x509.Certificate, name string) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<60))
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert
}

func (a *authority) server(name string) {
	a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "server")
}

func clean(s string) string { return strings.ReplaceAll(s, "/", "_") }

func (a *authority) client(cn string, dns ...string) tls.Certificate {
	a.t.Helper()
	a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: cn}, DNSNames: dns, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, "client-"+clean(cn))
	c, err := tls.LoadX509KeyPair(a.path("client-"+clean(cn)+".crt"), a.path("client-"+clean(cn)+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *authority) config() *broker.TLSConfig {
	return &broker.TLSConfig{CertFile: a.path("server.crt"), KeyFile: a.path("server.key")}
}

func withListener(l broker.ListenerConfig) option {
	return func(c *broker.Config, _ *broker.Options) {
		l.Name, l.Address = "test", "127.0.0.1:0"
		c.Listeners = []broker.ListenerConfig{l}
	}
}

func (b *bundle) dialTLS(t testing.TB, version byte, cfg *tls.Config) (*raw, error) {
	t.Helper()
	c, err := tls.Dial("tcp", b.addr.String(), cfg)
	if err != nil {
		return nil, err
	}
	return wrap(t, c, version), nil
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.server("first")
	b := setup(t, withListener(broker.ListenerConfig{TLS: ca.config()}))
	if l := b.Listeners(); len(l) != 1 || l[0].Transport != "tls" {
		t.Fatalf("%+v", l)
	}
	old, err := b.dialTLS(t, 5, &tls.Config{RootCAs: ca.pool})
	if err != nil {
		t.Fatal(err)
	}
	old.mustConnect(connectOpts{id: "old"})
	old.publishAck(telemetry, "1", 1)
	if c := b.Clients()[0]; !c.TLS {
		t.Fatalf("%+v", c)
	}
	if _, err := b.dialTLS(t, 5, &tls.Config{RootCAs: ca.pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Fatal("TLS 1.1 was accepted")
	}
	b.reason(t, "handshake", 1)

	ca.server("second")
	if err := b.ReloadCertificates(); err != nil {
		t.Fatal(err)
	}
	name := func() string {
		c, err := tls.Dial("tcp", b.addr.String(), &tls.Config{RootCAs: ca.pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if n := name(); n != "second" {
		t.Fatalf("certificate %q after the reload", n)
	}
	old.ping()
	if err := os.WriteFile(ca.path("server.crt"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.ReloadCertificates(); err == nil {
		t.Fatal("rubbish was loaded")
	}
	if n := name(); n != "second" {
		t.Fatalf("certificate %q after a reload that failed", n)
	}
	old.ping()
}

// A socket that does not say anything, or not all of it, does not hold a place for long, also below TLS.
func TestTLSHandshakeTimesOut(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.server("s")
	b := setup(t, withListener(broker.ListenerConfig{TLS: ca.config()}), withLimits(func(l *broker.Limits) { l.ConnectTimeout = 100 * time.Millisecond }))
	silent, half := dial(t, b.addr, 4), dial(t, b.addr, 4)
	half.send([]byte{0x16, 3, 1, 2, 0, 1})
	silent.wantClosed()
	half.wantClosed()
	b.reason(t, "handshake", 2)
	c, err := b.dialTLS(t, 4, &tls.Config{RootCAs: ca.pool}) // shakes hands and says nothing
	if err != nil {
		t.Fatal(err)
	}
	c.wantClosed()
	b.reason(t, "connect_timeout", 1)
	eventually(t, "all closed", func() bool { return b.Stats().Connections == 0 })
}

func TestTLSFilesAreChecked(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.server("s")
	if err := os.Chmod(ca.path("server.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := broker.DefaultConfig()
	c.Listeners = []broker.ListenerConfig{{Name: "t", Address: "127.0.0.1:0", TLS: ca.config()}}
	if _, err := broker.New(c, broker.Options{}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatal(err)
	}
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	ca.server("s")
	for _, x := range []struct {
		auth, identity string
		cert           *tls.Certificate
		user, pass     string
		letIn          bool
		name           string
		role           broker.Role
	}{
		{"require", "cn", new(ca.client("sensor-1")), "", "", true, "sensor-1", broker.RoleDevice},
		{"require", "", new(ca.client("sensor-1")), "sensor-1", "", true, "sensor-1", broker.RoleDevice},
		{"require", "cn", new(ca.client("sensor-1")), "dev1", "secret1", false, "", ""},
		{"require", "san", new(ca.client("x", "sensor-2")), "", "", true, "sensor-2", broker.RoleDevice},
		{"require", "san", new(ca.client("x")), "", "", false, "", ""},
		{"require", "cn", new(ca.client("hub")), "", "", true, "hub", broker.RoleBridge}, // the users file knows it
		{"require", "cn", new(ca.client("a/b")), "", "", false, "", ""},
		{"require", "cn", new(stranger.client("sensor-1")), "", "", false, "", ""},
		{"require", "cn", nil, "dev1", "secret1", false, "", ""},
		{"optional", "cn", nil, "dev1", "secret1", true, "dev1", broker.RoleDevice},
		{"optional", "cn", nil, "", "", false, "", ""},
		{"none", "cn", new(ca.client("sensor-1")), "dev1", "secret1", true, "dev1", broker.RoleDevice},
	} {
		cfg := ca.config()
		cfg.ClientCAFile, cfg.ClientAuth, cfg.Identity = ca.path("ca.crt"), x.auth, x.identity
		b := setup(t, withUsers(t), withListener(broker.ListenerConfig{TLS: cfg, Anonymous: "never"}))
		tc := &tls.Config{RootCAs: ca.pool}
		if x.cert != nil {
			tc.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return x.cert, nil }
		}
		letIn := false
		if c, err := b.dialTLS(t, 4, tc); err == nil {
			c.trySend(c.connectPacket(connectOpts{id: "c", user: x.user, pass: x.pass}))
			p, err := c.read()
			letIn = err == nil && p.kind() == 2 && p.code() == 0
		}
		if letIn != x.letIn {
			t.Errorf("%+v: let in = %v", x, letIn)
			continue
		}
		if letIn {
			eventually(t, "connected", func() bool { return len(b.Clients()) == 1 })
			if c := b.Clients()[0]; c.User != x.name || c.Role != x.role {
				t.Errorf("%+v: is %+v", x, c)
			}
			b.RefreshUsers()
			if x.cert != nil && len(b.Clients()) != 1 {
				t.Errorf("%+v: a certificate's client was disconnected by a reload of the users", x)
			}
		}
		b.stop()
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.server("s")
	for _, secure := range []bool{false, true} {
		l := broker.ListenerConfig{Transport: "websocket", Origins: []string{"https://ok.example"}, Anonymous: "always"}
		scheme := "ws"
		if secure {
			l.TLS, scheme = ca.config(), "wss"
		}
		b := setup(t, withListener(l), withLimits(func(l *broker.Limits) { l.ConnectTimeout = 500 * time.Millisecond }))
		d := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: &tls.Config{RootCAs: ca.pool}}
		url := scheme + "://" + b.addr.String()
		for _, x := range []struct {
			path, origin string
			protocols    []string
			ok           bool
		}{
			{"/mqtt", "", []string{"mqtt"}, true},
			{"/mqtt", "https://ok.example", []string{"mqtt"}, true},
			{"/mqtt", "https://evil.example", []string{"mqtt"}, false},
			{"/mqtt", scheme + "://" + b.addr.String(), []string{"mqtt"}, false},
			{"/mqtt", "", []string{"chat"}, false},
			{"/mqtt", "", nil, false},
			{"/", "", []string{"mqtt"}, false},
		} {
			d.Subprotocols = x.protocols
			h := http.Header{}
			if x.origin != "" {
				h.Set("Origin", x.origin)
			}
			c, resp, err := d.Dial(url+x.path, h)
			if resp != nil {
				resp.Body.Close()
			}
			if (err == nil) != x.ok {
				t.Errorf("%s %+v: %v", scheme, x, err)
			}
			if c != nil {
				c.Close()
			}
		}

		d.Subprotocols = []string{"mqtt"}
		c, resp, err := d.Dial(url+"/mqtt", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		// One packet in several messages, several packets in one message (MQTT 5 §6.0).
		r := &raw{t: t, version: 4}
		pk := append(r.connectPacket(connectOpts{id: "ws"}), r.publishPacket(telemetry, []byte("1"), 1, 1, false)...)
		for _, part := range [][]byte{pk[:1], pk[1:10], pk[10:]} {
			if err := c.WriteMessage(websocket.BinaryMessage, part); err != nil {
				t.Fatal(err)
			}
		}
		var got []byte
		for len(got) < 8 {
			kind, data, err := c.ReadMessage()
			if err != nil || kind != websocket.BinaryMessage {
				t.Fatal(kind, err)
			}
			got = append(got, data...)
		}
		if string(got) != "\x20\x02\x00\x00\x40\x02\x00\x01" {
			t.Fatalf("% x", got)
		}
		if p := b.sink.next(t); p.Client != "ws" {
			t.Fatalf("%+v", p)
		}
		if cs := b.Clients(); len(cs) != 1 || !cs[0].WebSocket || cs[0].TLS != secure {
			t.Fatalf("%+v", cs)
		}
		if err := c.WriteMessage(websocket.TextMessage, []byte("text")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "closed", func() bool { return b.Stats().Clients == 0 })
		c.Close()

		silent, resp, err := d.Dial(url+"/mqtt", nil) // says nothing
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if _, _, err := silent.ReadMessage(); err == nil {
			t.Fatal("a silent WebSocket got a message")
		}
		eventually(t, "no connections", func() bool { return b.Stats().Connections == 0 })
		b.stop()
	}
}

// Anonymous on loopback does not hold for WebSocket: any page in a browser on this machine could connect.
func TestWebSocketIsNeverAnonymousOnLoopback(t *testing.T) {
	t.Parallel()
	b := setup(t, withListener(broker.ListenerConfig{Transport: "websocket"}))
	d := websocket.Dialer{Subprotocols: []string{"mqtt"}}
	c, resp, err := d.Dial("ws://"+b.addr.String()+"/mqtt", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	defer c.Close()
	r := &raw{t: t, version: 4}
	if err := c.WriteMessage(websocket.BinaryMessage, r.connectPacket(connectOpts{id: "ws"})); err != nil {
		t.Fatal(err)
	}
	if _, data, err := c.ReadMessage(); err != nil || string(data) != "\x20\x02\x00\x05" {
		t.Fatalf("% x %v", data, err)
	}
}

// A real client, over TCP, WebSocket and TLS.
func TestPaho(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.server("s")
	for name, l := range map[string]broker.ListenerConfig{
		"tcp": {}, "ws": {Transport: "websocket"}, "ssl": {TLS: ca.config()}, "wss": {Transport: "websocket", TLS: ca.config()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, withUsers(t), withListener(l))
			addr := name + "://" + b.addr.String()
			if l.Transport == "websocket" {
				addr += "/mqtt"
			}
			c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(addr).SetClientID("paho").SetUsername("dev1").SetPassword("secret1").
				SetTLSConfig(&tls.Config{RootCAs: ca.pool}).SetConnectTimeout(wait).SetWriteTimeout(wait))
			if tok := c.Connect(); !tok.WaitTimeout(wait) || tok.Error() != nil {
				t.Fatal(tok.Error())
			}
			defer c.Disconnect(0)
			got := make(chan string, 10)
			if tok := c.Subscribe("devices/dev1/commands/+/request/+", 2, func(_ mqtt.Client, m mqtt.Message) { got <- m.Topic() }); !tok.WaitTimeout(wait) || tok.Error() != nil {
				t.Fatal(tok.Error())
			}
			for qos := byte(0); qos <= 2; qos++ {
				if tok := c.Publish("devices/dev1/telemetry", qos, false, "1"); !tok.WaitTimeout(wait) || tok.Error() != nil {
					t.Fatal(qos, tok.Error())
				}
				if p := b.sink.next(t); p.QoS != qos || p.User != "dev1" {
					t.Fatalf("%+v", p)
				}
				if err := b.Publish("devices/dev1/commands/blink/request/7", []byte("{}"), qos, false); err != nil {
					t.Fatal(err)
				}
				select {
				case topic := <-got:
					if topic != "devices/dev1/commands/blink/request/7" {
						t.Fatal(topic)
					}
				case <-time.After(wait):
					t.Fatalf("no delivery at QoS %d", qos)
				}
			}
		})
	}
}
