package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/buffer"
)

// QueueStats is the answer of /v1/buffer.
type QueueStats struct {
	Running bool                  `json:"running"`
	Classes map[string]ClassStats `json:"classes"`
	Refused map[string]uint64     `json:"refused,omitempty"` // batches, by reason

	DeadLetters     int64 `json:"dead_letters"`
	DeadLetterBytes int64 `json:"dead_letter_bytes"`
	Devices         int   `json:"devices"`

	MemoryBytes int64   `json:"memory_bytes"`
	LimitBytes  int64   `json:"limit_bytes"`
	DiskBytes   int64   `json:"disk_bytes"`
	FreeBytes   int64   `json:"free_bytes"`
	HoursLeft   float64 `json:"hours_left"` // until the queue is full at the present rate; negative: it is not growing

	DiskFull bool   `json:"disk_full,omitempty"`
	NotOpen  bool   `json:"not_open,omitempty"` // the store waits for space: what it holds is not among the figures
	Failed   string `json:"failed,omitempty"`
	SetAside string `json:"set_aside,omitempty"`

	Wear *Wear `json:"wear,omitempty"` // of a running gateway
}

// ClassStats is one class of records. Counters run since the start.
type ClassStats struct {
	Waiting      int64             `json:"waiting"`
	Bytes        int64             `json:"bytes"`
	BeingSent    int64             `json:"being_sent"`
	Stored       uint64            `json:"stored"`
	StoredBytes  uint64            `json:"stored_bytes"`
	Delivered    uint64            `json:"delivered"`
	Dropped      map[string]uint64 `json:"dropped,omitempty"`
	BytesPerHour float64           `json:"bytes_per_hour"`
}

// Wear is what was written to the disk since the start.
type Wear struct {
	Written     uint64  `json:"written_bytes"`
	Seconds     float64 `json:"seconds"`
	PerAccepted float64 `json:"per_accepted_byte"` // 0 while nothing was accepted
	PerDay      float64 `json:"bytes_per_day"`     // at the rate so far
}

func (a *API) showQueue(w http.ResponseWriter, _ *http.Request) {
	st := a.opts.Queue.Stats()
	out := QueueStatsOf(&st)
	out.Running = a.opts.Reload != nil
	if a.opts.Wear != nil {
		var accepted uint64
		for _, c := range buffer.Classes() {
			accepted += st.Classes[c].StoredBytes
		}
		written, since := a.opts.Wear()
		out.Wear = &Wear{Written: written, Seconds: since.Seconds()}
		if accepted > 0 {
			out.Wear.PerAccepted = float64(written) / float64(accepted)
		}
		if since > 0 {
			out.Wear.PerDay = float64(written) / since.Hours() * 24
		}
	}
	answer(w, out)
}

// QueueStatsOf are a store's figures as /v1/buffer shows them, of a gateway
// that does not run.
func QueueStatsOf(st *buffer.Stats) QueueStats {
	out := QueueStats{
		Classes: map[string]ClassStats{}, Refused: nonZero(st.Refused),
		DeadLetters: st.DeadLetters, DeadLetterBytes: st.DeadLetterBytes, Devices: st.Devices,
		MemoryBytes: st.MemoryBytes, LimitBytes: st.LimitBytes, DiskBytes: st.DiskBytes, FreeBytes: st.FreeBytes, HoursLeft: st.HoursLeft,
		DiskFull: st.DiskFull, NotOpen: st.Waiting, Failed: st.Failed, SetAside: st.SetAside,
	}
	for _, c := range buffer.Classes() {
		k := &st.Classes[c]
		out.Classes[c.String()] = ClassStats{
			Waiting: k.Count, Bytes: k.Bytes, BeingSent: k.Leased, Stored: k.Stored, StoredBytes: k.StoredBytes,
			Delivered: k.Delivered, Dropped: nonZero(k.Dropped), BytesPerHour: k.BytesPerHour,
		}
	}
	return out
}

func nonZero(counts map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for k, n := range counts {
		if n > 0 {
			out[k] = n
		}
	}
	return out
}

