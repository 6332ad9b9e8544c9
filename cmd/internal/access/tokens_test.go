package access_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iotc-gateway/cmd/internal/access"
)

func TestTokenIsKnownByItsSecretAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	made, secret := b.create(access.Operator, "hall-*")
	got, err := b.tokens.Authenticate(secret, b.here)
	if err != nil || got.ID != made.ID || got.Role != access.Operator || !slices.Equal(got.Devices, []string{"hall-*"}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if strings.Contains(b.file(), secret) || strings.Contains(b.file(), secret[len(secret)-20:]) {
		t.Error("the file holds the secret")
	}
	info, err := os.Stat(b.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	near := []byte(secret)
	near[len(near)-2] ^= 1
	for _, wrong := range []string{"", "x", made.ID, secret + "A", secret[:len(secret)-1], string(near), "iotcgw_" + made.ID + "_", strings.ToUpper(secret), "iotcgw_nobody_" + secret[16:], strings.Repeat("iotcgw_a_", 1000)} {
		if _, err := b.tokens.Authenticate(wrong, b.here); err == nil {
			t.Errorf("%q was let in", wrong)
		}
	}
}

func TestRevocationAndCreationAreInForceAtOnceElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gateway := b.open()
	made, secret := b.create(access.Reader)
	if _, err := gateway.Authenticate(secret, b.here); err != nil {
		t.Fatalf("a token made by another process: %v", err)
	}
	if _, err := gateway.Principal(made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.tokens.Revoke(made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.Authenticate(secret, b.here); !errors.Is(err, access.ErrToken) {
		t.Errorf("revoked, and yet %v", err)
	}
	if _, err := gateway.Principal(made.ID); !errors.Is(err, access.ErrToken) {
		t.Errorf("revoked, and its session goes on: %v", err)
	}
	if _, err := b.tokens.Revoke(made.ID); !errors.Is(err, access.ErrNoToken) {
		t.Errorf("revoked twice: %v", err)
	}
	if list := gateway.List(); len(list) != 0 {
		t.Errorf("still lists %v", list)
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	b := setup(t)
	made, secret, err := b.tokens.Create(access.Token{Role: access.Admin, Name: "for the fitter"}, 90*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if want := b.now.AddDate(0, 0, 90); !made.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", made.Expires, want)
	}
	b.now = made.Expires.Add(-time.Second)
	if _, err := b.tokens.Authenticate(secret, b.here); err != nil {
		t.Errorf("a second before: %v", err)
	}
	b.now = made.Expires
	if _, err := b.tokens.Authenticate(secret, b.here); !errors.Is(err, access.ErrToken) {
		t.Errorf("expired, and yet %v", err)
	}
}

func TestFailuresAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, secret := b.create(access.Reader)
	fail := func(from string) error {
		_, err := b.tokens.Authenticate("iotcgw_guess_guess", netip.MustParseAddr(from))
		return err
	}
	for range 10 {
		if err := fail("192.0.2.7"); !errors.Is(err, access.ErrToken) {
			t.Fatal(err)
		}
	}
	if err := fail("192.0.2.7"); !errors.Is(err, access.ErrTooManyFailures) {
		t.Errorf("the eleventh failure: %v", err)
	}
	if err := fail("::ffff:192.0.2.7"); !errors.Is(err, access.ErrTooManyFailures) {
		t.Errorf("the same address in another form: %v", err)
	}
	if err := fail("192.0.2.8"); !errors.Is(err, access.ErrToken) {
		t.Errorf("another address: %v", err)
	}
	if _, err := b.tokens.Authenticate(secret, b.here); err != nil {
		t.Errorf("a valid token from that address: %v", err)
	}
	b.now = b.now.Add(6 * time.Second)
	if err := fail("192.0.2.7"); !errors.Is(err, access.ErrToken) {
		t.Errorf("after a while: %v", err)
	}
	// One IPv6 host has a whole /64.
	for i := range 11 {
		err := fail(fmt.Sprintf("2001:db8::%x", i+1))
		if want := i == 10; errors.Is(err, access.ErrTooManyFailures) != want {
			t.Errorf("host %d of a network: %v", i, err)
		}
	}
}

func TestFailingAddressesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	refused := 0
	for i := range 5000 {
		if _, err := b.tokens.Authenticate("x", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})); errors.Is(err, access.ErrTooManyFailures) {
			refused++
		}
	}
	if refused != 5000-4096 {
		t.Errorf("%d were told to wait", refused)
	}
	b.now = b.now.Add(2 * time.Minute)
	if _, err := b.tokens.Authenticate("x", netip.MustParseAddr("10.1.0.0")); !errors.Is(err, access.ErrToken) {
		t.Errorf("a new address after a quiet time: %v", err)
	}
}

