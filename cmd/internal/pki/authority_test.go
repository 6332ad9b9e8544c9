package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iotc-gateway/cmd/internal/pki"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

func setup(t *testing.T) (*pki.Authority, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data", "pki")
	a, err := pki.Create(dir, "test site", clock)
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

func load(t *testing.T, dir, name string) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf, pair
}

func pool(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, pki.CACert))
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		t.Fatal("ca.crt holds no certificate")
	}
	return p
}

func TestServerAndDevice(t *testing.T) {
	t.Parallel()
	a, dir := setup(t)
	if err := a.Server([]string{"gw.example", "192.0.2.7", "::1"}, pki.ServerValidity); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Device("sensor_1", pki.DeviceValidity); err != nil {
		t.Fatal(err)
	}
	server, _ := load(t, dir, "server")
	device, _ := load(t, filepath.Join(dir, pki.DeviceDir), "sensor_1")
	roots := pool(t, dir)
	for _, host := range []string{"gw.example", "192.0.2.7", "::1"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	client := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := device.Verify(client); err != nil {
		t.Error(err)
	}
	if _, err := server.Verify(client); err == nil {
		t.Error("the server's certificate passes for a device's")
	}
	if _, err := device.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err == nil {
		t.Error("a device's certificate passes for a server's")
	}
	if device.Subject.CommonName != "sensor_1" || len(device.DNSNames) != 0 {
		t.Errorf("%v %v", device.Subject, device.DNSNames)
	}
	for name, mode := range map[string]os.FileMode{"ca.key": 0o600, "server.key": 0o600, "devices/sensor_1.key": 0o600, "ca.crt": 0o644, ".": os.ModeDir | 0o700} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
	list, err := pki.List(dir)
	if err != nil || len(list) != 3 || list[0].Kind != "authority" || list[1].Kind != "server" || strings.Join(list[1].Hosts, " ") != "gw.example 192.0.2.7 ::1" || list[2].Name != "sensor_1" {
		t.Fatalf("%+v %v", list, err)
	}
}

// A certificate is never overwritten, but the server's is renewed.
func TestNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	a, dir := setup(t)
	if _, err := pki.Create(dir, "again", clock); !errors.Is(err, pki.ErrExists) {
		t.Errorf("a second authority: %v", err)
	}
	if _, _, err := a.Device("d", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Device("d", time.Hour); !errors.Is(err, pki.ErrExists) {
		t.Errorf("a device twice: %v", err)
	}
	for range 2 {
		if err := a.Server([]string{"x"}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := load(t, dir, "server")
	again, err := pki.Open(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Server([]string{"y"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if second, _ := load(t, dir, "server"); second.SerialNumber.Cmp(first.SerialNumber) == 0 || second.DNSNames[0] != "y" {
		t.Error("the server's certificate was not renewed")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestAuthorityIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := pki.Open(t.TempDir(), clock); !errors.Is(err, pki.ErrNone) {
		t.Errorf("no authority: %v", err)
	}
	if _, err := pki.Create(t.TempDir(), "x", func() time.Time { return time.Unix(100, 0) }); !errors.Is(err, pki.ErrClock) {
		t.Errorf("a clock that is not set: %v", err)
	}
	_, dir := setup(t)
	key := filepath.Join(dir, pki.CAKey)
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Open(dir, clock); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
	_, other := setup(t)
	foreign, err := os.ReadFile(filepath.Join(other, pki.CAKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(key, 0o600), os.WriteFile(key, foreign, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Open(dir, clock); err == nil || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("another authority's key: %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	a, _ := setup(t)
	for _, name := range []string{"", "a/b", "..", ".x", strings.Repeat("x", 65), "a\x00b"} {
		if _, _, err := a.Device(name, time.Hour); !errors.Is(err, pki.ErrName) {
			t.Errorf("device %q: %v", name, err)
		}
	}
	if cert, _, err := a.Device(strings.Repeat("x", 64), time.Hour); err != nil || !strings.HasSuffix(cert, ".crt") {
		t.Error(err)
	}
	for _, host := range []string{"", "a b", "-x", "x..y", "host/path", "*.example"} {
		if err := a.Server([]string{host}, time.Hour); !errors.Is(err, pki.ErrName) {
			t.Errorf("host %q: %v", host, err)
		}
	}
	if err := a.Server(nil, time.Hour); !errors.Is(err, pki.ErrName) {
		t.Error(err)
	}
	// What an authority signs ends with it.
	if err := a.Server([]string{"x"}, 100*365*24*time.Hour); err != nil {
		t.Fatal(err)
	}
}
