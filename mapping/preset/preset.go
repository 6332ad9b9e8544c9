// Package preset maps device families without a line of configuration from
// the user: `presets: [tasmota]` is all there is to write. Each family has a
// file of its own, whose comment says what is supported.
package preset

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"iotc-gateway/mapping"
)

// constructor makes a family of what a user wrote.
type constructor func(mapping.Preset) (mapping.Family, error)

// constructors lists the families by the name that a user writes. One name may
// stand for several families: generations of one maker's devices that have
// little more than the name in common.
func constructors() map[string][]constructor {
	return map[string][]constructor{
		"chirpstack":    {ChirpStack},
		"esphome":       {ESPHome},
		"homeassistant": {HomeAssistant},
		"homie":         {Homie},
		"shelly":        {ShellyGen1, ShellyGen2},
		"sparkplug":     {Sparkplug},
		"tasmota":       {Tasmota},
		"zigbee2mqtt":   {Zigbee2MQTT},
	}
}

// Names lists the families, in order.
func Names() []string {
	var names []string
	for name := range constructors() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Families makes the families of a configuration. All faults are in the error,
// joined.
//
// Families whose topics begin with a word of their own (zigbee2mqtt/...) come
// before those whose topics begin with the device (<device>/status), in whatever
// order the user wrote them: otherwise homeassistant/status would be a device
// named homeassistant.
func Families(presets []mapping.Preset) ([]mapping.Family, error) {
	known := constructors()
	var families []mapping.Family
	var faults []error
	for i, p := range presets {
		builders, ok := known[p.Name]
		if !ok {
			faults = append(faults, fmt.Errorf("mapping.presets[%d]: there is no preset %q; there are: %s", i, p.Name, strings.Join(Names(), ", ")))
			continue
		}
		for _, build := range builders {
			f, err := build(p)
			if err != nil {
				faults = append(faults, fmt.Errorf("mapping.presets[%d]: %w", i, err))
				break // another generation would say the same
			}
			families = append(families, f)
		}
	}
	slices.SortStableFunc(families, func(a, b mapping.Family) int { return cmp.Compare(openness(a), openness(b)) })
	return families, errors.Join(faults...)
}

// openness is 1 for a family with a topic whose first level is not fixed.
func openness(f mapping.Family) int {
	if slices.ContainsFunc(f.Patterns(), func(p string) bool { return strings.HasPrefix(p, "{") }) {
		return 1
	}
	return 0
}