func TestFileIsRefusedWhereItCannotBeTrusted(t *testing.T) {
	t.Parallel()
	const good = `{"tokens":[{"id":"a","role":"reader","created":"2026-01-01T00:00:00Z","hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}`
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"group may read": {good, 0o640, "chmod 600"},
		"others write":   {good, 0o602, "chmod 600"},
		"unknown key":    {strings.Replace(good, `"id"`, `"device":"x","id"`, 1), 0o600, `unknown field "device"`},
		"unknown role":   {strings.Replace(good, "reader", "root", 1), 0o600, `role "root" is not one of reader,`},
		"short hash":     {strings.Replace(good, "e3b0", "", 1), 0o600, "SHA-256"},
		"long hash":      {strings.Replace(good, "e3b0", "e3b0e3", 1), 0o600, "SHA-256"},
		"no hexadecimal": {strings.Replace(good, "e3b0", "g3b0", 1), 0o600, "SHA-256"},
		"no id":          {strings.Replace(good, `"a"`, `""`, 1), 0o600, "cannot be an id"},
		"twice":          {strings.Replace(good, "]}", good[strings.Index(good, "[")+1:], 1), 0o600, "twice"},
		"bad pattern":    {strings.Replace(good, `"id"`, `"devices":["a/b"],"id"`, 1), 0o600, "device pattern"},
		"no JSON":        {"tokens", 0o600, "invalid character"},
		"too large":      {good + strings.Repeat(" ", 1<<20), 0o600, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if err := os.WriteFile(b.path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(b.path, c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := access.Open(b.path, access.Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), b.path) {
				t.Errorf("got %v, want %q with the file's name", err, c.want)
			}
			if errors.Is(err, access.ErrPermissions) != (c.mode != 0o600) {
				t.Errorf("wrong kind of error: %v", err)
			}
		})
	}
}

// What is in force stays so when the file becomes unreadable while the gateway
// runs: an operator's slip must neither open nor shut the gateway.
func TestUnreadableFileLeavesTokensInForce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, secret := b.create(access.Reader)
	if err := os.WriteFile(b.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.tokens.Authenticate(secret, b.here); err != nil {
		t.Error(err)
	}
	if err := b.tokens.Reload(); err == nil {
		t.Error("a broken file was read")
	}
	if _, _, err := b.tokens.Create(access.Token{Role: access.Reader}, 0); err == nil {
		t.Error("a broken file was overwritten")
	}
	if err := os.Remove(b.path); err != nil {
		t.Fatal(err)
	}
	if _, err := b.tokens.Authenticate(secret, b.here); !errors.Is(err, access.ErrToken) {
		t.Errorf("the file is gone, and yet %v", err)
	}
}

func TestParallelWritersLoseNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			other, err := access.Open(b.path, access.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			for range 5 {
				if _, _, err := other.Create(access.Token{Role: access.Reader}, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(b.tokens.List()); n != 40 {
		t.Errorf("%d tokens of 40", n)
	}
}

func TestTokensAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var file strings.Builder
	file.WriteString(`{"tokens":[`)
	for i := range access.MaxTokens {
		if i > 0 {
			file.WriteByte(',')
		}
		fmt.Fprintf(&file, `{"id":"t%d","role":"reader","created":"2026-01-01T00:00:00Z","hash":"%064x"}`, i, i)
	}
	if err := os.WriteFile(b.path, []byte(file.String()+"]}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.tokens.Create(access.Token{Role: access.Reader}, 0); !errors.Is(err, access.ErrTooManyTokens) {
		t.Errorf("one more than the most: %v", err)
	}
	if _, err := b.tokens.Revoke("t0"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.tokens.Create(access.Token{Role: access.Reader}, 0); err != nil {
		t.Errorf("the last one there is room for: %v", err)
	}
}

func TestCreateRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for want, spec := range map[string]access.Token{
		`role "" is not`: {}, `role "root" is not`: {Role: "root"},
		"device pattern": {Role: access.Reader, Devices: []string{"a b"}},
		"name":           {Role: access.Reader, Name: "a\nb"},
	} {
		if _, _, err := b.tokens.Create(spec, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", spec, err, want)
		}
	}
}

func TestParseExpiry(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": 0, "never": 0, "0": 0, "90d": 90 * 24 * time.Hour, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute} {
		if got, err := access.ParseExpiry(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"90", "d", "-1d", "0d", "-5m", "soon", "1.5d", "99999999999999d", "36501d", "1000000h"} {
		if got, err := access.ParseExpiry(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	tokens, err := access.Open(b.TempDir()+"/tokens.json", access.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var secret string
	for range 50 {
		if _, secret, err = tokens.Create(access.Token{Role: access.Reader}, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokens.Authenticate(secret, netip.Addr{}); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzTokensFile(f *testing.F) {
	f.Add(`{"tokens":[{"id":"a","name":"n","role":"reader","devices":["d*"],"created":"2026-01-01T00:00:00Z","expires":"2027-01-01T00:00:00Z","hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}`)
	f.Add(`{"tokens":[{"id":"a","role":"admin","hash":""}]}`)
	f.Add(`{"tokens":null}`)
	f.Fuzz(func(t *testing.T, content string) {
		path := t.TempDir() + "/tokens.json"
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		tokens, err := access.Open(path, access.Options{})
		if err != nil {
			return
		}
		for _, known := range tokens.List() {
			// No file can make a token of what is no secret.
			if p, err := tokens.Authenticate("iotcgw_"+known.ID+"_", netip.Addr{}); err == nil {
				t.Errorf("let in %+v", p)
			}
		}
	})
}
