package preset_test

import (
	"fmt"
	"strings"
	"testing"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
)

const (
	lora     = "application/8c3d0f36-1b67-4d3c-9c3c-6e7a0e4d1a01/device/0101010101010101/"
	loraDev  = "0101010101010101"
	loraInfo = `"deviceInfo":{"tenantName":"ChirpStack","applicationId":"8c3d0f36-1b67-4d3c-9c3c-6e7a0e4d1a01","applicationName":"test","deviceProfileName":"sensor","deviceName":"n1","devEui":"0101010101010101","tags":{"key":"value"}}`
)

func newChirpStackStage(t *testing.T, prefix string) *stage {
	t.Helper()
	family, err := preset.ChirpStack(mapping.Preset{Name: "chirpstack", Prefix: prefix})
	return newStage(t, family, err)
}

func TestChirpStackUplinks(t *testing.T) {
	t.Parallel()
	s := newChirpStackStage(t, "")
	up := func(id, rest string) string {
		return `{"deduplicationId":"` + id + `","time":"2026-02-28T09:34:15.775023242+00:00",` + loraInfo + `,"devAddr":"00189440","dr":1,"fPort":1,` + rest +
			`"rxInfo":[{"gatewayId":"0016c001f153a14c","rssi":-36,"snr":10.5}],"txInfo":{"frequency":867100000}}`
	}
	s.publish(lora+"event/up", up("3ac7e3c4-4401-4b8d-9386-a5c902f9202d", `"data":"qg==",`),
		`telemetry 0101010101010101 {"data":"qg==","fPort":1} @2026-02-28T09:34:15.775023242Z`)
	// The same uplink again, from a second bridge or after a lost acknowledgement.
	s.publish(lora+"event/up", up("3ac7e3c4-4401-4b8d-9386-a5c902f9202d", `"data":"qg==",`), `repeated 1`)
	s.publish(lora+"event/up", up("id-2", `"data":"qg==","object":{"temperature":21.50,"gps":{"lat":1},"timestamp":5},`),
		`telemetry 0101010101010101 {"gps":{"lat":1},"temperature":21.5,"timestamp_value":5} @2026-02-28T09:34:15.775023242Z`)
	s.publish(lora+"event/up", up("id-3", ``), `empty 1`)
	s.publish(lora+"event/up", up("id-4", `"object":{},`), `empty 1`)
	// Eight ids are remembered.
	for i := range 8 {
		s.publish(lora+"event/up", up(fmt.Sprint("n", i), ``), `empty 1`)
	}
	s.publish(lora+"event/up", up("n0", ``), `repeated 1`)
	s.publish(lora+"event/up", up("id-4", ``), `empty 1`)
	// The id of an uplink may come again with another event.
	s.publish(lora+"event/status", `{"deduplicationId":"n7","time":"2026-02-28T09:34:15Z",`+loraInfo+`,"margin":10,"externalPowerSource":false,"batteryLevelUnavailable":false,"batteryLevel":75.5}`,
		`telemetry 0101010101010101 {"batteryLevel":75.5,"externalPowerSource":false,"margin":10} @2026-02-28T09:34:15Z`)
	s.publish(lora+"event/status", `{"deduplicationId":"n8","margin":-3,"batteryLevelUnavailable":true,"batteryLevel":0}`, `telemetry 0101010101010101 {"margin":-3}`)
	s.publish(lora+"event/location", `{"deduplicationId":"n7","time":"2026-02-28T09:34:15Z",`+loraInfo+`,"location":{"latitude":4.5,"longitude":51.25,"altitude":0.5,"source":"GEO_RESOLVER_TDOA","accuracy":5}}`,
		`telemetry 0101010101010101 {"location":{"alt":0.5,"lat":4.5,"lon":51.25}} @2026-02-28T09:34:15Z`)
	s.publish(lora+"event/integration", `{"deduplicationId":"n7",`+loraInfo+`,"integrationName":"LoRa Cloud","eventType":"modem","object":{"fcnt":7}}`,
		`telemetry 0101010101010101 {"fcnt":7}`)
	s.publish(lora+"event/join", `{"deduplicationId":"n9","time":"2026-02-28T09:34:15Z",`+loraInfo+`,"devAddr":"00189440"}`)
	s.publish(lora+"event/later", `{}`, `unsupported 1`)
}

