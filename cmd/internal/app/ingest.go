package app

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/console"
	"iotc-gateway/mapping"
)

// futureBound is how far ahead of a synchronised clock a device's own time may
// lie.
const futureBound = 24 * time.Hour

// nativeTopics is where the native scheme begins, which keeps no state.
const nativeTopics = "devices/"

// Reasons of dead letters that are made here; the others are mapping's codes.
const (
	reasonForeignDevice  = "foreign_device"
	reasonDisabledDevice = "device_disabled"
	reasonUnstorable     = "unstorable"
	reasonQueueFull      = "queue_full"
)

// ingest takes publications from whoever has them, maps and stores them, and
// settles them once they are on disk. It is the place where the design's table
// of acknowledgements lives.
type ingest struct {
	store  *buffer.Store
	mapper atomic.Pointer[mapping.Mapper]
	log    *zap.Logger
	synced func() bool
	// owns reports that the cloud owns the property, so a device's report is
	// an acknowledgement and never sent up.
	owns func(device, name string) bool
	// reported is told of each report before it is stored.
	reported func(r *mapping.Record)
	// checkDevice refuses ids that the application would refuse or mix up.
	checkDevice func(device string) error
	// mayPublish asks the broker's access rules, for the topics that a
	// discovery message claims.
	mayPublish func(id *broker.Identity, topic string) bool
	// mayAnswer tells whether an answer may go to a response topic.
	mayAnswer func(id *broker.Identity, topic string) bool
	// triggers is the ledger of commands on their way up.
	triggers *bridge.Triggers
	// events hands what the gateway acts on itself to its owner.
	events func(pub *mapping.Publication, e mapping.Event, settle func(error))
	// answer publishes the gateway's own messages.
	answer func(m mapping.Message)

	// stateful serialises publications that read and change the mapping's
	// state: what one leaves behind must be seen by the next.
	stateful sync.Mutex
	// nativeState says that native topics use the state too.
	nativeState  atomic.Bool
	keepUnmapped atomic.Bool
	state        *mappingState
	pressure     *pressure
	tap          tap
	activity     activity
	closed       atomic.Bool
	counters     ingestCounters
}

type ingestCounters struct {
	Received, Stored, Records, API, Unmapped, DeadLettered, Refused, Resent, Acknowledgements atomic.Uint64

	mu      sync.Mutex
	reasons map[string]uint64
	tally   mapping.Tally
}

// use puts a mapper in force. Publications that are under way end with the one
// before.
func (in *ingest) use(m *mapping.Mapper, cfg mapping.Config) {
	// All that follows is mapped one after the other before anybody can see
	// the new mapper with the old answer.
	in.nativeState.Store(true)
	in.mapper.Store(m)
	in.keepUnmapped.Store(cfg.Unmapped == mapping.UnmappedDeadLetter)
	in.nativeState.Store(m.NativeState())
}

// Ingest implements broker.Ingest.
func (in *ingest) Ingest(p *broker.Publication) {
	in.counters.Received.Add(1)
	if p.Dup {
		in.counters.Resent.Add(1)
	}
	if in.closed.Load() {
		in.refuse(p, broker.CodeServerBusy, "stopping", "the gateway is stopping")
		return
	}
	in.pressure.wait()
	pub := publicationOf(p)
	if pub.ResponseTopic != "" && !in.mayAnswer(p.Identity, pub.ResponseTopic) {
		in.counters.reason("response_topic_refused")
		pub.ResponseTopic, pub.CorrelationData = "", nil
	}
	if in.synced() {
		pub.FutureBound = futureBound
	}
	mapper := in.mapper.Load()
	if !strings.HasPrefix(p.Topic, nativeTopics) {
		pub.MayPublish = func(topic string) bool { return in.mayPublish(p.Identity, topic) }
	}
	if !strings.HasPrefix(p.Topic, nativeTopics) || in.nativeState.Load() {
		// The lock covers the hand-over to the store, which does not wait for
		// the disk, so that the order of changes is the order of mapping.
		in.stateful.Lock()
		defer in.stateful.Unlock()
	}
	res, err := mapper.Map(pub, p.Received, in.state)
	if err != nil {
		in.tap.show(pub, mapper, nil, err)
		in.unusable(p, err)
		return
	}
	if device, ok := foreign(p.Identity, &res); !ok {
		foreign := foreignDevice(device)
		in.tap.show(pub, mapper, nil, foreign)
		in.deadLetter(p, foreign.Code, foreign.Message, device)
		return
	}
	in.tap.show(pub, mapper, &res, nil)
	in.take(p, pub, &res)
}

// take stores what the publication became and settles it after the sync.
func (in *ingest) take(p *broker.Publication, pub *mapping.Publication, res *mapping.Result) {
	batch := &buffer.Batch{}
	if err := in.fill(batch, res); err != nil {
		in.giveUp(batch, err)
		if err.Code == reasonQueueFull {
			in.refuse(p, broker.CodeQuotaExceeded, err.Code, err.Message)
			return
		}
		in.deadLetter(p, err.Code, err.Message, err.Device)
		return
	}
	in.counters.note(&res.Tally)
	in.activity.mapped(p, res.Records)
	for _, m := range res.Publish {
		in.answer(m)
	}
	in.settleEvents(p, pub, res.Events, batch)
}

