package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// certificateCheck is how often the files are looked at for changes.
const certificateCheck = 30 * time.Second

// certificates holds a listener's TLS settings. New handshakes use the newest files that could be loaded; connections that
// stand are not touched.
type certificates struct {
	cfg     TLSConfig
	current atomic.Pointer[tls.Config]

	mu    sync.Mutex
	stamp string // sizes and times of the files that current came from
}

func loadCertificates(cfg TLSConfig) (*certificates, error) {
	c := &certificates{cfg: cfg}
	if _, err := c.reload(true); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificates) config() *tls.Config { return c.current.Load() }

// reload loads the files if they changed, or in any case. On an error what was loaded before stays in force.
func (c *certificates) reload(force bool) (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp, err := c.look()
	if err != nil {
		return false, err
	}
	if !force && stamp == c.stamp {
		return false, nil
	}
	cfg, err := c.load()
	if err != nil {
		return false, err
	}
	c.current.Store(cfg)
	c.stamp = stamp
	return true, nil
}

// look describes the files' state.
func (c *certificates) look() (string, error) {
	var stamp strings.Builder
	for _, path := range []string{c.cfg.CertFile, c.cfg.KeyFile, c.cfg.ClientCAFile} {
		if path == "" {
			continue
		}
		st, err := os.Stat(path)
		if err != nil {
			return "", fmt.Errorf("look at TLS file: %w", err)
		}
		if path == c.cfg.KeyFile && st.Mode().Perm()&0o007 != 0 {
			return "", fmt.Errorf("TLS key %s may be read by everybody (mode %04o): chmod 600 it", path, st.Mode().Perm())
		}
		fmt.Fprintf(&stamp, "%d %d;", st.Size(), st.ModTime().UnixNano())
	}
	return stamp.String(), nil
}

func (c *certificates) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load TLS certificate: %w", err)
	}
	cfg := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"mqtt", "http/1.1"},
	}
	if c.cfg.MinVersion == "1.3" {
		cfg.MinVersion = tls.VersionTLS13
	}
	if c.cfg.ClientCAFile == "" || c.cfg.ClientAuth == "none" {
		return cfg, nil
	}
	pem, err := os.ReadFile(c.cfg.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("load client authorities: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load client authorities: %s holds no certificate", c.cfg.ClientCAFile)
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	if c.cfg.ClientAuth == "optional" {
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return cfg, nil
}

// certificateIdentity is the name by which a certificate identifies its device.
func certificateIdentity(cert *x509.Certificate, from string) string {
	if from != "san" {
		return cert.Subject.CommonName
	}
	switch {
	case len(cert.DNSNames) > 0:
		return cert.DNSNames[0]
	case len(cert.URIs) > 0:
		return cert.URIs[0].String()
	case len(cert.EmailAddresses) > 0:
		return cert.EmailAddresses[0]
	}
	return ""
}

// ReloadCertificates loads the TLS files of every listener again. Connections go on; a listener whose files are faulty keeps
// what it has, and the error says so.
func (b *Broker) ReloadCertificates() error {
	var errs []error
	for _, l := range b.listeners {
		if l.tls == nil {
			continue
		}
		if _, err := l.tls.reload(true); err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %w", l.cfg.Name, err))
		}
	}
	return errors.Join(errs...)
}

// refreshCertificates does the same for files that changed, by itself.
func (b *Broker) refreshCertificates() {
	for _, l := range b.listeners {
		if l.tls == nil {
			continue
		}
		changed, err := l.tls.reload(false)
		if err != nil {
			b.noise.warn("TLS files changed and cannot be loaded; the old ones stay in force", zap.String("listener", l.cfg.Name), zap.Error(err))
		} else if changed {
			b.noise.info("TLS files loaded again", zap.String("listener", l.cfg.Name))
		}
	}
}
