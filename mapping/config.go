package mapping

import (
	"fmt"
	"slices"
)

// Config is the section mapping of the gateway's configuration.
type Config struct {
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
func (c Config) Validate(report func(path, message string)) {
	if modes := []string{UnmappedCount, UnmappedDeadLetter}; !slices.Contains(modes, c.Unmapped) {
		report("unmapped", fmt.Sprintf("is %q, want one of %q", c.Unmapped, modes))
	}
	if c.MaxRecordBytes < 1<<10 || c.MaxRecordBytes > 16<<20 {
		report("max_record_bytes", "must lie between 1KiB and 16MiB")
	}
}
