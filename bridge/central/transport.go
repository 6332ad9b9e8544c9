package central

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// The connections of the client. A link that dies without a word is noticed by whichever comes first: the call's timeout,
// the probes of TCP (an idle connection) or the pings of HTTP/2 (one with calls on it).
const (
	dialTimeout       = 10 * time.Second
	probeIdle         = 10 * time.Second
	probeInterval     = 3 * time.Second
	probeCount        = 3
	pingAfter         = 10 * time.Second
	pingTimeout       = 5 * time.Second
	idleTimeout       = 90 * time.Second
	maxIdle           = 128 // enough to keep the connections of 64 parallel calls and some to spare
	maxHeaderBytes    = 64 << 10
	continueTimeout   = time.Second
	writeBufferBytes  = 8 << 10
	readBufferBytes   = 4 << 10
	sessionCacheCount = 8
)

// newTransport makes the transport for a configuration: the direct one where the server is reached without a proxy, with
// the general one behind it for HTTP/2. Proxies come from the environment (HTTPS_PROXY, NO_PROXY).
func newTransport(cfg Config, base *url.URL) (http.RoundTripper, error) {
	roots, err := loadRoots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	general := newGeneralTransport(roots)
	proxy, err := general.Proxy(&http.Request{URL: base})
	if err != nil {
		return nil, fmt.Errorf("read the proxy from the environment: %w", err)
	}
	if proxy != nil {
		return general, nil
	}
	d := &direct{address: base.Host, dial: general.DialContext, general: general, lookAfter: lookAfter, patience: patience}
	port := "80"
	if base.Scheme == "https" {
		port = "443"
		d.tls = general.TLSClientConfig.Clone()
		d.tls.ServerName = base.Hostname()
		d.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	if base.Port() == "" {
		d.address = net.JoinHostPort(base.Hostname(), port)
	}
	return d, nil
}

// newGeneralTransport is the standard library's, for servers that speak HTTP/2 and for proxies.
func newGeneralTransport(roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{
		Timeout: dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: probeIdle, Interval: probeInterval, Count: probeCount,
		},
	}
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: dialer.DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            roots,
			ClientSessionCache: tls.NewLRUClientSessionCache(sessionCacheCount),
		},
		// A transport with a TLS configuration of its own speaks HTTP/2 only when told to.
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		WriteBufferSize:        writeBufferBytes,
		ReadBufferSize:         readBufferBytes,
		// The answers are small, and an answer that unpacks to gigabytes cannot come.
		DisableCompression: true,
	}
}

// loadRoots returns the system's certificate authorities and those of the file; nil is the system's alone.
func loadRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authorities: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the certificate authorities: %s holds no PEM certificate", path)
	}
	return roots, nil
}
