package broker

import (
	"slices"
	"strings"
)

// Action is what a client wants to do with a topic.
type Action string

// The actions that Decide knows.
const (
	ActionPublish   Action = "publish"
	ActionSubscribe Action = "subscribe"
)

// Scope opens further topics to devices: those of a preset or a route. In Pattern, `{device}` stands for a device that the
// client may write as (also as part of a level, as in `shelly-{device}`), any other `{name}` and `+` for one level, and a last
// `#` for the rest.
type Scope struct {
	Name      string // shown as the rule
	Pattern   string
	Publish   bool
	Subscribe bool
}

// ACL decides who may publish and subscribe what. It is immutable, and its decisions depend on its arguments alone.
//
// Publishing is asked in this order, and the first rule that speaks wins:
//  1. topics that begin with `$`, `gateway/...`, `.../desired`, `.../request/...` and `.../status/...` are the gateway's own;
//  2. `.../trigger` is for operators, on the devices of their patterns;
//  3. monitors and operators publish nothing else;
//  4. below `devices/` only the native scheme, and only as a device of one's own;
//  5. the scopes (presets, routes);
//  6. the user's own topic patterns.
//
// Subscribing: `$SYS` for monitors only; a monitor may read everything; otherwise the whole filter, wildcards included, must
// lie within `devices/{device}/#` of one's own devices, the scopes, the user's own topic patterns, or, for an operator,
// `gateway/#`.
type ACL struct {
	scopes []compiledScope
}

type compiledScope struct {
	Scope
	levels []level
}

// NewACL compiles the scopes. The native scheme is always part of it.
func NewACL(scopes []Scope) *ACL {
	a := &ACL{}
	for _, s := range scopes {
		a.scopes = append(a.scopes, compiledScope{s, compilePattern(s.Pattern)})
	}
	return a
}

// decision is what Decide found, and the device that the topic names, if it does.
type decision struct {
	allowed bool
	rule    string
	device  string
}

// Decide says whether the identity may do the action with the topic (a filter for subscribe), and by which rule. It is pure.
func (a *ACL) Decide(id *Identity, action Action, topic string) (allowed bool, rule string) {
	d := a.decide(id, action, topic)
	return d.allowed, d.rule
}

func (a *ACL) decide(id *Identity, action Action, topic string) decision {
	switch {
	case id == nil:
		return decision{rule: "no identity"}
	case action == ActionPublish:
		return a.publish(id, topic)
	case action == ActionSubscribe:
		return a.subscribe(id, topic)
	}
	return decision{rule: "unknown action"}
}

func (a *ACL) publish(id *Identity, topic string) decision {
	if !ValidTopic(topic) {
		return decision{rule: "not a valid topic"}
	}
	if topic[0] == '$' {
		return decision{rule: "topics with a leading $ are the broker's"}
	}
	parts := strings.Split(topic, "/")
	if parts[0] == "gateway" {
		return decision{rule: "gateway/... is published by the gateway only"}
	}
	native := nativeKind(parts)
	switch native {
	case nativeGateway:
		return decision{rule: "published by the gateway only"}
	case nativeTrigger:
		if id.Role == RoleOperator && id.covers(parts[1]) {
			return decision{true, "operators trigger commands", parts[1]}
		}
		return decision{rule: "commands are triggered by operators only"}
	default:
	}
	if id.Role == RoleMonitor || id.Role == RoleOperator {
		return decision{rule: "role " + string(id.Role) + " does not publish here"}
	}
	if parts[0] == "devices" {
		switch {
		case native != nativeDevice:
			return decision{rule: "not a topic of the native scheme"}
		case !id.MayWrite(parts[1]):
			return decision{rule: "belongs to another device"}
		}
		return decision{true, "native scheme", parts[1]}
	}
	for i := range a.scopes {
		s := &a.scopes[i]
		if !s.Publish {
			continue
		}
		if ok, device := covers(s.levels, parts, id); ok {
			return decision{true, "scope " + s.Name + " " + s.Pattern, device}
		}
	}
	for _, t := range id.Topics {
		if ok, device := covers(compilePattern(t), parts, id); ok {
			return decision{true, "user topics " + t, device}
		}
	}
	return decision{rule: "no rule allows it"}
}

var (
	ownTree     = compilePattern("devices/{device}/#")
	gatewayTree = compilePattern("gateway/#")
)

func (a *ACL) subscribe(id *Identity, filter string) decision {
	inner, ok := unshare(filter)
	if !ok || !ValidFilter(inner) {
		return decision{rule: "not a valid filter"}
	}
	if inner[0] == '$' {
		if id.Role == RoleMonitor && (inner == "$SYS" || strings.HasPrefix(inner, "$SYS/")) {
			return decision{allowed: true, rule: "monitors read $SYS"}
		}
		return decision{rule: "topics with a leading $ are for monitors"}
	}
	if id.Role == RoleMonitor {
		return decision{allowed: true, rule: "monitors read everything"}
	}
	parts := strings.Split(inner, "/")
	if ok, device := covers(ownTree, parts, id); ok {
		return decision{true, "own devices", device}
	}
	if id.Role == RoleOperator {
		if ok, _ := covers(gatewayTree, parts, id); ok {
			return decision{allowed: true, rule: "operators read gateway/..."}
		}
	}
	for i := range a.scopes {
		s := &a.scopes[i]
		if !s.Subscribe {
			continue
		}
		if ok, device := covers(s.levels, parts, id); ok {
			return decision{true, "scope " + s.Name + " " + s.Pattern, device}
		}
	}
	for _, t := range id.Topics {
		if ok, device := covers(compilePattern(t), parts, id); ok {
			return decision{true, "user topics " + t, device}
		}
	}
	return decision{rule: "no rule covers it"}
}

// native says which kind of native topic somebody publishes to.
type native uint8

const (
	nativeNone native = iota
	nativeDevice
	nativeGateway
	nativeTrigger
)

// nativeKind classifies a topic below devices/.
func nativeKind(parts []string) native {
	if len(parts) < 3 || parts[0] != "devices" || parts[1] == "" {
		return nativeNone
	}
	if slices.Contains(parts[2:], "") {
		return nativeNone
	}
	rest := parts[2:]
	switch rest[0] {
	case "telemetry":
		if len(rest) <= 2 {
			return nativeDevice
		}
	case "properties":
		switch {
		case len(rest) <= 2, len(rest) == 3 && rest[2] == "get":
			return nativeDevice
		case rest[2] == "desired":
			return nativeGateway
		}
	case "commands":
		switch {
		case len(rest) == 4 && rest[2] == "response":
			return nativeDevice
		case len(rest) >= 3 && (rest[2] == "request" || rest[2] == "status"):
			return nativeGateway
		case len(rest) == 3 && rest[2] == "trigger":
			return nativeTrigger
		}
	}
	return nativeNone
}
