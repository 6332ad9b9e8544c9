package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Health is what the health pages tell.
type Health struct {
	Checks []Check `json:"checks"`
}

// Check is the state of one part.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Message says in words what is wrong, or how it is.
	Message string `json:"message"`
	// Advisory faults are shown but make nothing unhealthy: an uplink that is
	// down is what the gateway is there for.
	Advisory bool `json:"advisory,omitempty"`
	// Ready faults make the gateway unready but not unhealthy, such as a full
	// disk: a restart would not help.
	Ready bool `json:"-"`
}

// Healthy reports whether a restart is not called for.
func (h Health) Healthy() bool {
	for _, c := range h.Checks {
		if !c.OK && !c.Advisory && !c.Ready {
			return false
		}
	}
	return true
}

// Ready reports whether publications are accepted.
func (h Health) Ready() bool {
	for _, c := range h.Checks {
		if !c.OK && !c.Advisory {
			return false
		}
	}
	return true
}

func (h Health) write(w http.ResponseWriter, r *http.Request, ok bool) {
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(struct {
			OK bool `json:"ok"`
			Health
		}{ok, h})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	for _, c := range h.Checks {
		word := "ok"
		switch {
		case !c.OK && c.Advisory:
			word = "note"
		case !c.OK:
			word = "FAULT"
		}
		_, _ = fmt.Fprintf(w, "%-6s %-10s %s\n", word, c.Name, c.Message)
	}
}
