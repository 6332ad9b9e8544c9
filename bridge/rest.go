package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"iotc-gateway/bridge/central"
	"iotc-gateway/mapping"
)

// RESTOptions configure the uplink over the IoT Central REST API.
type RESTOptions struct {
	Service  central.Service
	Registry *Registry
	Pacer    *Pacer
	// Deduplicates says that the application remembers request ids, so that a
	// command whose answer was lost may be sent again.
	Deduplicates bool
	// Commands is told what became of a triggered command. Nil is allowed.
	Commands CommandObserver
}

// REST delivers records as calls of the IoT Central REST API. It implements
// [Uplink].
type REST struct {
	service      central.Service
	registry     *Registry
	pacer        *Pacer
	deduplicates bool
	commands     CommandObserver
	answered     atomic.Int64 // when the application last answered, Unix nanoseconds
}

// NewREST makes an uplink over a service, usually a [central.Client].
func NewREST(opts RESTOptions) *REST {
	return &REST{service: opts.Service, registry: opts.Registry, pacer: opts.Pacer, deduplicates: opts.Deduplicates, commands: opts.Commands}
}

// Deliver makes the one call that the lease stands for, after the device's
// registration where it is new.
func (u *REST) Deliver(ctx context.Context, l *Lease) Verdict {
	if v := u.registry.ensure(ctx, l.Device); v.Action != Accepted {
		return v
	}
	if l.Kind == mapping.KindDevice {
		// Registering was all there is to do.
		return Verdict{}
	}
	v := u.attempt(ctx, l)
	if v.Reason == reasonNoDevice {
		return u.missing(ctx, l)
	}
	return v
}

// missing handles a device that the gateway knew and the application does
// not: it is registered again where the rules allow, and the call repeated
// once.
func (u *REST) missing(ctx context.Context, l *Lease) Verdict {
	if v := u.registry.missing(ctx, l.Device); v.Action != Accepted {
		return v
	}
	v := u.attempt(ctx, l)
	if v.Reason == reasonNoDevice {
		return Verdict{Action: Retry, Reason: "status_404", Status: http.StatusNotFound, Message: "the application has the device and says that it has not: " + v.Message}
	}
	return v
}

// attempt makes the record's call once.
func (u *REST) attempt(ctx context.Context, l *Lease) Verdict {
	if l.Kind == mapping.KindCommand {
		return u.command(ctx, l)
	}
	return u.judge(ctx, l, u.call(ctx, l))
}

func (u *REST) call(ctx context.Context, l *Lease) error {
	if err := u.pacer.Wait(ctx); err != nil {
		return &central.TransportError{Op: "wait for the rate limit", Err: err}
	}
	r := &l.Records[0]
	switch l.Kind {
	case mapping.KindTelemetry:
		return u.service.SendTelemetry(ctx, l.Device, telemetryBody(l.Records), l.RequestID)
	case mapping.KindProperty:
		_, err := u.service.UpdateProperty(ctx, l.Device, r.Name, r.Value, l.RequestID)
		return err
	case mapping.KindCommand, mapping.KindDevice:
	}
	return central.Errorf(http.StatusBadRequest, central.CodeInvalidRequest, "a record of kind %s has no call", l.Kind)
}

// Probe asks for the application itself. Any answer that is not a fault of
// the server or a refused token means that deliveries are worth trying: a
// token may well lack the right to read the application.
func (u *REST) Probe(ctx context.Context) Verdict {
	_, err := u.service.Application(ctx)
	v := classify(err)
	u.noteAnswer(v)
	switch v.Action {
	case Rejected, PauseKind, Split:
		return Verdict{Status: v.Status}
	case Retry:
		if v.Throttled {
			u.pacer.Throttled(v.After)
			return Verdict{Status: v.Status}
		}
	default:
	}
	return v
}

// noteAnswer notes when the application last answered with something else than
// a fault.
func (u *REST) noteAnswer(v Verdict) {
	if !v.Unreachable && v.Status < http.StatusInternalServerError {
		u.answered.Store(time.Now().UnixNano())
	}
}

