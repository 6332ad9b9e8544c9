package bench

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxBody bounds a telemetry body, as the real service does.
const maxBody = 256 << 10

// Faults is what the sink does wrong. Each call draws once; the probabilities are tried in the order of the fields.
type Faults struct {
	Latency      time.Duration `json:"latency"`       // between taking a call and answering it
	Error500     float64       `json:"error_500"`     // probability of a 500, nothing taken
	Throttled429 float64       `json:"throttled_429"` // probability of a 429 without Retry-After, nothing taken
	Dropped      float64       `json:"dropped"`       // probability that the call is taken and the connection closed unanswered
}

// SinkStats is what the sink has counted since it was reset.
type SinkStats struct {
	Calls       int64     `json:"calls"`       // telemetry calls taken
	Readings    int64     `json:"readings"`    // readings in them that came for the first time
	Bytes       int64     `json:"bytes"`       // of the telemetry bodies taken
	Failed      int64     `json:"failed"`      // telemetry calls answered with a fault
	Unreadable  int64     `json:"unreadable"`  // telemetry calls without a sequence number
	Others      int64     `json:"others"`      // calls about devices, properties and the application
	Refused     int64     `json:"refused"`     // wrong token, no api-version, unknown path
	Connections int64     `json:"connections"` // opened
	First       time.Time `json:"first"`       // of the first reading
	Last        time.Time `json:"last"`        // of the last reading that came for the first time
}

// Sink stands for the application: it speaks the telemetry, device and property calls of the REST API and counts.
// It costs little beyond net/http itself, so that what the bench compares is clients.
type Sink struct {
	token    string
	arrivals *Arrivals
	faults   atomic.Pointer[Faults]
	buffers  sync.Pool

	calls, readings, bytes, failed, unreadable, others, refused, connections atomic.Int64
	first, last                                                              atomic.Int64 // UnixNano, 0 = none

	mu      sync.Mutex // guards server and address, for the time of opening or closing the listener
	server  *http.Server
	address string
}

type callBuffers struct {
	body []byte
	seqs []int
}

// NewSink makes a sink that accepts the given bearer token.
func NewSink(token string) *Sink {
	s := &Sink{token: "Bearer " + token, arrivals: NewArrivals()}
	s.buffers.New = func() any { return &callBuffers{body: make([]byte, 0, 1<<10)} }
	s.faults.Store(&Faults{})
	return s
}

// Up opens the listener, at the address it had before if there was one. It does nothing when it is open.
func (s *Sink) Up() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return s.address, nil
	}
	if s.address == "" {
		s.address = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.address)
	if err != nil {
		return "", fmt.Errorf("open sink: %w", err)
	}
	s.address = listener.Addr().String()
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.connections.Add(1)
			}
		},
	}
	s.server = server
	go func() { _ = server.Serve(listener) }()
	return s.address, nil
}

// Down closes the listener and every connection: to a client the application is gone.
func (s *Sink) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		_ = s.server.Close()
		s.server = nil
	}
}

// Stats reads the counters.
func (s *Sink) Stats() SinkStats {
	stats := SinkStats{
		Calls: s.calls.Load(), Readings: s.readings.Load(), Bytes: s.bytes.Load(), Failed: s.failed.Load(),
		Unreadable: s.unreadable.Load(), Others: s.others.Load(), Refused: s.refused.Load(), Connections: s.connections.Load(),
	}
	if at := s.first.Load(); at != 0 {
		stats.First = time.Unix(0, at)
	}
	if at := s.last.Load(); at != 0 {
		stats.Last = time.Unix(0, at)
	}
	return stats
}

// Reset forgets what was counted and ends the faults.
func (s *Sink) Reset() {
	s.faults.Store(&Faults{})
	s.arrivals.Reset()
	for _, counter := range []*atomic.Int64{
		&s.calls, &s.readings, &s.bytes, &s.failed, &s.unreadable, &s.others, &s.refused, &s.connections, &s.first, &s.last,
	} {
		counter.Store(0)
	}
}

