package app

import (
	"encoding/json"
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
		// The gateway has sent no command, so nobody waits for a response.
		g.ingest.counters.reason("response_not_awaited")
	}
	settle(nil)
}

// answerQuery tells a device the last known value of one of its properties. A
// property that nobody knows gets no answer, nor does one that the cloud owns:
// what the device itself reported of it is not what the cloud wants.
func (g *Gateway) answerQuery(q mapping.PropertyQuery) {
	if g.cloudOwns(q.Device, q.Name) {
		return
	}
	value, ok := g.store.Space(spaceReported).Get(propertyKey(q.Device, q.Name))
	if !ok {
		return
	}
	res, err := g.ingest.mapper.Load().Answer(q, json.RawMessage(value), 0, time.Now(), g.ingest.state)
	if err != nil {
		g.log.Warn("answer a property query", zap.String("device", q.Device), zap.String("property", q.Name), zap.Error(err))
		return
	}
	for _, m := range res.Publish {
		g.answer(m)
	}
}
