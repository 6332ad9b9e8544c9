package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// timestampKey is the key of an object that holds the time of its values.
const timestampKey = "timestamp"

// mapNative maps the topics devices/{device}/...; known is false for a topic that is none of them.
func (m *Mapper) mapNative(in *input, res *Result) (known bool, err error) {
	rest, ok := strings.CutPrefix(in.pub.Topic, "devices/")
	if !ok {
		return false, nil
	}
	device, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return false, nil
	}
	what, rest, more := strings.Cut(rest, "/")
	var does action
	var name, id, verb string
	switch what {
	case "telemetry":
		does, name = reading, rest
		if !more {
			does = telemetry
		}
	case "properties":
		var verbs bool
		name, verb, verbs = strings.Cut(rest, "/")
		switch {
		case !more:
			does = properties
		case !verbs:
			does = property
		case verb == "get":
			does = query
		}
	case "commands":
		name, verb, _ = strings.Cut(rest, "/")
		verb, id, _ = strings.Cut(verb, "/")
		switch {
		case verb == "response" && id != "" && !strings.Contains(id, "/"):
			does = response
		case verb == "trigger" && id == "":
			does = trigger
		}
	}
	if does == nothing {
		return false, nil
	}
	if err := ValidDeviceID(device); err != nil {
		return true, nativeError(err, clip(device))
	}
	if res.Route == "" {
		res.Route = native
	}
	if err := m.nativeAction(does, in, res, device, name, id); err != nil {
		return true, nativeError(err, device)
	}
	return true, nil
}

// action is what a native topic asks for.
type action uint8

const (
	nothing action = iota
	telemetry
	reading
	properties
	property
	query
	response
	trigger
)

// nativeAction calls directly and not through a table: so the publication's state stays on the stack.
func (m *Mapper) nativeAction(does action, in *input, res *Result, device, name, id string) error {
	switch does {
	case telemetry:
		return m.nativeTelemetry(in, res, device)
	case reading:
		return m.nativeReading(in, res, device, name)
	case properties:
		return m.nativeProperties(in, res, device)
	case property:
		return m.nativeProperty(in, res, device, name)
	case query:
		return m.nativeGet(in, res, device, name)
	case response:
		return m.nativeResponse(in, res, device, name, id)
	case trigger:
		return m.nativeTrigger(in, res, device, name)
	case nothing:
	}
	return nil
}

// nativeError makes an *Error of what went wrong and says for which device.
func nativeError(err error, device string) *Error {
	e := asError(err)
	e.Device, e.Route = device, native
	return e
}

// asError makes an *Error of any fault: one of the text, or one that is an *Error already.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*scanError](err); ok && e.large {
		return &Error{Code: CodeTooLarge, Message: e.message}
	}
	return &Error{Code: CodeUndecodable, Message: err.Error()}
}

func (m *Mapper) nativeTelemetry(in *input, res *Result, device string) error {
	b := trimText(in.pub.Payload)
	if err := checkText(b); err != nil {
		return err
	}
	s := scanners.get(b)
	defer scanners.put(s)
	s.space()
	switch {
	case s.i < len(b) && b[s.i] == '{':
		if err := m.readingObject(s, in, res, device, 0); err != nil {
			return err
		}
	case s.i < len(b) && b[s.i] == '[':
		if err := m.readingArray(s, in, res, device); err != nil {
			return err
		}
	default:
		return &Error{
			Code: CodeUndecodable, Message: "the payload is neither an object nor an array of objects",
			Hint: "publish a single value to devices/" + device + "/telemetry/{name}",
		}
	}
	return s.end()
}

// readingArray reads [{...}, {...}]: each element is a reading of its own, with its own time.
func (m *Mapper) readingArray(s *scanner, in *input, res *Result, device string) error {
	s.i++
	s.space()
	for n := 0; ; n++ {
		if n == MaxReadings {
			return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the array holds more than %d readings", MaxReadings)}
		}
		if s.i >= len(s.b) || s.b[s.i] != '{' {
			if n == 0 && s.i < len(s.b) && s.b[s.i] == ']' {
				return &Error{Code: CodeUndecodable, Message: "the array is empty"}
			}
			return s.fail("an object")
		}
		if err := m.readingObject(s, in, res, device, 1); err != nil {
			e := asError(err)
			e.Message = fmt.Sprintf("reading %d: %s", n, e.Message)
			return e
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fail("a comma or ]")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
			s.space()
		case ']':
			s.i++
			return nil
		default:
			return s.fail("a comma or ]")
		}
	}
}

