package bridge

import (
	"fmt"
	"time"

	"iotc-gateway/mapping"
)

// Config sets how the uplink loop delivers and which devices it registers.
type Config struct {
	Concurrency       int            `yaml:"concurrency" doc:"How many calls to the uplink may be under way at once."`
	InFlightPerDevice int            `yaml:"in_flight_per_device" doc:"How many records of one device may be under way at once. 1 keeps strict order per device; more lets timestamped telemetry overtake."`
	Order             string         `yaml:"order" doc:"per_device delivers each device's records in the order they came; live_first gives new records a lane of their own beside the backlog."`
	Coalesce          time.Duration  `yaml:"coalesce" doc:"Joins telemetry of one device that lies within this window into one call, never two values of one name. 0s sends each record by itself."`
	Registry          RegistryConfig `yaml:"registry"`
	Properties        PropertyConfig `yaml:"properties"`
	Commands          CommandConfig  `yaml:"commands"`

	DeviceCommands DeviceCommandConfig `yaml:"device_commands"`
}

// RegistryConfig says what happens when a device is seen for the first time.
type RegistryConfig struct {
	Unknown    string  `yaml:"unknown" doc:"What happens to a device that the application does not know: create it, hold its data until a person approves it, or refuse it (create, approve, refuse)."`
	MaxDevices int     `yaml:"max_devices" doc:"How many devices the gateway registers at most."`
	CreateRate float64 `yaml:"create_rate" doc:"How many devices a second are created at most, after a burst of sixty. 0 is unlimited."`

	SyncInterval       time.Duration `yaml:"sync_interval" doc:"How often the application's devices are read, besides at the start and when the link comes back. 0s never reads them: a device is looked up when it first sends."`
	ConnectionProperty string        `yaml:"connection_property" doc:"Name of a boolean property that tells the application whether a device is connected to the gateway. Empty reports none."`
}

// PropertyConfig names the properties that the cloud owns.
type PropertyConfig struct {
	Desired      []string      `yaml:"desired" doc:"Names of properties that the cloud owns where no device template says so: they are polled and never reported up."`
	PollInterval time.Duration `yaml:"poll_interval" doc:"How often a property that the cloud owns is read for a connected device. One that changed lately is read six times as often, one of a device that is away twenty times as seldom, always within central.rate."`
}

// CommandConfig says how commands that are triggered here reach the
// application.
type CommandConfig struct {
	Offline       string        `yaml:"offline" doc:"What happens to a command that is triggered while the uplink is down: it waits as long as buffer.classes.command.max_age, or it fails at once (wait, refuse)."`
	StatusTimeout time.Duration `yaml:"status_timeout" doc:"How long the application is asked what became of a command before the gateway gives up."`
}

// Orders and policies as they stand in the configuration.
const (
	OrderPerDevice = "per_device"
	OrderLiveFirst = "live_first"

	UnknownCreate  = "create"
	UnknownApprove = "approve"
	UnknownRefuse  = "refuse"

	OfflineWait   = "wait"
	OfflineRefuse = "refuse"
)

// DefaultConfig is what an empty bridge section means.
func DefaultConfig() Config {
	return Config{
		Concurrency:       32,
		InFlightPerDevice: 1,
		Order:             OrderPerDevice,
		Registry:          RegistryConfig{Unknown: UnknownCreate, MaxDevices: 2000, CreateRate: 1, SyncInterval: 15 * time.Minute},
		Properties:        PropertyConfig{PollInterval: 30 * time.Second},
		Commands:          CommandConfig{Offline: OfflineWait, StatusTimeout: time.Hour},

		DeviceCommands: defaultDeviceCommands(),
	}
}

// Validate reports every fault with its path below the bridge section.
func (c Config) Validate(report func(path, message string)) {
	c.DeviceCommands.validate(report)
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
	if d := c.Registry.SyncInterval; d != 0 && (d < 10*time.Second || d > 24*time.Hour) {
		report("registry.sync_interval", fmt.Sprintf("must be 0s or between 10s and 24h, got %s", d))
	}
	c.validateDown(report)
}

// validateDown checks what concerns properties and commands.
func (c Config) validateDown(report func(path, message string)) {
	name := func(path, name string) {
		if err := mapping.ValidName(name); err != nil {
			report(path, err.Error())
		}
	}
	if c.Registry.ConnectionProperty != "" {
		name("registry.connection_property", c.Registry.ConnectionProperty)
	}
	for i, n := range c.Properties.Desired {
		name(fmt.Sprintf("properties.desired[%d]", i), n)
	}
	between := func(path string, d, low, high time.Duration) {
		if d < low || d > high {
			report(path, fmt.Sprintf("must be between %s and %s, got %s", low, high, d))
		}
	}
	between("properties.poll_interval", c.Properties.PollInterval, time.Second, 24*time.Hour)
	between("commands.status_timeout", c.Commands.StatusTimeout, time.Second, 7*24*time.Hour)
	switch c.Commands.Offline {
	case OfflineWait, OfflineRefuse:
	default:
		report("commands.offline", fmt.Sprintf("must be wait or refuse, got %q", c.Commands.Offline))
	}
}
