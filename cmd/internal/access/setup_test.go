package access_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"iotc-gateway/cmd/internal/access"
)

type bundle struct {
	*testing.T
	path   string
	now    time.Time
	tokens *access.Tokens
	here   netip.Addr
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{
		T: t, path: filepath.Join(t.TempDir(), "tokens.json"), here: netip.MustParseAddr("192.0.2.7"),
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
	b.tokens = b.open()
	return b
}

// open opens the file as another process would.
func (b *bundle) open() *access.Tokens {
	b.Helper()
	tokens, err := access.Open(b.path, access.Options{Now: func() time.Time { return b.now }})
	if err != nil {
		b.Fatal(err)
	}
	return tokens
}

func (b *bundle) create(role access.Role, devices ...string) (access.Token, string) {
	b.Helper()
	token, secret, err := b.tokens.Create(access.Token{Role: role, Devices: devices}, 0)
	if err != nil {
		b.Fatal(err)
	}
	return token, secret
}

func (b *bundle) file() string {
	b.Helper()
	data, err := os.ReadFile(b.path)
	if err != nil {
		b.Fatal(err)
	}
	return string(data)
}
