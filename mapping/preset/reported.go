package preset

import (
	"encoding/json"
	"strconv"
	"time"

	"iotc-gateway/mapping"
)

const (
	// reportedAgain is when a property is told once more although it did not change: the application may have lost it.
	reportedAgain = 24 * time.Hour
	// reportedNames and reportedBytes bound what is remembered of one device. What does not fit is told each time.
	reportedNames = 128
	reportedBytes = 512
)

// reported is what a device's properties were when they were last told. Many families repeat their whole state every few minutes;
// without this each repetition would be a request per property.
//
// It is kept in one key a device and committed with the records, so that a property is never taken for told when it was not. A
// device that comes back online tells everything anew, and everything is told again once a day.
type reported struct {
	device string
	now    time.Time
	values map[string]json.RawMessage // as kept, whatever their age
	since  int64
	stale  bool // what is kept no longer keeps anything from being told
	fresh  map[string]bool
	dirty  bool
}

// reportedKept is the form in the store.
type reportedKept struct {
	Since  int64                      `json:"s"`
	Values map[string]json.RawMessage `json:"v"`
}

func reportedKey(device string) string { return "r/" + device }

func newReported(state mapping.State, device string, now time.Time) *reported {
	r := &reported{device: device, now: now, values: map[string]json.RawMessage{}, since: now.Unix()}
	var kept reportedKept
	if data, ok := state.Get(reportedKey(device)); ok && json.Unmarshal(data, &kept) == nil && kept.Values != nil {
		r.values, r.since = kept.Values, kept.Since
	}
	if age := now.Sub(time.Unix(r.since, 0)); age >= reportedAgain || age <= -reportedAgain {
		r.renew()
	}
	return r
}

// renew lets everything be told again.
func (r *reported) renew() { r.stale, r.since, r.fresh = true, r.now.Unix(), map[string]bool{} }

// value returns the last word on a property.
func (r *reported) value(name string) (json.RawMessage, bool) {
	v, ok := r.values[name]
	return v, ok
}

// offline tells whether the device is known to be out of reach.
func offline(state mapping.State, device string) bool {
	was, ok := newReported(state, device, time.Time{}).value(mapping.PropertyOnline)
	return ok && string(was) == "false"
}

// tell adds a property unless it was told before. The time is zero for the time of receipt.
func (r *reported) tell(res *mapping.Result, name string, value json.RawMessage, at time.Time) {
	if string(r.values[name]) == string(value) && (!r.stale || r.fresh[name]) {
		res.Tally.Unchanged++
		return
	}
	r.say(res, name, value, at)
}

// say adds a property whether it was told before or not: what answers somebody is always told.
func (r *reported) say(res *mapping.Result, name string, value json.RawMessage, at time.Time) {
	rec := mapping.Record{Kind: mapping.KindProperty, Device: r.device, Name: name, Value: value}
	if !at.IsZero() {
		rec.Time, rec.TimeFrom = at, mapping.Payload
	}
	res.Records = append(res.Records, rec)
	if r.stale {
		r.fresh[name] = true
	}
	_, known := r.values[name]
	if len(value) > reportedBytes || !known && len(r.values) >= reportedNames {
		if known {
			delete(r.values, name)
			r.dirty = true
		}
		return
	}
	if r.stale || string(r.values[name]) != string(value) {
		r.values[name], r.dirty = value, true
	}
}

// online tells the availability. A device that comes back tells everything again, for what it was may have changed meanwhile,
// here and in the application.
func (r *reported) online(res *mapping.Result, here bool) {
	if was, ok := r.values[mapping.PropertyOnline]; here && ok && string(was) == "false" {
		r.renew()
	}
	r.tell(res, mapping.PropertyOnline, json.RawMessage(strconv.FormatBool(here)), time.Time{})
}

// keep adds the change of state.
func (r *reported) keep(res *mapping.Result) error {
	if !r.dirty {
		return nil
	}
	if r.stale { // the others are told when they come
		for name := range r.values {
			if !r.fresh[name] && name != mapping.PropertyOnline {
				delete(r.values, name)
			}
		}
	}
	data, err := json.Marshal(reportedKept{Since: r.since, Values: r.values})
	if err != nil {
		return err
	}
	res.Changes = append(res.Changes, mapping.Change{Key: reportedKey(r.device), Value: data})
	return nil
}
