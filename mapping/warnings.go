package mapping

import "fmt"

// Warning is something about a mapping that works and is probably not meant.
type Warning struct {
	Path    string // within the section mapping: routes[3].match
	Source  RouteSource
	Message string
}

// Warnings finds routes that can never match and routes that take away what another would have mapped.
func (m *Mapper) Warnings() []Warning {
	var out []Warning
	for j, r := range m.routes.all {
		path := fmt.Sprintf("routes[%d].match", j)
		warn := func(format string, args ...any) {
			out = append(out, Warning{Path: path, Source: r.source, Message: fmt.Sprintf(format, args...)})
		}
		if unpublishable(r.pattern) {
			warn("%s can never match: only the gateway publishes these topics", r.pattern.text)
			continue
		}
		for i, earlier := range m.routes.all[:j] {
			if earlier.taking() && earlier.pattern.covers(r.pattern) {
				warn("%s can never match: %s takes everything with %s", r.pattern.text, m.routes.label(i), earlier.pattern.text)
				break
			}
		}
		if !r.taking() {
			continue
		}
		if shadowed := r.shadowed(); shadowed != "" {
			warn("%s hides %s of the native scheme", r.pattern.text, shadowed)
		}
		for _, fp := range m.families.patterns {
			if r.pattern.covers(fp.pattern) {
				warn("%s hides %s of the preset %s", r.pattern.text, fp.pattern.text, m.families.all[fp.family].name)
			}
		}
	}
	return out
}

// taking tells whether a route takes all that it matches.
func (r *route) taking() bool { return r.when == nil && !r.spec.Continue }

// label names a route for a person.
func (rs *routes) label(i int) string {
	r := rs.all[i]
	if by := fmt.Sprintf("routes[%d]", i); r.name != by {
		return by + " (" + r.name + ")"
	}
	return r.name
}

// shadowed returns a native topic that the route hides without naming it: one that says devices/ knows what it does.
func (r *route) shadowed() string {
	if r.pattern.prefix < 0 && len(r.pattern.levels) > 0 && r.pattern.levels[0].word == "devices" {
		return ""
	}
	for _, text := range nativePatterns {
		if p, err := compilePattern(text); err == nil && r.pattern.covers(p) {
			return text
		}
	}
	return ""
}

// unpublishable tells whether a pattern lies within the topics that only the gateway publishes.
func unpublishable(p *pattern) bool {
	for _, text := range []string{
		"gateway/#", "devices/+/properties/+/desired", "devices/+/commands/+/request/+", "devices/+/commands/+/status/+", "$SYS/#",
	} {
		if own, err := compilePattern(text); err == nil && own.covers(p) {
			return true
		}
	}
	return false
}
