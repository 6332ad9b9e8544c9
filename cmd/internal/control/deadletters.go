package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"go.uber.org/zap"

	"iotc-gateway/buffer"
)

// pageSize is how many dead letters are read from the store at a time.
const pageSize = 200

// maxFaults is how many failures of one retry are told in full.
const maxFaults = 20

// Selection says which dead letters are meant. Reason and Device narrow All and
// may stand alone.
type Selection struct {
	IDs    []uint64 `json:"ids,omitempty"`
	Reason string   `json:"reason,omitempty"`
	Device string   `json:"device,omitempty"`
	All    bool     `json:"all,omitempty"`
}

// Outcome is what became of the dead letters that were meant.
type Outcome struct {
	Done   int     `json:"done"`
	Failed int     `json:"failed"`
	Faults []Fault `json:"faults,omitempty"` // the first of them
}

// Fault is why a dead letter stays one.
type Fault struct {
	ID      uint64 `json:"id"`
	Message string `json:"message"`
}

func (s Selection) validate() error {
	switch {
	case len(s.IDs) > 0 && (s.All || s.Reason != "" || s.Device != ""):
		return errors.New("give ids, or a reason, a device or all, not both")
	case len(s.IDs) == 0 && !s.All && s.Reason == "" && s.Device == "":
		return errors.New("say which dead letters are meant: ids, a reason, a device, or all")
	}
	return nil
}

func (s Selection) matches(l *buffer.DeadLetter) bool {
	return (s.Reason == "" || s.Reason == l.Reason) && (s.Device == "" || s.Device == l.Device)
}

// each calls fn for the dead letters that are meant. Letters that come into
// being meanwhile, such as those that a retry makes, are not among them.
func (s Selection) each(ctx context.Context, from DeadLetters, fn func(l *buffer.DeadLetter) error) error {
	for _, id := range s.IDs {
		l, err := from.DeadLetterByID(id)
		if err == nil {
			err = fn(&l)
		}
		if err != nil {
			return err
		}
	}
	if len(s.IDs) > 0 {
		return nil
	}
	last, err := lastID(from)
	if err != nil {
		return err
	}
	for after := uint64(0); after < last; {
		list, err := from.DeadLetters(after, pageSize)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			after = list[i].ID
			if after > last || !s.matches(&list[i]) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(&list[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func lastID(from DeadLetters) (last uint64, err error) {
	for {
		list, err := from.DeadLetters(last, pageSize)
		if err != nil || len(list) == 0 {
			return last, err
		}
		last = list[len(list)-1].ID
	}
}

func (a *API) listDeadLetters(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	want := Selection{Reason: q.Get("reason"), Device: q.Get("device"), All: true}
	after, err := number(q, "after")
	if err == nil {
		var limit uint64
		if limit, err = number(q, "limit"); err == nil {
			a.writeDeadLetters(w, r, want, after, limit)
			return
		}
	}
	refuse(w, http.StatusBadRequest, "InvalidQuery", err)
}

func number(q url.Values, key string) (uint64, error) {
	text := q.Get(key)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s=%s is not a number", key, text)
	}
	return n, nil
}

// writeDeadLetters streams what is meant, at most limit of them; 0 sets none.
func (a *API) writeDeadLetters(w http.ResponseWriter, r *http.Request, want Selection, after, limit uint64) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	for n := uint64(0); r.Context().Err() == nil; {
		list, err := a.opts.DeadLetters.DeadLetters(after, pageSize)
		if err != nil && n == 0 {
			refuse(w, http.StatusServiceUnavailable, "StoreUnavailable", err)
			return
		}
		if err != nil || len(list) == 0 {
			return
		}
		for i := range list {
			after = list[i].ID
			if !want.matches(&list[i]) {
				continue
			}
			if err := out.Encode(list[i]); err != nil {
				return
			}
			if n++; n == limit {
				return
			}
		}
	}
}

func (a *API) showDeadLetter(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidID", fmt.Errorf("%q is no id of a dead letter", r.PathValue("id")))
		return
	}
	l, err := a.opts.DeadLetters.DeadLetterByID(id)
	if err != nil {
		refuseDeadLetter(w, err)
		return
	}
	answer(w, l)
}

func refuseDeadLetter(w http.ResponseWriter, err error) {
	if errors.Is(err, buffer.ErrNoDeadLetter) {
		refuse(w, http.StatusNotFound, "DeadLetterNotFound", err)
		return
	}
	refuse(w, http.StatusServiceUnavailable, "StoreUnavailable", err)
}

// retryDeadLetters puts what is meant back into the queue, one after the other:
// what fails stays a dead letter and does not keep the others from it.
func (a *API) retryDeadLetters(w http.ResponseWriter, r *http.Request) {
	want, ok := readSelection(w, r)
	if !ok {
		return
	}
	var out Outcome
	err := want.each(r.Context(), a.opts.DeadLetters, func(l *buffer.DeadLetter) error {
		if err := a.opts.Retry(r.Context(), l); err != nil {
			out.Failed++
			if len(out.Faults) < maxFaults {
				out.Faults = append(out.Faults, Fault{l.ID, err.Error()})
			}
			return nil
		}
		out.Done++
		return nil
	})
	a.opts.Log.Info("dead letters retried", zap.Int("done", out.Done), zap.Int("failed", out.Failed))
	if err != nil {
		refuseDeadLetter(w, err)
		return
	}
	answer(w, out)
}

func (a *API) dropDeadLetters(w http.ResponseWriter, r *http.Request) {
	want, ok := readSelection(w, r)
	if !ok {
		return
	}
	var ids []uint64
	err := want.each(r.Context(), a.opts.DeadLetters, func(l *buffer.DeadLetter) error {
		ids = append(ids, l.ID)
		return nil
	})
	if err == nil {
		err = a.opts.DeadLetters.DropDeadLetters(r.Context(), ids...)
	}
	if err != nil {
		refuseDeadLetter(w, err)
		return
	}
	a.opts.Log.Info("dead letters dropped", zap.Int("count", len(ids)))
	answer(w, Outcome{Done: len(ids)})
}

// readSelection reads which dead letters a call means.
func readSelection(w http.ResponseWriter, r *http.Request) (want Selection, ok bool) {
	if !read(w, r, &want) {
		return want, false
	}
	if err := want.validate(); err != nil {
		refuse(w, http.StatusBadRequest, "InvalidBody", err)
		return want, false
	}
	return want, true
}