// settleEvents lets the owner of each event act and then stores the batch.
// Events come alone in practice: a command's response has no records.
func (in *ingest) settleEvents(p *broker.Publication, pub *mapping.Publication, events []mapping.Event, batch *buffer.Batch) {
	if len(events) == 0 {
		in.append(p, batch)
		return
	}
	var pending atomic.Int64
	var failed atomic.Pointer[error]
	pending.Store(int64(len(events)))
	for _, e := range events {
		in.events(pub, e, func(err error) {
			if err != nil {
				failed.Store(&err)
			}
			if pending.Add(-1) > 0 {
				return
			}
			if err := failed.Load(); err != nil {
				in.giveUp(batch, *err)
				in.storeFailed(p, *err)
				return
			}
			in.append(p, batch)
		})
	}
}

func (in *ingest) append(p *broker.Publication, batch *buffer.Batch) {
	n := len(batch.Records)
	if n == 0 && len(batch.Puts) == 0 && len(batch.DeadLetters) == 0 {
		p.Settle(broker.Outcome{})
		return
	}
	dead := len(batch.DeadLetters) > 0
	in.keep(batch, func(err error) {
		switch {
		case err == nil:
		case !dead && (errors.Is(err, buffer.ErrTooLarge) || errors.Is(err, buffer.ErrInvalid)):
			// It will never fit: refused, the client would send it for ever.
			in.deadLetter(p, reasonUnstorable, err.Error(), "")
			return
		default:
			in.storeFailed(p, err)
			return
		}
		in.counters.Stored.Add(1)
		in.counters.Records.Add(uint64(n))
		p.Settle(broker.Outcome{})
	})
}

// unusable handles what could not be mapped: a dead letter, or for an unmapped
// topic a count.
func (in *ingest) unusable(p *broker.Publication, err error) {
	e, ok := errors.AsType[*mapping.Error](err)
	if !ok {
		e = &mapping.Error{Code: "mapping", Message: err.Error()}
	}
	if e.Code == mapping.CodeUnmapped {
		in.counters.Unmapped.Add(1)
		if !in.keepUnmapped.Load() {
			p.Settle(broker.Outcome{})
			return
		}
	}
	in.deadLetter(p, e.Code, e.Error(), e.Device)
}

// deadLetter keeps the raw publication and then acknowledges: to refuse poison
// would bring it back for ever.
func (in *ingest) deadLetter(p *broker.Publication, reason, message, device string) {
	in.counters.DeadLettered.Add(1)
	in.counters.reason(reason)
	in.activity.fault(device, console.Fault{Time: p.Received, Where: "field", Reason: reason, Message: message})
	in.log.Warn("publication became a dead letter", zap.String("reason", reason), zap.String("topic", p.Topic),
		zap.String("device", device), zap.String("client", p.Client), zap.String("message", message))
	in.append(p, &buffer.Batch{DeadLetters: []buffer.DeadLetter{{
		Reason: reason, Message: message, Device: device, Topic: p.Topic, Payload: p.Payload,
		Client: p.Client, User: p.User, QoS: p.QoS, When: p.Received.UnixNano(),
	}}})
}

// storeFailed tells the publisher that nothing was stored, so that it keeps
// its message.
func (in *ingest) storeFailed(p *broker.Publication, err error) {
	reason := "store_failed"
	for _, known := range []struct {
		err    error
		reason string
	}{
		{buffer.ErrFull, reasonQueueFull},
		{buffer.ErrDiskFull, "disk_full"},
		{buffer.ErrDeadLettersFull, "dead_letters_full"},
		{buffer.ErrClosed, "stopping"},
	} {
		if errors.Is(err, known.err) {
			reason = known.reason
		}
	}
	in.refuse(p, broker.CodeQuotaExceeded, reason, err.Error())
}

func (in *ingest) refuse(p *broker.Publication, code byte, reason, message string) {
	in.counters.Refused.Add(1)
	in.counters.reason(reason)
	in.tap.refused(p, reason+": "+message)
	p.Settle(broker.Outcome{Code: code, Reason: message})
}

// foreign finds a device that the publisher may not write. Commands are for
// operators, whatever rule made them: the broker has checked the device of a
// trigger's topic, a route may take it from anywhere.
func foreign(id *broker.Identity, res *mapping.Result) (device string, ok bool) {
	if id == nil {
		return "", true
	}
	var commanded map[string]bool
	for i := range res.Records {
		r := &res.Records[i]
		if r.Kind != mapping.KindCommand {
			continue
		}
		if id.Role != broker.RoleOperator {
			return r.Device, false
		}
		if commanded == nil {
			commanded = make(map[string]bool)
		}
		commanded[r.Device] = true
	}
	device, found := res.Foreign(func(d string) bool { return id.MayWrite(d) || commanded[d] })
	return device, !found
}

func foreignDevice(device string) *mapping.Error {
	return &mapping.Error{Code: reasonForeignDevice, Message: "the publisher may not write as device " + device, Device: device}
}

func (c *ingestCounters) reason(r string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reasons == nil {
		c.reasons = make(map[string]uint64)
	}
	c.reasons[r]++
}

func (c *ingestCounters) note(t *mapping.Tally) {
	if *t == (mapping.Tally{}) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally.Add(*t)
}

func publicationOf(p *broker.Publication) *mapping.Publication {
	pub := &mapping.Publication{
		Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain, Client: p.Client, User: p.User,
		ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData, ContentType: p.ContentType, Received: p.Received,
	}
	for _, u := range p.Properties {
		pub.Properties = append(pub.Properties, mapping.Property(u))
	}
	return pub
}
