package central

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
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

// newTransport makes the transport for a configuration. Proxies come from the environment (HTTPS_PROXY, NO_PROXY).
func newTransport(cfg Config) (*http.Transport, error) {
	roots, err := loadRoots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
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
	}, nil
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