func TestChirpStackTimesAndReplays(t *testing.T) {
	t.Parallel()
	s := newChirpStackStage(t, "")
	s.publish(lora+"event/up", `{"data":"qg==","fPort":2}`, `telemetry 0101010101010101 {"data":"qg==","fPort":2}`)
	s.publish(lora+"event/up", `{"data":"qg==","time":"1970-01-01T00:00:09+00:00"}`, `telemetry 0101010101010101 {"data":"qg==","fPort":0}`, `implausible 1`)
	s.publish(lora+"event/up", `{"data":"qg==","time":"soon"}`, `telemetry 0101010101010101 {"data":"qg==","fPort":0}`)
	s.replay(lora+"event/up", `{"deduplicationId":"r1","data":"qg==","time":"2026-02-28T09:34:15Z"}`, `telemetry 0101010101010101 {"data":"qg==","fPort":0} @2026-02-28T09:34:15Z historical`)
	s.replay(lora+"event/up", `{"deduplicationId":"r1","data":"qg==","time":"2026-02-28T09:34:15Z"}`, `repeated 1`)
	s.replay(lora+"event/up", `{"data":"qg=="}`, `replayed 1`)
}

func TestChirpStackCommands(t *testing.T) {
	t.Parallel()
	s := newChirpStackStage(t, "")
	s.publish(lora+"event/join", `{}`)
	item := func(id, args, rest string) string {
		t.Helper()
		res, err := s.m.Command(loraDev, "down", id, []byte(args), onStage, s.state)
		if err != nil {
			t.Fatal(err)
		}
		s.state.Apply(res.Changes)
		text := string(res.Publish[0].Payload)
		at := strings.Index(text, `"id":"`) + 6
		if got, want := res.Publish[0].Topic, lora+"command/down"; got != want || len(text) < at+36 {
			t.Fatalf("%s %s", got, text)
		}
		if got := strings.Replace(text, text[at:at+36], "ID", 1); got != rest {
			t.Errorf("got %s, want %s", got, rest)
		}
		return text[at : at+36]
	}
	// Unconfirmed: done when it is on the air.
	id := item("c1", `{"fPort":10,"data":"AQID"}`, `{"confirmed":false,"data":"AQID","devEui":"0101010101010101","fPort":10,"id":"ID"}`)
	if again := item("c1", `{"fPort":10,"data":"AQID"}`, `{"confirmed":false,"data":"AQID","devEui":"0101010101010101","fPort":10,"id":"ID"}`); again != id {
		t.Error("a command that is sent twice is two downlinks")
	}
	s.publish(lora+"event/txack", `{"downlinkId":1,"queueItemId":"another"}`)
	s.publish(lora+"event/txack", `{"downlinkId":1,"queueItemId":"`+id+`","fCntDown":12}`, `response 0101010101010101 down c1 Completed`)
	s.publish(lora+"event/txack", `{"downlinkId":1,"queueItemId":"`+id+`","fCntDown":12}`)
	// Confirmed: done when the device says so.
	id = item("c2", `{"fPort":10,"object":{"on":true},"confirmed":true}`, `{"confirmed":true,"devEui":"0101010101010101","fPort":10,"id":"ID","object":{"on":true}}`)
	s.publish(lora+"event/txack", `{"queueItemId":"`+id+`"}`)
	s.publish(lora+"event/ack", `{"queueItemId":"`+id+`","acknowledged":true,"fCntDown":12}`, `response 0101010101010101 down c2 Completed`)
	id = item("c3", `{"fPort":10,"data":"","confirmed":true}`, `{"confirmed":true,"data":"","devEui":"0101010101010101","fPort":10,"id":"ID"}`)
	s.publish(lora+"event/ack", `{"queueItemId":"`+id+`"}`, `response 0101010101010101 down c3 Failed "the device did not acknowledge the downlink"`)
	// Discarded.
	id = item("c4", `{"fPort":10,"data":"AQID"}`, `{"confirmed":false,"data":"AQID","devEui":"0101010101010101","fPort":10,"id":"ID"}`)
	s.publish(lora+"event/log", `{"level":"INFO","description":"queued","context":{"queue_item_id":"`+id+`"}}`)
	s.publish(lora+"event/log", `{"level":"ERROR","code":"DOWNLINK_PAYLOAD_SIZE","description":"too large","context":{"queue_item_id":"`+id+`"}}`,
		`response 0101010101010101 down c4 Failed "too large"`)
	s.publish(lora+"event/log", `{"level":"ERROR","code":"UPLINK_CODEC","description":"codec"}`)

	const hint = ` (the arguments are {"fPort": 1..223, "data": base64 or "object": {...}, "confirmed": false})`
	s.command(loraDev, "down", "c5", `{"data":"AQID"}`, `undecodable: chirpstack: fPort does not lie between 1 and 223`+hint)
	s.command(loraDev, "down", "c5", `{"fPort":1}`, `undecodable: chirpstack: either data or object is needed`+hint)
	s.command(loraDev, "down", "c5", `{"fPort":1,"data":"*"}`, `undecodable: chirpstack: data is not base64`+hint)
	s.command(loraDev, "down", "c5", `7`, `undecodable: chirpstack: the arguments are no object`+hint)
	s.command(loraDev, "reboot", "c5", ``, `bad_name: chirpstack: a LoRaWAN device takes the command down alone`)
	s.desired(loraDev, "interval", `60`, `error: chirpstack: interval of device 0101010101010101: the device family has no way to do that`)
}

