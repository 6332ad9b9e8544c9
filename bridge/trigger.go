package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping"
)

// The statuses of a triggered command besides those of [central]: Pending,
// Completed, Failed and Unknown, and any other word that the application uses.
const (
	// StatusQueued: it waits at the gateway.
	StatusQueued = "Queued"
	// StatusExpired: it waited longer than it may and was not sent.
	StatusExpired = "Expired"
	// StatusTimedOut: the application took it and never told how it ended.
	StatusTimedOut = "TimedOut"
)

// TriggerPhase is where a triggered command is, whatever its status says.
type TriggerPhase string

// The phases. A command is in the phase sending on disk before its first byte
// goes out, so that after a loss of power nobody takes it for unsent.
const (
	PhaseWaiting TriggerPhase = "waiting"
	PhaseSending TriggerPhase = "sending"
	PhaseSent    TriggerPhase = "sent"
	PhaseDone    TriggerPhase = "done"
)

// Trigger is a command that was triggered at the gateway for the application
// to carry out. ID is the gateway's own and known at once, CommandID the
// application's.
type Trigger struct {
	ID        string          `json:"id"`
	Device    string          `json:"device"`
	Name      string          `json:"name"`
	Phase     TriggerPhase    `json:"phase"`
	Status    string          `json:"status"`
	CommandID string          `json:"commandId,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	// Accepted, Sent and Completed are when it came, when the application took
	// it, and when it ended.
	Accepted  time.Time `json:"accepted"`
	Sent      time.Time `json:"sent,omitzero"`
	Completed time.Time `json:"completed,omitzero"`
	// Response is where the one who triggered it wants the answer (MQTT 5).
	Response *mapping.Reply `json:"response,omitempty"`
	// Told is the last status that was published.
	Told string `json:"told,omitempty"`
}

// Final tells whether the status will not change any more.
func (t Trigger) Final() bool { return t.Phase == PhaseDone }

// triggerStatus is the payload of a status topic and of a response.
type triggerStatus struct {
	ID            string          `json:"id"`
	CommandID     string          `json:"commandId,omitempty"`
	Status        string          `json:"status"`
	Result        json.RawMessage `json:"result,omitempty"`
	CompletedTime time.Time       `json:"completedTime,omitzero"`
}

// Messages are what tells the field of the trigger's status: its status topic,
// and once it is final the response topic of whoever asked for one.
func (t Trigger) Messages() []mapping.Message {
	payload, err := json.Marshal(triggerStatus{ID: t.ID, CommandID: t.CommandID, Status: t.Status, Result: t.Result, CompletedTime: t.Completed})
	if err != nil {
		return nil
	}
	list := []mapping.Message{{Topic: "devices/" + t.Device + "/commands/" + t.Name + "/status/" + t.ID, Payload: payload, QoS: 1}}
	if t.Response != nil && t.Final() {
		list = append(list, mapping.Message{Topic: t.Response.Topic, Payload: payload, QoS: 1, CorrelationData: t.Response.Correlation})
	}
	return list
}

// TriggerStore keeps triggers across restarts. Writes are carried out in the
// order in which they are made; done, where it is not nil, is called when the
// entry is on disk or cannot be kept.
type TriggerStore interface {
	LoadTriggers(fn func(Trigger)) error
	SaveTrigger(t Trigger, done func(error))
	DeleteTrigger(id string)
}

// TriggersOptions are what Triggers need besides their configuration.
type TriggersOptions struct {
	Service central.Service // nil: nothing is sent
	Pacer   *Pacer
	Store   TriggerStore // nil: in memory, for tests
	// MaxAge is how long a command waits to be sent, 0 for ever.
	MaxAge time.Duration
	// Deduplicates says that the application remembers request ids, so that
	// what may have been sent may be sent again.
	Deduplicates bool
	// Publish tells the field; it must not call Triggers.
	Publish func(mapping.Message)
	// Log may be nil.
	Log *zap.Logger
}

// Limits of the ledger.
const (
	maxActiveTriggers   = 1000
	maxFinishedTriggers = 1000
	keepFinished        = 24 * time.Hour
	maxResultBytes      = 128 << 10
)

// Errors of Triggers.
var (
	ErrTooManyTriggers = errors.New("as many commands as may wait are under way")
	errLinkDown        = errors.New("the uplink is down and bridge.commands.offline is refuse")
)

// CommandObserver keeps the ledger of commands on their way up. Its methods
// are called by the uplink, one command at a time for each.
type CommandObserver interface {
	// CommandSending is asked before a command's first byte goes out. With ok
	// the intent to send it is on disk. Without, the verdict says what becomes
	// of the lease: it was sent before, it expired, or the disk takes nothing.
	CommandSending(ctx context.Context, l *Lease) (v Verdict, ok bool)
	// CommandSent is told of a command that the application took over.
	CommandSent(l *Lease, c central.Command)
	// CommandUnknown is told of a command whose answer was lost after its
	// bytes were sent: it may or may not run and is not sent again.
	CommandUnknown(l *Lease, err error)
	// CommandNotSent is told of a command that certainly did not reach the
	// application, or that it certainly did not take; it is tried again.
	CommandNotSent(l *Lease)
}
