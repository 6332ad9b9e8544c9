package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Errors of tokens.
var (
	// ErrToken is a token that is not known, was revoked or has expired. Which
	// of these it is, the bearer is not told.
	ErrToken = errors.New("the API token is not valid")
	// ErrTooManyFailures is given instead of ErrToken to an address that
	// failed too often.
	ErrTooManyFailures = errors.New("too many attempts with tokens that are not valid")
	ErrNoToken         = errors.New("there is no such token")
	ErrTooManyTokens   = fmt.Errorf("there are %d tokens already: revoke some", MaxTokens)
)

// Options are what Tokens need besides their file; the zero value will do.
type Options struct {
	Now func() time.Time
	Log *zap.Logger
}

// Tokens is the file of tokens. It may be used from many goroutines, and by
// several processes at once.
type Tokens struct {
	path     string
	now      func() time.Time
	log      *zap.Logger
	failures failures

	mu     sync.RWMutex
	seen   version
	tokens map[string]record
}

// Open reads the file. One that does not exist is no error and has no tokens.
// A file that others may read is refused with ErrPermissions.
func Open(path string, opts Options) (*Tokens, error) {
	t := &Tokens{path: path, now: opts.Now, log: opts.Log}
	if t.now == nil {
		t.now = time.Now
	}
	if t.log == nil {
		t.log = zap.NewNop()
	}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Reload reads the file again. On an error nothing changes.
func (t *Tokens) Reload() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reload()
}

// reload is called with mu held. The version is taken before the file is read:
// a change in between is seen the next time.
func (t *Tokens) reload() error {
	t.seen = versionOf(t.path)
	tokens, err := readFile(t.path)
	if err != nil {
		return fmt.Errorf("read tokens file %s: %w", t.path, err)
	}
	t.tokens = tokens
	return nil
}

// refresh reads the file if it changed. A file that cannot be read leaves the
// tokens as they were, and is told of once.
func (t *Tokens) refresh() {
	v := versionOf(t.path)
	t.mu.RLock()
	same := v == t.seen
	t.mu.RUnlock()
	if same {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if versionOf(t.path) == t.seen {
		return
	}
	if err := t.reload(); err != nil {
		t.log.Error("the tokens file changed and cannot be read; the tokens stay as they were", zap.Error(err))
		return
	}
	t.log.Info("tokens read again", zap.Int("tokens", len(t.tokens)))
}

// Create makes a token of the spec's name, role and devices that is good for
// the given time, or for ever with 0. The secret is known to the caller alone.
func (t *Tokens) Create(spec Token, good time.Duration) (created Token, secret string, err error) {
	if err := spec.validate(); err != nil {
		return Token{}, "", err
	}
	secret, id := newSecret()
	sum := hashOf(secret)
	now := t.now().UTC().Truncate(time.Second)
	created = Token{ID: id, Name: spec.Name, Role: spec.Role, Devices: slices.Clone(spec.Devices), Created: now}
	if good > 0 {
		created.Expires = now.Add(good)
	}
	err = t.change(func(tokens map[string]record) error {
		if len(tokens) >= MaxTokens {
			return ErrTooManyTokens
		}
		if _, taken := tokens[id]; taken {
			return fmt.Errorf("the id %s exists already: try again", id)
		}
		tokens[id] = record{Token: created, Hash: hex.EncodeToString(sum[:]), sum: sum}
		return nil
	})
	if err != nil {
		return Token{}, "", err
	}
	return created, secret, nil
}

// Revoke takes back the token of an id.
func (t *Tokens) Revoke(id string) (revoked Token, err error) {
	err = t.change(func(tokens map[string]record) error {
		r, ok := tokens[id]
		if !ok {
			return fmt.Errorf("%w: %q", ErrNoToken, id)
		}
		revoked = r.Token
		delete(tokens, id)
		return nil
	})
	return revoked, err
}

func (t *Tokens) change(fn func(map[string]record) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	tokens, err := change(t.path, fn)
	if err != nil {
		return fmt.Errorf("change tokens file %s: %w", t.path, err)
	}
	t.tokens, t.seen = tokens, versionOf(t.path)
	return nil
}

// List returns the tokens, the oldest first.
func (t *Tokens) List() []Token {
	t.refresh()
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]Token, 0, len(t.tokens))
	for _, r := range t.tokens {
		list = append(list, r.Token)
	}
	slices.SortFunc(list, func(a, b Token) int { return byAge(record{Token: a}, record{Token: b}) })
	return list
}

// Authenticate finds who bears a token: ErrToken for nobody. Failures are
// counted by the address they come from; one that has failed too often gets
// ErrTooManyFailures. A valid token is taken from any address at any time: it
// cannot be guessed, and a neighbour behind the same address must not be able
// to lock its bearer out.
func (t *Tokens) Authenticate(secret string, from netip.Addr) (Principal, error) {
	t.refresh()
	id, formed := idOf(secret)
	t.mu.RLock()
	r, known := t.tokens[id]
	t.mu.RUnlock()
	// An unknown id is compared as well, with a hash that nothing has, so that
	// ids cannot be told from the time of an answer.
	var sum [sha256.Size]byte
	if formed {
		sum = hashOf(secret)
	}
	same := subtle.ConstantTimeCompare(sum[:], r.sum[:]) == 1
	if formed && known && same && !r.Expired(t.now()) {
		return r.Principal(), nil
	}
	if !t.failures.allow(from, t.now()) {
		return Principal{}, ErrTooManyFailures
	}
	return Principal{}, ErrToken
}

// Principal returns who bears the token of an id, or ErrToken: for whatever
// outlives a request, such as a session of the dashboard, to find out whether
// the token is still good.
func (t *Tokens) Principal(id string) (Principal, error) {
	t.refresh()
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, ok := t.tokens[id]
	if !ok || r.Expired(t.now()) {
		return Principal{}, ErrToken
	}
	return r.Principal(), nil
}
