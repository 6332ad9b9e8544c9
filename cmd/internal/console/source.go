package console

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Source is the gateway as the dashboard sees it. The methods may be called
// from many goroutines; those without a context neither wait nor block and
// return values that belong to the caller.
type Source interface {
	// Gateway names the gateway; it never changes.
	Gateway() Gateway
	// Overview is the present state. It is asked for every second or two while
	// somebody looks, and every few seconds otherwise.
	Overview() Overview

	// Devices lists what is known of every device, in the order of ids.
	Devices() []Device
	// Device tells everything about one.
	Device(id string) (DeviceDetail, bool)
	// ApproveDevice lets a device be created that waits for it, or that was
	// refused or deleted.
	ApproveDevice(id string) error
	// SetProperty sets the desired value of a property. It returns after the
	// gateway has taken it over for good, whether the device is there or not.
	SetProperty(ctx context.Context, device, name string, value json.RawMessage) error
	// TriggerCommand starts a command; args may be nil.
	TriggerCommand(ctx context.Context, device, name string, args json.RawMessage) (Command, error)
	// CommandStatus tells how far a command has come.
	CommandStatus(ctx context.Context, device, id string) (Command, error)

	// Connections lists the MQTT clients that are connected.
	Connections() []Connection
	// Disconnect ends a client's connection. The client may come again.
	Disconnect(client, why string) error

	// DeadLetters calls fn for dead letters with ids above after, oldest first,
	// until it returns false.
	DeadLetters(ctx context.Context, after uint64, fn func(DeadLetter) bool) error
	// DeadLetter shows one with everything that is known of it.
	DeadLetter(id uint64) (DeadLetterDetail, error)
	// RetryDeadLetter maps a publication again under the present mapping, or
	// puts a record back into the queue, at the end.
	RetryDeadLetter(ctx context.Context, id uint64) error
	// DropDeadLetters removes dead letters for good.
	DropDeadLetters(ctx context.Context, ids ...uint64) error

	// Try maps a publication under the running configuration without storing
	// or sending anything.
	Try(p TrialInput) json.RawMessage
	// Tap subscribes to what is published from now on; at most size events
	// wait for a slow reader, the rest is counted in TapStream.Dropped.
	Tap(f TapFilter, size int) *TapStream
}

// Errors of a Source that have an answer of their own.
var (
	// ErrNotFound is a device, dead letter or client that is not there (any
	// more).
	ErrNotFound = errors.New("not found")
	// ErrUnavailable is an action that this gateway has no way to do now.
	ErrUnavailable = errors.New("not available")
	// ErrRefused is an action that the gateway refuses, for a reason that the
	// error tells.
	ErrRefused = errors.New("refused")
)

// Gateway names the gateway.
type Gateway struct {
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
}

// Overview is the state of the gateway at one moment.
type Overview struct {
	Now     time.Time `json:"now"`
	Verdict Verdict   `json:"verdict"` // filled in by the console
	Checks  []Check   `json:"checks"`
	Uplink  Uplink    `json:"uplink"`
	Totals  Totals    `json:"totals"`
	Rates   Rates     `json:"rates"` // filled in by the console
	Backlog Backlog   `json:"backlog"`
	Store   Store     `json:"store"`

	DeadLetters     int64 `json:"deadLetters"`
	DeadLetterBytes int64 `json:"deadLetterBytes"`
	Clients         int64 `json:"clients"`
	Sessions        int64 `json:"sessions"`
	Devices         int   `json:"devices"`
	Waiting         int   `json:"devicesToApprove"`
	ClockSynced     bool  `json:"clockSynced"`
}

