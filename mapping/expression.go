package mapping

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// This file is the only one that knows the expression library, expr-lang/expr v1.17.8. google/cel-go and itchyny/gojq were
// compared with it: an extraction took 258 ns, a conditional 475 (CEL 150 and 289, gojq 1,533 and 1,911); the stripped ARMv7 binary
// grew by 3.7 MB (CEL 8.9 MB). What decided is what a user meets: in CEL `payload.x * 10` fails as soon as the device sends a
// fraction, because 10 is an integer there, and expr's compile errors point at the column.
//
// An expression is bounded by what it may say. Only the functions of allowedFunctions exist; none of them makes more than a
// small multiple of its arguments. There is no let and no reduce, so a text cannot be doubled over and over; a loop (filter,
// map, any, ...) stands in no other loop, sees its element but not the payload, joins no texts but its element's, and runs over at
// most maxItems elements. No clock, no file, no map order is in reach.

// Bounds of an expression.
const (
	maxSource    = 4096  // bytes of its text
	maxNodes     = 256   // of the syntax tree
	maxItems     = 10000 // values in a payload that an expression looks at as a whole
	memoryBudget = 100_000
)

// allowedFunctions are the functions of the library that an expression may call.
var allowedFunctions = []string{
	"all", "none", "any", "one", "filter", "map", "find", "findIndex", "findLast", "findLastIndex", "count", "sum", "sortBy",
	"len", "type", "abs", "ceil", "floor", "round", "int", "float", "string",
	"trim", "trimPrefix", "trimSuffix", "upper", "lower", "split", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix",
	"max", "min", "mean", "median", "fromJSON", "toBase64", "fromBase64", "first", "last", "get", "take", "reverse", "sort", "concat",
	"bitand", "bitor", "bitxor", "bitnand", "bitshl", "bitshr", "bitushr", "bitnot",
}

// loops are the functions that call their second argument for every element.
var loops = []string{"all", "none", "any", "one", "filter", "map", "find", "findIndex", "findLast", "findLastIndex", "count", "sum", "sortBy"}

// variables are what every expression may name besides the payload and the captures of the route's pattern.
var variables = types.Map{
	"topic": types.String, "client": types.String, "user": types.String, "qos": types.Int, "retain": types.Bool,
	"properties": types.TypeOf(map[string]string{}), "received": types.Float64,
}

const (
	payloadName = "payload"
	// pathMark begins the name of a variable that stands for a member of the payload: no expression can spell it.
	pathMark = "\x00"
)

// ExpressionError is a fault in the text of an expression.
type ExpressionError struct {
	Line, Column int // from 1; 0: unknown
	Message      string
	Hint         string
}

