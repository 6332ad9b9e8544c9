package buffer

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"iotc-gateway/buffer/clock"
)

// Overflow says what happens to a record of a class that has no room left.
type Overflow string

// The overflow rules.
const (
	DropOldest Overflow = "drop_oldest" // the oldest records of the class that are not leased make room
	DropNewest Overflow = "drop_newest" // the new record is acknowledged, counted and not stored
	ThinOut    Overflow = "thin_out"    // of the oldest part every n-th record is kept
	Refuse     Overflow = "refuse"      // the batch is refused with ErrFull
)

// Config is the section `buffer` of the configuration.
type Config struct {
	Sync         string            `yaml:"sync" doc:"When an accepted record is on the disk: always (before it is acknowledged), never (when the system likes) or an interval such as 100ms. Anything but always means that an acknowledged record can be lost when the power fails."`
	MaxBytes     int64             `yaml:"max_bytes" unit:"bytes" doc:"What the store may take on disk; 0 means 2 GiB (512 MiB on 32-bit systems) but not more than half of what is free."`
	MinFreeBytes int64             `yaml:"min_free_bytes" unit:"bytes" doc:"Publications are refused while less than this, plus 48 MiB that the store works with, is free on the file system."`
	MemoryBytes  int64             `yaml:"memory_bytes" unit:"bytes" doc:"Memory for records that wait for the uplink and need not be read from disk again; 0 means 8 MiB (4 MiB on 32-bit systems)."`
	MaxDevices   int               `yaml:"max_devices" doc:"How many devices may have records waiting at the same time."`
	DeadLetters  DeadLettersConfig `yaml:"dead_letters" doc:"Bounds of the dead letters."`
	Classes      ClassesConfig     `yaml:"classes" doc:"Bounds of each class of records."`
}

// DeadLettersConfig bounds the dead letters.
type DeadLettersConfig struct {
	MaxBytes int64         `yaml:"max_bytes" unit:"bytes" doc:"Room for dead letters; publications that would become one are refused when it is used up."`
	MaxAge   time.Duration `yaml:"max_age" doc:"Dead letters older than this are removed and counted; 0 keeps them."`
}

// ClassesConfig has one ClassConfig a class.
type ClassesConfig struct {
	Telemetry ClassConfig `yaml:"telemetry" doc:"Telemetry."`
	Property  ClassConfig `yaml:"property" doc:"Reported properties."`
	Command   ClassConfig `yaml:"command" doc:"Commands that devices trigger in the application."`
	Device    ClassConfig `yaml:"device" doc:"Creation and changes of devices."`
}

// ClassConfig bounds the records of one class.
type ClassConfig struct {
	MaxAge   time.Duration `yaml:"max_age" doc:"Records older than this are removed and counted; 0 keeps them. The age is by uptime and does not follow the wall clock."`
	MaxBytes int64         `yaml:"max_bytes" unit:"bytes" doc:"Room for this class; 0 means what the other classes leave."`
	Reserve  int64         `yaml:"reserve" unit:"bytes" doc:"Room that the other classes never take from this one; 0 means a sixteenth of the store for each class but telemetry."`
	Overflow Overflow      `yaml:"overflow" doc:"What happens when there is no room: drop_oldest, drop_newest, thin_out or refuse."`
	ThinKeep int           `yaml:"thin_keep" doc:"With thin_out, of so many of the oldest records one is kept."`
	KeepLast bool          `yaml:"keep_last" doc:"A newer record of the same device and name supersedes an older one that is not being sent."`
}

