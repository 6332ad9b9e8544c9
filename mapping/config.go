package mapping

import (
	"fmt"
	"maps"
	"slices"
)

// Config is the section mapping of the gateway's configuration.
type Config struct {
	TemplatesDir    string   `yaml:"templates_dir" doc:"Folder of device templates (DTDL); empty: values are not checked."`
	DefaultTemplate string   `yaml:"default_template" doc:"Template of devices that are created on first sight, dtmi:..."`
	Presets         []Preset `yaml:"presets" doc:"Device families that are understood without routes."`
	Routes          []Route  `yaml:"routes" doc:"The first route that matches wins unless it says continue."`
	RoutesDir       string   `yaml:"routes_dir" doc:"Folder of files with further routes, read in the order of their names."`

	Report  Report            `yaml:"report" doc:"Send less: report on change, for telemetry of the native scheme and of presets."`
	Reports map[string]Report `yaml:"reports" doc:"The same by name of a telemetry value, instead of report."`

	Unmapped       string `yaml:"unmapped" doc:"What becomes of a publication that nothing maps: count | dead_letter."`
	MaxRecordBytes int64  `yaml:"max_record_bytes" unit:"bytes" doc:"A record above this size is refused; the application takes 256 KB."`
}

// The values of Config.Unmapped.
const (
	UnmappedCount      = "count"
	UnmappedDeadLetter = "dead_letter"
)

// DefaultConfig returns the native scheme alone.
func DefaultConfig() Config {
	return Config{Unmapped: UnmappedCount, MaxRecordBytes: 256 << 10}
}

// Validate reports every fault with its path within the section.
func (c Config) Validate(report func(path, message string)) { c.compile(report) }

// compile is Validate, and returns the routes that it compiled on its way.
func (c Config) compile(report func(path, message string)) *routes {
	if modes := []string{UnmappedCount, UnmappedDeadLetter}; !slices.Contains(modes, c.Unmapped) {
		report("unmapped", fmt.Sprintf("is %q, want one of %q", c.Unmapped, modes))
	}
	if c.MaxRecordBytes < 1<<10 || c.MaxRecordBytes > 16<<20 {
		report("max_record_bytes", "must lie between 1KiB and 16MiB")
	}
	for i, p := range c.Presets {
		if p.Name == "" {
			report(fmt.Sprintf("presets[%d]", i), "has no name")
		}
	}
	c.Report.validate("report", report)
	for _, name := range slices.Sorted(maps.Keys(c.Reports)) {
		c.Reports[name].validate("reports."+name, report)
	}
	return compileRoutes(c.Routes, report)
}
