package console

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// auditKept is how many entries the dashboard shows; the log has them all.
const auditKept = 500

// AuditEntry is something that somebody did through the console.
type AuditEntry struct {
	Time   time.Time `json:"time"`
	Name   string    `json:"name"`
	Role   string    `json:"role"`
	Remote string    `json:"remote"`
	Action string    `json:"action"`
	Target string    `json:"target"`
	OK     bool      `json:"ok"`
	Detail string    `json:"detail,omitempty"`
}

// audit writes what people do to the log and keeps the last of it to be shown.
type audit struct {
	log *zap.Logger
	now func() time.Time
	mu  sync.Mutex
	// newest last
	entries []AuditEntry
}

func (a *audit) note(r *http.Request, who *session, action, target string, err error) {
	e := AuditEntry{Time: a.now(), Remote: addressOf(r).String(), Action: action, Target: target, OK: err == nil}
	token := ""
	if who != nil {
		e.Name, e.Role, token = who.Name, who.Role, who.Token
	}
	if err != nil {
		e.Detail = err.Error()
	}
	a.log.Info("dashboard", zap.String("token", token), zap.String("name", e.Name), zap.String("role", e.Role), zap.String("from", e.Remote),
		zap.String("action", e.Action), zap.String("target", e.Target), zap.Bool("ok", e.OK), zap.String("detail", e.Detail))
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.entries) == auditKept {
		a.entries = slices.Delete(a.entries, 0, auditKept/5)
	}
	a.entries = append(a.entries, e)
}

// list returns the entries, newest first.
func (a *audit) list() []AuditEntry {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := slices.Clone(a.entries)
	slices.Reverse(out)
	return out
}
