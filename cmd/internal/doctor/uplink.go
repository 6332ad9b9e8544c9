package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping/template"
)

const uplinkTimeout = 10 * time.Second

// checkUplink goes the way of a call step by step, so that the first step that
// fails is the finding: name, connection, TLS, token, devices.
func (e *examination) checkUplink(ctx context.Context) {
	cfg := e.Config.Central
	if cfg.URL == "" {
		return
	}
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return // a fault of the configuration, which is told there
	}
	if e.Offline {
		e.note("uplink", "was not tried, as told", "")
		e.checkToken(ctx, nil)
		return
	}
	proxy, err := e.Proxy(&http.Request{URL: base})
	if err != nil {
		e.fault("proxy", fmt.Sprintf("HTTPS_PROXY or HTTP_PROXY: %v", redactProxy(err)), "write it as http://host:port")
		return
	}
	target := base
	if proxy != nil {
		e.note("proxy", "calls go through "+proxy.Host, "set NO_PROXY to the uplink's host to go without")
		target = proxy
	}
	if !e.checkName(ctx, target.Hostname()) {
		return
	}
	roots, ok := e.roots()
	if !ok || proxy == nil && !e.checkConnection(ctx, base, roots) {
		return
	}
	e.checkToken(ctx, &http.Transport{
		Proxy:           func(*http.Request) (*url.URL, error) { return proxy, nil },
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	})
}

// redactProxy keeps the address, which may hold a password, out of the error.
func redactProxy(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return errors.New("is no proxy address")
}

func (e *examination) roots() (*x509.CertPool, bool) {
	file := e.Config.Central.CAFile
	if file == "" {
		return nil, true
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, false // told by the check of certificates
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	return roots, roots.AppendCertsFromPEM(text)
}

func (e *examination) checkName(ctx context.Context, host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, uplinkTimeout)
	defer cancel()
	start := time.Now()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		advice := "look at the network and at /etc/resolv.conf; `getent hosts " + host + "` asks the same question"
		if d, ok := errors.AsType[*net.DNSError](err); ok && d.IsNotFound {
			advice = "the name does not exist: compare central.url with the application's address; a name in this network only needs its own DNS server"
		}
		e.fault("dns", err.Error(), advice)
		return false
	}
	e.ok("dns", "%s is %s (%d ms)", host, strings.Join(addresses, ", "), time.Since(start).Milliseconds())
	return true
}

// checkConnection connects and, for https, shakes hands.
func (e *examination) checkConnection(ctx context.Context, base *url.URL, roots *x509.CertPool) bool {
	ctx, cancel := context.WithTimeout(ctx, uplinkTimeout)
	defer cancel()
	port := base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	address := net.JoinHostPort(base.Hostname(), port)
	start := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		e.fault("connection", err.Error(), "look at route and firewall: outgoing TCP to port "+port+" must be allowed; a proxy is taken from HTTPS_PROXY")
		return false
	}
	defer func() { _ = conn.Close() }()
	if base.Scheme != "https" {
		e.ok("connection", "%s answers in %d ms, in the clear", address, time.Since(start).Milliseconds())
		return true
	}
	secured := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: base.Hostname(), MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	if err := secured.HandshakeContext(ctx); err != nil {
		e.fault("tls", err.Error(), e.adviseTLS(err))
		return false
	}
	state := secured.ConnectionState()
	e.ok("tls", "%s, %s, %s in %d ms", address, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), time.Since(start).Milliseconds())
	if c := state.PeerCertificates[0]; c.NotAfter.Sub(e.Now) < soon {
		e.warn("tls", fmt.Sprintf("the application's certificate ends on %s", day(c.NotAfter)), "whoever runs the application has to renew it; calls fail from then on")
	}
	return true
}

func (e *examination) adviseTLS(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "install ca-certificates, or, for an authority of your own or a proxy that looks into TLS, name its PEM file in central.ca_file"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "central.url must use a name that the certificate has"
	}
	if c, ok := errors.AsType[x509.CertificateInvalidError](err); ok && c.Reason == x509.Expired {
		return "compare this machine's clock (" + e.Now.UTC().Format(time.RFC3339) + ") with the certificate's dates; the wrong one of the two has to be mended"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "what answers there does not speak TLS: compare scheme and port of central.url"
	}
	return "a firewall or proxy may cut TLS off; `openssl s_client -connect HOST:443` shows more"
}

