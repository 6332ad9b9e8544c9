package preset

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"iotc-gateway/mapping"
)

// z2mDepth is how deep a value's members are looked for.
const z2mDepth = 8

// z2mReading is the work on the state of one device.
type z2mReading struct {
	known  *z2mDevice
	call   *mapping.Call
	res    *mapping.Result
	said   *reported
	at     time.Time
	values map[string]any // telemetry
}

// read makes records of the members, and completes the commands that they answer.
func (r *z2mReading) read(members map[string]any) error {
	r.time(members["last_seen"])
	for _, key := range slices.Sorted(maps.Keys(members)) {
		v := members[key]
		switch {
		case key == "last_seen" || key == "device" || v == nil || v == "": // "" is an action that is over
		case key == "update":
			if update, ok := v.(map[string]any); ok && update["state"] != nil {
				if err := r.property("update_state", update["state"]); err != nil {
					return err
				}
			}
		case key == "update_available" || slices.Contains(r.known.Settable, key):
			if err := r.property(modelName(key), v); err != nil {
				return err
			}
		default:
			r.flatten(key, v, 0)
		}
	}
	if len(r.values) > 0 {
		body, err := mapping.Encode(r.values)
		if err != nil {
			return err
		}
		rec := mapping.Record{Kind: mapping.KindTelemetry, Device: r.said.device, Value: body}
		if !r.at.IsZero() {
			rec.Time, rec.TimeFrom = r.at, mapping.Payload
		}
		r.res.Records = append(r.res.Records, rec)
	}
	return r.answers(members)
}

// time reads last_seen: RFC 3339 or milliseconds since 1970.
func (r *z2mReading) time(v any) {
	if v == nil {
		return
	}
	text, err := mapping.Encode(v)
	if err != nil {
		return
	}
	at, err := mapping.ParseTime(string(text))
	if err != nil {
		r.res.Tally.Implausible++
		return
	}
	r.at = at
}

func (r *z2mReading) property(name string, v any) error {
	body, err := mapping.Encode(v)
	if err != nil {
		return err
	}
	if waitsFor(r.call, r.said.device, name) {
		r.said.say(r.res, name, body, r.at)
		return nil
	}
	r.said.tell(r.res, name, body, r.at)
	return nil
}

// waitsFor tells whether a command waits for a value of the device.
func waitsFor(c *mapping.Call, device, name string) bool {
	return slices.ContainsFunc(pendingFrom(c.State, device, c.Now), func(w pending) bool { return w.Name == name })
}

func (r *z2mReading) flatten(name string, v any, depth int) {
	object, ok := v.(map[string]any)
	switch {
	case v == nil:
	case !ok:
		r.values[modelName(name)] = v
	case depth >= z2mDepth:
		r.res.Tally.Unsupported++
	default:
		for _, key := range slices.Sorted(maps.Keys(object)) {
			r.flatten(name+"_"+key, object[key], depth+1)
		}
	}
}

// answers completes the commands that wait for one of the members.
func (r *z2mReading) answers(members map[string]any) error {
	list := pendingFrom(r.call.State, r.said.device, r.call.Now)
	var left []pending
	for _, w := range list {
		var keys []string
		result := map[string]any{}
		if json.Unmarshal(w.Want, &keys) == nil {
			for _, key := range keys {
				if v, ok := members[key]; ok {
					result[key] = v
				}
			}
		}
		if len(result) == 0 {
			left = append(left, w)
			continue
		}
		var answer any = result
		if len(keys) == 1 && w.Name != z2mSet && w.Name != z2mGet {
			answer = result[keys[0]]
		}
		body, err := mapping.Encode(answer)
		if err != nil {
			return err
		}
		r.res.Events = append(r.res.Events, mapping.CommandResponse{Device: r.said.device, Name: w.Name, ID: w.ID, Status: mapping.StatusCompleted, Result: body})
	}
	if len(left) == len(list) {
		return nil
	}
	return keepPending(r.res, r.said.device, left)
}
