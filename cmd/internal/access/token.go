package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Token is what is known of a token besides its secret.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	Role    Role      `json:"role"`
	Devices []string  `json:"devices,omitempty"`
	Created time.Time `json:"created"`
	// Expires is zero for a token that is good until it is revoked.
	Expires time.Time `json:"expires,omitzero"`
}

// Expired reports whether the token is good no longer.
func (t Token) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// Principal is who bears the token.
func (t Token) Principal() Principal {
	return Principal{ID: t.ID, Name: t.Name, Role: t.Role, Devices: slices.Clone(t.Devices)}
}

// validate checks what a person or a file says of a token.
func (t Token) validate() error {
	if _, err := ParseRole(string(t.Role)); err != nil {
		return err
	}
	const longest = 128
	if len(t.Name) > longest || strings.ContainsFunc(t.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("name %q: at most %d bytes and no control characters", t.Name, longest)
	}
	for _, d := range t.Devices {
		if err := validPattern(d); err != nil {
			return err
		}
	}
	return nil
}

// The form of a token: a prefix by which scanners for leaked secrets know it,
// the id, and 256 random bits.
const (
	tokenPrefix = "iotcgw_"
	secretBytes = 32
	idBytes     = 8
	maxToken    = 256
)

// newSecret makes a token and the id in it.
func newSecret() (token, id string) {
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // crypto/rand.Read never fails.
	id = strings.ToLower(rand.Text()[:idBytes])
	return tokenPrefix + id + "_" + base64.RawURLEncoding.EncodeToString(secret), id
}

// idOf returns the id in a token, and whether it has a token's form.
func idOf(token string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(token) > maxToken {
		return "", false
	}
	id, _, ok = strings.Cut(rest, "_")
	return id, ok
}

// hashOf is what is kept of a token.
func hashOf(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// ParseExpiry reads how long a token is good: Go's durations and days, as in
// 90d or 12h. Zero, never and nothing mean that it does not expire.
func ParseExpiry(s string) (time.Duration, error) {
	if s == "" || s == "never" || s == "0" {
		return 0, nil
	}
	const longest = 100 * 365 * 24 * time.Hour
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n <= int(longest/(24*time.Hour)) {
			d = time.Duration(n) * 24 * time.Hour
		}
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("expiry %q: write it as 90d, 12h or never", s)
	case d <= 0 || d > longest:
		return 0, errors.New("an expiry lies between a moment and a hundred years from now")
	}
	return d, nil
}
