package app

import (
	"errors"
	"fmt"
	"slices"

	"iotc-gateway/configs"
	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
	"iotc-gateway/mapping/template"
)

// rules are what a reload replaces as a whole: the mapper and the device
// templates that it checks values against.
type rules struct {
	mapper    *mapping.Mapper
	templates *template.Set // nil: values are not checked
	desired   []string      // properties that the cloud owns whatever the template
	fallback  string        // template of a device whose own is not known
}

// Compile makes what can be made of a configuration without opening anything,
// for the faults that only show then. The warnings are about what works and is
// probably not meant, such as a route that hides another.
func Compile(cfg *configs.Config) (warnings []configs.Fault, err error) {
	r, err := compileRules(cfg, func(string) string { return cfg.Mapping.DefaultTemplate })
	if err != nil {
		return nil, err
	}
	for _, w := range r.mapper.Warnings() {
		path := "mapping." + w.Path
		at := cfg.Where(path)
		if w.Source.File != "" {
			at = configs.Position{File: w.Source.File, Line: w.Source.Line}
		}
		warnings = append(warnings, configs.Fault{Position: at, Path: path, Message: w.Message})
	}
	return append(warnings, templateFaults(r.templates.Warnings())...), nil
}

// Faults takes apart what Compile, or reading a configuration, found to be
// wrong.
func Faults(err error) []configs.Fault {
	if e, ok := errors.AsType[*configs.Error](err); ok {
		return e.Faults
	}
	if p, ok := errors.AsType[template.Problems](err); ok {
		return templateFaults(p)
	}
	return []configs.Fault{{Message: err.Error()}}
}

func templateFaults(problems template.Problems) (faults []configs.Fault) {
	for _, p := range problems {
		message := p.Message
		if p.Hint != "" {
			message += " (" + p.Hint + ")"
		}
		faults = append(faults, configs.Fault{
			Position: configs.Position{File: p.File, Line: p.Line, Column: p.Column}, Path: "mapping.templates_dir", Message: message,
		})
	}
	return faults
}

// Mapper makes the mapper of a configuration, to try it out. Every device has
// the default template: which others have is known to a running gateway only.
func Mapper(cfg *configs.Config) (*mapping.Mapper, error) {
	r, err := compileRules(cfg, func(string) string { return cfg.Mapping.DefaultTemplate })
	if err != nil {
		return nil, err
	}
	return r.mapper, nil
}

// compileRules compiles templates, presets and routes. templateOf names a
// device's template.
func compileRules(cfg *configs.Config, templateOf func(device string) string) (*rules, error) {
	r := &rules{desired: cfg.Bridge.Properties.Desired, fallback: cfg.Mapping.DefaultTemplate}
	opts := mapping.Options{}
	if dir := cfg.Mapping.TemplatesDir; dir != "" {
		set, err := template.LoadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("mapping.templates_dir: %w", err)
		}
		r.templates = set
		opts.Template = func(device string) mapping.Template {
			if t, ok := set.Get(templateOf(device)); ok {
				return t
			}
			return nil
		}
		if id := cfg.Mapping.DefaultTemplate; id != "" {
			if _, ok := set.Get(id); !ok {
				return nil, fmt.Errorf("mapping.default_template: %s is not in %s", id, dir)
			}
		}
	}
	families, err := preset.Families(cfg.Mapping.Presets)
	if err != nil {
		return nil, err
	}
	opts.Families = families
	if r.mapper, err = mapping.New(cfg.Mapping, opts); err != nil {
		return nil, err
	}
	return r, nil
}

// templateOf is the template of a device as the registry knows it.
func (g *Gateway) templateOf(device string) string {
	if d, ok := g.registry.Device(device); ok && d.Template != "" {
		return d.Template
	}
	if r := g.rules.Load(); r != nil {
		return r.fallback
	}
	return g.cfg.Mapping.DefaultTemplate
}

// cloudOwns reports that a property has its owner in the cloud: its template
// says that it is writable, or the configuration names it. Reports of such a
// property acknowledge the desired value and are not sent up.
func (g *Gateway) cloudOwns(device, name string) bool {
	r := g.rules.Load()
	if slices.Contains(r.desired, name) {
		return true
	}
	if r.templates == nil {
		return false
	}
	t, ok := r.templates.Get(g.templateOf(device))
	return ok && t.Writable(name)
}
