package demo

import (
	"encoding/json"
	"strings"
	"sync"
)

// sensorPrefix begins the ids of the demo's own sensors. What others publish
// meanwhile is shown and not part of the proof.
const sensorPrefix = "demo-sensor-"

// ledger compares what the sensors were acknowledged with what the
// application received.
type ledger struct {
	mu        sync.Mutex
	published map[string]map[int64]bool // by device: sequences with a PUBACK
	received  map[string]map[int64]int
	last      map[string]int64
	disorder  int
	others    int
	commands  CommandProof
}

func newLedger() *ledger {
	return &ledger{published: make(map[string]map[int64]bool), received: make(map[string]map[int64]int), last: make(map[string]int64)}
}

// acknowledged notes that the gateway answered a publish with PUBACK.
func (l *ledger) acknowledged(device string, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.published[device] == nil {
		l.published[device] = make(map[int64]bool)
	}
	l.published[device][seq] = true
}

// command notes a command that was sent, or that it was completed.
func (l *ledger) command(completed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if completed {
		l.commands.Completed++
		return
	}
	l.commands.Sent++
}

// arrived notes what the application took.
func (l *ledger) arrived(device string, body json.RawMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var reading struct {
		Seq int64 `json:"seq"`
	}
	if err := json.Unmarshal(body, &reading); err != nil || !strings.HasPrefix(device, sensorPrefix) || reading.Seq == 0 {
		l.others++
		return
	}
	if l.received[device] == nil {
		l.received[device] = make(map[int64]int)
	}
	l.received[device][reading.Seq]++
	if reading.Seq < l.last[device] {
		l.disorder++
	}
	l.last[device] = max(l.last[device], reading.Seq)
}

// Proof is the account at the end.
type Proof struct {
	Published  int `json:"published"`
	Delivered  int `json:"delivered"`
	Lost       int `json:"lost"`
	Duplicated int `json:"duplicated"`
	OutOfOrder int `json:"out_of_order"`
	// Unacknowledged arrived although the sensor saw no PUBACK for it.
	Unacknowledged int `json:"unacknowledged"`
	// Others is what somebody else published meanwhile.
	Others   int          `json:"others"`
	Commands CommandProof `json:"commands"`
}

// CommandProof counts the commands that the application sent.
type CommandProof struct {
	Sent      int `json:"sent"`
	Completed int `json:"completed"`
}

// Holds reports whether nothing was lost, doubled or out of order, and every
// command was carried out.
func (p Proof) Holds() bool {
	return p.Commands.Completed == p.Commands.Sent && p.Published > 0 && p.Lost == 0 && p.Duplicated == 0 && p.OutOfOrder == 0
}

func (l *ledger) proof() Proof {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := Proof{OutOfOrder: l.disorder, Others: l.others, Commands: l.commands}
	for device, seqs := range l.published {
		p.Published += len(seqs)
		for seq := range seqs {
			if l.received[device][seq] == 0 {
				p.Lost++
			}
		}
	}
	for device, seqs := range l.received {
		for seq, n := range seqs {
			p.Duplicated += n - 1
			if l.published[device][seq] {
				p.Delivered++
			} else {
				p.Unacknowledged++
			}
		}
	}
	return p
}
