package central

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
)

// TokenSource returns the current API token. It is called when there is none yet, on [Client.ReloadToken] and after an
// answer 401, not for every call. Its error must not contain the token.
type TokenSource func() (string, error)

// maxTokenBytes bounds what is read from a token file, which may be the wrong file.
const maxTokenBytes = 16 << 10

// ErrPermissions says that everybody on the machine may read the token's file.
var ErrPermissions = errors.New("everybody on this machine may read it")

// containerSecrets is where container engines mount secrets, with modes of their own choice; nobody else lives in there.
const containerSecrets = "/run/secrets/"

// TokenFile reads the token from a file; space around it is cut off. A file that everybody may read is refused with
// ErrPermissions.
func TokenFile(path string) TokenSource {
	return func() (string, error) {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		if st.Mode().Perm()&0o007 != 0 && !strings.HasPrefix(path, containerSecrets) {
			return "", fmt.Errorf("read the token: %s: %w (mode %04o): chmod 600 it", path, ErrPermissions, st.Mode().Perm())
		}
		b, err := io.ReadAll(io.LimitReader(f, maxTokenBytes+1))
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		if len(b) > maxTokenBytes {
			return "", fmt.Errorf("read the token: %s is larger than %d bytes", path, maxTokenBytes)
		}
		return strings.TrimSpace(string(b)), nil
	}
}

// TokenEnv reads the token from an environment variable.
func TokenEnv(name string) TokenSource {
	return func() (string, error) {
		token := strings.TrimSpace(os.Getenv(name))
		if token == "" {
			return "", fmt.Errorf("the environment variable %s is empty", name)
		}
		return token, nil
	}
}

// StaticToken always returns the same token.
func StaticToken(token string) TokenSource {
	return func() (string, error) { return token, nil }
}

// sharedAccessPrefix begins tokens of the real service, which are sent as they are; "Bearer" is for Entra tokens there.
const sharedAccessPrefix = "SharedAccessSignature"

// credential keeps the ready-made Authorization header, so that a call costs one atomic load.
type credential struct {
	source TokenSource
	header atomic.Pointer[authorization]
}

type authorization struct {
	token string
	value []string // the header's value, shared by all requests and never changed
}

// get returns the header, asking the source only while there is no token.
func (c *credential) get() (*authorization, error) {
	if a := c.header.Load(); a != nil {
		return a, nil
	}
	return c.reload()
}

// reload asks the source. When it fails, the token from before stays in use.
func (c *credential) reload() (*authorization, error) {
	token, err := c.source()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoToken, err)
	}
	if err := checkToken(token); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoToken, err)
	}
	a := &authorization{token: token, value: []string{"Bearer " + token}}
	if strings.HasPrefix(token, sharedAccessPrefix) {
		a.value = []string{token}
	}
	c.header.Store(a)
	return a, nil
}

// checkToken refuses what cannot be a header, without quoting it.
func checkToken(token string) error {
	if token == "" {
		return errors.New("it is empty")
	}
	for i := range len(token) {
		if token[i] < ' ' || token[i] > '~' {
			return errors.New("it holds a line break, a control character or a character beyond ASCII")
		}
	}
	return nil
}

// redactToken takes the token out of a text that came from elsewhere. Very short tokens are left, for they would garble
// every text; they are no secrets either.
func redactToken(s, token string) string {
	const shortest = 4
	if len(token) < shortest {
		return s
	}
	return strings.ReplaceAll(s, token, "[token]")
}