// DefaultConfig is what an empty file means.
func DefaultConfig() Config {
	return Config{
		Sync:         "always",
		MinFreeBytes: 64 << 20,
		MaxDevices:   65536,
		DeadLetters:  DeadLettersConfig{MaxBytes: 64 << 20, MaxAge: 720 * time.Hour},
		Classes: ClassesConfig{
			Telemetry: ClassConfig{MaxAge: 720 * time.Hour, Overflow: DropOldest, ThinKeep: 2},
			Property:  ClassConfig{KeepLast: true, Overflow: Refuse, ThinKeep: 2},
			Command:   ClassConfig{MaxAge: time.Minute, Overflow: Refuse, ThinKeep: 2},
			Device:    ClassConfig{Overflow: Refuse, ThinKeep: 2},
		},
	}
}

// Of is the configuration of one class.
func (c *ClassesConfig) Of(class Class) *ClassConfig {
	switch class {
	case ClassDevice:
		return &c.Device
	case ClassCommand:
		return &c.Command
	case ClassProperty:
		return &c.Property
	default:
		return &c.Telemetry
	}
}

// minStore is the least that a store can work with: two memtables, a value log and a few tables.
const minStore = 64 << 20

// Validate reports every fault with its path relative to the section.
func (c Config) Validate(report func(path, message string)) {
	if _, _, err := parseSync(c.Sync); err != nil {
		report("sync", err.Error())
	}
	if c.MaxBytes != 0 && c.MaxBytes < minStore {
		report("max_bytes", "must be 0 or at least 64MiB")
	}
	if bits.UintSize == 32 && c.MaxBytes > 1<<30 {
		report("max_bytes", "must not exceed 1GiB on a 32-bit system, whose address space holds the whole store")
	}
	for _, f := range []struct {
		path  string
		value int64
	}{
		{"min_free_bytes", c.MinFreeBytes},
		{"memory_bytes", c.MemoryBytes},
		{"dead_letters.max_bytes", c.DeadLetters.MaxBytes},
		{"dead_letters.max_age", int64(c.DeadLetters.MaxAge)},
	} {
		if f.value < 0 {
			report(f.path, "must not be negative")
		}
	}
	if c.MaxDevices < 1 || c.MaxDevices > 1<<20 {
		report("max_devices", "must be between 1 and 1048576")
	}
	var reserved int64
	for _, class := range Classes() {
		k, path := c.Classes.Of(class), "classes."+class.String()+"."
		switch k.Overflow {
		case DropOldest, DropNewest, Refuse:
		case ThinOut:
			if k.ThinKeep < 2 {
				report(path+"thin_keep", "must be at least 2")
			}
		default:
			report(path+"overflow", fmt.Sprintf("%q is not one of drop_oldest, drop_newest, thin_out, refuse", string(k.Overflow)))
		}
		if k.MaxAge < 0 {
			report(path+"max_age", "must not be negative")
		}
		if k.MaxBytes < 0 {
			report(path+"max_bytes", "must not be negative")
		}
		if k.Reserve < 0 {
			report(path+"reserve", "must not be negative")
		}
		if k.KeepLast && class != ClassProperty {
			report(path+"keep_last", "is for properties only")
		}
		reserved += max(0, k.Reserve)
	}
	if c.MaxBytes > 0 && reserved > c.MaxBytes/2 {
		report("classes", "the reserves together must not exceed half of max_bytes")
	}
}

// parseSync reads Config.Sync: every is 0 for always, and off means never.
func parseSync(s string) (every time.Duration, off bool, err error) {
	switch strings.TrimSpace(s) {
	case "", "always":
		return 0, false, nil
	case "never":
		return 0, true, nil
	}
	every, err = time.ParseDuration(s)
	if err != nil || every < 10*time.Millisecond || every > time.Minute {
		return 0, false, fmt.Errorf("%q: want always, never or an interval between 10ms and 1m", s)
	}
	return every, false, nil
}

// Clock is what the store wants to know about time; *clock.Clock is one.
type Clock interface {
	Stamp() clock.Stamp
	AgeAt(s, now clock.Stamp) time.Duration
	Restore(table []byte) error
	Snapshot() []byte
	Observe() (changed bool)
	Dirty() bool
}
