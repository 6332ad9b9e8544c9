package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names of the files in the folder.
const (
	CACert     = "ca.crt"
	CAKey      = "ca.key"
	ServerCert = "server.crt"
	ServerKey  = "server.key"
	DeviceDir  = "devices"
)

// Validity of what is made when nobody says otherwise. The authority outlives the gateway; 825 days is the longest that
// common TLS stacks take for a server.
const (
	CAValidity     = 20 * 365 * 24 * time.Hour
	ServerValidity = 825 * 24 * time.Hour
	DeviceValidity = 10 * 365 * 24 * time.Hour
)

// backdated is how far a certificate's start lies in the past: a device whose clock is a little behind can use it at once.
const backdated = 24 * time.Hour

// maxCommonName is the longest common name (RFC 5280 appendix A.1, ub-common-name).
const maxCommonName = 64

// Errors that callers tell apart.
var (
	ErrExists = errors.New("there already")
	ErrNone   = errors.New("there is no certificate authority here")
	ErrClock  = errors.New("the clock of this machine is not set; a certificate made now would not be valid later")
	ErrName   = errors.New("not a name for a certificate")
)

// Authority is an authority that can sign.
type Authority struct {
	dir  string
	now  func() time.Time
	cert *x509.Certificate
	key  crypto.Signer
}

// Create makes a new authority in a folder, which it makes too. One that has an authority is refused with ErrExists.
func Create(dir, name string, now func() time.Time) (*Authority, error) {
	if now().Year() < 2024 {
		return nil, ErrClock
	}
	if name == "" || len(name) > maxCommonName {
		return nil, fmt.Errorf("%w: the site's name needs 1 to %d bytes", ErrName, maxCommonName)
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	for _, file := range []string{CACert, CAKey} {
		if _, err := os.Lstat(filepath.Join(dir, file)); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, file), cmpErr(err))
		}
	}
	a := &Authority{dir: dir, now: now}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, der, err := a.sign(template, CAValidity)
	if err != nil {
		return nil, err
	}
	a.key = key
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("read the new authority: %w", err)
	}
	return a, writePair(dir, CACert, CAKey, der, key, false)
}

// cmpErr is ErrExists for a file that is there, and the error otherwise.
func cmpErr(err error) error {
	if err == nil {
		return ErrExists
	}
	return err
}

// Open reads the authority of a folder; ErrNone if it has none.
func Open(dir string, now func() time.Time) (*Authority, error) {
	cert, err := readCertificate(filepath.Join(dir, CACert))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, CAKey))
	if err != nil {
		return nil, err
	}
	if pub, ok := key.Public().(*ecdsa.PublicKey); !ok || !pub.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", filepath.Join(dir, CAKey), filepath.Join(dir, CACert))
	}
	return &Authority{dir: dir, now: now, cert: cert, key: key}, nil
}

// Server makes the gateway's certificate for the host names and addresses that devices connect to, in place of an older one.
func (a *Authority) Server(hosts []string, validity time.Duration) error {
	if len(hosts) == 0 {
		return fmt.Errorf("%w: a server needs a host name or an address", ErrName)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: hosts[0]},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		if !hostName(h) {
			return fmt.Errorf("%w: %q is neither a host name nor an address", ErrName, h)
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	if len(hosts[0]) > maxCommonName {
		template.Subject = pkix.Name{} // the alternative names count
	}
	key, der, err := a.sign(template, validity)
	if err != nil {
		return err
	}
	return writePair(a.dir, ServerCert, ServerKey, der, key, true)
}

// Device makes a device's certificate: the id is its common name and, where it can be one, its DNS name. The id must be
// valid as a device's, which the caller has checked. A device that has one is refused with ErrExists.
func (a *Authority) Device(id string, validity time.Duration) (certFile, keyFile string, err error) {
	if id == "" || len(id) > maxCommonName || strings.ContainsAny(id, "/\\\x00") || id[0] == '.' {
		return "", "", fmt.Errorf("%w: %q needs 1 to %d bytes without slashes, and no leading dot", ErrName, id, maxCommonName)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: id},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if hostName(id) {
		template.DNSNames = []string{id}
	}
	dir := filepath.Join(a.dir, DeviceDir)
	if err := makeDir(dir); err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, id+".crt"), filepath.Join(dir, id+".key")
	for _, file := range []string{certFile, keyFile} {
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			return "", "", fmt.Errorf("%s: %w", file, cmpErr(err))
		}
	}
	key, der, err := a.sign(template, validity)
	if err != nil {
		return "", "", err
	}
	return certFile, keyFile, writePair(dir, id+".crt", id+".key", der, key, false)
}

// sign makes a key and a certificate for it.
func (a *Authority) sign(template *x509.Certificate, validity time.Duration) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	now := a.now()
	if now.Year() < 2024 {
		return nil, nil, ErrClock
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = now.Add(-backdated), now.Add(validity)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	} else if template.NotAfter.After(parent.NotAfter) {
		template.NotAfter = parent.NotAfter // nothing outlives the authority
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate: %w", err)
	}
	return key, der, nil
}

// hostName reports whether s can be a DNS name of a certificate (RFC 1123 §2.1).
func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
				return false
			}
		}
	}
	return true
}

// Entry describes a certificate in the folder.
type Entry struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"` // authority, server or device
	File    string    `json:"file"`
	Hosts   []string  `json:"hosts,omitempty"` // of a server
	Expires time.Time `json:"expires"`
}

// List describes the certificates in a folder: the authority, the server, and the devices by name.
func List(dir string) ([]Entry, error) {
	var list []Entry
	add := func(kind, file string) error {
		cert, err := readCertificate(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		e := Entry{Name: cert.Subject.CommonName, Kind: kind, File: file, Expires: cert.NotAfter}
		if kind == "server" {
			e.Hosts = slices.Clone(cert.DNSNames)
			for _, ip := range cert.IPAddresses {
				e.Hosts = append(e.Hosts, ip.String())
			}
		}
		list = append(list, e)
		return nil
	}
	devices, err := filepath.Glob(filepath.Join(dir, DeviceDir, "*.crt"))
	if err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	slices.Sort(devices)
	errs := []error{add("authority", filepath.Join(dir, CACert)), add("server", filepath.Join(dir, ServerCert))}
	for _, file := range devices {
		errs = append(errs, add("device", file))
	}
	return list, errors.Join(errs...)
}

func readPEM(path, kind string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	block, _ := pem.Decode(data)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s", path, strings.ToLower(kind))
	}
	return block.Bytes, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	der, err := readPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return cert, nil
}

func readKey(path string) (crypto.Signer, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the authority's key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %04o): chmod 600 it", path, st.Mode().Perm())
	}
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s holds no private key that can be read", path) // the error could quote the key
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: not a key that signs", path)
	}
	return signer, nil
}
