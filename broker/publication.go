package broker

import (
	"sync/atomic"
	"time"
)

// Reason codes of MQTT 5 (§2.4) that an Outcome commonly carries. A code below 0x80 acknowledges.
const (
	CodeSuccess        byte = 0x00
	CodeUnspecified    byte = 0x80
	CodeImplementation byte = 0x83
	CodeNotAuthorized  byte = 0x87
	CodeServerBusy     byte = 0x89
	CodeTopicInvalid   byte = 0x90
	CodeQuotaExceeded  byte = 0x97
	CodeAdministrative byte = 0x98
)

// Property is one MQTT 5 user property. A key may occur more than once.
type Property struct {
	Key, Value string
}

// Publication is one PUBLISH of a client, or its last will. Whoever is given it owes exactly one Settle. Payload and strings
// belong to the receiver: the broker neither changes nor reuses them.
type Publication struct {
	Topic       string
	Payload     []byte
	QoS         byte
	Retain, Dup bool

	Client   string    // MQTT client identifier
	User     string    // authenticated user name, "" for an anonymous client
	Identity *Identity // who it is and which devices it may write
	Protocol byte      // 3 = MQTT 3.1, 4 = 3.1.1, 5 = 5

	Properties      []Property
	ResponseTopic   string
	CorrelationData []byte
	ContentType     string

	Will     bool // published by the broker on the client's behalf
	Received time.Time

	settler settler
	settled atomic.Bool
	ack     slot
}

// Outcome says what became of a publication.
type Outcome struct {
	Code   byte   // 0 acknowledges; 0x80 and above refuse, see the Code constants
	Reason string // for the client's eyes in MQTT 5; no secrets
}

// settler is told once what became of a publication.
type settler interface {
	settle(p *Publication, o Outcome)
}

// settleFunc is a settler from a function.
type settleFunc func(Outcome)

func (f settleFunc) settle(_ *Publication, o Outcome) { f(o) }

// Settle tells the source what became of the publication. It may be called from any goroutine and in any order among
// publications, does no I/O of its own, and only its first call counts.
func (p *Publication) Settle(o Outcome) {
	if p.settler == nil || !p.settled.CompareAndSwap(false, true) {
		return
	}
	p.settler.settle(p, o)
}

// OnSettle names the function that Settle calls. It is for other sources of publications and for tests; the broker sets its
// own. Call it before the publication is handed on.
func (p *Publication) OnSettle(fn func(Outcome)) { p.settler = settleFunc(fn) }

// Ingest takes publications over. Ingest is called on the client's read goroutine, in the order the client published, and
// must not wait for a disk or a network: it queues the publication and settles it later, from any goroutine. While it blocks,
// that one client is held back by TCP. It is also called for last wills, from other goroutines. The slices belong to it.
type Ingest interface {
	Ingest(p *Publication)
}

// IngestFunc makes a function an Ingest.
type IngestFunc func(p *Publication)

// Ingest calls f.
func (f IngestFunc) Ingest(p *Publication) { f(p) }

// Store is the small durable key space for sessions, subscriptions, queued and retained messages. Put and Delete are
// asynchronous and keep their order; the value belongs to the store from then on. Scan calls fn for every key that begins
// with prefix, in any order; fn keeps neither key nor value. Scan is used only while the broker is being made.
type Store interface {
	Scan(prefix string, fn func(key string, value []byte) error) error
	Put(key string, value []byte)
	Delete(key string)
}

// Events are told about connections. Any field may be nil. They are called on the client's goroutine and must not block.
type Events struct {
	Connected    func(ClientInfo)
	Disconnected func(c ClientInfo, reason string)
	Subscribed   func(c ClientInfo, filter string)
}

// ClientInfo describes a connection.
type ClientInfo struct {
	ID            string    `json:"id"`
	User          string    `json:"user"`
	Role          Role      `json:"role"`
	Device        string    `json:"device,omitempty"` // see Identity.DeviceOf
	Remote        string    `json:"remote"`
	Listener      string    `json:"listener"`
	Protocol      byte      `json:"protocol"`
	Persistent    bool      `json:"persistent"` // its session outlives the connection
	TLS           bool      `json:"tls"`
	WebSocket     bool      `json:"websocket"`
	Connected     time.Time `json:"connected"`
	Subscriptions int       `json:"subscriptions"`
	InFlight      int       `json:"in_flight"` // publications not yet settled
}

// Message is what the gateway itself publishes to its clients.
type Message struct {
	Topic           string
	Payload         []byte
	QoS             byte
	Retain          bool
	ResponseTopic   string
	CorrelationData []byte
	ContentType     string
	Properties      []Property
	Expiry          time.Duration // 0 = none; whole seconds
	// Transient says that a message which waits for its acknowledgement is not to be there after a restart of the gateway:
	// whoever publishes it has written down that he did, and decides himself.
	Transient bool
}
