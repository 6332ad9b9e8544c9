package bridge

import (
	"fmt"
	"time"
)

// Config sets how the uplink loop delivers and which devices it registers.
type Config struct {
	Concurrency       int            `yaml:"concurrency" doc:"How many calls to the uplink may be under way at once."`
	InFlightPerDevice int            `yaml:"in_flight_per_device" doc:"How many records of one device may be under way at once. 1 keeps strict order per device; more lets timestamped telemetry overtake."`
	Order             string         `yaml:"order" doc:"per_device delivers each device's records in the order they came; live_first gives new records a lane of their own beside the backlog."`
	Coalesce          time.Duration  `yaml:"coalesce" doc:"Joins telemetry of one device that lies within this window into one call, never two values of one name. 0s sends each record by itself."`
	Registry          RegistryConfig `yaml:"registry"`
	Properties        PropertyConfig `yaml:"properties"`
}

// RegistryConfig says what happens when a device is seen for the first time.
type RegistryConfig struct {
	Unknown    string  `yaml:"unknown" doc:"What happens to a device that the application does not know: create it, hold its data until a person approves it, or refuse it (create, approve, refuse)."`
	MaxDevices int     `yaml:"max_devices" doc:"How many devices the gateway registers at most."`
	CreateRate float64 `yaml:"create_rate" doc:"How many devices a second are created at most, after a burst of sixty. 0 is unlimited."`
}

// PropertyConfig names the properties that the cloud owns.
type PropertyConfig struct {
	Desired []string `yaml:"desired" doc:"Names of properties that the cloud owns where no device template says so: they are polled and never reported up."`
}

// Orders and policies as they stand in the configuration.
const (
	OrderPerDevice = "per_device"
	OrderLiveFirst = "live_first"

	UnknownCreate  = "create"
	UnknownApprove = "approve"
	UnknownRefuse  = "refuse"
)

// DefaultConfig is what an empty bridge section means.
func DefaultConfig() Config {
	return Config{
		Concurrency:       32,
		InFlightPerDevice: 1,
		Order:             OrderPerDevice,
		Registry:          RegistryConfig{Unknown: UnknownCreate, MaxDevices: 2000, CreateRate: 1},
	}
}

// Validate reports every fault with its path below the bridge section.
func (c Config) Validate(report func(path, message string)) {
	within := func(path string, v, low, high int) {
		if v < low || v > high {
			report(path, fmt.Sprintf("must be between %d and %d, got %d", low, high, v))
		}
	}
	within("concurrency", c.Concurrency, 1, 1024)
	within("in_flight_per_device", c.InFlightPerDevice, 1, 256)
	within("registry.max_devices", c.Registry.MaxDevices, 1, 1_000_000)
	switch c.Order {
	case OrderPerDevice, OrderLiveFirst:
	default:
		report("order", fmt.Sprintf("must be per_device or live_first, got %q", c.Order))
	}
	if c.Coalesce < 0 || c.Coalesce > time.Hour {
		report("coalesce", fmt.Sprintf("must be between 0s and 1h, got %s", c.Coalesce))
	}
	switch c.Registry.Unknown {
	case UnknownCreate, UnknownApprove, UnknownRefuse:
	default:
		report("registry.unknown", fmt.Sprintf("must be create, approve or refuse, got %q", c.Registry.Unknown))
	}
	if c.Registry.CreateRate < 0 {
		report("registry.create_rate", "must not be negative")
	}
}
