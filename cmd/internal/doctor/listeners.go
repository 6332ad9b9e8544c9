package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

const dialTimeout = 3 * time.Second

// checkListeners tries the gateway's own addresses: whether they can be taken,
// or whether the running gateway answers there.
func (e *examination) checkListeners(ctx context.Context) {
	type address struct{ key, addr string }
	var list []address
	for i, l := range e.Config.Broker.Listeners {
		list = append(list, address{fmt.Sprintf("broker.listeners[%d] (%s)", i, l.Name), l.Address})
	}
	if e.Config.Console.Address != "" {
		list = append(list, address{"console.address", e.Config.Console.Address})
	}
	for _, a := range list {
		if strings.HasSuffix(a.addr, ":0") {
			continue // a free one is taken at each start
		}
		if e.running {
			e.reach(ctx, a.key, a.addr)
		} else {
			e.bind(ctx, a.key, a.addr)
		}
	}
}

func (e *examination) reach(ctx context.Context, key, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return // a fault of the configuration, which is told there
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		e.fault("listeners", fmt.Sprintf("%s: nobody answers at %s: %v", key, addr, err), "was the gateway started with this configuration? A changed address needs a restart")
		return
	}
	_ = conn.Close()
	e.ok("listeners", "%s answers at %s", key, addr)
}

func (e *examination) bind(ctx context.Context, key, addr string) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err == nil {
		_ = l.Close()
		e.ok("listeners", "%s: %s is free", key, addr)
		return
	}
	advice := "change the address in the configuration"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "stop what listens there (ss -ltnp shows it; often mosquitto), or change the address"
	case errors.Is(err, syscall.EACCES):
		advice = "ports below 1024 need a privilege that the service does not have: take one above"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		advice = "this machine has no such address now; an empty host such as \":8883\" listens on every one"
	}
	e.fault("listeners", fmt.Sprintf("%s: %v", key, err), advice)
}

// soon is how long before its end a certificate or token is worth a warning.
const soon = 30 * 24 * time.Hour

// checkCertificates reads the certificates that the gateway shows or trusts.
func (e *examination) checkCertificates(context.Context) {
	for i, l := range e.Config.Broker.Listeners {
		if l.TLS == nil {
			continue
		}
		key := fmt.Sprintf("broker.listeners[%d].tls", i)
		e.serverCertificate(key, l.TLS.CertFile, l.TLS.KeyFile)
		e.authorities(key+".client_ca_file", l.TLS.ClientCAFile)
	}
	e.serverCertificate("console.tls", e.Config.Console.TLS.CertFile, e.Config.Console.TLS.KeyFile)
	e.authorities("central.ca_file", e.Config.Central.CAFile)
}

func (e *examination) serverCertificate(key, certFile, keyFile string) {
	const check = "certificates"
	if certFile == "" || strings.Contains(certFile, "$") {
		return
	}
	chain, err := readCertificates(certFile)
	if err != nil {
		e.fault(check, fmt.Sprintf("%s.cert_file: %v", key, err), "put the certificate and its chain there, as PEM")
		return
	}
	e.validity(key+".cert_file "+certFile, chain, "renew it; a running gateway takes a changed file into force by itself")
	if len(chain[0].DNSNames)+len(chain[0].IPAddresses) == 0 {
		e.warn(check, fmt.Sprintf("%s.cert_file %s names no host (subjectAltName): clients that check names refuse it", key, certFile), "issue it with the names and addresses under which devices connect")
	}
	if keyFile == "" || strings.Contains(keyFile, "$") {
		return
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		e.fault(check, fmt.Sprintf("%s: %v", key, err), "cert_file and key_file must belong together, the key unencrypted and readable by the gateway")
	}
}

func (e *examination) authorities(key, file string) {
	if file == "" || strings.Contains(file, "$") {
		return
	}
	chain, err := readCertificates(file)
	if err != nil {
		e.fault("certificates", fmt.Sprintf("%s: %v", key, err), "put the authorities' certificates there, as PEM")
		return
	}
	e.validity(key+" "+file, chain, "replace the authority's certificate")
}

// validity reports the certificate that ends first.
func (e *examination) validity(name string, chain []*x509.Certificate, advice string) {
	const check = "certificates"
	first := chain[0]
	for _, c := range chain {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
		if e.Now.Before(c.NotBefore) {
			e.fault(check, fmt.Sprintf("%s: %q is valid only from %s on", name, c.Subject.CommonName, day(c.NotBefore)), "set this machine's clock, or wait")
			return
		}
	}
	left := first.NotAfter.Sub(e.Now)
	message := fmt.Sprintf("%s: %q ends on %s", name, first.Subject.CommonName, day(first.NotAfter))
	switch {
	case left < 0:
		e.fault(check, strings.Replace(message, "ends on", "ended on", 1), advice)
	case left < soon:
		e.warn(check, fmt.Sprintf("%s, in %d days", message, int(left/(24*time.Hour))), advice)
	default:
		e.ok(check, "%s", message)
	}
}

func readCertificates(file string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for len(text) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", file, len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return chain, nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