// Error implements error.
func (e *ExpressionError) Error() string {
	text := e.Message
	if e.Line > 0 {
		text = fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, text)
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// expression is compiled once and run for many publications.
type expression struct {
	source  string
	bare    int // the whole expression is this member of the payload, -1: it is not
	program *vm.Program
	paths   []pathVariable // members of the payload that it names
	whole   bool           // it looks at the payload as a whole
	uses    []string       // other variables that it names
	strict  bool           // without one of its paths it has no value, so it need not be run
}

type pathVariable struct {
	name  string
	index int
}

// expressionScope is what the expressions of one route share.
type expressionScope struct {
	payload  types.Type
	captures []string
	paths    *pathTree // members of the payload that the route's expressions name
}

func (s *expressionScope) compile(source string, want reflect.Kind) (*expression, error) {
	if len(source) > maxSource {
		return nil, &ExpressionError{Message: fmt.Sprintf("the expression has %d bytes, at most %d are allowed", len(source), maxSource)}
	}
	tree, err := parser.Parse(source)
	if err != nil {
		return nil, expressionError(err, source)
	}
	if err := restrict(tree.Node, source); err != nil {
		return nil, err
	}
	e := &expression{source: source, bare: -1}
	env := maps.Clone(variables)
	env[payloadName] = s.payload
	for _, c := range s.captures {
		env[c] = types.String
	}
	var visitors []expr.Option
	if s.payload == types.Any {
		v := &pathVisitor{}
		ast.Walk(&tree.Node, v)
		if id, ok := tree.Node.(*ast.IdentifierNode); ok && strings.HasPrefix(id.Value, pathMark) {
			e.bare = s.paths.add(id.Value)
			return e, nil
		}
		for _, name := range identifiers(tree.Node) {
			if strings.HasPrefix(name, pathMark) {
				env[name] = types.Any
			}
		}
		visitors = append(visitors, expr.Patch(v))
	}
	options := []expr.Option{expr.Env(env), expr.MaxNodes(maxNodes), numberFunction, convertFunction}
	if want == reflect.Bool {
		options = append(options, expr.AsBool())
	}
	e.program, err = expr.Compile(source, append(options, visitors...)...)
	if err != nil {
		return nil, expressionError(err, source)
	}
	for _, name := range identifiers(tree.Node) {
		switch {
		case name == payloadName:
			e.whole = true
		case strings.HasPrefix(name, pathMark):
			e.paths = append(e.paths, pathVariable{name, s.paths.add(name)})
		case env[name] != nil:
			e.uses = append(e.uses, name)
		}
	}
	e.strict = len(e.paths) > 0 && !handlesNil(tree.Node)
	return e, nil
}

// expressionError makes the library's error one of ours.
func expressionError(err error, source string) error {
	fe, ok := errors.AsType[*file.Error](err)
	if !ok {
		return &ExpressionError{Message: err.Error()}
	}
	message := strings.ReplaceAll(fe.Message, pathMark, "payload.")
	hint := ""
	for _, name := range append(slices.Sorted(slices.Values(forbidden)), "let") {
		if strings.Contains(message, "unknown name "+name) && !strings.Contains(message, "unknown name "+name+"_") {
			hint = name + " is not available: an expression is bounded and reads no clock"
		}
	}
	if strings.Contains(message, "operator %") {
		hint = "numbers are doubles; write int(x) % 2"
	}
	return &ExpressionError{Line: max(fe.Line, 1), Column: fe.Column + 1, Message: message, Hint: hint}
}

// forbidden are functions that people know from the library and miss here.
var forbidden = []string{
	"now", "date", "timezone", "duration", "reduce", "repeat", "replace", "join", "keys", "values", "toPairs", "fromPairs", "uniq", "flatten", "groupBy", "toJSON", "splitAfter",
}

// restrict refuses what could run without bound.
func restrict(root ast.Node, source string) error {
	r := &restriction{source: source}
	ast.Walk(&root, r)
	return r.err
}

type restriction struct {
	source string
	err    error
}

// Visit implements ast.Visitor.
func (r *restriction) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.VariableDeclaratorNode:
		r.fault(n, "let is not available in expressions")
	case *ast.BuiltinNode:
		// Here and not by the library's own switch, which lets the loops pass and makes loading slower.
		if !slices.Contains(allowedFunctions, n.Name) {
			r.fault(n, "unknown name "+n.Name)
		}
	case *ast.PredicateNode:
		inner := &predicate{r: r}
		ast.Walk(&n.Node, inner)
	case *ast.BinaryNode:
		if _, constant := n.Right.(*ast.StringNode); n.Operator == "matches" && !constant {
			r.fault(n, "matches needs its pattern as a text in quotes")
		}
	}
}

func (r *restriction) fault(n ast.Node, message string) {
	if r.err != nil {
		return
	}
	fe := (&file.Error{Location: n.Location(), Message: message}).Bind(file.NewSource(r.source))
	r.err = expressionError(fe, r.source)
}

// names tells whether a tree names a text from outside of a loop.
func names(n ast.Node) bool {
	return slices.ContainsFunc(identifiers(n), func(name string) bool { return name != "qos" && name != "received" })
}

// growing are the functions that make a list of a text: they stand in no loop.
var growing = []string{"split", "concat", "fromJSON", "sort", "reverse"}

// predicate looks into the body of a loop.
type predicate struct{ r *restriction }

// Visit implements ast.Visitor.
func (p *predicate) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BuiltinNode:
		switch {
		case slices.Contains(loops, n.Name):
			p.r.fault(n, n.Name+" stands within another loop, which could run for ever")
		case slices.Contains(growing, n.Name):
			p.r.fault(n, "a loop cannot call "+n.Name)
		}
	case *ast.IdentifierNode:
		if n.Value == payloadName || n.Value == "properties" {
			p.r.fault(n, "a loop sees its element (#, or .name) and not the "+n.Value)
		}
	case *ast.BinaryNode:
		switch {
		case n.Operator == "..":
			p.r.fault(n, "a loop cannot make a range")
		case n.Operator == "+" && names(n):
			p.r.fault(n, "a loop cannot join texts with what is not its element")
		}
	}
}

