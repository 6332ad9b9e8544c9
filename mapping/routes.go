package mapping

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/types"

	"iotc-gateway/mapping/payload"
)

// routes are the compiled routes of a mapper.
type routes struct {
	all  []*route
	trie trie
}

// route is compiled once. See Route for what its parts mean.
type route struct {
	name    string
	index   int
	source  RouteSource
	pattern *pattern
	spec    *Route

	decoder payload.Decoder
	json    bool // the payload is JSON text, or may be
	auto    bool // the payload may also be plain text
	lists   bool // the format is a list of readings
	needs   bool // the payload is looked at at all
	wholes  bool // an expression looks at the payload as a whole
	members bool // an output reads members of the payload
	paths   pathTree
	uses    []string // variables that expressions name

	when, device, time *expression
	whenFirst          bool // the condition does not look at the payload, so it is asked before that is decoded
	deviceCapture      int  // -1: none
	timePath           int  // the payload's timestamp, -1: not looked for
	telemetry          outputs
	properties         outputs
	command            nameTemplate
	args               *expression

	units     map[string]conversion
	report    Report
	reports   map[string]Report
	reporting bool
}

// outputs is compiled from Outputs.
type outputs struct {
	all    bool
	keys   []string
	values []output // in the order of their names
}

func (o *outputs) empty() bool  { return !o.all && len(o.keys) == 0 && len(o.values) == 0 }
func (o *outputs) passes() bool { return o.all || len(o.keys) > 0 }

type output struct {
	name nameTemplate
	expr *expression
}

// nameTemplate is a name in which {captures} are filled in.
type nameTemplate struct {
	text  string // without captures
	parts []namePart
}

type namePart struct {
	text    string
	capture int // -1: text
}

// scalarFormats are the formats whose payload is one value of a known type.
var scalarFormats = map[string]types.Type{"number": types.Float64, "string": types.String, "boolean": types.Bool}

// listFormats are the formats whose documents are lists of readings.
var listFormats = []string{"senml", "senml-cbor", "influx", "csv", "binary"}

// compileRoutes compiles all routes and reports every fault with its path.
func compileRoutes(list []Route, report func(path, message string)) *routes {
	rs := &routes{all: make([]*route, 0, len(list))}
	for i := range list {
		c := &routeCompiler{spec: &list[i], path: fmt.Sprintf("routes[%d]", i), report: report}
		r := c.compile(i)
		rs.all = append(rs.all, r)
		if r.pattern != nil {
			rs.trie.add(r.pattern, i)
		}
	}
	return rs
}

type routeCompiler struct {
	spec   *Route
	path   string
	report func(path, message string)
	scope  expressionScope
	r      *route
}

func (c *routeCompiler) fault(key string, err error) { c.report(c.path+"."+key, err.Error()) }

func (c *routeCompiler) compile(index int) *route {
	s := c.spec
	r := &route{index: index, spec: s, name: s.Name, source: s.Source, deviceCapture: -1, timePath: -1}
	if r.name == "" {
		r.name = c.path
	}
	c.r = r
	var err error
	if r.pattern, err = compilePattern(s.Match); err != nil {
		c.fault("match", err)
		return r
	}
	for _, name := range r.pattern.captures {
		if _, taken := variables[name]; taken || name == payloadName {
			c.fault("match", fmt.Errorf("{%s} has the name of a variable that expressions know already", name))
		}
	}
	r.deviceCapture = slices.Index(r.pattern.captures, "device")
	c.format()
	r.when = c.expression("when", s.When, reflect.Bool)
	r.whenFirst = r.when != nil && !r.when.whole && r.when.bare < 0 && len(r.when.paths) == 0
	r.device = c.expression("device", s.Device, reflect.Invalid)
	r.time = c.expression("time", s.Time, reflect.Invalid)
	r.telemetry = c.outputs("telemetry", s.Telemetry)
	r.properties = c.outputs("properties", s.Properties)
	c.commandRule()
	c.defaults()
	c.thinning()
	for _, e := range r.expressions() {
		reads := e.bare >= 0 || len(e.paths) > 0
		r.wholes = r.wholes || e.whole
		r.members = r.members || reads && e != r.when
		r.needs = r.needs || e.whole || reads
		for _, name := range e.uses {
			if !slices.Contains(r.uses, name) {
				r.uses = append(r.uses, name)
			}
		}
	}
	r.needs = r.needs || r.telemetry.passes() || r.properties.passes() || r.timePath >= 0
	return r
}

// expressions are all expressions of the route.
func (r *route) expressions() []*expression {
	var list []*expression
	for _, e := range []*expression{r.when, r.device, r.time, r.args} {
		if e != nil {
			list = append(list, e)
		}
	}
	for _, o := range append(slices.Clone(r.telemetry.values), r.properties.values...) {
		if o.expr != nil {
			list = append(list, o.expr)
		}
	}
	return list
}

func (c *routeCompiler) format() {
	s, r := c.spec, c.r
	options := s.Decode
	options.Limits = payload.Limits{MaxItems: maxItems}
	var err error
	if r.decoder, err = payload.New(s.Payload, options); err != nil {
		c.fault("payload", err)
	}
	r.auto = s.Payload == "" || s.Payload == "auto"
	r.json = r.auto || s.Payload == "json"
	inner := s.Payload[strings.LastIndexByte(s.Payload, '+')+1:]
	r.lists = slices.Contains(listFormats, inner)
	c.scope = expressionScope{payload: types.Any, captures: r.pattern.captures, paths: &r.paths}
	if t, ok := scalarFormats[inner]; ok {
		c.scope.payload = t
	}
}

