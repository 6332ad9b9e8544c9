package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"iotc-gateway/mapping"
)

// explain maps each publication of the body and answers line by line, so that
// a person at a terminal sees each answer at once.
func (a *API) explain(w http.ResponseWriter, r *http.Request) {
	// Answers go out while the body still comes in.
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex()
	in, out := json.NewDecoder(r.Body), json.NewEncoder(w)
	for line := 1; ; line++ {
		var c mapping.Captured
		err := in.Decode(&c)
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil && line == 1:
			refuse(w, http.StatusBadRequest, "InvalidBody", fmt.Errorf("publication %d: %w", line, err))
			return
		case err != nil:
			_ = out.Encode(mapping.Trial{Err: &mapping.Error{Code: mapping.CodeUndecodable, Message: fmt.Sprintf("publication %d: %v", line, err)}})
			return
		}
		if err := out.Encode(a.opts.Explain(c.Publication())); err != nil {
			return
		}
		_ = rc.Flush()
	}
}

// tap shows publications as they come in until the caller goes away.
func (a *API) tap(w http.ResponseWriter, r *http.Request) {
	if a.opts.Watch == nil {
		stopped(w)
		return
	}
	seen, missed, stop := a.opts.Watch()
	defer stop()
	w.Header().Set("Content-Type", "application/x-ndjson")
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	out := json.NewEncoder(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case s := <-seen:
			s.Missed = missed()
			if err := out.Encode(s); err != nil {
				return
			}
			if len(seen) == 0 {
				_ = rc.Flush()
			}
		}
	}
}
