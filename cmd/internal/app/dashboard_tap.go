package app

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"iotc-gateway/cmd/internal/console"
	"iotc-gateway/mapping"
)

const (
	tapClip  = 2 << 10
	tapCalls = 8
)

// Tap implements console.Source.
func (d dashboard) Tap(f console.TapFilter, size int) *console.TapStream {
	in, missed, stop := d.g.ingest.tap.watch()
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan console.TapEvent, size)
	var slow atomic.Uint64
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case t := <-in:
				e := tapEvent(&t)
				if !wanted(&f, &e) {
					continue
				}
				select {
				case out <- e:
				default:
					slow.Add(1)
				}
			}
		}
	}()
	return &console.TapStream{
		Events: out, Dropped: func() uint64 { return slow.Load() + missed() },
		Close: sync.OnceFunc(func() { stop(); cancel() }),
	}
}

func wanted(f *console.TapFilter, e *console.TapEvent) bool {
	if f.Topic != "" && !topicMatches(f.Topic, e.Topic) {
		return false
	}
	if f.Device == "" {
		return true
	}
	for _, d := range e.Devices {
		if strings.EqualFold(d, f.Device) {
			return true
		}
	}
	return false
}

// topicMatches follows MQTT 5 §4.7.
func topicMatches(filter, topic string) bool {
	for {
		f, restF, moreF := strings.Cut(filter, "/")
		t, restT, moreT := strings.Cut(topic, "/")
		switch {
		case f == "#":
			return true
		case f != "+" && f != t:
			return false
		case !moreF && !moreT:
			return true
		case !moreT:
			return restF == "#" // a/# takes a too
		case !moreF:
			return false
		}
		filter, topic = restF, restT
	}
}

// tapEvent says what became of a publication.
func tapEvent(t *Tapped) console.TapEvent {
	p, trial := &t.Publication, &t.Trial
	e := console.TapEvent{
		Time: p.Received, Topic: p.Topic, Bytes: len(p.Payload), QoS: p.QoS, Retain: p.Retain, Client: p.Client,
		Route: trial.Route(), Outcome: "stored",
	}
	e.Payload, e.Binary = clipped(p.Payload, tapClip)
	switch {
	case t.Refused != "":
		e.Outcome, e.Detail = "refused", t.Refused
		return e
	case trial.Err != nil:
		e.Outcome, e.Detail = "dead_letter", trial.Err.Code+": "+trial.Err.Error()
		if trial.Err.Code == mapping.CodeUnmapped {
			e.Outcome = "unmapped"
		}
		if trial.Err.Device != "" {
			e.Devices = []string{trial.Err.Device}
		}
		return e
	}
	requests := trial.Requests()
	for i, q := range requests {
		if i == tapCalls {
			e.More = len(requests) - tapCalls
			break
		}
		body, _ := clipped(q.Body, tapClip)
		e.Calls = append(e.Calls, console.Call{Method: q.Method, Path: q.Path, Body: body})
	}
	about := func(device string) {
		if len(e.Devices) < tapCalls && (len(e.Devices) == 0 || e.Devices[len(e.Devices)-1] != device) {
			e.Devices = append(e.Devices, device)
		}
	}
	for i := range trial.Result.Records {
		about(trial.Result.Records[i].Device)
	}
	for _, event := range trial.Result.Events {
		about(event.About())
	}
	if len(requests) == 0 {
		e.Outcome, e.Detail = "nothing", leftOut(trial)
	}
	return e
}

// leftOut says in words why a publication became no call.
func leftOut(trial *mapping.Trial) string {
	res, t := &trial.Result, &trial.Result.Tally
	switch {
	case len(res.Events) > 0:
		return "an answer or a question to the gateway itself"
	case t.Dropped > 0:
		return "the route says drop"
	case t.Unchanged > 0:
		return "nothing has changed enough to be told"
	case t.TooSoon > 0:
		return "within the minimum interval"
	case t.Empty > 0:
		return "the route found none of its values in the payload"
	case t.Replayed > 0:
		return "a retained replay without a time of its own"
	case t.Repeated > 0:
		return "a message that came before"
	case t.Unresolved > 0:
		return strconv.Itoa(t.Unresolved) + " values that only an earlier message could explain"
	default:
		return "it tells the application nothing"
	}
}