// WaitingRecord is a line of /v1/buffer/records.
type WaitingRecord struct {
	Device   string          `json:"device"`
	Kind     string          `json:"kind"`
	Name     string          `json:"name,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
	Binary   []byte          `json:"value_base64,omitempty"` // in place of a value that is no JSON
	Time     time.Time       `json:"time"`
	Age      float64         `json:"age_seconds"`
	Attempts int             `json:"attempts"`
	Sequence uint64          `json:"sequence"`
}

// RecordSelection says which waiting records are meant.
type RecordSelection struct {
	Kinds  []string `json:"kinds,omitempty"`
	Device string   `json:"device,omitempty"`
	MinAge string   `json:"min_age,omitempty"` // such as 24h
	All    bool     `json:"all,omitempty"`
}

func (s RecordSelection) selection() (out buffer.Selection, err error) {
	out.Device = s.Device
	for _, kind := range s.Kinds {
		found := false
		for _, c := range buffer.Classes() {
			if c.String() == kind {
				out.Classes |= buffer.Of(c)
				found = true
			}
		}
		if !found {
			return out, fmt.Errorf("%q is no kind of record: there are telemetry, property, command and device", kind)
		}
	}
	if s.MinAge != "" {
		if out.MinAge, err = time.ParseDuration(s.MinAge); err != nil || out.MinAge < 0 {
			return out, fmt.Errorf("%q is no age: write it as 90m or 24h", s.MinAge)
		}
	}
	return out, nil
}

func selectionOf(q url.Values) RecordSelection {
	s := RecordSelection{Device: q.Get("device"), MinAge: q.Get("min_age")}
	if kinds := q.Get("kinds"); kinds != "" {
		s.Kinds = strings.Split(kinds, ",")
	}
	return s
}

// listRecords streams what waits, page by page, so that a long queue is not
// held in memory.
func (a *API) listRecords(w http.ResponseWriter, r *http.Request) {
	sel, err := selectionOf(r.URL.Query()).selection()
	var limit uint64
	if err == nil {
		limit, err = number(r.URL.Query(), "limit")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidQuery", err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	after := buffer.Place{}
	for n := uint64(0); r.Context().Err() == nil; {
		list, err := a.opts.Queue.Waiting(sel, after, pageSize)
		if err != nil && n == 0 {
			refuse(w, http.StatusServiceUnavailable, "StoreUnavailable", err)
			return
		}
		for i := range list {
			after = list[i].Place()
			if out.Encode(waitingRecord(&list[i])) != nil {
				return
			}
			if n++; n == limit {
				return
			}
		}
		if len(list) < pageSize {
			return
		}
	}
}

func waitingRecord(r *buffer.Waiting) WaitingRecord {
	out := WaitingRecord{
		Device: r.Device, Kind: r.Class.String(), Name: r.Name, Time: time.Unix(0, r.Time).UTC(),
		Age: r.Age.Seconds(), Attempts: r.Attempts, Sequence: r.Seq,
	}
	switch {
	case len(r.Value) == 0:
	case json.Valid(r.Value):
		out.Value = r.Value
	default:
		out.Binary = r.Value
	}
	return out
}

// Purged is the answer of /v1/buffer/purge.
type Purged struct {
	Done int `json:"done"`
}

func (a *API) purge(w http.ResponseWriter, r *http.Request) {
	var want RecordSelection
	if !read(w, r, &want) {
		return
	}
	sel, err := want.selection()
	if err == nil && !want.All && len(want.Kinds) == 0 && want.Device == "" && want.MinAge == "" {
		err = fmt.Errorf("say which records are meant: kinds, a device, an age, or all")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidSelection", err)
		return
	}
	n, err := a.opts.Queue.Purge(r.Context(), sel)
	a.opts.Log.Info("records purged", zap.Int("records", n), zap.Strings("kinds", want.Kinds), zap.String("device", want.Device), zap.String("min_age", want.MinAge))
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "StoreUnavailable", fmt.Errorf("after %d records: %w", n, err))
		return
	}
	answer(w, Purged{n})
}
