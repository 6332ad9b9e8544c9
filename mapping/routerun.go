package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"iotc-gateway/mapping/payload"
)

// mapRoutes asks the routes that match, in their order. known is true as soon as one has taken the publication; more is true when
// that one says continue, so that the native scheme and the families are asked as well.
func (m *Mapper) mapRoutes(in *input, res *Result) (known, more bool, err error) {
	var room [8]hit
	more = true
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
		if err := x.decode(); err != nil {
			return false, err
		}
	}
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

// condition evaluates when; what has no value is false.
func (x *routeRun) condition() (bool, error) {
	v, ok, err := x.eval("when", x.r.when)
	if err != nil || !ok {
		return false, err
	}
	truth, _ := v.(bool)
	return truth, nil
}

func inDevice(err error, device string) error {
	e := asError(err)
	if e.Device == "" {
		e.Device = device
	}
	return e
}

// decode reads the payload as far as the route looks at it.
func (x *routeRun) decode() error {
	r, data := x.r, trimText(x.in.pub.Payload)
	if n := r.paths.count; n <= len(x.room) {
		x.found = x.room[:n]
	} else {
		x.found = make([][]byte, n)
	}
	if r.json && (!r.auto || looksLikeJSON(data)) {
		if err := checkText(data); err != nil {
			return err
		}
		x.text, x.isJSON = data, true
		s := scanners.get(data)
		defer scanners.put(s)
		s.found = x.found
		s.space()
		var err error
		if s.i < len(data) && data[s.i] == '{' {
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
	var err error
	if x.doc, err = r.decoder.Decode(x.in.pub.Payload, x.in.now); err != nil {
		return payloadError(err)
	}
	if r.paths.count > 0 {
		x.values = make([]any, r.paths.count)
		collect(&r.paths.root, x.doc.Value, x.values)
	}
	return nil
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

// collect finds the members that expressions name in a decoded tree.
func collect(n *pathNode, v any, values []any) {
	object, ok := v.(map[string]any)
	if !ok {
		return
	}
	for _, c := range n.children {
		member, ok := object[c.key]
		if !ok {
			continue
		}
		if c.node.index >= 0 {
			values[c.node.index] = member
		}
		collect(c.node, member, values)
	}
}

// path returns a member of the payload for an expression; nil: it is missing, or null.
func (x *routeRun) path(i int) (any, error) {
	if !x.isJSON {
		if x.values == nil {
			return nil, nil
		}
		return operand(x.values[i]), nil
	}
	if x.found[i] == nil {
		return nil, nil
	}
	return textOperand(x.found[i])
}

// pathJSON returns a member of the payload as JSON text; false: it is missing, or null.
func (x *routeRun) pathJSON(i int) (json.RawMessage, bool, error) {
	if x.isJSON {
		text := x.found[i]
		if text == nil || string(text) == "null" {
			return nil, false, nil
		}
		return x.tight(text), true, nil
	}
	if x.values == nil || x.values[i] == nil {
		return nil, false, nil
	}
	text, err := Encode(x.values[i])
	return text, true, err
}

// tight removes white space from a piece of the payload.
func (x *routeRun) tight(text []byte) []byte {
	if x.spaced && (text[0] == '{' || text[0] == '[') {
		return compact(text)
	}
	return text
}

// textOperand makes a value for expressions of JSON text.
func textOperand(text []byte) (any, error) {
	switch text[0] {
	case '"':
		return unquote(text), nil
	case 't':
		return true, nil
	case 'f':
		return false, nil
	case 'n':
		return nil, nil
	case '{', '[':
		v, err := payload.ParseJSON(text)
		if err != nil {
			return nil, payloadError(err)
		}
		return operand(v), nil
	default:
		f, err := strconv.ParseFloat(string(text), 64)
		return f, err
	}
}

// unquote returns what a JSON string says.
func unquote(text []byte) string {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1])
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return ""
	}
	return s
}

