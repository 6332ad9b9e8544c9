package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"iotc-gateway/mapping/payload"
)

// mapRoutes asks the routes that match, in their order. known is true as soon as one has taken the publication; more is true when
// that one says continue, so that the native scheme and the families are asked as well.
func (m *Mapper) mapRoutes(in *input, res *Result) (known, more bool, err error) {
	more = true
	if len(m.routes.all) == 0 {
		return false, more, nil
	}
	var room [8]hit
	for _, h := range m.routes.trie.search(in.levels, room[:0]) {
		r := m.routes.all[h.index]
		x := routeRun{m: m, in: in, res: res, r: r, match: match{r.pattern, in.pub.Topic, in.levels, h.start}}
		taken, err := x.run()
		x.release()
		if err != nil {
			e := asError(err)
			if e.Route == "" {
				e.Route = r.name
			}
			return true, false, e
		}
		if !taken {
			continue
		}
		known = true
		if res.Route == "" {
			res.Route = r.name
		}
		if !r.spec.Continue {
			return true, false, nil
		}
	}
	return known, more, nil
}

// routeRun is one publication on one route.
type routeRun struct {
	m     *Mapper
	in    *input
	res   *Result
	r     *route
	match match
	mc    *machine

	text   []byte // the payload, when it is JSON text
	isJSON bool
	spaced bool // text has white space between tokens
	found  [][]byte
	room   [12][]byte
	doc    payload.Document // otherwise
	values []any

	payloadSet bool // the variable payload is set
}

func (x *routeRun) release() {
	if x.mc != nil {
		clear(x.mc.env)
		machines.Put(x.mc)
		x.mc = nil
	}
}

// run applies the route; taken is false when its condition does not hold.
func (x *routeRun) run() (taken bool, err error) {
	r := x.r
	if r.when != nil && r.whenFirst {
		if holds, err := x.condition(); err != nil || !holds {
			return false, err
		}
	}
	if r.needs || r.lists && !r.spec.Drop {
		if err := x.load(); err != nil {
			return false, err
		}
		if !r.wholes && !r.lists {
			if list, is := x.elements(); is {
				return x.each(list)
			}
		}
		if err := x.extract(); err != nil {
			return false, err
		}
	}
	return x.apply()
}

// apply makes the records, from the payload or from one element of it.
func (x *routeRun) apply() (taken bool, err error) {
	r := x.r
	if r.when != nil && !r.whenFirst {
		if holds, err := x.condition(); err != nil || !holds {
			return false, err
		}
	}
	if r.spec.Drop {
		x.res.Tally.Dropped++
		return true, nil
	}
	if r.lists && r.telemetry.empty() && r.properties.empty() && r.spec.Command == nil {
		return true, x.readings()
	}
	if r.members && !r.wholes && !x.object() {
		return true, &Error{Code: CodeUndecodable, Message: "the payload is no object, so it has no members"}
	}
	device, err := x.device()
	if err != nil {
		return true, err
	}
	st, err := x.stamp()
	if err != nil {
		return true, err
	}
	made := len(x.res.Records)
	tally := x.res.Tally
	if err := x.telemetry(device, st); err != nil {
		return true, inDevice(err, device)
	}
	if err := x.properties(device, st); err != nil {
		return true, inDevice(err, device)
	}
	if err := x.command(device, st); err != nil {
		return true, inDevice(err, device)
	}
	if len(x.res.Records) == made && x.res.Tally == tally {
		x.res.Tally.Empty++
	}
	return true, nil
}

func inDevice(err error, device string) error {
	e := asError(err)
	if e.Device == "" {
		e.Device = device
	}
	return e
}

// load decodes the payload, or notes that it is JSON text, which need not be decoded.
func (x *routeRun) load() error {
	r, data := x.r, trimText(x.in.pub.Payload)
	if r.json && (!r.auto || looksLikeJSON(data)) {
		if err := checkText(data); err != nil {
			return err
		}
		x.text, x.isJSON = data, true
		return nil
	}
	var err error
	if x.doc, err = r.decoder.Decode(x.in.pub.Payload, x.in.now); err != nil {
		return payloadError(err)
	}
	return nil
}

// extract validates JSON text and finds the members that the route's expressions name.
func (x *routeRun) extract() error {
	r := x.r
	if !x.isJSON {
		if r.paths.count > 0 {
			x.values = make([]any, r.paths.count)
			collect(&r.paths.root, x.doc.Value, x.values)
		}
		return nil
	}
	if n := r.paths.count; n <= len(x.room) {
		x.found = x.room[:n]
	} else {
		x.found = make([][]byte, n)
	}
	clear(x.found)
	s := scanners.get(x.text)
	defer scanners.put(s)
	s.found = x.found
	s.space()
	var err error
	if s.i < len(x.text) && x.text[s.i] == '{' {
		err = s.object(0, nil, &r.paths.root)
	} else {
		err = s.value(0)
	}
	if err == nil {
		err = s.end()
	}
	x.spaced = s.spaced
	return err
}