func (c *routeCompiler) expression(key, source string, want reflect.Kind) *expression {
	if source == "" {
		return nil
	}
	e, err := c.scope.compile(source, want)
	if err != nil {
		c.fault(key, err)
		return nil
	}
	return e
}

func (c *routeCompiler) outputs(key string, o Outputs) outputs {
	out := outputs{all: o.All, keys: o.Keys}
	for _, name := range slices.Sorted(maps.Keys(o.Values)) {
		path := key + "." + name
		t := c.name(path, name)
		if source := o.Values[name]; source == "" {
			c.fault(path, fmt.Errorf("the expression is empty"))
		} else {
			out.values = append(out.values, output{name: t, expr: c.expression(path, source, reflect.Invalid)})
		}
	}
	if (o.All || len(o.Keys) > 0) && c.scope.payload != types.Any {
		c.fault(key, fmt.Errorf("a payload of the format %s has no keys to pass on; write {name: payload}", c.spec.Payload))
	}
	return out
}

// name compiles the name of an output.
func (c *routeCompiler) name(path, text string) nameTemplate {
	if !strings.ContainsAny(text, "{}") {
		if err := validOutput(text); err != nil {
			c.fault(path, err)
		}
		return nameTemplate{text: text}
	}
	var t nameTemplate
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		if before != "" {
			t.parts = append(t.parts, namePart{text: before, capture: -1})
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		i := slices.Index(c.r.pattern.captures, name)
		if !closed || i < 0 {
			c.fault(path, fmt.Errorf("{%s} is no capture of the pattern %s", name, c.spec.Match))
			break
		}
		t.parts = append(t.parts, namePart{capture: i})
		rest = tail
	}
	return t
}

// validOutput is ValidName, and keeps the name free that is the time.
func validOutput(name string) error {
	if name == timestampKey {
		return &Error{Code: CodeBadName, Name: name, Message: "timestamp is the time of a reading and cannot be the name of a value", Hint: "use time: for it"}
	}
	return ValidName(name)
}

func (c *routeCompiler) commandRule() {
	s, r := c.spec, c.r
	if s.Command == nil {
		return
	}
	if s.Command.Name == "" {
		c.fault("command.name", fmt.Errorf("is missing"))
		return
	}
	r.command = c.name("command.name", s.Command.Name)
	r.args = c.expression("command.args", s.Command.Args, reflect.Invalid)
}

// defaults fills in what a short route leaves out.
func (c *routeCompiler) defaults() {
	s, r := c.spec, c.r
	outputs := !s.Telemetry.empty() || !s.Properties.empty() || s.Command != nil
	if s.Drop {
		if outputs {
			c.fault("drop", fmt.Errorf("a route that drops has no telemetry, properties or command"))
		}
		return
	}
	if s.Device == "" && r.deviceCapture < 0 && !r.lists {
		c.fault("device", fmt.Errorf("names no device: write {device} into match, or give an expression"))
	}
	if !outputs && !r.lists {
		name := slices.Index(r.pattern.captures, "name")
		switch {
		case name >= 0:
			e, err := c.scope.compile(payloadName, reflect.Invalid)
			if err != nil {
				c.fault("payload", err)
				return
			}
			r.telemetry.values = []output{{name: nameTemplate{parts: []namePart{{capture: name}}}, expr: e}}
		case c.scope.payload == types.Any:
			r.telemetry.all = true
		default:
			c.fault("telemetry", fmt.Errorf("is missing: give the value a name, as in {temperature: payload}, or write {name} into match"))
		}
	}
	if s.Time == "" && c.scope.payload == types.Any && !r.lists {
		r.timePath = r.paths.add(pathMark + timestampKey)
	}
}

func (c *routeCompiler) thinning() {
	s, r := c.spec, c.r
	s.Report.validate(c.path+".report", c.report)
	r.report, r.reporting = s.Report, s.Report.active()
	r.reports = s.Reports
	for _, name := range slices.Sorted(maps.Keys(s.Reports)) {
		s.Reports[name].validate(c.path+".reports."+name, c.report)
		r.reporting = r.reporting || s.Reports[name].active()
	}
	for _, name := range slices.Sorted(maps.Keys(s.Units)) {
		conv, err := parseConversion(s.Units[name])
		if err != nil {
			c.fault("units."+name, err)
			continue
		}
		if r.units == nil {
			r.units = map[string]conversion{}
		}
		r.units[name] = conv
	}
	for _, from := range slices.Sorted(maps.Keys(s.Rename)) {
		if err := validOutput(s.Rename[from]); err != nil {
			c.fault("rename."+from, err)
		}
	}
	if passes := r.telemetry.passes() || r.properties.passes(); !passes {
		for _, key := range []struct {
			name string
			set  bool
		}{{"except", len(s.Except) > 0}, {"rename", len(s.Rename) > 0}, {"flatten", s.Flatten != ""}} {
			if key.set && !r.lists {
				c.fault(key.name, errors.New("has no effect: telemetry and properties pass no keys of the payload on"))
			}
		}
	}
}

// fill writes the name with its captures.
func (t *nameTemplate) fill(m *match) string {
	if t.parts == nil {
		return t.text
	}
	if len(t.parts) == 1 && t.parts[0].capture >= 0 {
		return m.capture(t.parts[0].capture)
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.capture >= 0 {
			b.WriteString(m.capture(p.capture))
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}
