package app

import (
	"time"

	"go.uber.org/zap"

	"iotc-gateway/mapping"
)

const (
	logSampleTick  = time.Second
	logSampleFirst = 10
	logSampleThen  = 100
)

// event acts on what a publication asks of the gateway itself, and settles it.
func (g *Gateway) event(pub *mapping.Publication, e mapping.Event, settle func(error)) {
	switch e := e.(type) {
	case mapping.PropertyQuery:
		g.answerQuery(e)
	case mapping.CommandResponse:
		if !g.commands.Respond(e, settle) {
			g.ingest.counters.reason("response_not_awaited")
		}
		return
	}
	settle(nil)
}

// answerQuery tells a device the last known value of one of its properties:
// the desired one where there is one, else what it reported itself. A property
// that the cloud owns and has no value for gets no answer, for what the device
// reported of it is not what the cloud wants.
func (g *Gateway) answerQuery(q mapping.PropertyQuery) {
	e, _ := g.desired.Get(q.Device, q.Name)
	value, version := e.Desired, e.Version
	if value == nil && !g.cloudOwns(q.Device, q.Name) {
		value, _, _ = g.lastReported(q.Device, q.Name)
	}
	if value == nil {
		return
	}
	res, err := g.ingest.mapper.Load().Answer(q, value, version, time.Now(), g.ingest.state)
	if err != nil {
		g.log.Warn("answer a property query", zap.String("device", q.Device), zap.String("property", q.Name), zap.Error(err))
		return
	}
	for _, m := range res.Publish {
		g.answer(m)
	}
}