// object tells whether the payload, or the element of it, is an object.
func (x *routeRun) object() bool {
	if x.isJSON {
		return looksLikeObject(x.text)
	}
	_, ok := x.doc.Value.(map[string]any)
	return ok
}

// elements returns the elements of a payload that is an array: each is a reading of its own then, as in the native scheme. The
// elements are []byte of JSON text, or decoded values.
func (x *routeRun) elements() ([]any, bool) {
	if !x.isJSON {
		list, ok := x.doc.Value.([]any)
		return list, ok
	}
	text := bytes.TrimLeft(x.text, " \t\r\n")
	return nil, len(text) > 0 && text[0] == '['
}

// each applies the route to every element of an array.
func (x *routeRun) each(list []any) (taken bool, err error) {
	n := 0
	element := func() error {
		if n++; n > MaxReadings {
			return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the array holds more than %d readings", MaxReadings)}
		}
		if err := x.extract(); err != nil {
			return err
		}
		took, err := x.apply()
		taken = taken || took
		if err != nil {
			e := asError(err)
			e.Message = fmt.Sprintf("reading %d: %s", n-1, e.Message)
			return e
		}
		return nil
	}
	if !x.isJSON {
		for _, v := range list {
			x.doc.Value = v
			if err := element(); err != nil {
				return true, err
			}
		}
		return taken, nil
	}
	s := scanners.get(x.text)
	defer scanners.put(s)
	s.space()
	err = s.array(0, func(text []byte) error {
		x.text = text
		return element()
	})
	if err == nil {
		err = s.end()
	}
	return taken || err != nil, err
}

// payloadError makes a decoder's error one of ours.
func payloadError(err error) *Error {
	e := &Error{Code: CodeUndecodable, Message: err.Error()}
	if errors.Is(err, payload.ErrTooLarge) || errors.Is(err, payload.ErrTooDeep) {
		e.Code = CodeTooLarge
	}
	return e
}

func looksLikeJSON(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

func (x *routeRun) device() (string, error) {
	r := x.r
	if r.device == nil {
		if r.deviceCapture < 0 {
			return "", &Error{Code: CodeBadDevice, Message: "neither the topic nor the payload names a device"}
		}
		id := x.match.capture(r.deviceCapture)
		return id, ValidDeviceID(id)
	}
	id, ok, err := x.evalText("device", r.device)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", &Error{Code: CodeBadDevice, Message: "the payload has not what device is made of: " + r.device.source}
	}
	return id, ValidDeviceID(id)
}

func (x *routeRun) stamp() (stamp, error) {
	r := x.r
	if r.time != nil {
		text, ok, err := x.evalText("time", r.time)
		if err != nil || !ok {
			return stamp{x.in.now, Receipt}, err
		}
		return x.in.stamp([]byte(text), x.res)
	}
	if r.timePath >= 0 && (x.isJSON || x.values != nil) {
		text, ok, err := x.pathJSON(r.timePath)
		if err != nil || !ok {
			return stamp{x.in.now, Receipt}, err
		}
		return x.in.stamp(text, x.res)
	}
	return stamp{x.in.now, Receipt}, nil
}

func (x *routeRun) telemetry(device string, st stamp) error {
	if x.r.telemetry.empty() {
		return nil
	}
	list, err := x.fields("telemetry", &x.r.telemetry)
	if err != nil || len(list) == 0 {
		return err
	}
	return x.m.emit(x.in, x.res, Record{
		Kind: KindTelemetry, Device: device, Value: joined(list), Time: st.time, TimeFrom: st.from, Origin: x.r.name,
	}, x.r)
}

func (x *routeRun) properties(device string, st stamp) error {
	if x.r.properties.empty() {
		return nil
	}
	list, err := x.fields("properties", &x.r.properties)
	if err != nil {
		return err
	}
	for _, f := range list {
		err := x.m.emit(x.in, x.res, Record{
			Kind: KindProperty, Device: device, Name: f.name, Value: f.value, Time: st.time, TimeFrom: st.from, Origin: x.r.name,
		}, x.r)
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *routeRun) command(device string, st stamp) error {
	if x.r.spec.Command == nil {
		return nil
	}
	name := x.r.command.fill(&x.match)
	if err := ValidName(name); err != nil {
		return err
	}
	var args json.RawMessage
	if x.r.args != nil {
		var err error
		if args, _, err = x.evalJSON("command.args", x.r.args); err != nil {
			return err
		}
		if args != nil && args[0] != '{' {
			return &Error{Code: CodeUndecodable, Name: name, Message: "the arguments of a command are no JSON object"}
		}
	}
	return x.m.emit(x.in, x.res, Record{
		Kind: KindCommand, Device: device, Name: name, Value: args, Time: st.time, TimeFrom: st.from, Origin: x.r.name, Response: x.in.reply(),
	}, x.r)
}
