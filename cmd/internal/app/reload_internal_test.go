package app

import (
	"slices"
	"testing"

	"iotc-gateway/configs"
)

// What a reload puts in force needs no restart, everything else is named.
func TestNeedsRestart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*configs.Config)
		want   []string
	}{
		"nothing":  {func(*configs.Config) {}, nil},
		"presets":  {func(c *configs.Config) { c.Mapping.DefaultTemplate = "dtmi:a:b;1" }, nil},
		"desired":  {func(c *configs.Config) { c.Bridge.Properties.Desired = []string{"setpoint"} }, nil},
		"listener": {func(c *configs.Config) { c.Broker.Listeners[0].Address = "127.0.0.1:1" }, []string{"broker"}},
		"two":      {func(c *configs.Config) { c.Log.Level, c.Central.Rate = "debug", 7 }, []string{"central", "log"}},
	} {
		now := configs.Default()
		c.change(now)
		if got := needsRestart(configs.Default(), now); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
