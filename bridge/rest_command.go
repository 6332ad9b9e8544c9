package bridge

import (
	"context"
	"time"

	"iotc-gateway/bridge/central"
)

// linkProof is how long an answer proves that the link is there.
const linkProof = 5 * time.Second

// command sends a command, which may run only once. That it is about to be
// sent is on disk before, and what may have had an effect is not sent again:
//
//	2xx                                   sent, its status is asked for
//	not sent: no address, refused         tried again
//	401, 403, 408, 425, 429               tried again: refused before it ran
//	503 with Retry-After, 501, 505        tried again: whoever answers says that
//	                                      it was not carried out
//	other 4xx                             rejected
//	500, 502, 504, 503 without            Unknown: a proxy answers so as well when
//	Retry-After, other 5xx                it lost the application's own answer
//	no answer after bytes were sent       Unknown
//	gateway stopped in between            Unknown, once it runs again
//
// A command goes only over a link that answered a moment ago, which a cheap
// question finds out: a link that died unnoticed would make it Unknown.
//
// An application that remembers request ids (central.deduplicates) turns every
// Unknown into another try under the same id.
func (u *REST) command(ctx context.Context, l *Lease) Verdict {
	// Before the intent: what waits for the rate was not sent.
	if err := u.pacer.Wait(ctx); err != nil {
		return u.judge(ctx, l, &central.TransportError{Op: "wait for the rate limit", Err: err})
	}
	if time.Since(time.Unix(0, u.answered.Load())) > linkProof {
		if v := u.Probe(ctx); v.Action != Accepted {
			return v
		}
	}
	if u.commands != nil {
		if v, ok := u.commands.CommandSending(ctx, l); !ok {
			return v
		}
	}
	r := &l.Records[0]
	c, err := u.service.TriggerCommand(ctx, l.Device, r.Name, r.Value, l.RequestID)
	v := u.judge(ctx, l, err)
	lost := err != nil && central.MaybeSent(err) && !u.deduplicates
	if u.commands != nil {
		switch {
		case err == nil:
			u.commands.CommandSent(l, c)
		case lost:
			u.commands.CommandUnknown(l, err)
		default:
			u.commands.CommandNotSent(l)
		}
	}
	if lost {
		return Verdict{Action: Accepted, Reason: "answer_lost", Message: v.Message}
	}
	return v
}