// Uplink is the way to the application.
type Uplink struct {
	// State is a word of bridge.State, or "none" where no uplink is set up.
	State       string    `json:"state"`
	Delivers    bool      `json:"delivers"`
	Since       time.Time `json:"since,omitzero"`
	Reason      string    `json:"reason,omitempty"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	NextProbe   time.Time `json:"nextProbe,omitzero"`
	PausedKinds []string  `json:"pausedKinds,omitempty"`
	URL         string    `json:"url,omitempty"`
	RateLimit   float64   `json:"rateLimit"` // calls a second, 0 is unlimited
	// Calls and CallSeconds are sums since the start, for a mean.
	Calls       uint64  `json:"calls"`
	CallSeconds float64 `json:"callSeconds"`
}

// Totals count since the gateway was started.
type Totals struct {
	Received    uint64 `json:"received"`    // publications
	Stored      uint64 `json:"stored"`      // publications, acknowledged
	Records     uint64 `json:"records"`     // stored
	Delivered   uint64 `json:"delivered"`   // records
	Unmapped    uint64 `json:"unmapped"`    // publications
	Refused     uint64 `json:"refused"`     // publications
	Resent      uint64 `json:"resent"`      // publications
	DeadLetters uint64 `json:"deadLetters"` // publications that became one
	// Dropped are records that left the queue undelivered, by reason.
	Dropped map[string]uint64 `json:"dropped"`
	// Reasons say why publications were refused or kept aside.
	Reasons map[string]uint64 `json:"reasons"`
	// Bytes are the payloads that came in, DiskBytes what the process has
	// written to disk, 0 where the system does not tell.
	Bytes     uint64 `json:"bytes"`
	DiskBytes uint64 `json:"diskBytes"`
}

// Rates are a second's worth, over the last ten seconds or so.
type Rates struct {
	In  float64 `json:"in"`  // records stored
	Out float64 `json:"out"` // records delivered
}

// Backlog is what waits for the uplink.
type Backlog struct {
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
	// OldestSeconds is how long the oldest record waits.
	OldestSeconds float64 `json:"oldestSeconds"`
	// HoursLeft is the time until the store is full at the present rate,
	// negative when the backlog does not grow.
	HoursLeft float64 `json:"hoursLeft"`
	// DrainSeconds is the time until nothing waits at the present rates,
	// negative when it will not come to that. Filled in by the console.
	DrainSeconds float64        `json:"drainSeconds"`
	Classes      []BacklogClass `json:"classes"`
}

// BacklogClass is one lane of the queue.
type BacklogClass struct {
	Name          string            `json:"name"`
	Records       int64             `json:"records"`
	Bytes         int64             `json:"bytes"`
	OldestSeconds float64           `json:"oldestSeconds"`
	Stored        uint64            `json:"stored"`
	Delivered     uint64            `json:"delivered"`
	Dropped       map[string]uint64 `json:"dropped"`
}

// Store is the state of the disk.
type Store struct {
	LimitBytes int64  `json:"limitBytes"`
	DiskBytes  int64  `json:"diskBytes"`
	FreeBytes  int64  `json:"freeBytes"`
	DiskFull   bool   `json:"diskFull"`
	Failed     string `json:"failed,omitempty"`
}

// Device is a line of the list of devices.
type Device struct {
	ID       string `json:"id"`
	State    string `json:"state"` // a word of bridge.DeviceState, "" when it was never looked for
	Template string `json:"template,omitempty"`
	Disabled bool   `json:"disabled,omitempty"` // in the application
	// DisabledHere says that a person disabled it at the gateway.
	DisabledHere bool `json:"disabledHere,omitempty"`
	// Connection is "connected", "offline" or "" when nothing is known.
	Connection string    `json:"connection"`
	Client     string    `json:"client,omitempty"`
	LastSeen   time.Time `json:"lastSeen,omitzero"`
	Values     []Value   `json:"values"`
	Errors     uint64    `json:"errors"`
	LastError  *Fault    `json:"lastError,omitempty"`
}

// Value is the last value of one telemetry or property name.
type Value struct {
	Kind string          `json:"kind"` // telemetry or property
	Name string          `json:"name"`
	Last json.RawMessage `json:"last"`
	Time time.Time       `json:"time"`
	// Spark are the last numbers, oldest first; empty for what is no number.
	Spark []float64 `json:"spark,omitempty"`
}

// Fault is something that went wrong with a device.
type Fault struct {
	Time    time.Time `json:"time"`
	Where   string    `json:"where"` // field or uplink
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
}

// DeviceDetail is a device's page.
type DeviceDetail struct {
	Device
	Publications []Seen     `json:"publications"` // newest first
	Properties   []Property `json:"properties"`
	Faults       []Fault    `json:"faults"`   // newest first
	Commands     []string   `json:"commands"` // names that its template has
}

// Seen is a publication that a device sent.
type Seen struct {
	Time    time.Time `json:"time"`
	Topic   string    `json:"topic"`
	Payload string    `json:"payload"` // clipped, binary as base64
	Binary  bool      `json:"binary,omitempty"`
	Bytes   int       `json:"bytes"`
	Records int       `json:"records"` // what it became
}

// Property is a property of a device.
type Property struct {
	Name     string          `json:"name"`
	Reported json.RawMessage `json:"reported,omitempty"`
	Desired  json.RawMessage `json:"desired,omitempty"`
	Version  uint64          `json:"version,omitempty"`
	Writable bool            `json:"writable"`
	// Acknowledged says that the device reported the desired value, Pending
	// that it was not told yet.
	Acknowledged bool `json:"acknowledged,omitempty"`
	Pending      bool `json:"pending,omitempty"`
}

// Command is the state of a command.
type Command struct {
	ID        string          `json:"id"`
	Status    string          `json:"status"`
	Result    json.RawMessage `json:"result,omitempty"`
	Completed time.Time       `json:"completed,omitzero"`
	Final     bool            `json:"final"`
}

// Connection is an MQTT client.
type Connection struct {
	Client    string    `json:"client"`
	User      string    `json:"user"`
	Role      string    `json:"role"`
	Remote    string    `json:"remote"`
	Listener  string    `json:"listener"`
	Protocol  string    `json:"protocol"`
	TLS       bool      `json:"tls"`
	Connected time.Time `json:"connected"`
	InFlight  int       `json:"inFlight"`
}

// DeadLetter is a line of the list of dead letters.
type DeadLetter struct {
	ID       uint64    `json:"id"`
	Time     time.Time `json:"time"`
	Reason   string    `json:"reason"`
	Message  string    `json:"message"`
	Device   string    `json:"device,omitempty"`
	Topic    string    `json:"topic,omitempty"` // of a publication
	Kind     string    `json:"kind,omitempty"`  // of a record
	Name     string    `json:"name,omitempty"`
	Status   int       `json:"status,omitempty"`
	Attempts int       `json:"attempts,omitempty"`
	Bytes    int       `json:"bytes"`
}

// DeadLetterDetail shows a dead letter raw and mapped.
type DeadLetterDetail struct {
	DeadLetter
	Client string `json:"client,omitempty"`
	User   string `json:"user,omitempty"`
	QoS    uint8  `json:"qos"`
	Answer string `json:"answer,omitempty"`
	// Payload is the raw publication, or the value of the record.
	Payload string `json:"payload"`
	Binary  bool   `json:"binary,omitempty"` // Payload is base64
	// Mapped is what a retry would make of it now: a line of the command map,
	// or the one REST call of a record.
	Mapped json.RawMessage `json:"mapped,omitempty"`
}

// TrialInput is a publication for the playground.
type TrialInput struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
	Binary  bool   `json:"binary"` // Payload is base64
	QoS     byte   `json:"qos"`
	Retain  bool   `json:"retain"`
	Client  string `json:"client"`
	User    string `json:"user"`
	// Decoded is Payload as bytes; the console fills it in.
	Decoded []byte `json:"-"`
}

// TapFilter chooses publications. Empty members choose all.
type TapFilter struct {
	Topic  string // an MQTT topic filter
	Device string
}

// TapStream is a subscription to what is published.
type TapStream struct {
	Events  <-chan TapEvent
	Dropped func() uint64 // events that were left out because the reader was slow
	Close   func()
}

// TapEvent is a publication with what it became.
type TapEvent struct {
	Time    time.Time `json:"time"`
	Topic   string    `json:"topic"`
	Payload string    `json:"payload"` // clipped, binary as base64
	Binary  bool      `json:"binary,omitempty"`
	Bytes   int       `json:"bytes"`
	QoS     byte      `json:"qos"`
	Retain  bool      `json:"retain,omitempty"`
	Client  string    `json:"client"`
	User    string    `json:"user,omitempty"`
	// Outcome is a word: stored, dead_letter, unmapped, refused, nothing.
	Outcome string `json:"outcome"`
	// Detail says the outcome in words.
	Detail  string   `json:"detail,omitempty"`
	Route   string   `json:"route,omitempty"`
	Devices []string `json:"devices,omitempty"`
	// Calls are the REST calls that it became, the first few of them.
	Calls []Call `json:"calls,omitempty"`
	More  int    `json:"more,omitempty"` // calls that are not shown
}

// Call is a REST call.
type Call struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   string `json:"body"` // clipped
}
