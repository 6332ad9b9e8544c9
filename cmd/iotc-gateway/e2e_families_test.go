//go:build e2e

package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// household is what somebody writes who owns plugs with Tasmota, a Zigbee2MQTT bridge, a Shelly and an ESP32 of his own making: one
// line of presets and one route.
const household = `
broker:
  listeners: [{name: home, address: %q}]
  auth: {anonymous: never}
mapping:
  presets: [tasmota, zigbee2mqtt, shelly]
  routes:
    - match: "shed/{device}/temp"
      payload: number
      telemetry: {temperature: payload * 0.1}
`

// addUser makes a user as its owner would, and returns its password.
func (s *site) addUser(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(binary(s.t), append([]string{"user", "add", "--config", s.config(), "--generate"}, args...)...).Output()
	if err != nil {
		s.t.Fatalf("user add %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// member is a device's own MQTT client: mosquitto_pub and mosquitto_sub with its name and password.
type member struct {
	s              *site
	name, password string
}

func (s *site) member(args ...string) *member { return &member{s, args[0], s.addUser(args...)} }

func (m *member) args(client string, more ...string) []string {
	host, port, _ := net.SplitHostPort(m.s.mqtt)
	return append([]string{"-h", host, "-p", port, "-u", m.name, "-P", m.password, "-i", m.name + client, "-q", "1"}, more...)
}

// publish waits for the PUBACK, so that what was published is on disk.
func (m *member) publish(topic, payload string, more ...string) {
	m.s.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("mosquitto_pub", m.args("", append([]string{"-t", topic, "-m", payload}, more...)...)...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		m.s.t.Fatalf("%s publishes %s: %v %s", m.name, topic, err, stderr.String())
	}
}

// connect leaves a client subscribed to the topics, with a last will.
func (m *member) connect(will, away string, topics ...string) *process {
	m.s.t.Helper()
	args := m.args("-sub", "-d", "--will-topic", will, "--will-payload", away, "--will-retain")
	for _, topic := range topics {
		args = append(args, "-t", topic)
	}
	p := start(m.s.t, nil, nil, "stdbuf", append([]string{"-oL", "mosquitto_sub"}, args...)...) // its log is to be seen at once
	eventually(m.s.t, 10*time.Second, m.name+" has subscribed", func() bool { return strings.Contains(p.output(), "Subscribed (mid") })
	if granted := strings.TrimSpace(p.output()[strings.Index(p.output(), "Subscribed (mid"):]); strings.Contains(granted, "128") {
		m.s.t.Errorf("%s may not read all of %v: %s", m.name, topics, granted)
	}
	return p
}

// property reads a property from the application, nil while there is none.
func (s *site) property(device, name string) any {
	s.t.Helper()
	var raw json.RawMessage
	if call(s.t, http.MethodGet, "http://"+s.api+"/api/devices/"+device+"/properties/"+name+"?api-version=2022-07-31", siteToken, nil, &raw) != http.StatusOK {
		return nil
	}
	var answer struct {
		Value any `json:"value"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		s.t.Fatalf("property %s of %s: %v", name, device, err)
	}
	return answer.Value
}

func (s *site) wantProperty(device, name string, want any) {
	s.t.Helper()
	var got any
	deadline := time.Now().Add(10 * time.Second)
	for ; time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got = s.property(device, name); reflect.DeepEqual(got, want) {
			return
		}
	}
	s.t.Fatalf("property %s of %s is %v, want %v", name, device, got, want)
}

// wantTelemetry waits for a reading with the values; its others do not matter.
func (s *site) wantTelemetry(device string, want map[string]any) {
	s.t.Helper()
	var got []map[string]any
	deadline := time.Now().Add(10 * time.Second)
	for ; time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got = s.received(device)
		if slices.ContainsFunc(got, func(body map[string]any) bool {
			for name, value := range want {
				if !reflect.DeepEqual(body[name], value) {
					return false
				}
			}
			return true
		}) {
			return
		}
	}
	s.t.Fatalf("telemetry of %s is %v, want %v", device, got, want)
}

// TestE2EHousehold brings everything in that such a house has, with real clients, each under its own name and password.
func TestE2EHousehold(t *testing.T) {
	s := newSite(t)
	s.configure(fmt.Sprintf(household, s.mqtt))
	var plugs []*member
	for i := 1; i <= 5; i++ {
		plugs = append(plugs, s.member(fmt.Sprintf("plug-%d", i)))
	}
	bridge := s.member("zigbee", "--role", "bridge", "--devices", "0x*", "--topics", "zigbee2mqtt/#")
	shelly, plus := s.member("shellyplug-s-C18B12"), s.member("shellyplus1pm-a8032abe54dc")
	esp := s.member("esp32-shed")
	s.startApplication()
	s.startGateway()

	for i, p := range plugs {
		topic := p.name
		connection := p.connect("tele/"+topic+"/LWT", "Offline", "cmnd/"+topic+"/#", "cmnd/tasmotas/#")
		mac := fmt.Sprintf("C0FFEE00000%d", i+1)
		p.publish("tele/"+topic+"/LWT", "Online", "-r")
		p.publish("tasmota/discovery/"+mac+"/config", fmt.Sprintf(`{"ip":"192.0.2.%d","dn":"Tasmota","hn":"%s","mac":"%s","md":"Sonoff S31","sw":"14.2.0","t":"%[2]s","ft":"%%prefix%%/%%topic%%/","tp":["cmnd","stat","tele"],"ver":1}`, i+1, topic, mac), "-r")
		p.publish("tasmota/discovery/"+mac+"/sensors", `{"sn":{"Time":"2026-03-01T12:00:00"},"ver":1}`, "-r")
		p.publish("tele/"+topic+"/INFO1", `{"Info1":{"Module":"Sonoff S31","Version":"14.2.0(tasmota)","FallbackTopic":"cmnd/DVES_000001_fb/","GroupTopic":"cmnd/tasmotas/"}}`)
		p.publish("tele/"+topic+"/STATE", `{"Time":"2026-03-01T12:00:00","Uptime":"0T00:00:12","UptimeSec":12,"POWER":"ON","Wifi":{"AP":1,"SSId":"home","RSSI":74}}`)
		p.publish("tele/"+topic+"/SENSOR", fmt.Sprintf(`{"Time":"2026-03-01T12:00:00","ENERGY":{"TotalStartTime":"2025-01-01T00:00:00","Total":2.942,"Power":%d,"Voltage":230}}`, 40+i))
		p.publish("stat/"+topic+"/RESULT", `{"POWER":"OFF"}`)
		p.publish("stat/"+topic+"/POWER", `OFF`)
		if i == 4 { // is pulled from its socket
			connection.signal(syscall.SIGKILL)
		}
	}
	bridge.publish("zigbee2mqtt/bridge/state", `{"state":"online"}`, "-r")
	bridge.publish("zigbee2mqtt/bridge/devices", `[{"ieee_address":"0x00124b0012345678","type":"Coordinator","friendly_name":"Coordinator","supported":true},
		{"ieee_address":"0x00158d00018255df","type":"EndDevice","friendly_name":"kitchen/window","supported":true,"power_source":"Battery",
		 "definition":{"model":"WSDCGQ11LM","vendor":"Aqara","exposes":[{"type":"numeric","name":"temperature","property":"temperature","access":1}]}}]`, "-r")
	bridge.publish("zigbee2mqtt/kitchen/window/availability", `{"state":"online"}`, "-r")
	bridge.publish("zigbee2mqtt/kitchen/window", `{"temperature":27.34,"humidity":44.72,"battery":91}`)

	base := "shellies/" + shelly.name + "/"
	shelly.connect(base+"online", "false", base+"command", base+"relay/0/command", "shellies/command")
	shelly.publish(base+"online", "true", "-r")
	shelly.publish("shellies/announce", `{"id":"`+shelly.name+`","model":"SHPLG-S","mac":"C0FFEEC18B12","ip":"192.0.2.20","new_fw":false,"fw_ver":"20230913-113421/v1.14.0-gcb84623"}`)
	for topic, payload := range map[string]string{"relay/0": "on", "relay/0/power": "20.58", "relay/0/energy": "94736", "temperature": "31.97", "temperature_f": "89.55", "overtemperature": "0"} {
		shelly.publish(base+topic, payload)
	}
	plus.publish(plus.name+"/online", "true", "-r")
	plus.publish(plus.name+"/events/rpc", `{"src":"`+plus.name+`","dst":"`+plus.name+`/events","method":"NotifyStatus","params":{"ts":1.61,"switch:0":{"id":0,"apower":918.63,"output":true}}}`)
	esp.publish("shed/esp32-shed/temp", "213")

	for i, p := range plugs {
		s.wantTelemetry(p.name, map[string]any{"ENERGY_Power": float64(40 + i), "ENERGY_Total": 2.942})
		s.wantTelemetry(p.name, map[string]any{"UptimeSec": 12.0, "Wifi_RSSI": 74.0})
		s.wantProperty(p.name, "POWER", false)
		s.wantProperty(p.name, "ip", fmt.Sprintf("192.0.2.%d", i+1))
		s.wantProperty(p.name, "firmware", "14.2.0(tasmota)")
		s.wantProperty(p.name, "online", i != 4)
	}
	s.wantTelemetry("0x00158d00018255df", map[string]any{"temperature": 27.34, "humidity": 44.72, "battery": 91.0})
	s.wantProperty("0x00158d00018255df", "online", true)
	s.wantProperty("0x00158d00018255df", "friendly_name", "kitchen/window")
	s.wantProperty(shelly.name, "online", true)
	s.wantProperty(shelly.name, "relay_0", true)
	s.wantProperty(shelly.name, "model", "SHPLG-S")
	s.wantTelemetry(shelly.name, map[string]any{"relay_0_power": 20.58})
	s.wantTelemetry(shelly.name, map[string]any{"relay_0_energy": 1578.933})
	s.wantProperty(plus.name, "online", true)
	s.wantTelemetry(plus.name, map[string]any{"switch0_apower": 918.63})
	s.wantTelemetry("esp32-shed", map[string]any{"temperature": 21.3})

	// All of it was understood, and everybody was let do what such devices do.
	if dead := s.metric("publications_dead_lettered_total"); dead != 0 {
		t.Errorf("%v publications became dead letters", dead)
	}
	// A plug that speaks for another one is not believed, whichever way it tries.
	plugs[0].publish("tasmota/discovery/C0FFEE000002/config", `{"ip":"203.0.113.1","t":"plug-2","ft":"%prefix%/%topic%/","tp":["cmnd","stat","tele"]}`)
	eventually(t, 10*time.Second, "the false introduction is put aside", func() bool { return s.metric("publications_dead_lettered_total") == 1 })
	s.wantProperty("plug-2", "ip", "192.0.2.2")
}
