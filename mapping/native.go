package mapping

import (
	"errors"
	"fmt"
	"strings"
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