// judge turns an answer into a verdict in the light of the record.
func (u *REST) judge(ctx context.Context, l *Lease, err error) Verdict {
	v := classify(err)
	u.noteAnswer(v)
	switch {
	case v.Throttled:
		u.pacer.Throttled(v.After)
	case !v.Unreachable:
		u.pacer.Accepted()
	}
	switch {
	case v.Action == Split && len(l.Records) < 2:
		v.Action = Rejected
	case v.Action == PauseKind && l.Kind == mapping.KindTelemetry:
		v.Action = PauseUplink
	case v.Status == http.StatusNotFound:
		return u.judgeNotFound(ctx, l, v, err)
	}
	return v
}

// reasonNoDevice marks a verdict that Deliver handles itself.
const reasonNoDevice = "device_not_found"

func (u *REST) judgeNotFound(ctx context.Context, l *Lease, v Verdict, err error) Verdict {
	if e, ok := errors.AsType[*central.Error](err); ok {
		switch e.Code {
		case central.CodeDeviceNotFound:
			v.Reason = reasonNoDevice
			return v
		case central.CodePropertyNotFound, central.CodeCommandNotFound:
			v.Reason = l.Kind.String() + "_not_found"
			return v
		}
	}
	// A foreign server's word for what is missing is not known here: ask for
	// the device itself.
	if l.Kind != mapping.KindTelemetry {
		if _, err := u.service.Device(ctx, l.Device); err == nil {
			v.Reason = l.Kind.String() + "_not_found"
			return v
		} else if central.StatusOf(err) != http.StatusNotFound {
			return classify(err)
		}
	}
	v.Reason = reasonNoDevice
	return v
}

// classify is the table of uplink answers, without regard to the record:
//
//	2xx                                   accepted
//	400, 413                              split when joined, else rejected
//	401                                   pause the uplink
//	403                                   pause the kind; for telemetry the uplink
//	404, 409, 415, 422, other 4xx         rejected
//	408, 425, 429, 5xx                    retry; Retry-After obeyed, 429 lowers the rate
//	no token                              pause the uplink
//	no answer, or one of something else   retry, the link is in doubt
//
// A command differs, see [REST.command].
func classify(err error) Verdict {
	if err == nil {
		return Verdict{}
	}
	e, answered := errors.AsType[*central.Error](err)
	if !answered {
		return classifySilence(err)
	}
	v := Verdict{Reason: "status_" + strconv.Itoa(e.Status), Message: err.Error(), Status: e.Status, After: e.RetryAfter}
	switch {
	case e.Status == http.StatusBadRequest, e.Status == http.StatusRequestEntityTooLarge:
		v.Action = Split
	case e.Status == http.StatusUnauthorized:
		v.Action = PauseUplink
	case e.Status == http.StatusForbidden:
		v.Action = PauseKind
	case e.Status == http.StatusTooManyRequests:
		v.Action, v.Throttled = Retry, true
	case e.Status == http.StatusRequestTimeout, e.Status == http.StatusTooEarly, e.Status >= 500:
		v.Action = Retry
	case e.Status >= 400:
		v.Action = Rejected
	default:
		// A redirect or another answer that is neither success nor refusal:
		// something stands between the gateway and the application.
		v.Action, v.Unreachable = Retry, true
	}
	return v
}

func classifySilence(err error) Verdict {
	v := Verdict{Action: Retry, Reason: "network", Message: err.Error(), Unreachable: true}
	switch t, ok := errors.AsType[*central.TransportError](err); {
	case errors.Is(err, central.ErrNoToken):
		v.Action, v.Reason, v.Unreachable = PauseUplink, "no_token", false
	case errors.Is(err, central.ErrNotAnAnswer):
		v.Reason = "not_an_answer"
	case ok && t.Timeout(), errors.Is(err, context.DeadlineExceeded):
		v.Reason = "timeout"
	}
	return v
}

// telemetryBody is the message of one record, or of several joined: the
// members of all of them with the time of the last.
func telemetryBody(records []mapping.Record) json.RawMessage {
	last := &records[len(records)-1]
	if len(records) == 1 {
		return last.TelemetryBody()
	}
	size := 2
	for i := range records {
		size += len(records[i].Value)
	}
	joined := make([]byte, 0, size)
	joined = append(joined, '{')
	for i := range records {
		members := records[i].Value[1 : len(records[i].Value)-1]
		if len(members) == 0 {
			continue
		}
		if len(joined) > 1 {
			joined = append(joined, ',')
		}
		joined = append(joined, members...)
	}
	whole := mapping.Record{Value: append(joined, '}'), Time: last.Time}
	return whole.TelemetryBody()
}
