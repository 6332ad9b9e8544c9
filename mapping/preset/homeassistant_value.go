package preset

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// haReading is the work on one message on a claimed topic.
type haReading struct {
	call *mapping.Call
	res  mapping.Result
	text string

	tree   any // of the payload, once it was parsed
	parsed bool
	broken error

	devices   []string // in order of appearance
	telemetry map[string]map[string]any
	refused   error // the first value that was not what its entity says
}

// values gives each entity its value out of a message.
func (f *homeAssistantFamily) values(c *mapping.Call) (mapping.Result, error) {
	r := haReading{call: c, text: strings.TrimSpace(string(c.Pub.Payload)), telemetry: map[string]map[string]any{}}
	for _, b := range haBindings(c.State, c.Pub.Topic) {
		v, ok := r.pick(&b)
		switch {
		case !ok:
			r.res.Tally.Empty++
		case b.Name == "":
			r.online(&b, v)
		default:
			r.value(&b, v)
		}
	}
	if r.broken != nil {
		return mapping.Result{}, haFault("no JSON: %v", r.broken)
	}
	for _, device := range r.devices {
		body, err := mapping.Encode(r.telemetry[device])
		if err != nil {
			return mapping.Result{}, err
		}
		r.res.Records = append(r.res.Records, mapping.Record{Kind: mapping.KindTelemetry, Device: device, Value: body})
	}
	if len(r.res.Records) == 0 && r.refused != nil {
		return mapping.Result{}, r.refused
	}
	return r.res, nil
}

// pick finds an entity's value in the payload. It is not ok where there is none: devices publish some members now and then.
func (r *haReading) pick(b *haBinding) (any, bool) {
	if !b.JSON {
		return r.text, r.text != ""
	}
	if !r.parsed {
		r.parsed = true
		r.tree, r.broken = payload.ParseJSON(r.call.Pub.Payload)
	}
	v := r.tree
	for _, step := range b.Path {
		switch inner := v.(type) {
		case map[string]any:
			v = inner[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(inner) {
				return nil, false
			}
			v = inner[i]
		default:
			return nil, false
		}
	}
	return v, v != nil
}

// haWord writes a picked value as Home Assistant compares it.
func haWord(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	text, err := mapping.Encode(v)
	if err != nil {
		return ""
	}
	return string(text)
}

func (r *haReading) refuse(b *haBinding, v any, wanted string) {
	r.res.Tally.Unsupported++
	if r.refused == nil {
		r.refused = &mapping.Error{
			Code: mapping.CodeUndecodable, Device: b.Device, Name: b.Name,
			Message: fmt.Sprintf("%s %s: %.40q is %s", b.Component, b.Name, haWord(v), wanted),
		}
	}
}

// value makes telemetry or a property of a value.
func (r *haReading) value(b *haBinding, v any) {
	switch b.Component {
	case haBinary, haSwitch:
		switch haWord(v) {
		case b.On:
			v = true
		case b.Off:
			v = false
		default:
			r.refuse(b, v, "neither "+b.On+" nor "+b.Off)
			return
		}
	default:
		if word, ok := v.(string); ok {
			if slices.Contains([]string{"unknown", "unavailable", "None", "none", ""}, word) {
				r.res.Tally.Empty++
				return
			}
			// Without a template the payload is a number if it looks like one; a text that is quoted in JSON stays one.
			if b.Number || !b.JSON && b.Component == haSensor {
				if n, err := payload.ParseJSON([]byte(word)); err == nil && haIsNumber(n) {
					v = n
				}
			}
		}
		if b.Number && !haIsNumber(v) {
			r.refuse(b, v, "no number")
			return
		}
	}
	if b.Component == haSensor || b.Component == haBinary {
		if r.telemetry[b.Device] == nil {
			r.devices, r.telemetry[b.Device] = append(r.devices, b.Device), map[string]any{}
		}
		r.telemetry[b.Device][b.Name] = v
		return
	}
	body, err := mapping.Encode(v)
	if err != nil {
		r.refuse(b, v, "no JSON value")
		return
	}
	r.res.Records = append(r.res.Records, mapping.Record{Kind: mapping.KindProperty, Device: b.Device, Name: b.Name, Value: body})
	if id, ok := r.call.State.Get(haPendingKey(b.Device, b.Name)); ok {
		r.res.Events = append(r.res.Events, mapping.CommandResponse{Device: b.Device, Name: b.Name, ID: string(id), Status: mapping.StatusCompleted, Result: body})
		r.res.Changes = append(r.res.Changes, mapping.Change{Key: haPendingKey(b.Device, b.Name)})
	}
}

func haIsNumber(v any) bool {
	switch v.(type) {
	case int64, uint64, float64, json.Number:
		return true
	}
	return false
}

// online makes the property online of an availability topic. With several topics the mode decides: latest takes the last word,
// all wants every one to say so, any wants one.
func (r *haReading) online(b *haBinding, v any) {
	var here bool
	switch word := haWord(v); word {
	case b.On:
		here = true
	case b.Off:
	default:
		b.Component, b.Name = "availability", "of "+b.Device
		r.refuse(b, v, "neither "+b.On+" nor "+b.Off)
		return
	}
	online := here
	if len(b.Topics) > 1 && (b.Mode == "all" || b.Mode == "any") {
		words := map[string]bool{}
		if data, ok := r.call.State.Get(haOnlineKey(b.Device)); ok && json.Unmarshal(data, &words) != nil {
			words = map[string]bool{}
		}
		words[r.call.Pub.Topic] = here
		for topic := range words {
			if !slices.Contains(b.Topics, topic) {
				delete(words, topic) // of an earlier discovery
			}
		}
		if err := haSet(&r.res, haOnlineKey(b.Device), words); err != nil {
			return
		}
		online = b.Mode == "all"
		for _, topic := range b.Topics {
			if words[topic] != (b.Mode == "all") {
				online = !online
				break
			}
		}
	}
	value := json.RawMessage(strconv.FormatBool(online))
	for i := range r.res.Records { // another entity of the device said so already
		if rec := &r.res.Records[i]; rec.Device == b.Device && rec.Name == mapping.PropertyOnline {
			rec.Value = value
			return
		}
	}
	r.res.Records = append(r.res.Records, mapping.Record{Kind: mapping.KindProperty, Device: b.Device, Name: mapping.PropertyOnline, Value: value})
}
