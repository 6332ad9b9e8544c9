package configs

import (
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// pathVariables are the directories that systemd hands to a service. No other
// variable is expanded: a path that changes with somebody's shell is a riddle.
var pathVariables = []string{"CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "CONFIGURATION_DIRECTORY", "RUNTIME_DIRECTORY"}

var variable = regexp.MustCompile(`\$\{([^}]*)\}|\$[A-Za-z_]+`)

// resolvePaths expands the variables in every path and makes those that stand
// in a file relative to that file, whatever directory the program runs in.
//
// A variable that systemd did not set is no fault: the same file is read by
// `check` and `user add` in an administrator's shell. The path keeps its
// variable then, and [Config.Unresolved] tells so.
func resolvePaths(cfg *Config, env []string, r *report) {
	walkPaths(reflect.ValueOf(cfg).Elem(), "", func(path string, v reflect.Value) {
		v.SetString(resolvePath(v.String(), path, env, r))
	})
}

func resolvePath(value, path string, env []string, r *report) string {
	if value == "" {
		return ""
	}
	complete := true
	value = variable.ReplaceAllStringFunc(value, func(found string) string {
		name := strings.Trim(found, "${}")
		switch text := lookup(env, name); {
		case !slices.Contains(pathVariables, name):
			r.addAt(path, fmt.Sprintf("%s is not expanded here; only ${%s} are", found, strings.Join(pathVariables, "}, ${")))
			return found
		case text == "":
			complete = false
			return found
		default:
			// systemd separates several directories of one kind by colons.
			first, _, _ := strings.Cut(text, ":")
			return first
		}
	})
	if at := r.where(path); complete && at.Line > 0 && !filepath.IsAbs(value) {
		return filepath.Join(filepath.Dir(at.File), value)
	}
	return value
}

// Unresolved lists the paths that still hold a variable because it is not set:
// that is normal outside the service and a fault inside it.
func (c *Config) Unresolved() []Fault {
	r := c.report
	if r == nil {
		r = newReport()
	}
	var out []Fault
	walkPaths(reflect.ValueOf(c).Elem(), "", func(path string, v reflect.Value) {
		if found := variable.FindString(v.String()); found != "" {
			out = append(out, Fault{Position: r.where(path), Path: path, Message: found + " is not set; systemd sets it for the service"})
		}
	})
	return out
}

// walkPaths visits every value that is a path in the file system.
func walkPaths(v reflect.Value, path string, visit func(path string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			fv := v.FieldByIndex(f.index)
			if p := join(path, f.key); f.path && fv.Kind() == reflect.String {
				visit(p, fv)
			} else {
				walkPaths(fv, p, visit)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				walkPaths(v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			walkPaths(v.Elem(), path, visit)
		}
	default:
	}
}

// lookup is os.Getenv on a given environment; the last entry wins.
func lookup(env []string, name string) string {
	for _, entry := range slices.Backward(env) {
		if k, v, ok := strings.Cut(entry, "="); ok && k == name {
			return v
		}
	}
	return ""
}
