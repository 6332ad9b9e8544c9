package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	// deadScan is how many dead letters are looked at to group them.
	deadScan = 20_000
	deadPage = 50
	// deadAct is how many one call retries or drops.
	deadAct = 1000
)

// deadGroup is the dead letters of one reason.
type deadGroup struct {
	Reason  string    `json:"reason"`
	Count   int       `json:"count"`
	Bytes   int       `json:"bytes"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Message string    `json:"message"` // of the newest
	Devices int       `json:"devices"`
	devices map[string]bool
}

// getDeadLetters lists a page of one reason, newest first, or the groups.
func (d *Dashboard) getDeadLetters(w http.ResponseWriter, r *http.Request, who *session) (string, error) {
	q := r.URL.Query()
	if !q.Has("reason") {
		groups, complete, err := d.deadGroups(r.Context(), who)
		if err != nil {
			return "", err
		}
		d.answer(w, map[string]any{"groups": groups, "complete": complete})
		return "", nil
	}
	page := 0
	if text := q.Get("page"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > deadScan/deadPage {
			return "", badf("page is no number of a page")
		}
		page = n
	}
	letters, err := d.deadOf(r.Context(), who, q.Get("reason"))
	if err != nil {
		return "", err
	}
	slices.Reverse(letters)
	from := min(page*deadPage, len(letters))
	to := min(from+deadPage, len(letters))
	d.answer(w, map[string]any{"letters": letters[from:to], "count": len(letters), "page": page, "more": to < len(letters)})
	return "", nil
}

func (d *Dashboard) deadGroups(ctx context.Context, who *session) (groups []*deadGroup, complete bool, err error) {
	byReason := map[string]*deadGroup{}
	groups = []*deadGroup{}
	seen := 0
	err = d.source.DeadLetters(ctx, 0, func(l DeadLetter) bool {
		if seen++; !coversAny(who, []string{l.Device}) {
			return seen < deadScan
		}
		g := byReason[l.Reason]
		if g == nil {
			g = &deadGroup{Reason: l.Reason, First: l.Time, devices: map[string]bool{}}
			byReason[l.Reason] = g
			groups = append(groups, g)
		}
		g.Count, g.Bytes, g.Last, g.Message = g.Count+1, g.Bytes+l.Bytes, l.Time, l.Message
		if l.Device != "" {
			g.devices[l.Device] = true
			g.Devices = len(g.devices)
		}
		return seen < deadScan
	})
	slices.SortFunc(groups, func(a, b *deadGroup) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Reason, b.Reason)) })
	return groups, seen < deadScan, err
}

// deadOf lists the dead letters of a reason, oldest first.
func (d *Dashboard) deadOf(ctx context.Context, who *session, reason string) (letters []DeadLetter, err error) {
	letters = []DeadLetter{}
	seen := 0
	err = d.source.DeadLetters(ctx, 0, func(l DeadLetter) bool {
		if l.Reason == reason && coversAny(who, []string{l.Device}) {
			letters = append(letters, l)
		}
		seen++
		return seen < deadScan
	})
	return letters, err
}

func (d *Dashboard) getDeadLetter(w http.ResponseWriter, r *http.Request, who *session) (string, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return "", badf("a dead letter's id is a number")
	}
	l, err := d.source.DeadLetter(id)
	if err == nil && !coversAny(who, []string{l.Device}) {
		err = fmt.Errorf("dead letter %d: %w", id, ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	d.answer(w, l)
	return "", nil
}

// deadChoice is which dead letters are meant: some, or all of a reason.
type deadChoice struct {
	IDs    []uint64 `json:"ids"`
	Reason string   `json:"reason"`
}

// chosen reads the choice. More than one call may do is cut, and said so.
func (d *Dashboard) chosen(w http.ResponseWriter, r *http.Request, who *session) (ids []uint64, target string, more bool, err error) {
	var in deadChoice
	if err := read(w, r, &in); err != nil {
		return nil, "", false, err
	}
	ids, target = in.IDs, fmt.Sprintf("%d chosen", len(in.IDs))
	if len(ids) > 0 && len(who.principal.Devices) > 0 {
		ids = slices.DeleteFunc(ids, func(id uint64) bool {
			l, err := d.source.DeadLetter(id)
			return err != nil || !who.principal.Covers(l.Device)
		})
	}
	if in.Reason != "" {
		if len(ids) > 0 {
			return nil, "", false, badf("either ids or a reason")
		}
		letters, err := d.deadOf(r.Context(), who, in.Reason)
		if err != nil {
			return nil, "", false, err
		}
		for _, l := range letters {
			ids = append(ids, l.ID)
		}
		target = fmt.Sprintf("%d of %s", len(ids), in.Reason)
	}
	if len(ids) == 0 {
		return nil, target, false, fmt.Errorf("dead letters: %w", ErrNotFound)
	}
	if len(ids) > deadAct {
		ids, more = ids[:deadAct], true
	}
	return ids, target, more, nil
}

// deadFailure is a dead letter that could not be retried.
type deadFailure struct {
	ID    uint64 `json:"id"`
	Error string `json:"error"`
}

func (d *Dashboard) retryDeadLetters(w http.ResponseWriter, r *http.Request, who *session) (string, error) {
	ids, target, more, err := d.chosen(w, r, who)
	if err != nil {
		return target, err
	}
	retried, failures := 0, []deadFailure{}
	for _, id := range ids {
		switch err := d.source.RetryDeadLetter(r.Context(), id); {
		case err == nil:
			retried++
		case errors.Is(err, ErrNotFound):
			// Somebody else was quicker.
		default:
			failures = append(failures, deadFailure{id, err.Error()})
		}
		if r.Context().Err() != nil {
			return target, fmt.Errorf("retry dead letters: %w", r.Context().Err())
		}
	}
	d.answer(w, map[string]any{"retried": retried, "failures": failures[:min(len(failures), 20)], "failed": len(failures), "more": more})
	return fmt.Sprintf("%s: %d retried, %d failed", target, retried, len(failures)), nil
}

func (d *Dashboard) dropDeadLetters(w http.ResponseWriter, r *http.Request, who *session) (string, error) {
	ids, target, more, err := d.chosen(w, r, who)
	if err != nil {
		return target, err
	}
	if err := d.source.DropDeadLetters(r.Context(), ids...); err != nil {
		return target, err
	}
	d.answer(w, map[string]any{"dropped": len(ids), "more": more})
	return target, nil
}
