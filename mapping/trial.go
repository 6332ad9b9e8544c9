package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Trial is what a publication becomes, for people and tools that try a mapping out. Its JSON is one line of the output of the
// command map.
type Trial struct {
	Topic   string
	Decoded json.RawMessage // the payload as the route that took it reads it; nil: it cannot be told
	Result  Result
	Err     *Error // with the nearest route as its hint when nothing maps the topic
}

// Rehearsal maps publications one after the other and keeps the state from one to the next, as the gateway would.
type Rehearsal struct {
	mapper *Mapper
	state  MemoryState
}

// Rehearse begins with an empty state.
func (m *Mapper) Rehearse() *Rehearsal { return &Rehearsal{mapper: m, state: MemoryState{}} }

// Try maps a publication. Its time of receipt is the clock; now stands in where it has none.
func (r *Rehearsal) Try(pub *Publication, now time.Time) Trial {
	if !pub.Received.IsZero() {
		now = pub.Received
	}
	t := r.mapper.Explain(pub, now, r.state)
	r.state.Apply(t.Result.Changes)
	return t
}

// Explain is Map with everything that a person wants to know about it. It is slow.
func (m *Mapper) Explain(pub *Publication, now time.Time, state State) Trial {
	t := Trial{Topic: pub.Topic}
	res, err := m.Map(pub, now, state)
	if err != nil {
		t.Err = asError(err)
		if t.Err.Code == CodeUnmapped {
			t.Err.Hint = m.Nearest(pub.Topic)
		}
	} else {
		t.Result = res
	}
	t.Decoded = m.decoded(pub, now, t.Route())
	return t
}

// Route returns what mapped the publication, or would have.
func (t Trial) Route() string {
	if t.Err != nil {
		return t.Err.Route
	}
	return t.Result.Route
}

// decoded reads the payload as the route does, else as JSON.
func (m *Mapper) decoded(pub *Publication, now time.Time, name string) json.RawMessage {
	for _, r := range m.routes.all {
		if r.name != name || r.json || r.decoder == nil {
			continue
		}
		doc, err := r.decoder.Decode(pub.Payload, now)
		if err != nil {
			return nil
		}
		if text, err := Encode(doc.Value); err == nil {
			return text
		}
		return nil
	}
	if text, err := oneValue(pub.Payload); err == nil {
		return text
	}
	return nil
}

// Requests returns the REST calls.
func (t Trial) Requests() []Request {
	list := make([]Request, 0, len(t.Result.Records))
	for _, r := range t.Result.Records {
		method, path, body := r.Request()
		list = append(list, Request{Method: method, Path: path, Body: body})
	}
	return list
}

// Request is one REST call.
type Request struct {
	Method string          `json:"method"`
	Path   string          `json:"path"`
	Body   json.RawMessage `json:"body"`
}

type trialRecord struct {
	Kind   Kind            `json:"kind"`
	Device string          `json:"device"`
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value"`
	Time   string          `json:"time"`
}

