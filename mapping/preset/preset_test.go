package preset_test

import (
	"slices"
	"strings"
	"testing"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
)

// TestPresetsTogether has every family on at once, in either order: each topic goes to the one that it is of.
func TestPresetsTogether(t *testing.T) {
	t.Parallel()
	names := preset.Names()
	backwards := slices.Clone(names)
	slices.Reverse(backwards)
	for _, order := range [][]string{names, backwards} {
		presets := make([]mapping.Preset, 0, len(order))
		for _, name := range order {
			presets = append(presets, mapping.Preset{Name: name})
		}
		families, err := preset.Families(presets)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mapping.New(mapping.DefaultConfig(), mapping.Options{Families: families})
		if err != nil {
			t.Fatal(err)
		}
		for topic, want := range map[string]string{
			"tele/plug/SENSOR": "tasmota", "tele/plug/LWT": "tasmota", "stat/plug/RESULT": "tasmota", "tasmota/discovery/AABBCC/config": "tasmota",
			"shellies/shelly1-AABBCC/online": "shelly gen1", "shellies/shelly1-AABBCC/relay/0": "shelly gen1", "shellies/announce": "shelly gen1",
			plug + "/events/rpc": "shelly gen2", plug + "/online": "shelly gen2", plug + "/status/switch:0": "shelly gen2", "hall/plug/events/rpc": "shelly gen2",
			"zigbee2mqtt/bridge/state": "zigbee2mqtt", "zigbee2mqtt/a/b/availability": "zigbee2mqtt", "zigbee2mqtt/online": "zigbee2mqtt", "zigbee2mqtt/switch/lamp/state": "zigbee2mqtt",
			"node/sensor/temperature/state": "esphome", "node/status": "esphome",
			"homie/5/car/$state": "homie", "homie/5/car/engine/speed": "homie",
			"homeassistant/sensor/x/config": "homeassistant", "homeassistant/status": "homeassistant",
			lora + "event/up": "chirpstack", "spBv1.0/plant/NBIRTH/edge1": "sparkplug",
		} {
			trial := m.Explain(&mapping.Publication{Topic: topic, Payload: []byte("true")}, onStage, mapping.MemoryState{})
			got := trial.Route()
			if shelly, ok := strings.CutPrefix(want, "shelly "); ok && strings.HasPrefix(got, "shelly") {
				if later := strings.HasSuffix(got, "gen2"); later == (shelly == "gen2") {
					continue
				}
			}
			if got != want {
				t.Errorf("%s: %s went to %q, want %s", order[0], topic, got, want)
			}
		}
	}
}

func TestFaultyPresets(t *testing.T) {
	t.Parallel()
	_, err := preset.Families([]mapping.Preset{{Name: "zigbee"}, {Name: "shelly", Prefix: "a/+"}, {Name: "homie"}})
	const want = "mapping.presets[0]: there is no preset \"zigbee\"; there are: chirpstack, esphome, homeassistant, homie, shelly, sparkplug, tasmota, zigbee2mqtt\n" +
		"mapping.presets[1]: "
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v", err)
	}
}