// pathVisitor replaces payload.a.b by a variable of its own, so that only the members that are named are decoded.
type pathVisitor struct{}

// Visit implements ast.Visitor. Children come first, so a chain grows from its root.
func (*pathVisitor) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.MemberNode:
		id, ok := n.Node.(*ast.IdentifierNode)
		key, constant := n.Property.(*ast.StringNode)
		if !ok || !constant || n.Method || strings.Contains(key.Value, pathMark) {
			return
		}
		if id.Value == payloadName || strings.HasPrefix(id.Value, pathMark) {
			parent := strings.TrimPrefix(id.Value, payloadName)
			if strings.HasPrefix(id.Value, pathMark) {
				parent = id.Value
			}
			ast.Patch(node, &ast.IdentifierNode{Value: parent + pathMark + key.Value})
		}
	case *ast.ChainNode:
		if id, ok := n.Node.(*ast.IdentifierNode); ok && strings.HasPrefix(id.Value, pathMark) {
			ast.Patch(node, &ast.IdentifierNode{Value: id.Value})
		}
	}
}

// identifiers lists the names in a tree, each once, in the order of their first use.
func identifiers(root ast.Node) []string {
	c := &collector{}
	ast.Walk(&root, c)
	return c.names
}

type collector struct{ names []string }

// Visit implements ast.Visitor.
func (c *collector) Visit(node *ast.Node) {
	if id, ok := (*node).(*ast.IdentifierNode); ok && !slices.Contains(c.names, id.Value) {
		c.names = append(c.names, id.Value)
	}
}

// handlesNil tells whether an expression may have a value although a member of the payload is missing.
func handlesNil(root ast.Node) bool {
	h := &nilHandling{}
	ast.Walk(&root, h)
	return h.found
}

type nilHandling struct{ found bool }

// Visit implements ast.Visitor.
func (h *nilHandling) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.NilNode, *ast.ConditionalNode, *ast.ChainNode:
		h.found = true
	case *ast.BinaryNode:
		switch n.Operator {
		case "??", "==", "!=", "or", "||", "and", "&&", "in", "not in":
			h.found = true
		}
	case *ast.UnaryNode:
		h.found = h.found || n.Operator == "not" || n.Operator == "!"
	case *ast.BuiltinNode:
		h.found = h.found || n.Name == "type" || n.Name == "get"
	}
}

// numberFunction adds number(x): a number, or a text that is one. Devices send numbers in quotes.
var numberFunction = expr.Function("number", func(params ...any) (any, error) {
	switch x := params[0].(type) {
	case float64, int:
		return toFloat(x), nil
	case bool:
		if x {
			return 1.0, nil
		}
		return 0.0, nil
	case string:
		f, ok := parseNumber(x)
		if !ok {
			return nil, fmt.Errorf("%q is no number", clip(x))
		}
		return f, nil
	default:
		return nil, fmt.Errorf("number(%T)", x)
	}
}, new(func(any) float64))

// convertFunction adds convert(x, "F", "C").
var convertFunction = expr.Function("convert", func(params ...any) (any, error) {
	from, _ := params[1].(string)
	to, _ := params[2].(string)
	c, err := unitConversion(from, to)
	if err != nil {
		return nil, err
	}
	x := toFloat(params[0])
	if math.IsNaN(x) {
		return nil, fmt.Errorf("convert wants a number, not %T", params[0])
	}
	return c.apply(x), nil
}, new(func(any, string, string) float64))

func toFloat(v any) float64 {
	switch x := v.(type) {
	case float64:
		return x
	case int:
		return float64(x)
	default:
		return math.NaN()
	}
}

// machine runs expressions; it is taken from a pool for one publication.
type machine struct {
	vm  vm.VM
	env map[string]any
}

var machines = sync.Pool{New: func() any {
	return &machine{vm: vm.VM{MemoryBudget: memoryBudget}, env: make(map[string]any, 16)}
}}

// run evaluates the program on the machine's variables.
func (mc *machine) run(e *expression) (any, error) {
	v, err := mc.vm.Run(e.program, mc.env)
	if err != nil {
		return nil, expressionError(err, e.source)
	}
	return v, nil
}
