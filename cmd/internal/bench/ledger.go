package bench

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
)

// Published is what the load generator knows of one device. Sequence numbers run from 0 to Next-1.
type Published struct {
	Next    int
	Acked   bitset      // got a PUBACK that says success
	Refused bitset      // got a PUBACK that says failure (MQTT 5)
	Resent  map[int]int // sent again with DUP: how often
}

// Arrived is what the sink knows of one device.
type Arrived struct {
	Seen     bitset      `json:"seen"`               // taken at least once
	Again    map[int]int `json:"again,omitempty"`    // taken again under another request id: how often
	Repeats  int         `json:"repeats,omitempty"`  // taken again under the same request id
	Disorder int         `json:"disorder,omitempty"` // first arrivals after a later one
}

// Verdict is the exact account of a run.
type Verdict struct {
	Published   int `json:"published"`
	Acked       int `json:"acked"`
	Refused     int `json:"refused"`
	Arrived     int `json:"arrived"`
	Lost        int `json:"lost"`
	Duplicated  int `json:"duplicated"`
	OutOfOrder  int `json:"out_of_order"`
	ResentTwice int `json:"resent_twice"`   // arrived again, as often as the client had sent it again
	Repeated    int `json:"repeated"`       // came again under the same request id
	IDsReused   int `json:"ids_reused"`     // one request id on two different bodies: a server that remembers ids loses one
	Unexpected  int `json:"unexpected"`     // arrived and was never published
	AckDisorder int `json:"acks_reordered"` // PUBACKs that were not in the order of the publishes (MQTT 3.1.1 §4.6)
}

// Add sums two accounts.
func (v *Verdict) Add(o Verdict) {
	v.Published += o.Published
	v.Acked += o.Acked
	v.Refused += o.Refused
	v.Arrived += o.Arrived
	v.Lost += o.Lost
	v.Duplicated += o.Duplicated
	v.OutOfOrder += o.OutOfOrder
	v.ResentTwice += o.ResentTwice
	v.Repeated += o.Repeated
	v.IDsReused += o.IDsReused
	v.Unexpected += o.Unexpected
	v.AckDisorder += o.AckDisorder
}

// Broken says whether a promise was broken.
func (v Verdict) Broken() bool {
	return v.Lost+v.Duplicated+v.OutOfOrder+v.IDsReused+v.Unexpected+v.AckDisorder > 0
}

// Judge joins what was published with what arrived, both by device.
func Judge(published map[string]*Published, arrived map[string]*Arrived) Verdict {
	var v Verdict
	for device, p := range published {
		v.Published += p.Next
		v.Acked += p.Acked.count()
		v.Refused += p.Refused.count()
		a := arrived[device]
		if a == nil {
			a = &Arrived{}
		}
		for seq := range p.Next {
			if p.Acked.has(seq) && !a.Seen.has(seq) {
				v.Lost++
			}
		}
		for seq, times := range a.Again {
			// Each sending of a publish may become a record of its own; one more is the gateway's doing.
			excused := min(times, p.Resent[seq])
			v.ResentTwice += excused
			v.Duplicated += times - excused
		}
		for word := range a.Seen {
			for bit := range 64 {
				if seq := word*64 + bit; seq >= p.Next && a.Seen.has(seq) {
					v.Unexpected++
				}
			}
		}
	}
	for device, a := range arrived {
		v.Arrived += a.Seen.count()
		v.Repeated += a.Repeats
		v.OutOfOrder += a.Disorder
		if published[device] == nil {
			v.Unexpected += a.Seen.count()
		}
	}
	return v
}

// Arrivals is the sink's ledger. It is safe for concurrent use.
type Arrivals struct {
	seed    maphash.Seed
	shards  [32]deviceShard
	idShard [32]idShard
}

type deviceShard struct {
	mu      sync.Mutex // held while one call is written down; guards devices and everything in them
	devices map[string]*arrivingDevice
}

type arrivingDevice struct {
	seen     bitset // sequence numbers that came
	next     int    // one above the highest of them
	again    map[int]int
	repeats  int
	disorder int
}

type idShard struct {
	mu     sync.Mutex        // guards seen
	seen   map[uint64]uint64 // hashes of what came, by hash of the request id
	reused int
}

// NewArrivals makes an empty ledger.
func NewArrivals() *Arrivals {
	a := &Arrivals{seed: maphash.MakeSeed()}
	a.Reset()
	return a
}

// Reset forgets everything.
func (a *Arrivals) Reset() {
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		s.devices = make(map[string]*arrivingDevice)
		s.mu.Unlock()
	}
	for i := range a.idShard {
		s := &a.idShard[i]
		s.mu.Lock()
		s.seen, s.reused = make(map[uint64]uint64), 0
		s.mu.Unlock()
	}
}

// Take writes down one call that was taken and returns how many of its readings came for the first time. It sorts
// seqs, because readings joined into one call have no order among themselves. It does what a server does that
// remembers request ids: a call under an id that it has taken before is dropped, whatever is in it.
func (a *Arrivals) Take(device, requestID string, seqs []int) (fresh int) {
	if len(seqs) > 1 {
		slices.Sort(seqs)
	}
	deviceHash := maphash.String(a.seed, device)
	known := requestID != "" && a.known(maphash.String(a.seed, requestID), deviceHash, seqs)

	shard := &a.shards[deviceHash%uint64(len(a.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	d := shard.devices[device]
	if d == nil {
		d = &arrivingDevice{}
		shard.devices[device] = d
	}
	if known {
		d.repeats++
		return 0
	}
	for _, seq := range seqs {
		if d.seen.has(seq) {
			if d.again == nil {
				d.again = make(map[int]int)
			}
			d.again[seq]++
			continue
		}
		d.seen.set(seq)
		fresh++
		if seq < d.next {
			d.disorder++
		}
		d.next = max(d.next, seq+1)
	}
	return fresh
}

// known tells whether a request id has come before and remembers it. An id always has to stand for the same body.
func (a *Arrivals) known(id, deviceHash uint64, seqs []int) bool {
	content := deviceHash
	for _, seq := range seqs {
		content = content*1099511628211 + uint64(seq) + 1
	}
	shard := &a.idShard[(id>>32)%uint64(len(a.idShard))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	before, known := shard.seen[id]
	switch {
	case !known:
		shard.seen[id] = content
	case before != content:
		shard.reused++
	}
	return known
}

// Ledger is the whole of the sink's knowledge, as it crosses the control connection.
type Ledger struct {
	Devices   map[string]*Arrived `json:"devices"`
	IDsReused int                 `json:"ids_reused"`
}

// Ledger copies the present state.
func (a *Arrivals) Ledger() Ledger {
	l := Ledger{Devices: make(map[string]*Arrived)}
	for i := range a.shards {
		shard := &a.shards[i]
		shard.mu.Lock()
		for name, d := range shard.devices {
			l.Devices[name] = &Arrived{
				Seen: slices.Clone(d.seen), Again: maps.Clone(d.again), Repeats: d.repeats, Disorder: d.disorder,
			}
		}
		shard.mu.Unlock()
	}
	for i := range a.idShard {
		shard := &a.idShard[i]
		shard.mu.Lock()
		l.IDsReused += shard.reused
		shard.mu.Unlock()
	}
	return l
}