func TestChirpStackFaults(t *testing.T) {
	t.Parallel()
	s := newChirpStackStage(t, "eu868")
	s.publish(lora+"event/up", `{}`, `unmapped: nothing maps the topic application/8c3d0f36-1b67-4d3c-9c3c-6e7a0e4d1a01/device/01010101...`)
	const hint = ` (the MQTT integration must be set to JSON)`
	s.publish("eu868/"+lora+"event/up", "\x0a\x24", "undecodable: chirpstack eu868: no ChirpStack event: invalid character '$' looking for beginning of value"+hint)
	s.publish("eu868/"+lora+"event/up", `{"object":[1]}`, `undecodable: chirpstack eu868: object is no object`)
	s.publish("eu868/"+lora+"event/up", `{"data":"*"}`, `undecodable: chirpstack eu868: data is not base64: illegal base64 data at input byte 0`)
	s.publish("eu868/"+lora+"event/location", `{"location":{"latitude":1}}`, `undecodable: chirpstack eu868: the location has no latitude and longitude`)
	s.publish("eu868/"+lora+"event/up", `{"object":{"_x":1}}`, `bad_name: chirpstack eu868: name "_x" begins with an underscore, which the application refuses`)
	s.publish("eu868/application/1/device/a b/event/up", `{"data":"qg=="}`, `bad_device: chirpstack eu868: device id "a b" holds ' ' (1 to 128 of A-Z a-z 0-9 - . _ : ending in a letter, a digit or -)`)
	if _, err := preset.ChirpStack(mapping.Preset{Prefix: "a/+"}); err == nil {
		t.Error("a prefix with a wildcard was taken")
	}
}

func FuzzChirpStack(f *testing.F) {
	for event, body := range map[string]string{
		"up":       `{"deduplicationId":"3ac7","time":"2022-07-18T09:34:15.775023242+00:00","fPort":1,"data":"qg==","object":{"a":{"timestamp":1}}}`,
		"status":   `{"margin":7,"externalPowerSource":false,"batteryLevel":98.5}`,
		"location": `{"location":{"latitude":1e400,"longitude":2,"altitude":null}}`,
		"txack":    `{"queueItemId":"x"}`,
		"log":      `{"level":"ERROR","description":"d","context":{"queue_item_id":"x"}}`,
	} {
		f.Add(lora+"event/"+event, body)
	}
	family, err := preset.ChirpStack(mapping.Preset{})
	fuzzFamily(f, family, err, func(state mapping.MemoryState, m *mapping.Mapper) {
		for _, ask := range []func() (mapping.Result, error){
			func() (mapping.Result, error) {
				return m.Map(&mapping.Publication{Topic: lora + "event/join", Payload: []byte(`{}`)}, onStage, state)
			},
			func() (mapping.Result, error) {
				return m.Command(loraDev, "down", "c1", []byte(`{"fPort":1,"data":"AQ=="}`), onStage, state)
			},
		} {
			if res, err := ask(); err == nil {
				state.Apply(res.Changes)
			}
		}
	})
}
