package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/mapping"
)

// openTriggers makes the ledger of commands on their way up.
func (g *Gateway) openTriggers(service central.Service) error {
	ledger, err := bridge.NewTriggers(g.cfg.Bridge.Commands, bridge.TriggersOptions{
		Service: service, Pacer: g.pacer, Store: triggerStore{g.store}, MaxAge: g.cfg.Buffer.Classes.Command.MaxAge,
		Deduplicates: g.cfg.Central.Deduplicates, Publish: g.answer, Log: g.log.Named("commands"),
	})
	if err != nil {
		return err
	}
	g.triggers = ledger
	g.ingest.triggers = ledger
	return nil
}

// triggerStore keeps the ledger in the store.
type triggerStore struct{ store *buffer.Store }

func (s triggerStore) LoadTriggers(fn func(bridge.Trigger)) error {
	return s.store.Space(spaceTriggers).Scan("", func(key string, value []byte) error {
		var t bridge.Trigger
		if err := json.Unmarshal(value, &t); err != nil {
			return fmt.Errorf("entry %q: %w", key, err)
		}
		fn(t)
		return nil
	})
}

func (s triggerStore) SaveTrigger(t bridge.Trigger, done func(error)) {
	put, err := triggerPut(&t)
	if err != nil {
		done(err)
		return
	}
	s.store.Append(&buffer.Batch{Puts: []buffer.KV{put}}, done)
}

func (s triggerStore) DeleteTrigger(id string) { s.store.Space(spaceTriggers).Delete(id) }

func triggerPut(t *bridge.Trigger) (buffer.KV, error) {
	b, err := json.Marshal(t)
	return buffer.KV{Space: spaceTriggers, Key: t.ID, Value: b}, err
}

// acceptCommand enters a triggered command into the ledger and adds both its
// record and the entry to the batch, so that neither is there without the
// other.
func (in *ingest) acceptCommand(batch *buffer.Batch, r *mapping.Record) *mapping.Error {
	entry, queue, err := in.triggers.Accept(r, time.Now())
	switch {
	case errors.Is(err, bridge.ErrTooManyTriggers):
		return &mapping.Error{Code: reasonQueueFull, Message: err.Error(), Device: r.Device}
	case err != nil:
		return &mapping.Error{Code: reasonUnstorable, Message: err.Error(), Device: r.Device}
	case !queue:
		return nil
	}
	rec, err := stored(r)
	if err == nil {
		rec.Meta, err = json.Marshal(recordMeta{ID: entry.ID, Origin: r.Origin, Response: r.Response})
	}
	var put buffer.KV
	if err == nil {
		put, err = triggerPut(&entry)
	}
	if err != nil {
		in.triggers.Stored(entry.ID, err)
		return &mapping.Error{Code: reasonUnstorable, Message: err.Error(), Device: r.Device}
	}
	batch.Records = append(batch.Records, rec)
	batch.Puts = append(batch.Puts, put)
	return nil
}

// keep hands a batch to the store, and tells the ledger what became of the
// commands in it.
func (in *ingest) keep(batch *buffer.Batch, done func(error)) {
	ids := triggersIn(batch)
	if ids == nil {
		in.store.Append(batch, done)
		return
	}
	in.store.Append(batch, func(err error) {
		for _, id := range ids {
			in.triggers.Stored(id, err)
		}
		done(err)
	})
}

// giveUp tells the ledger of commands whose batch is not stored.
func (in *ingest) giveUp(batch *buffer.Batch, err error) {
	for _, id := range triggersIn(batch) {
		in.triggers.Stored(id, err)
	}
}

func triggersIn(batch *buffer.Batch) (ids []string) {
	for i := range batch.Puts {
		if batch.Puts[i].Space == spaceTriggers {
			ids = append(ids, batch.Puts[i].Key)
		}
	}
	return ids
}

// triggerID is the ledger's id of a command's record.
func triggerID(r *buffer.Record) string {
	if r.Class != buffer.ClassCommand || len(r.Meta) == 0 {
		return ""
	}
	var meta recordMeta
	if json.Unmarshal(r.Meta, &meta) != nil {
		return ""
	}
	return meta.ID
}

// mayAnswer tells whether the gateway answers on a response topic: the one who
// asks must be allowed to read it, and it must not be one by which the gateway
// itself commands devices or tells them what is desired. The broker publishes
// past its rules for the gateway, so this is where they hold.
func (g *Gateway) mayAnswer(id *broker.Identity, topic string) bool {
	if !broker.ValidTopic(topic) || strings.HasPrefix(topic, "gateway/") {
		return false
	}
	if strings.HasPrefix(topic, nativeTopics) && (strings.Contains(topic, "/request/") || strings.Contains(topic, "/status/") || strings.HasSuffix(topic, "/desired")) {
		return false
	}
	allowed, _ := g.broker.ACL().Decide(id, broker.ActionSubscribe, topic)
	return allowed
}
