package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/buffer"
	"iotc-gateway/mapping"
)

// maxBody is the largest body of a call that is no stream.
const maxBody = 1 << 20

// DeadLetters is what the API wants from the store. *buffer.Store is one.
type DeadLetters interface {
	// DeadLetters lists up to limit of them with ids greater than after.
	DeadLetters(after uint64, limit int) ([]buffer.DeadLetter, error)
	// DeadLetterByID returns one, or buffer.ErrNoDeadLetter.
	DeadLetterByID(id uint64) (buffer.DeadLetter, error)
	// DropDeadLetters removes them and waits for the disk.
	DropDeadLetters(ctx context.Context, ids ...uint64) error
}

// Devices is what the API wants from the registry. *bridge.Registry is one.
type Devices interface {
	Statuses() []bridge.DeviceStatus
	// Approve lets a device be created in the application.
	Approve(id string) error
	// Disable keeps a device from connecting and publishing here, Enable ends
	// that.
	Disable(id string) error
	Enable(id string) error
}

// Queue is what the API wants from the queue. *buffer.Store is one.
type Queue interface {
	// Stats is a snapshot that reads nothing.
	Stats() buffer.Stats
	// Waiting lists up to limit records behind a place, without leasing them.
	Waiting(sel buffer.Selection, after buffer.Place, limit int) ([]buffer.Waiting, error)
	// Purge removes what waits, for good, and counts it.
	Purge(ctx context.Context, sel buffer.Selection) (int, error)
}

// Options are what the API is made of. All but the functions that only a
// running gateway has are needed.
type Options struct {
	DeadLetters DeadLetters
	Devices     Devices
	Queue       Queue
	// Wear tells what was written to the disk since the gateway started; nil
	// where none runs.
	Wear func() (written uint64, since time.Duration)
	// Retry puts what a dead letter holds back into the queue, a publication
	// by the mapping in force now. With an error the letter stays.
	Retry func(ctx context.Context, l *buffer.DeadLetter) error
	// Explain tells what a publication would become, without doing it.
	Explain func(pub *mapping.Publication) mapping.Trial
	// Reload reads the configuration again and names the sections of it that
	// changed and hold only after a restart; nil where no gateway runs.
	Reload func() (restart []string, err error)
	// Watch shows publications as they come in until stop is called; nil where
	// no gateway runs.
	Watch func() (seen <-chan Seen, missed func() uint64, stop func())
	// Log gets a line for everything that changes something.
	Log *zap.Logger
}

// Seen is a publication as it came in, and what became of it: a line of
// /v1/tap.
type Seen struct {
	Publication mapping.Captured `json:"publication"`
	Trial       mapping.Trial    `json:"trial"`
	// Missed counts the publications so far that this watcher was too slow for.
	Missed uint64 `json:"missed,omitempty"`
}

// API is the handler; more calls can be added to it before it serves.
type API struct {
	opts Options
	mux  *http.ServeMux
}

// NewHandler makes the handler of the API.
func NewHandler(opts Options) *API {
	a := &API{opts: opts, mux: http.NewServeMux()}
	a.mux.HandleFunc("GET /v1/deadletters", a.listDeadLetters)
	a.mux.HandleFunc("GET /v1/deadletters/{id}", a.showDeadLetter)
	a.mux.HandleFunc("POST /v1/deadletters/retry", a.retryDeadLetters)
	a.mux.HandleFunc("POST /v1/deadletters/drop", a.dropDeadLetters)
	a.mux.HandleFunc("GET /v1/buffer", a.showQueue)
	a.mux.HandleFunc("GET /v1/buffer/records", a.listRecords)
	a.mux.HandleFunc("POST /v1/buffer/purge", a.purge)
	a.mux.HandleFunc("GET /v1/devices", a.listDevices)
	a.mux.HandleFunc("POST /v1/devices/{id}/approve", a.changeDevice("approved", a.opts.Devices.Approve))
	a.mux.HandleFunc("POST /v1/devices/{id}/disable", a.changeDevice("disabled", a.opts.Devices.Disable))
	a.mux.HandleFunc("POST /v1/devices/{id}/enable", a.changeDevice("enabled", a.opts.Devices.Enable))
	a.mux.HandleFunc("POST /v1/reload", a.reload)
	a.mux.HandleFunc("POST /v1/map", a.explain)
	a.mux.HandleFunc("GET /v1/tap", a.tap)
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// refuse answers with an error.
func refuse(w http.ResponseWriter, status int, code string, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]Error{"error": {Code: code, Message: err.Error()}})
}

// errStopped is the answer to what only a running gateway can do.
var errStopped = errors.New("the gateway does not run: start it first")

func stopped(w http.ResponseWriter) { refuse(w, http.StatusConflict, "NotRunning", errStopped) }

// answer writes one JSON value.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// read reads the body of a call. An unknown key is an error: what a person
// meant must not be passed over, least of all before something is dropped.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		refuse(w, http.StatusBadRequest, "InvalidBody", fmt.Errorf("read the body: %w", err))
		return false
	}
	return true
}

func (a *API) listDevices(w http.ResponseWriter, _ *http.Request) {
	answer(w, a.opts.Devices.Statuses())
}

func (a *API) changeDevice(done string, change func(id string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		if err := change(id); err != nil {
			refuse(w, http.StatusNotFound, "DeviceNotFound", err)
			return
		}
		a.opts.Log.Info("device "+done, zap.String("device", id))
		w.WriteHeader(http.StatusNoContent)
	}
}

func (a *API) reload(w http.ResponseWriter, _ *http.Request) {
	if a.opts.Reload == nil {
		stopped(w)
		return
	}
	restart, err := a.opts.Reload()
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "ReloadRefused", err)
		return
	}
	answer(w, Reloaded{Restart: restart})
}

// Reloaded is the answer to a reload.
type Reloaded struct {
	// Restart names the sections that changed and hold only after a restart.
	Restart []string `json:"restart,omitempty"`
}