// ServeHTTP answers the calls of the REST API under /api and /api/v1.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != s.token {
		s.refuse(w, http.StatusUnauthorized, "Unauthorized", "wrong token")
		return
	}
	if !strings.Contains(r.URL.RawQuery, "api-version=") {
		s.refuse(w, http.StatusBadRequest, "InvalidApiVersion", "api-version is missing")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/api/")
	path = strings.TrimPrefix(path, "v1/")
	device, isDevice := strings.CutPrefix(path, "devices/")
	device, rest, _ := strings.Cut(device, "/")
	switch {
	case ok && isDevice && rest == "telemetry" && r.Method == http.MethodPost:
		s.telemetry(w, r, device)
	case ok && isDevice && rest == "":
		s.others.Add(1)
		writeJSON(w, map[string]any{"id": device, "displayName": device, "simulated": false, "provisioned": true, "enabled": true})
	case ok && isDevice && strings.HasPrefix(rest, "properties/"):
		s.others.Add(1)
		writeJSON(w, map[string]any{"value": nil, "lastReportedTime": time.Now().UTC().Format(time.RFC3339)})
	case ok && path == "devices":
		s.others.Add(1)
		writeJSON(w, map[string]any{"devices": []any{}})
	case ok && path == "apps/app":
		s.others.Add(1)
		writeJSON(w, map[string]any{"id": "bench", "displayName": "bench", "template": "iotc-default", "state": "Running"})
	default:
		s.refuse(w, http.StatusNotFound, "NotFound", "the sink has no such path")
	}
}

func (s *Sink) telemetry(w http.ResponseWriter, r *http.Request, device string) {
	buffers := s.buffers.Get().(*callBuffers)
	defer s.buffers.Put(buffers)
	body, err := readBody(r, buffers.body[:0])
	buffers.body = body
	if err != nil {
		s.refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	faults := s.faults.Load()
	draw := rand.Float64()
	if draw < faults.Error500 {
		s.failed.Add(1)
		answerError(w, http.StatusInternalServerError, "InternalError", "a fault of the bench")
		return
	}
	if draw -= faults.Error500; draw < faults.Throttled429 {
		s.failed.Add(1)
		answerError(w, http.StatusTooManyRequests, "TooManyRequests", "a fault of the bench")
		return
	}
	seqs := sequences(body, buffers.seqs[:0])
	buffers.seqs = seqs
	s.calls.Add(1)
	s.bytes.Add(int64(len(body)))
	if len(seqs) == 0 {
		s.unreadable.Add(1)
	} else if fresh := s.arrivals.Take(device, r.Header.Get("X-Ms-Client-Request-Id"), seqs); fresh > 0 {
		now := time.Now().UnixNano()
		s.first.CompareAndSwap(0, now)
		s.last.Store(now)
		s.readings.Add(int64(fresh))
	}
	if draw -= faults.Throttled429; draw < faults.Dropped {
		s.failed.Add(1)
		panic(http.ErrAbortHandler) // net/http closes the connection and logs nothing
	}
	if faults.Latency > 0 {
		_ = pause(r.Context(), faults.Latency) // an early end means that the caller is gone
	}
	w.WriteHeader(http.StatusNoContent)
}

func readBody(r *http.Request, into []byte) ([]byte, error) {
	reader := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzip, err := gzip.NewReader(r.Body)
		if err != nil {
			return into, fmt.Errorf("open gzip body: %w", err)
		}
		reader = unzip
	}
	for {
		if len(into) == cap(into) {
			into = append(into, 0)[:len(into)]
		}
		n, err := reader.Read(into[len(into):cap(into)])
		into = into[:len(into)+n]
		if errors.Is(err, io.EOF) {
			return into, nil
		}
		if err != nil {
			return into, fmt.Errorf("read body: %w", err)
		}
		if len(into) > maxBody {
			return into, errors.New("body too large")
		}
	}
}

func (s *Sink) refuse(w http.ResponseWriter, status int, code, message string) {
	s.refused.Add(1)
	answerError(w, status, code, message)
}

func answerError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": message}})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
