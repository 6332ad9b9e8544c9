package downlink

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"iotc-gateway/bridge/central"
)

// Entry is one command of the ledger as it is on disk.
type Entry struct {
	ID     string          `json:"id"`
	Device string          `json:"device"`
	Name   string          `json:"name"`
	Args   json.RawMessage `json:"args,omitempty"`
	// RequestID is the caller's, by which a repeated request is known.
	RequestID string `json:"requestId,omitempty"`
	Caller    string `json:"caller,omitempty"`

	Status    string          `json:"status"`
	Result    json.RawMessage `json:"result,omitempty"`
	Created   time.Time       `json:"created"`
	Delivered time.Time       `json:"delivered,omitzero"`
	Completed time.Time       `json:"completed,omitzero"`
	// Until is when the state ends by itself: the expiry of a Pending command,
	// the timeout of a Delivered one.
	Until time.Time `json:"until,omitzero"`
}

// Command is the entry as the API shows it.
func (e Entry) Command() central.Command {
	c := central.Command{CommandID: e.ID, Status: e.Status, Result: bytes.Clone(e.Result)}
	if !e.Completed.IsZero() {
		c.CompletedTime = e.Completed.UTC().Truncate(time.Millisecond)
	}
	return c
}

// Final tells whether the command's state will not change any more.
func (e Entry) Final() bool { return central.Command{Status: e.Status}.Final() }

// entry is an Entry in memory. Guarded by the ledger's mutex.
type entry struct {
	Entry
	// busy says that a change is on its way to the disk; nobody else changes
	// the entry meanwhile.
	busy bool
	// stored is closed when the first write of the entry is known to have
	// worked or not; failed says how.
	stored chan struct{}
	failed error
	// settles are told when the change under way is on disk.
	settles []func(error)
	index   int // in the heap of deadlines, -1 outside of it
	size    int
}

// entryOverhead is what an entry takes beside its texts.
const entryOverhead = 512

func (e *entry) measure() int {
	return entryOverhead + len(e.Args) + len(e.Result) + len(e.Device) + len(e.Name) + len(e.RequestID)
}

// newID makes an id that sorts by time, so that a scan of the store finds
// commands in the order in which they were made.
func newID(now time.Time) string {
	return fmt.Sprintf("%011x", now.UnixMilli()) + strings.ToLower(rand.Text()[:12])
}

// requestKey is by which a repeated request is found.
func requestKey(device, requestID string) string { return device + "\x00" + requestID }

// deadlines is a heap of entries by Until.
type deadlines []*entry

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].Until.Before(h[j].Until) }
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *deadlines) Push(x any) {
	e := x.(*entry) //nolint:forcetypeassert // nothing else is pushed
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *deadlines) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}

// quote makes a JSON string of a text.
func quote(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage(`""`)
	}
	return b
}