// checkToken reads the token and lets the application say what it is worth. A
// nil transport leaves the application out.
func (e *examination) checkToken(ctx context.Context, transport *http.Transport) {
	const check = "token"
	cfg := e.Config.Central
	var source central.TokenSource
	switch {
	case strings.Contains(cfg.TokenFile, "$"):
		return // told by the check of the configuration
	case cfg.TokenFile != "":
		source = central.TokenFile(cfg.TokenFile)
	case cfg.TokenEnv != "":
		source = central.TokenEnv(cfg.TokenEnv)
	default:
		e.fault(check, "neither central.token_file nor central.token_env is set", "create an API token in the application and put it into a file of mode 0600")
		return
	}
	token, err := source()
	if err != nil {
		e.fault(check, err.Error(), "create an API token in the application and put it there")
		return
	}
	if token == "" {
		e.fault(check, cfg.TokenFile+" is empty", "create an API token in the application and put it there")
		return
	}
	if !e.tokenInTime(token) {
		return
	}
	if transport == nil {
		e.note(check, "is there; whether the application accepts it was not tried", "")
		return
	}
	watcher := &dateWatcher{next: transport}
	defer transport.CloseIdleConnections()
	client, err := central.NewClient(cfg, central.ClientOptions{Transport: watcher, UserAgent: "iotc-gateway-doctor/" + e.Version})
	if err != nil {
		e.fault("uplink", err.Error(), "correct the section central")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, uplinkTimeout)
	defer cancel()
	application, err := client.Application(ctx)
	e.compareClocks(watcher)
	switch status := central.StatusOf(err); {
	case err == nil:
		e.ok(check, "the application %q accepts it", application.DisplayName)
		e.checkDevices(ctx, client)
	case status == http.StatusUnauthorized:
		e.fault(check, "the application refuses it: "+err.Error(), "it ended or was revoked: create a new one and put it in its place, then `systemctl reload iotc-gateway` (restart, where it is a credential of systemd)")
	case status == http.StatusForbidden:
		e.fault(check, "the application knows it and does not let it do this: "+err.Error(), "give the token a role that may read and write devices and their data")
	case status == http.StatusNotFound:
		e.fault("uplink", "the server answers, and does not know the API: "+err.Error(), "compare the path in central.url and central.api_version with the application's documentation")
	case status != 0:
		e.warn("uplink", "the application answers with a fault: "+err.Error(), "none here: the gateway tries again by itself")
	default:
		e.fault("uplink", err.Error(), "see the findings above")
	}
}

// tokenInTime reads the end out of a shared access signature (se, seconds
// since 1970); other tokens do not tell.
func (e *examination) tokenInTime(token string) bool {
	fields, ok := strings.CutPrefix(token, "SharedAccessSignature ")
	if !ok {
		return true
	}
	values, err := url.ParseQuery(fields)
	if err != nil {
		e.warn("token", "is no well-formed shared access signature", "copy it again as a whole, from SharedAccessSignature to the end")
		return true
	}
	seconds, err := strconv.ParseInt(values.Get("se"), 10, 64)
	if err != nil {
		return true
	}
	if seconds > 1e11 {
		seconds /= 1000 // some tools write milliseconds
	}
	end := time.Unix(seconds, 0)
	switch left := end.Sub(e.Now); {
	case left < 0:
		e.fault("token", "ended on "+day(end), "create a new one in the application and put it in its place")
		return false
	case left < soon:
		e.warn("token", fmt.Sprintf("ends on %s, in %d days", day(end), int(left/(24*time.Hour))), "create a new one in the application before that")
	default:
		e.ok("token", "ends on %s", day(end))
	}
	return true
}

// dateWatcher remembers how far the server's clock was from this machine's.
type dateWatcher struct {
	next http.RoundTripper
	skew atomic.Pointer[time.Duration]
}

func (w *dateWatcher) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := w.next.RoundTrip(r)
	if err == nil {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			middle := start.Add(time.Since(start) / 2)
			w.skew.Store(new(middle.Sub(date.Add(time.Second / 2))))
		}
	}
	return resp, err
}

// maxSkew is a difference of the clocks that times of receipt should not have.
const maxSkew = 30 * time.Second

func (e *examination) compareClocks(w *dateWatcher) {
	skew := w.skew.Load()
	switch {
	case skew == nil:
	case skew.Abs() > maxSkew:
		e.fault("clock", fmt.Sprintf("differs from the application's by %s", skew.Round(time.Second)), "set the clock: times of receipt are wrong by as much, and tokens and certificates end too early or too late")
	default:
		e.ok("clock", "agrees with the application's to %s", (skew.Abs() + time.Second).Round(time.Second))
	}
}

// maxListed bounds the devices whose templates are compared.
const maxListed = 1000

// checkDevices compares the templates of the application's devices with those
// that the gateway checks values against.
func (e *examination) checkDevices(ctx context.Context, client *central.Client) {
	const check = "templates"
	dir := e.Config.Mapping.TemplatesDir
	if dir == "" {
		return
	}
	set, err := template.LoadDir(dir)
	if err != nil {
		return // told by the check of the configuration
	}
	seen, without := 0, 0
	missing := map[string]int{}
	for d, err := range client.Devices(ctx, "") {
		if err != nil {
			e.warn(check, "the application's devices could not be listed: "+err.Error(), "give the token a role that may read devices, to have their templates compared")
			return
		}
		if seen++; seen > maxListed {
			break
		}
		if _, known := set.Get(d.Template); d.Template == "" {
			without++
		} else if !known {
			missing[d.Template]++
		}
	}
	for id, n := range missing {
		e.warn(check, fmt.Sprintf("%s in the application follow %s, which is not in mapping.templates_dir: their values are not checked before they are stored", plural(n, "device"), id),
			"export the template in the application and put the file into "+dir)
	}
	if without > 0 {
		e.note(check, fmt.Sprintf("%s in the application have no template", plural(without, "device")), "assign one there, or set mapping.default_template for devices that are created on first sight")
	}
	if len(missing) == 0 {
		e.ok(check, "%s in the application follow templates that are here", plural(min(seen, maxListed)-without, "device"))
	}
}

// checkTemplates reads the templates by themselves.
func (e *examination) checkTemplates(context.Context) {
	dir := e.Config.Mapping.TemplatesDir
	if dir == "" {
		return
	}
	set, err := template.LoadDir(dir)
	if err != nil {
		return // told by the check of the configuration
	}
	e.ok("templates", "%s in %s", plural(set.Len(), "interface"), dir)
	for _, w := range set.Warnings() {
		e.note("templates", w.Error(), "")
	}
}
