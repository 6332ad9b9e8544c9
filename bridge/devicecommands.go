package bridge

import (
	"fmt"
	"time"
)

// DeviceCommandConfig says how long commands for devices wait, and for what.
type DeviceCommandConfig struct {
	Expiry     time.Duration `yaml:"expiry" doc:"How long a command for a device that is away waits for it; then it is Expired and never delivered."`
	Timeout    time.Duration `yaml:"timeout" doc:"How long a device may take to answer a command that was delivered; then it is TimedOut."`
	MaxWaiting int           `yaml:"max_waiting" doc:"How many commands of one device may be unfinished at once; the next is refused with 429."`
}

func defaultDeviceCommands() DeviceCommandConfig {
	return DeviceCommandConfig{Expiry: 5 * time.Minute, Timeout: 30 * time.Second, MaxWaiting: 16}
}

func (c DeviceCommandConfig) validate(report func(path, message string)) {
	between := func(path string, d, low, high time.Duration) {
		if d < low || d > high {
			report("device_commands."+path, fmt.Sprintf("must be between %s and %s, got %s", low, high, d))
		}
	}
	between("expiry", c.Expiry, time.Second, 30*24*time.Hour)
	between("timeout", c.Timeout, 100*time.Millisecond, 24*time.Hour)
	if c.MaxWaiting < 1 || c.MaxWaiting > 1000 {
		report("device_commands.max_waiting", fmt.Sprintf("must be between 1 and 1000, got %d", c.MaxWaiting))
	}
}
