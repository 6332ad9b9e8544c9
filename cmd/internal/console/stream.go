package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"iotc-gateway/cmd/internal/access"
)

// streamsMost is how many streams of events there are at once, over all
// browsers.
const streamsMost = 32

var errBusy = errors.New("too many pages are watching; close one")

// streams counts the streams that are open.
type streams struct {
	mu   sync.Mutex
	open int
	most int
	done chan struct{}
	once sync.Once
}

func (s *streams) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.most {
		return false
	}
	s.open++
	return true
}

func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

func (s *streams) end() { s.once.Do(func() { close(s.done) }) }

const (
	streamBeat  = 15 * time.Second // a comment that keeps proxies from closing the stream
	streamWrite = 10 * time.Second // a browser that does not read for so long is let go
)

// stream is an answer in the format of server-sent events (WHATWG HTML §9.2).
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// openStream begins a stream. The server's deadline for reading a request is
// lifted: it would end the stream after a minute.
func (d *Dashboard) openStream(w http.ResponseWriter) (*stream, error) {
	if !d.streams.enter() {
		return nil, errBusy
	}
	s := &stream{w: w, rc: http.NewResponseController(w)}
	_ = s.rc.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return s, nil
}

// write sends raw lines of a stream.
func (s *stream) write(text string) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("write to a stream: %w", err)
	}
	if err := s.rc.Flush(); err != nil {
		return fmt.Errorf("write to a stream: %w", err)
	}
	return nil
}

// send sends one event.
func (s *stream) send(event string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write an event: %w", err)
	}
	return s.write("event: " + event + "\ndata: " + string(body) + "\n\n")
}

// eventsInterval is how often the page is told the present state.
const eventsInterval = 2 * time.Second

// getEvents streams the overview. The session is looked up each time: a
// stream ends with it.
func (d *Dashboard) getEvents(w http.ResponseWriter, r *http.Request, who *session) (string, error) {
	s, err := d.openStream(w)
	if err != nil {
		return "", err
	}
	defer d.streams.leave()
	tick := time.NewTicker(eventsInterval)
	defer tick.Stop()
	for {
		if err := s.send("overview", d.overview()); err != nil {
			return "", nil // the browser went away
		}
		select {
		case <-r.Context().Done():
			return "", nil
		case <-d.streams.done:
			return "", nil
		case <-tick.C:
		}
		if !d.stillIn(r, who) {
			_ = s.send("ended", map[string]string{"reason": "the session is over"})
			return "", nil
		}
	}
}

// stillIn reports whether the session of a stream lives and may look.
func (d *Dashboard) stillIn(r *http.Request, who *session) bool {
	now, ok := d.sessions.find(r)
	return ok && now.ID == who.ID && now.principal.Role.May(access.ReadGateway)
}

// tapQueue is how many publications wait for a browser that is slow.
const tapQueue = 256

// tapInterval joins what comes in between, so that a flood makes few events.
const tapInterval = 250 * time.Millisecond

// getTap streams publications with what each became.
func (d *Dashboard) getTap(w http.ResponseWriter, r *http.Request, who *session) (string, error) {
	s, err := d.openStream(w)
	if err != nil {
		return "", err
	}
	defer d.streams.leave()
	q := r.URL.Query()
	tap := d.source.Tap(TapFilter{Topic: q.Get("topic"), Device: q.Get("device")}, tapQueue)
	defer tap.Close()
	tick := time.NewTicker(tapInterval)
	defer tick.Stop()
	if err := s.write(": watching\n\n"); err != nil {
		return "", nil
	}
	var batch []TapEvent
	last := time.Now()
	for {
		select {
		case <-r.Context().Done():
			return "", nil
		case <-d.streams.done:
			return "", nil
		case e := <-tap.Events:
			if !coversAny(who, e.Devices) {
				continue
			}
			if batch = append(batch, e); len(batch) < tapQueue {
				continue
			}
		case <-tick.C:
			if !d.stillIn(r, who) {
				_ = s.send("ended", map[string]string{"reason": "the session is over"})
				return "", nil
			}
		}
		switch {
		case len(batch) > 0:
			err = s.send("publications", map[string]any{"events": batch, "dropped": tap.Dropped()})
			batch, last = nil, time.Now()
		case time.Since(last) > streamBeat:
			err = s.write(": still here\n\n")
			last = time.Now()
		}
		if err != nil {
			return "", nil
		}
	}
}

// coversAny reports whether a token may see what is about these devices. One
// that is bound to devices does not see what is about none.
func coversAny(who *session, devices []string) bool {
	return len(who.principal.Devices) == 0 || slices.ContainsFunc(devices, who.principal.Covers)
}