type trialError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// MarshalJSON writes the line {"topic", "route", "records", "requests", "error"}.
func (t Trial) MarshalJSON() ([]byte, error) {
	line := struct {
		Topic    string        `json:"topic"`
		Route    string        `json:"route"`
		Records  []trialRecord `json:"records"`
		Requests []Request     `json:"requests"`
		Error    *trialError   `json:"error"`
	}{Topic: t.Topic, Route: t.Route(), Records: []trialRecord{}, Requests: t.Requests()}
	for _, r := range t.Result.Records {
		line.Records = append(line.Records, trialRecord{r.Kind, r.Device, r.Name, r.Value, r.Time.UTC().Format(timestampFormat)})
	}
	if t.Err != nil {
		line.Error = &trialError{t.Err.Code, t.Err.Message, t.Err.Hint}
	}
	// Numbers and text stay as they are: no <, > or & is rewritten.
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		return nil, fmt.Errorf("write a trial: %w", err)
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

// String is the trial for a person: a headline, and a line for everything that becomes of the publication.
func (t Trial) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", t.Topic)
	if route := t.Route(); route != "" {
		fmt.Fprintf(&b, "  [%s]", route)
	}
	b.WriteByte('\n')
	if t.Decoded != nil {
		fmt.Fprintf(&b, "  payload  %s\n", shown(t.Decoded))
	}
	if t.Err != nil {
		fmt.Fprintf(&b, "  error    %s: %s\n", t.Err.Code, t.Err.Message)
		if t.Err.Hint != "" {
			fmt.Fprintf(&b, "  hint     %s\n", t.Err.Hint)
		}
		return b.String()
	}
	for _, q := range t.Requests() {
		fmt.Fprintf(&b, "  call     %s\n", strings.TrimSpace(fmt.Sprintf("%s %s %s", q.Method, q.Path, q.Body)))
	}
	for _, e := range t.Result.Events {
		switch e := e.(type) {
		case CommandResponse:
			fmt.Fprintf(&b, "  answer   command %s of %s (%s): %s %s\n", e.Name, e.Device, e.ID, e.Status, e.Result)
		case PropertyQuery:
			fmt.Fprintf(&b, "  query    property %s of %s\n", e.Name, e.Device)
		}
	}
	for _, p := range t.Result.Publish {
		fmt.Fprintf(&b, "  publish  %s %s\n", p.Topic, shown(p.Payload))
	}
	for _, line := range t.Result.Tally.lines() {
		fmt.Fprintf(&b, "  left out %s\n", line)
	}
	return b.String()
}

// shown clips a payload for a terminal.
func shown(b []byte) string {
	const most = 400
	if len(b) > most {
		return strings.ToValidUTF8(string(b[:most]), "\uFFFD") + "..."
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// lines says in words what a tally counts.
func (t Tally) lines() []string {
	var out []string
	for _, c := range []struct {
		n    int
		text string
	}{
		{t.Dropped, "the route says drop"},
		{t.Empty, "the route found none of its values in the payload"},
		{t.Unchanged, "values that have not changed"},
		{t.TooSoon, "values within the minimum interval"},
		{t.Replayed, "telemetry of a retained replay, which has no time of its own"},
		{t.Implausible, "times that cannot be; the time of receipt was taken"},
		{t.Unmodelled, "values that the device template does not speak of; they were passed on"},
		{t.NoOnline, "the property online, which the device template does not have"},
		{t.NoProperty, "properties that the device template does not have; they were left out"},
		{t.Repeated, "a message that came before"},
		{t.Unresolved, "values that only an earlier message could explain"},
		{t.Unsupported, "parts that the preset does not know"},
	} {
		if c.n > 0 {
			out = append(out, fmt.Sprintf("%d: %s", c.n, c.text))
		}
	}
	return out
}

// Difference is a publication that two mappers treat differently.
type Difference struct {
	Line     int // of the capture, from 1
	Old, New Trial
}

// Comparison runs two mappers side by side over a capture.
type Comparison struct {
	old, new *Rehearsal
	line     int
}

// Compare begins a comparison.
func Compare(oldMapper, newMapper *Mapper) *Comparison {
	return &Comparison{old: oldMapper.Rehearse(), new: newMapper.Rehearse()}
}

// Next maps the next publication of the capture with both; same is true when they agree on the calls, the error's code, the events
// and the messages. Which route did it does not matter.
func (c *Comparison) Next(pub *Publication, now time.Time) (d Difference, same bool) {
	c.line++
	d = Difference{Line: c.line, Old: c.old.Try(pub, now), New: c.new.Try(pub, now)}
	return d, d.Old.outcome() == d.New.outcome()
}

// outcome is everything about a trial that others notice.
func (t Trial) outcome() string {
	if t.Err != nil {
		return t.Err.Code + " " + t.Err.Message
	}
	text, err := json.Marshal([]any{t.Requests(), t.Result.Events, t.Result.Publish})
	if err != nil {
		return err.Error()
	}
	return string(text)
}
