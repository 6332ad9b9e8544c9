package configs

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const envPrefix = "IOTC_"

// reservedEnv are variables that begin like settings and are none: the
// configuration file's own path.
var reservedEnv = []string{"IOTC_CONFIG"}

// orchestrated matches the variables that Docker links and Kubernetes put into
// every container beside a service that is called iotc-gateway. They are
// nobody's settings.
var orchestrated = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_(TCP|UDP)(_.*)?|NAME|ENV_.*)$`)

// target is one value that can be set by path.
type target struct {
	path  string
	field field
	value reflect.Value
	// store puts a changed copy back; entries of maps cannot be set in place.
	store func()
}

// targets lists every value below v that has a path without an index.
func targets(v reflect.Value, path string, store func()) []target {
	var out []target
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		p := join(path, f.key)
		out = append(out, target{path: p, field: f, value: fv, store: store})
		out = append(out, below(fv, p, store)...)
	}
	return out
}

func below(v reflect.Value, path string, store func()) []target {
	t := v.Type()
	switch {
	case readsJSON(t) || readsText(t):
		return nil
	case t.Kind() == reflect.Struct:
		return targets(v, path, store)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.Struct:
		var out []target
		for _, k := range v.MapKeys() {
			entry := reflect.New(t.Elem()).Elem()
			entry.Set(v.MapIndex(k))
			out = append(out, targets(entry, join(path, k.String()), func() {
				v.SetMapIndex(k, entry)
				store()
			})...)
		}
		return out
	}
	return nil
}

func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// applyEnv lays the environment over the configuration.
func applyEnv(cfg *Config, env []string, r *report) {
	byName := make(map[string]string)
	var names []string
	for _, t := range targets(reflect.ValueOf(cfg).Elem(), "", func() {}) {
		byName[envName(t.path)] = t.path
		names = append(names, envName(t.path))
	}
	given := slices.Clone(env)
	slices.Sort(given)
	var unknown []string
	for _, entry := range given {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(reservedEnv, name) {
			continue
		}
		if path, ok := byName[name]; ok {
			set(cfg, path, text, name, r)
		} else if !orchestrated.MatchString(name) {
			unknown = append(unknown, name)
		}
	}
	for _, name := range unknown {
		if name == cfg.Central.TokenEnv {
			continue // known only now: the name may itself come from the environment
		}
		r.add(Position{File: name}, "", "unknown environment variable%s", suggest(name, names))
	}
}

// applyOverrides lays values over the configuration that were given by path.
func applyOverrides(cfg *Config, overrides map[string]string, r *report) {
	paths := make([]string, 0, len(overrides))
	for path := range overrides {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		set(cfg, path, overrides[path], "command line", r)
	}
}

// set gives one value a text. A value that is a plain text takes it as it is,
// so that nobody has to quote for YAML inside quotes for the shell.
func set(cfg *Config, path, text, source string, r *report) {
	all := targets(reflect.ValueOf(cfg).Elem(), "", func() {})
	i := slices.IndexFunc(all, func(t target) bool { return t.path == path })
	if i < 0 {
		known := make([]string, len(all))
		for i, t := range all {
			known[i] = t.path
		}
		r.add(Position{File: source}, path, "unknown key%s", suggest(path, known))
		return
	}
	t := all[i]
	d := &decoder{source: source, report: r}
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if kind := t.value.Kind(); kind != reflect.String && !readsText(t.value.Type()) {
		if node = d.parseYAML([]byte(text)); node == nil {
			if text == "" {
				r.add(Position{File: source}, path, "is empty; unset it to keep the default")
			}
			return
		}
		flatten(node, 0)
	}
	d.decode(node, t.value, t.field, path, 0)
	t.store()
}

// flatten removes lines and columns: they would point into a line of text that
// is in no file.
func flatten(n *yaml.Node, depth int) {
	if depth > maxDepth {
		return
	}
	n.Line, n.Column = 0, 0
	for _, c := range n.Content {
		flatten(c, depth+1)
	}
}