// operand makes the numbers of a decoded tree doubles, on every platform alike: an int has 32 bits on some. The tree itself stays
// as it is, for exact numbers are passed on from it.
func operand(v any) any {
	switch t := v.(type) {
	case int64:
		return float64(t)
	case uint64:
		return float64(t)
	case json.Number:
		f, err := t.Float64()
		if err != nil {
			return nil
		}
		return f
	case time.Time:
		return t.UTC().Format(time.RFC3339Nano)
	case []any:
		list := make([]any, len(t))
		for i := range t {
			list[i] = operand(t[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(t))
		for k, e := range t {
			object[k] = operand(e)
		}
		return object
	default:
		return v
	}
}

// eval runs an expression. ok is false when it has no value: it gave nil, or needs a member that the payload lacks.
func (x *routeRun) eval(key string, e *expression) (v any, ok bool, err error) {
	if e.bare >= 0 {
		v, err := x.path(e.bare)
		return v, v != nil, err
	}
	if err := x.prepare(); err != nil {
		return nil, false, err
	}
	if e.whole {
		if err := x.wholePayload(); err != nil {
			return nil, false, err
		}
	}
	missing := false
	for _, p := range e.paths {
		v, err := x.path(p.index)
		if err != nil {
			return nil, false, err
		}
		missing = missing || v == nil
		x.mc.env[p.name] = v
	}
	if missing && e.strict {
		return nil, false, nil
	}
	if v, err = x.mc.run(e); err != nil {
		if missing {
			return nil, false, nil
		}
		return nil, false, &Error{Code: CodeExpression, Message: key + ": " + err.Error()}
	}
	return v, v != nil, nil
}

// prepare sets the variables that the route's expressions share.
func (x *routeRun) prepare() error {
	if x.mc != nil {
		return nil
	}
	mc, ok := machines.Get().(*machine)
	if !ok {
		return errors.New("no machine to run an expression")
	}
	x.mc = mc
	x.variables()
	return nil
}

// variables sets what expressions know besides the payload.
func (x *routeRun) variables() {
	mc, pub := x.mc, x.in.pub
	for _, name := range x.r.uses {
		switch name {
		case "topic":
			mc.env[name] = pub.Topic
		case "client":
			mc.env[name] = pub.Client
		case "user":
			mc.env[name] = pub.User
		case "qos":
			mc.env[name] = int(pub.QoS)
		case "retain":
			mc.env[name] = pub.Retain
		case "received":
			mc.env[name] = float64(x.in.now.UnixMilli()) / 1000
		case "properties":
			all := make(map[string]string, len(pub.Properties))
			for _, p := range pub.Properties {
				if _, twice := all[p.Key]; !twice {
					all[p.Key] = p.Value
				}
			}
			mc.env[name] = all
		default:
			mc.env[name], _ = x.match.named(name)
		}
	}
}

// wholePayload sets the payload for the expressions that look at it as a whole.
func (x *routeRun) wholePayload() error {
	if x.payloadSet {
		return nil
	}
	x.payloadSet = true
	if x.isJSON {
		v, err := textOperand(bytes.TrimSpace(x.text))
		if err != nil {
			return err
		}
		x.mc.env[payloadName] = v
		return nil
	}
	x.mc.env[payloadName] = operand(x.doc.Value)
	return nil
}

// evalJSON runs an expression for its JSON text. A member of the payload that stands alone keeps its text.
func (x *routeRun) evalJSON(key string, e *expression) (json.RawMessage, bool, error) {
	if e.bare >= 0 {
		return x.pathJSON(e.bare)
	}
	v, ok, err := x.eval(key, e)
	if err != nil || !ok {
		return nil, false, err
	}
	text, err := Encode(v)
	if err != nil {
		return nil, false, &Error{Code: CodeExpression, Name: key, Message: key + ": " + err.Error()}
	}
	return text, true, nil
}

// evalText runs an expression for a text: a string, or a whole number as digits.
func (x *routeRun) evalText(key string, e *expression) (string, bool, error) {
	if e.bare >= 0 {
		text, ok, err := x.pathJSON(e.bare)
		if err != nil || !ok {
			return "", false, err
		}
		if text[0] == '"' {
			return unquote(text), true, nil
		}
		return string(text), true, nil
	}
	v, ok, err := x.eval(key, e)
	if err != nil || !ok {
		return "", false, err
	}
	if s, is := v.(string); is {
		return s, true, nil
	}
	text, err := Encode(v)
	if err != nil {
		return "", false, &Error{Code: CodeExpression, Message: key + ": " + err.Error()}
	}
	return string(text), true, nil
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

// field is a named value on its way into a record.
type field struct {
	name  string
	value json.RawMessage
}

// fields makes the values of an output, in order.
func (x *routeRun) fields(kind string, o *outputs) ([]field, error) {
	var out []field
	if o.passes() {
		var err error
		if out, err = x.pass(o); err != nil {
			return nil, err
		}
	} else {
		out = make([]field, 0, len(o.values))
	}
	for i := range o.values {
		v := &o.values[i]
		name := v.name.text
		if v.name.parts != nil {
			name = v.name.fill(&x.match)
			if err := validOutput(name); err != nil {
				return nil, err
			}
		}
		text, ok, err := x.evalJSON(name, v.expr)
		if err != nil {
			e := asError(err)
			e.Name, e.Message = name, kind+"."+e.Message
			return nil, e
		}
		if ok {
			out = append(out, field{name, text})
		}
	}
	return out, x.convert(out)
}

// convert changes units.
func (x *routeRun) convert(list []field) error {
	if x.r.units == nil {
		return nil
	}
	for i := range list {
		conv, ok := x.r.units[list[i].name]
		if !ok {
			continue
		}
		text := string(list[i].value)
		if text[0] == '"' {
			text = unquote(list[i].value)
		}
		f, ok := parseNumber(text)
		if !ok {
			return &Error{Code: CodeUndecodable, Name: list[i].name, Message: fmt.Sprintf("%s: %s is no number to convert", list[i].name, clip(text))}
		}
		b, err := appendFloat(nil, conv.apply(f))
		if err != nil {
			return err
		}
		list[i].value = b
	}
	return nil
}

// pass passes keys of the payload on.
func (x *routeRun) pass(o *outputs) ([]field, error) {
	p := passing{spec: x.r.spec, keys: o.keys, x: x}
	if x.isJSON {
		if !looksLikeObject(x.text) {
			return nil, &Error{Code: CodeUndecodable, Message: "the payload is no object, so it has no keys to pass on"}
		}
		err := p.text("", x.text)
		return p.out, err
	}
	object, ok := x.doc.Value.(map[string]any)
	if !ok {
		return nil, &Error{Code: CodeUndecodable, Message: "the payload is no object, so it has no keys to pass on"}
	}
	err := p.tree("", object)
	return p.out, err
}

func looksLikeObject(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	return len(text) > 0 && text[0] == '{'
}

// passing collects the keys that are passed on.
type passing struct {
	x    *routeRun
	spec *Route
	keys []string
	out  []field
}

// text walks JSON text, in its order.
func (p *passing) text(prefix string, object []byte) error {
	s := scanners.get(object)
	defer scanners.put(s)
	s.space()
	return s.object(0, func(m member) error {
		key := prefix + string(m.key)
		if p.spec.Flatten != "" && m.value[0] == '{' && p.passed(key, true) {
			return p.text(key+p.spec.Flatten, m.value)
		}
		if string(m.value) == "null" || !p.passed(key, false) {
			return nil
		}
		return p.add(key, p.x.tight(m.value))
	}, nil)
}

// tree walks a decoded tree, in the order of its keys.
func (p *passing) tree(prefix string, object map[string]any) error {
	for _, k := range slices.Sorted(maps.Keys(object)) {
		key, v := prefix+k, object[k]
		if inner, ok := v.(map[string]any); ok && p.spec.Flatten != "" && p.passed(key, true) {
			if err := p.tree(key+p.spec.Flatten, inner); err != nil {
				return err
			}
			continue
		}
		if v == nil || !p.passed(key, false) {
			continue
		}
		text, err := Encode(v)
		if err != nil {
			return &Error{Code: CodeUndecodable, Name: key, Message: key + ": " + err.Error()}
		}
		if err := p.add(key, text); err != nil {
			return err
		}
	}
	return nil
}

// passed tells whether a key is wanted; of an object that is flattened, whether its members may be.
func (p *passing) passed(key string, inner bool) bool {
	if slices.Contains(p.spec.Except, key) || key == timestampKey {
		return false
	}
	if len(p.keys) == 0 || slices.Contains(p.keys, key) {
		return true
	}
	for _, k := range p.keys {
		// A chosen object brings all its members, a chosen member needs its object to be opened.
		if strings.HasPrefix(key, k+p.spec.Flatten) && p.spec.Flatten != "" || inner && strings.HasPrefix(k, key+p.spec.Flatten) {
			return true
		}
	}
	return false
}

func (p *passing) add(key string, value json.RawMessage) error {
	name := key
	if to, ok := p.spec.Rename[key]; ok {
		name = to
	}
	if fault := nameFault(name); fault != "" {
		e := asError(ValidName(name))
		e.Hint = "give it another name with rename, or leave it out with except"
		return e
	}
	for _, f := range p.out {
		if f.name == name {
			return &Error{Code: CodeBadName, Name: name, Message: fmt.Sprintf("two values would have the name %q", clip(name))}
		}
	}
	p.out = append(p.out, field{name, value})
	return nil
}

// joined makes an object of fields.
func joined(list []field) json.RawMessage {
	n := 2
	for _, f := range list {
		n += len(f.name) + len(f.value) + 4
	}
	b := append(make([]byte, 0, n), '{')
	for i, f := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, f.name)
		b = append(b, ':')
		b = append(b, f.value...)
	}
	return append(b, '}')
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

// readings makes records of a document that is a list of readings: those of one device and one time become one record.
func (x *routeRun) readings() error {
	if len(x.doc.Readings) == 0 {
		x.res.Tally.Empty++
		return nil
	}
	if len(x.doc.Readings) > maxItems {
		return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the payload holds more than %d readings", maxItems)}
	}
	var fixed string
	if x.r.device != nil || x.r.deviceCapture >= 0 {
		var err error
		if fixed, err = x.device(); err != nil {
			return err
		}
	}
	var open group
	for i := range x.doc.Readings {
		rd := &x.doc.Readings[i]
		if rd.Value == nil {
			continue
		}
		name := rd.Name
		if to, ok := x.r.spec.Rename[name]; ok {
			name = to
		}
		if slices.Contains(x.r.spec.Except, name) || slices.Contains(x.r.spec.Except, rd.Name) {
			continue
		}
		if err := validOutput(name); err != nil {
			e := asError(err)
			e.Hint = "give it another name with rename, or leave it out with except"
			return e
		}
		value, err := Encode(rd.Value)
		if err != nil {
			return &Error{Code: CodeUndecodable, Name: name, Message: name + ": " + err.Error()}
		}
		device := fixed
		if device == "" {
			device = rd.Device
		}
		if !open.takes(device, name, rd) {
			if err := x.flush(&open); err != nil {
				return err
			}
			open = group{device: device, time: rd.Time, relative: rd.Relative, historical: rd.Historical}
		}
		open.fields = append(open.fields, field{name, value})
	}
	return x.flush(&open)
}

// group is a record in the making.
type group struct {
	device               string
	time                 time.Time
	relative, historical bool
	fields               []field
}

func (g *group) takes(device, name string, rd *payload.Reading) bool {
	if g.fields == nil || g.device != device || !g.time.Equal(rd.Time) || g.historical != rd.Historical {
		return false
	}
	for _, f := range g.fields {
		if f.name == name {
			return false
		}
	}
	return true
}

func (x *routeRun) flush(g *group) error {
	if len(g.fields) == 0 {
		return nil
	}
	if err := x.convert(g.fields); err != nil {
		return err
	}
	r := Record{Kind: KindTelemetry, Device: g.device, Value: joined(g.fields), Time: x.in.now, TimeFrom: Receipt, Historical: g.historical, Origin: x.r.name}
	if !g.time.IsZero() {
		r.Time, r.TimeFrom = g.time.UTC(), Payload
		if !credible(r.Time, x.in.now, x.in.pub.FutureBound) {
			x.res.Tally.Implausible++
			r.Time, r.TimeFrom, r.Historical = x.in.now, Receipt, false
		} else if g.relative {
			r.TimeFrom = Receipt
		}
	}
	if r.Device == "" {
		return &Error{Code: CodeBadDevice, Message: "neither the topic nor the payload names a device", Hint: "write {device} into match, or give device: an expression"}
	}
	if err := ValidDeviceID(r.Device); err != nil {
		return err
	}
	return inDeviceOrNil(x.m.emit(x.in, x.res, r, x.r), r.Device)
}

func inDeviceOrNil(err error, device string) error {
	if err == nil {
		return nil
	}
	return inDevice(err, device)
}