// readingObject reads one object of values into a telemetry record.
func (m *Mapper) readingObject(s *scanner, in *input, res *Result, device string, depth int) error {
	at, spaced := s.i, s.spaced
	s.spaced = false
	values, last := 0, 0
	var when member
	err := s.object(depth, func(mem member) error {
		if string(mem.key) == timestampKey {
			when = mem
			// The comma to be removed is the one before, or for the first member the one behind.
			when.start = last
			return nil
		}
		values++
		last = mem.end
		if when.value != nil && when.start == 0 {
			when.end, when.start = mem.start, at+1
		}
		if nameFault(string(mem.key)) != "" {
			return ValidName(string(mem.key))
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	if values == 0 {
		return &Error{Code: CodeUndecodable, Message: "the object holds no value"}
	}
	value := s.b[at:s.i:s.i]
	if when.value != nil {
		spliced := make([]byte, 0, len(value))
		spliced = append(spliced, s.b[at:when.start]...)
		value = append(spliced, s.b[when.end:s.i]...)
	}
	if s.spaced {
		value = compact(value)
	}
	s.spaced = s.spaced || spaced
	st, err := in.stamp(when.value, res)
	if err != nil {
		return err
	}
	return m.emit(in, res, Record{Kind: KindTelemetry, Device: device, Value: value, Time: st.time, TimeFrom: st.from, Origin: native}, nil)
}

// compact removes the white space of valid JSON text.
func compact(text []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(text))
	if err := json.Compact(&out, text); err != nil {
		return text
	}
	return out.Bytes()
}

// stamp reads the time of a record from the text of a timestamp. No text, or null, is the time of receipt; so is a time that
// cannot be true, which is counted: many devices count from 1970 until they have found a clock.
func (in *input) stamp(text []byte, res *Result) (stamp, error) {
	if len(text) == 0 || string(text) == "null" {
		return stamp{in.now, Receipt}, nil
	}
	t, err := ParseTime(string(text))
	if err != nil {
		return stamp{}, &Error{Code: CodeUndecodable, Name: timestampKey, Message: "timestamp: " + err.Error()}
	}
	if !credible(t, in.now, in.pub.FutureBound) {
		res.Tally.Implausible++
		return stamp{in.now, Receipt}, nil
	}
	return stamp{t, Payload}, nil
}

func (m *Mapper) nativeReading(in *input, res *Result, device, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	if name == timestampKey {
		return &Error{Code: CodeBadName, Name: name, Message: "timestamp is the time of a reading and cannot be the name of a value"}
	}
	value, err := oneValue(in.pub.Payload)
	if err != nil {
		return err
	}
	return m.emit(in, res, Record{
		Kind: KindTelemetry, Device: device, Value: wrap(name, value), Time: in.now, TimeFrom: Receipt, Origin: native,
	}, nil)
}

// wrap makes {"name":value}.
func wrap(name string, value []byte) []byte {
	b := make([]byte, 0, len(name)+len(value)+5)
	b = append(b, '{')
	b = appendString(b, name)
	b = append(b, ':')
	b = append(b, value...)
	return append(b, '}')
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			var out bytes.Buffer
			enc := json.NewEncoder(&out)
			enc.SetEscapeHTML(false)
			if enc.Encode(s) == nil {
				return append(b, bytes.TrimRight(out.Bytes(), "\n")...)
			}
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// oneValue reads any JSON value, or text as a string.
func oneValue(payload []byte) ([]byte, error) {
	payload = trimText(payload)
	if err := checkText(payload); err != nil {
		return nil, err
	}
	s := scanners.get(payload)
	defer scanners.put(s)
	s.space()
	at := s.i
	err := s.value(0)
	stop := s.i
	if err == nil {
		err = s.end()
	}
	if err == nil {
		value := payload[at:stop:stop]
		if s.spaced {
			value = compact(value)
		}
		return value, nil
	}
	text := bytes.TrimSpace(payload)
	if len(text) == 0 {
		return nil, &Error{Code: CodeUndecodable, Message: "the payload is blank"}
	}
	if c := text[0]; c == '{' || c == '[' || c == '"' {
		return nil, err
	}
	switch strings.ToLower(strings.TrimLeft(string(text[:min(len(text), 10)]), "+-")) {
	case "nan", "inf", "infinity":
		return nil, &Error{Code: CodeUndecodable, Message: fmt.Sprintf("%s is no JSON number", text), Hint: "publish nothing, or null, when there is no value"}
	}
	for _, c := range text {
		if c < ' ' && c != '\t' {
			return nil, err
		}
	}
	return appendString(make([]byte, 0, len(text)+2), string(text)), nil
}

func (m *Mapper) nativeProperties(in *input, res *Result, device string) error {
	b := trimText(in.pub.Payload)
	if err := checkText(b); err != nil {
		return err
	}
	s := scanners.get(b)
	defer scanners.put(s)
	s.space()
	if s.i >= len(b) || b[s.i] != '{' {
		return &Error{
			Code: CodeUndecodable, Message: "the payload is no object",
			Hint: "publish a single value to devices/" + device + "/properties/{name}",
		}
	}
	var when []byte
	var members []member
	err := s.object(0, func(mem member) error {
		if string(mem.key) == timestampKey {
			when = mem.value
			return nil
		}
		members = append(members, mem)
		return ValidName(string(mem.key))
	}, nil)
	if err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	if len(members) == 0 {
		return &Error{Code: CodeUndecodable, Message: "the object holds no value"}
	}
	st, err := in.stamp(when, res)
	if err != nil {
		return err
	}
	res.Records = make([]Record, 0, len(members))
	for _, mem := range members {
		value := mem.value
		if s.spaced {
			value = compact(value)
		}
		r := Record{Kind: KindProperty, Device: device, Name: string(mem.key), Value: value, Time: st.time, TimeFrom: st.from, Origin: native}
		if err := m.emit(in, res, r, nil); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mapper) nativeProperty(in *input, res *Result, device, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	value, err := oneValue(in.pub.Payload)
	if err != nil {
		return err
	}
	return m.emit(in, res, Record{
		Kind: KindProperty, Device: device, Name: name, Value: value, Time: in.now, TimeFrom: Receipt, Origin: native,
	}, nil)
}

func (m *Mapper) nativeGet(in *input, res *Result, device, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	res.Events = append(res.Events, PropertyQuery{Device: device, Name: name, Response: in.reply()})
	return nil
}

// reply returns where the sender wants an answer (MQTT 5), or nil.
func (in *input) reply() *Reply {
	if in.pub.ResponseTopic == "" {
		return nil
	}
	return &Reply{Topic: in.pub.ResponseTopic, Correlation: in.pub.CorrelationData}
}

func (m *Mapper) nativeResponse(in *input, res *Result, device, name, id string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	ev := CommandResponse{Device: device, Name: name, ID: id, Status: StatusCompleted}
	if len(in.pub.Payload) > 0 {
		value, err := oneValue(in.pub.Payload)
		if err != nil {
			return err
		}
		if int64(len(value)) > m.cfg.MaxRecordBytes {
			return tooLarge(len(value), m.cfg.MaxRecordBytes)
		}
		if !structuredResponse(value, &ev) {
			ev.Result = value
		}
	}
	res.Events = append(res.Events, ev)
	return nil
}

// structuredResponse reads {"status": ..., "result": ...}; anything else is a bare result.
func structuredResponse(value []byte, ev *CommandResponse) bool {
	if value[0] != '{' {
		return false
	}
	s := scanners.get(value)
	defer scanners.put(s)
	status, others := "", false
	var result []byte
	err := s.object(0, func(mem member) error {
		switch string(mem.key) {
		case "status":
			status = string(mem.value)
		case "result":
			result = mem.value
		default:
			others = true
		}
		return nil
	}, nil)
	if err != nil || others {
		return false
	}
	switch status {
	case `"Completed"`:
		ev.Status = StatusCompleted
	case `"Failed"`:
		ev.Status = StatusFailed
	default:
		return false
	}
	ev.Result = result
	return true
}

func (m *Mapper) nativeTrigger(in *input, res *Result, device, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	var args []byte
	if len(in.pub.Payload) > 0 {
		var err error
		if args, err = oneValue(in.pub.Payload); err != nil {
			return err
		}
		if string(args) == "null" {
			args = nil
		} else if args[0] != '{' {
			return &Error{Code: CodeUndecodable, Message: "the arguments of a command are no JSON object"}
		}
	}
	return m.emit(in, res, Record{
		Kind: KindCommand, Device: device, Name: name, Value: args, Time: in.now, TimeFrom: Receipt, Origin: native, Response: in.reply(),
	}, nil)
}

// emitChecked validates what the native scheme has validated on its way, and emits the record.
func (m *Mapper) emitChecked(in *input, res *Result, r Record) error {
	if err := ValidDeviceID(r.Device); err != nil {
		return err
	}
	if r.Kind == KindProperty || r.Kind == KindCommand {
		if err := ValidName(r.Name); err != nil {
			return err
		}
	}
	if r.TimeFrom == Payload {
		r.Time = r.Time.UTC()
		if !credible(r.Time, in.now, in.pub.FutureBound) {
			res.Tally.Implausible++
			r.Time, r.TimeFrom, r.Historical = in.now, Receipt, false
		}
	}
	if r.Kind == KindTelemetry {
		if err := checkObject(r.Value); err != nil {
			e := asError(err)
			e.Device = r.Device
			return e
		}
	}
	return m.emit(in, res, r, nil)
}

// checkObject makes sure that a telemetry value is an object with names that the application takes.
func checkObject(value []byte) error {
	values := 0
	err := Members(value, func(key string, _ json.RawMessage) error {
		if key == timestampKey {
			return &Error{Code: CodeBadName, Name: key, Message: "timestamp is the time of a reading and cannot be the name of a value"}
		}
		values++
		return ValidName(key)
	})
	if err == nil && values == 0 {
		return &Error{Code: CodeUndecodable, Message: "the reading holds no value"}
	}
	return err
}

func tooLarge(n int, limit int64) *Error {
	return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the record has %d bytes, at most %d are allowed", n, limit)}
}
