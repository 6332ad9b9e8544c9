package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"iotc-gateway/cmd/internal/access"
)

const (
	sessionIdle  = 2 * time.Hour
	sessionLife  = 12 * time.Hour
	sessionsMost = 256
	cookieName   = "iotc_session"
	// The prefix has a browser refuse the cookie unless it came over TLS from
	// this very host.
	secureCookieName = "__Host-" + cookieName
)

// session is a login of a browser.
type session struct {
	ID       string    `json:"id"` // not the cookie: nothing can be done with it but to end the session
	Name     string    `json:"name"`
	Role     string    `json:"role"`
	Token    string    `json:"token"` // its id
	Remote   string    `json:"remote"`
	Browser  string    `json:"browser"`
	Created  time.Time `json:"created"`
	LastSeen time.Time `json:"lastSeen"`
	Current  bool      `json:"current"`

	principal access.Principal
}

// sessions holds the logins in memory: a restart of the gateway ends them. The
// keys are hashes, so that a dump of the memory opens no door.
type sessions struct {
	now    func() time.Time
	tokens *access.Tokens

	mu   sync.Mutex
	live map[[sha256.Size]byte]*session
}

func newSessions(tokens *access.Tokens, now func() time.Time) *sessions {
	return &sessions{now: now, tokens: tokens, live: make(map[[sha256.Size]byte]*session)}
}

// open begins a session and returns what the cookie holds. When there are too
// many, the one that was idle for longest ends.
func (s *sessions) open(p access.Principal, remote, browser string) (secret string) {
	secret = rand.Text() + rand.Text()
	now := s.now()
	key := sha256.Sum256([]byte(secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	for len(s.live) >= sessionsMost {
		var oldest [sha256.Size]byte
		var at time.Time
		for k, v := range s.live {
			if at.IsZero() || v.LastSeen.Before(at) {
				oldest, at = k, v.LastSeen
			}
		}
		delete(s.live, oldest)
	}
	if len(browser) > 200 {
		browser = strings.ToValidUTF8(browser[:200], "")
	}
	s.live[key] = &session{
		ID: hex.EncodeToString(key[:8]), Name: p.String(), Role: string(p.Role), Token: p.ID,
		Remote: remote, Browser: browser, Created: now, LastSeen: now, principal: p,
	}
	return secret
}

// sweep forgets what is over.
func (s *sessions) sweep(now time.Time) {
	for k, v := range s.live {
		if now.Sub(v.LastSeen) > sessionIdle || now.Sub(v.Created) > sessionLife {
			delete(s.live, k)
		}
	}
}

// find returns the session of a request. The token is asked for each time: one
// that was revoked, or whose role changed, is so at once.
func (s *sessions) find(r *http.Request) (*session, bool) {
	key, ok := sessionKey(r)
	if !ok {
		return nil, false
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.live[key]
	if !ok {
		return nil, false
	}
	p, err := s.tokens.Principal(found.Token)
	if err != nil || now.Sub(found.LastSeen) > sessionIdle || now.Sub(found.Created) > sessionLife {
		delete(s.live, key)
		return nil, false
	}
	found.LastSeen, found.Name, found.Role, found.principal = now, p.String(), string(p.Role), p
	out := *found
	return &out, true
}

// end forgets the session of a request.
func (s *sessions) end(r *http.Request) {
	if key, ok := sessionKey(r); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.live, key)
	}
}

// endID forgets the session that is listed under an id.
func (s *sessions) endID(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range s.live {
		if v.ID == id {
			delete(s.live, k)
			return true
		}
	}
	return false
}

func (s *sessions) list(current string) []session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(s.now())
	out := make([]session, 0, len(s.live))
	for _, v := range s.live {
		item := *v
		item.Current = v.ID == current
		out = append(out, item)
	}
	slices.SortFunc(out, func(a, b session) int { return b.LastSeen.Compare(a.LastSeen) })
	return out
}

func sessionKey(r *http.Request) (key [sha256.Size]byte, ok bool) {
	name := cookieName
	if r.TLS != nil {
		name = secureCookieName
	}
	c, err := r.Cookie(name)
	if err != nil || c.Value == "" {
		return key, false
	}
	return sha256.Sum256([]byte(c.Value)), true
}

// sessionCookie is Secure wherever the console speaks TLS; on plain loopback a
// browser would drop such a cookie.
func sessionCookie(r *http.Request, secret string) *http.Cookie {
	c := &http.Cookie{Name: cookieName, Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife.Seconds())}
	if r.TLS != nil {
		c.Name, c.Secure = secureCookieName, true
	}
	if secret == "" {
		c.MaxAge = -1
	}
	return c
}
