package preset_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/preset"
)

func newTasmotaStage(t *testing.T, prefix string) *stage {
	t.Helper()
	family, err := preset.Tasmota(mapping.Preset{Name: "tasmota", Prefix: prefix})
	return newStage(t, family, err)
}

// The payloads are those of Tasmota's own documentation, the devices' names are not.
func TestTasmotaValues(t *testing.T) {
	t.Parallel()
	s := newTasmotaStage(t, "")
	s.publish("tele/plug/SENSOR", `{"Time":"2017-02-16T10:13:52","DS18B20":{"Id":"00000566CC39","Temperature":20.6},"TempUnit":"C"}`,
		`property plug DS18B20_Id "00000566CC39"`, `property plug TempUnit "C"`, `telemetry plug {"DS18B20_Temperature":20.6}`)
	s.publish("tele/plug/SENSOR", `{"Time":"2021-01-02T09:09:44","DS18B20-1":{"Id":"00000566CC39","Temperature":13.3},"DS18B20-2":{"Id":"0000059352D4","Temperature":null},"TempUnit":"C"}`,
		`property plug DS18B20_1_Id "00000566CC39"`, `property plug DS18B20_2_Id "0000059352D4"`, `telemetry plug {"DS18B20_1_Temperature":13.3}`, `unchanged 1`)
	s.publish("tele/plug/SENSOR", `{"Time":"2026-02-28T10:00:00","ENERGY":{"TotalStartTime":"2018-11-14T18:26:40","Total":2.942,"Power":[8,12.50],"Factor":0.59}}`,
		`property plug ENERGY_TotalStartTime "2018-11-14T18:26:40"`, `telemetry plug {"ENERGY_Factor":0.59,"ENERGY_Power_1":8,"ENERGY_Power_2":12.5,"ENERGY_Total":2.942}`)
	s.publish("tele/plug/SENSOR", `{"Time":"2021-01-01T00:00:00","Switch1":"ON","ANALOG":{"A0":1024}}`, `telemetry plug {"ANALOG_A0":1024,"Switch1":true}`)
	s.publish("tele/plug/SENSOR", `{"Time":"2021-01-23T13:10:50","RC522":{"UID":"BA839D07","Type":"MIFARE 1KB"}}`, `telemetry plug {"RC522_Type":"MIFARE 1KB","RC522_UID":"BA839D07"}`)
	s.publish("tele/plug/SENSOR", `{"Time":"2021-01-23T13:10:50"}`, `empty 1`)
	s.publish("tele/plug/SENSOR", `{"_x":1,"5":2,"timestamp":3,"a-":{"b":4},"a_b":5,"":6}`,
		`telemetry plug {"a_b":4,"a_b_2":5,"timestamp_value":3,"v5":2,"value":6,"x":1}`)
	s.publish("tele/plug/RESULT", `{"Time":"2026-02-28T10:00:00","RfReceived":{"Data":"0x7028D4","Bits":24}}`, `telemetry plug {"RfReceived_Bits":24,"RfReceived_Data":"0x7028D4"}`)
	s.publish("tele/plug/POWER_LOW", `ON`, `telemetry plug {"POWER_LOW":true}`)
	s.publish("tele/plug/SSERIALRECEIVED", `hello`, `unsupported 1`)
	s.publish("tele/plug/SENSOR", ``, `empty 1`)
}

func TestTasmotaTime(t *testing.T) {
	t.Parallel()
	s := newTasmotaStage(t, "")
	const value = `telemetry plug {"A":1}`
	for _, c := range []struct{ time, want string }{
		{`"Time":"2026-02-28T10:13:52"`, ``},                             // local time of nobody knows where
		{`"Time":"2026-02-28T10:13:52.250"`, ``},                         // Time 4
		{`"Time":"2026-02-28T10:13:52+02:00"`, ` @2026-02-28T08:13:52Z`}, // SetOption52 1
		{`"Time":"2026-02-28T10:13:52Z"`, ` @2026-02-28T10:13:52Z`},
		{`"Time":1772273632`, ` @2026-02-28T10:13:52Z`},                               // Time 3
		{`"Time":"2026-02-28T12:13:52","Epoch":1772273632`, ` @2026-02-28T10:13:52Z`}, // Time 2
		{`"Time":"soon"`, ``},
		{`"Time":"soon+02:00"`, ``},
		{`"Time":{}`, ``},
		{`"B":null`, ``},
	} {
		s.publish("tele/plug/SENSOR", `{`+c.time+`,"A":1}`, value+c.want)
	}
	s.publish("tele/plug/SENSOR", `{"Time":"1970-01-01T00:00:09+01:00","A":1}`, value, `implausible 1`)
	s.publish("tele/plug/SENSOR", `{"Time":"1970-01-01T00:00:09","A":1}`, value)
	s.publish("tele/plug/SENSOR", `{"Time":0,"A":1}`, value, `implausible 1`)
	// SensorRetain 1: what the broker of another site replays tells nothing new, unless its time is known.
	s.replay("tele/plug/SENSOR", `{"Time":"2026-02-28T10:13:52","A":1}`, `replayed 1`)
	s.replay("tele/plug/SENSOR", `{"Time":"2026-02-28T10:13:52+00:00","A":1}`, value+` @2026-02-28T10:13:52Z historical`)
}

func TestTasmotaState(t *testing.T) {
	t.Parallel()
	s := newTasmotaStage(t, "")
	state := func(power, rssi string) string {
		return `{"Time":"2026-02-28T11:14:59","Uptime":"0T18:36:12","UptimeSec":66972,"Heap":28,"SleepMode":"Dynamic","Sleep":50,"LoadAvg":19,"MqttCount":6,` +
			`"POWER":"` + power + `","Wifi":{"AP":1,"SSId":"Tasmota","BSSId":"00:00:00:00:00:00","Channel":13,"RSSI":` + rssi + `,"Signal":-57,"LinkCount":1,"Downtime":"0T00:00:06"}}`
	}
	telemetry := func(rssi string) string {
		return `telemetry plug {"Heap":28,"LoadAvg":19,"MqttCount":6,"Sleep":50,"UptimeSec":66972,"Wifi_AP":1,"Wifi_Channel":13,"Wifi_LinkCount":1,"Wifi_RSSI":` + rssi + `,"Wifi_Signal":-57}`
	}
	all := []string{
		`property plug POWER false`, `property plug SleepMode "Dynamic"`, `property plug Wifi_BSSId "00:00:00:00:00:00"`,
		`property plug Wifi_Downtime "0T00:00:06"`, `property plug Wifi_SSId "Tasmota"`,
	}
	s.publish("tele/plug/STATE", state("OFF", "100"), append(all, telemetry("100"))...)
	// What was told is not told again, until it changes, the device comes back, or a day is over.
	s.publish("tele/plug/STATE", state("OFF", "98"), telemetry("98"), `unchanged 5`)
	s.publish("tele/plug/STATE", state("ON", "98"), `property plug POWER true`, telemetry("98"), `unchanged 4`)
	s.publish("tele/plug/LWT", `Offline`, `property plug online false`)
	s.publish("tele/plug/LWT", `Online`, `property plug online true`)
	s.publish("tele/plug/STATE", state("OFF", "100"), append(all, telemetry("100"))...)
	s.publish("tele/plug/STATE", state("OFF", "100"), telemetry("100"), `unchanged 5`)
	s.publish("tele/plug/LWT", `Online`, `unchanged 1`)
	s.now = s.now.Add(24 * time.Hour)
	s.publish("tele/plug/STATE", state("OFF", "100"), append(all, telemetry("100"))...)
	// Older firmware has no seconds.
	s.publish("tele/old/STATE", `{"Time":"2018-11-26T17:41:27","Uptime":"1T05:05:17","Vcc":3.504,"POWER1":"OFF","POWER2":"ON"}`,
		`property old POWER1 false`, `property old POWER2 true`, `telemetry old {"UptimeSec":104717,"Vcc":3.504}`)
	s.publish("tele/old/STATE", `{"Uptime":"x"}`)
	// A light.
	s.publish("tele/lamp/STATE", `{"POWER":"ON","Dimmer":40,"Color":"66CC00","HSBColor":"90,100,80","Channel":[40,80,0],"Scheme":0,"Fade":"OFF","Speed":1}`,
		`property lamp Channel_1 40`, `property lamp Channel_2 80`, `property lamp Channel_3 0`, `property lamp Color "66CC00"`, `property lamp Dimmer 40`,
		`property lamp Fade false`, `property lamp HSBColor "90,100,80"`, `property lamp POWER true`, `property lamp Scheme 0`, `property lamp Speed 1`)
}

func TestTasmotaAvailabilityAndIntroduction(t *testing.T) {
	t.Parallel()
	s := newTasmotaStage(t, "")
	s.publish("tele/plug/LWT", `Online`, `property plug online true`)
	s.publish("tele/plug/LWT", `Offline`, `property plug online false`)
	s.replay("tele/plug/LWT", `Offline`, `unchanged 1`)
	s.publish("tele/plug/LWT", ``, `empty 1`)
	s.publish("tele/plug/LWT", `on`, `undecodable: tasmota: LWT is neither Online nor Offline`)
	s.publish("tele/plug/INFO1", `{"Info1":{"Module":"Sonoff Basic","Version":"14.2.0(tasmota)","FallbackTopic":"cmnd/DVES_15568C_fb/","GroupTopic":"cmnd/tasmotas/"}}`,
		`property plug firmware "14.2.0(tasmota)"`, `property plug model "Sonoff Basic"`)
	s.publish("tele/plug/INFO1", `{"Module":"Sonoff Basic","Version":"14.2.0(tasmota)","FallbackTopic":"cmnd/DVES_15568C_fb/","GroupTopic":"cmnd/tasmotas/"}`, `unchanged 2`)
	s.publish("tele/plug/INFO2", `{"Info2":{"WebServerMode":"Admin","Hostname":"plug-1","IPAddress":"192.0.2.191"}}`,
		`property plug hostname "plug-1"`, `property plug ip "192.0.2.191"`)
	s.publish("tele/plug/INFO3", `{"Info3":{"RestartReason":"Software/System restart","BootCount":12}}`, `property plug restart_reason "Software/System restart"`)
	const hello = `{"ip":"192.0.2.7","dn":"Fridge","fn":["Fridge",null],"hn":"fridge-1","mac":"C0FFEE15568C","md":"Sonoff S31","ty":0,"ofln":"Offline","onln":"Online",` +
		`"sw":"14.2.0","t":"fridge","ft":"%prefix%/%topic%/","tp":["cmnd","stat","tele"],"rl":[1,0],"ver":1}`
	s.publish("tasmota/discovery/C0FFEE15568C/config", hello,
		`property fridge firmware "14.2.0"`, `property fridge hostname "fridge-1"`, `property fridge ip "192.0.2.7"`, `property fridge mac "C0FFEE15568C"`, `property fridge model "Sonoff S31"`)
	s.publish("tasmota/discovery/C0FFEE15568C/sensors", `{"sn":{"Time":"2026-02-28T10:13:52"},"ver":1}`)
	s.publish("tasmota/discovery/C0FFEE15568C/config", ``)
	s.publish("tasmota/discovery/C0FFEE15568C/config", strings.Replace(hello, "%prefix%/%topic%", "flat/%topic%/%prefix%", 1), `unsupported 1`)
	s.publish("tasmota/discovery/C0FFEE15568C/config", strings.Replace(hello, `"tele"`, `"telemetry"`, 1), `unsupported 1`)
	s.publish("tasmota/discovery/C0FFEE15568C/config", `[]`, `undecodable: tasmota: no introduction of a Tasmota device`)
	// The introduction alone tells how to reach the device.
	s.command("fridge", "Power", "c1", `"ON"`, `publish cmnd/fridge/Power ON`)
}

func TestTasmotaCommands(t *testing.T) {
	t.Parallel()
	s := newTasmotaStage(t, "")
	s.publish("tele/plug/LWT", `Online`, `property plug online true`)
	s.command("plug", "POWER", "c1", `"TOGGLE"`, `publish cmnd/plug/POWER TOGGLE`)
	s.publish("stat/plug/RESULT", `{"POWER":"ON"}`, `property plug POWER true`, `response plug POWER c1 Completed {"POWER":"ON"}`)
	// The same without JSON answers nobody a second time, and tells nothing new.
	s.publish("stat/plug/POWER", `ON`, `unchanged 1`)
	// Somebody presses the button.
	s.publish("stat/plug/RESULT", `{"POWER":"OFF"}`, `property plug POWER false`)
	s.publish("stat/plug/POWER", `OFF`, `unchanged 1`)
	// With one relay POWER1 is answered as POWER, with several POWER is answered as POWER1. The oldest is answered first.
	s.command("plug", "POWER1", "c2", `true`, `publish cmnd/plug/POWER1 ON`)
	s.command("plug", "power", "c3", ``, `publish cmnd/plug/power `)
	s.publish("stat/plug/RESULT", `{"POWER":"ON"}`, `property plug POWER true`, `response plug POWER1 c2 Completed {"POWER":"ON"}`)
	s.publish("stat/plug/RESULT", `{"POWER":"ON"}`, `property plug POWER true`, `response plug power c3 Completed {"POWER":"ON"}`)
	s.command("plug", "POWER2", "c4", `false`, `publish cmnd/plug/POWER2 OFF`)
	s.publish("stat/plug/RESULT", `{"POWER2":"OFF"}`, `property plug POWER2 false`, `response plug POWER2 c4 Completed {"POWER2":"OFF"}`)
	s.publish("stat/plug/POWER2", `ON`, `property plug POWER2 true`)
	// SetOption4 1: the answer is on a topic of the command's name.
	s.command("plug", "TelePeriod", "c5", `{"value":60}`, `publish cmnd/plug/TelePeriod 60`)
	s.publish("stat/plug/TELEPERIOD", `{"TelePeriod":60}`, `property plug TelePeriod 60`, `response plug TelePeriod c5 Completed {"TelePeriod":60}`)
	s.command("plug", "Status", "c6", `8`, `publish cmnd/plug/Status 8`)
	s.publish("stat/plug/STATUS8", `{"StatusSNS":{"Time":"2026-02-28T10:13:52","ENERGY":{"Power":42}}}`,
		`telemetry plug {"ENERGY_Power":42}`, `response plug Status c6 Completed {"StatusSNS":{"Time":"2026-02-28T10:13:52","ENERGY":{"Power":42}}}`)
	s.publish("stat/plug/STATUS2", `{"StatusFWR":{"Version":"14.2.0(tasmota)","Core":"2_7_4"}}`, `property plug firmware "14.2.0(tasmota)"`)
	s.publish("stat/plug/STATUS5", `{"StatusNET":{"Hostname":"plug-1","IPAddress":"192.0.2.7","Mac":"C0:FF:EE:15:56:8C"}}`,
		`property plug hostname "plug-1"`, `property plug ip "192.0.2.7"`, `property plug mac "C0:FF:EE:15:56:8C"`)
	s.publish("stat/plug/STATUS11", `{"StatusSTS":{"Time":"2026-02-28T10:13:52","Vcc":3.4}}`, `telemetry plug {"Vcc":3.4}`)
	s.publish("stat/plug/STATUS", `{"Status":{"Module":1,"Topic":"plug"}}`)
	// No such command.
	s.command("plug", "Foo", "c7", ``, `publish cmnd/plug/Foo `)
	s.publish("stat/plug/RESULT", `{"Command":"Unknown"}`, `response plug Foo c7 Failed {"Command":"Unknown"}`)
	s.command("plug", "Restart", "c8", `1`, `publish cmnd/plug/Restart 1`)
	s.publish("stat/plug/RESULT", `{"Restart":"Restarting"}`, `response plug Restart c8 Completed {"Restart":"Restarting"}`)
	s.command("plug", "Backlog", "c9", `"POWER ON; Delay 10; POWER OFF"`, `response plug Backlog c9 Completed`, `publish cmnd/plug/Backlog POWER ON; Delay 10; POWER OFF`)
	s.command("plug", "IRsend", "c10", `{"Protocol":"NEC","Bits":32}`, `publish cmnd/plug/IRsend {"Protocol":"NEC","Bits":32}`)
	// An answer that comes after a minute is nobody's any more.
	s.now = s.now.Add(time.Minute)
	s.publish("stat/plug/RESULT", `{"IRSend":"Done"}`)
	s.publish("stat/plug/RESULT", `{"Button1":{"Action":"SINGLE"}}`, `telemetry plug {"Button1_Action":"SINGLE"}`)
	s.publish("stat/plug/LOGGING", `12:00:00 MQT: stat`, `unsupported 1`)

	s.desired("plug", "POWER", `true`, `publish cmnd/plug/POWER ON`)
	s.desired("plug", "Color", `"FF0000"`, `publish cmnd/plug/Color FF0000`)
	s.desired("plug", "POWER", `null`, `publish cmnd/plug/POWER `)
	s.command("plug", "Wifi_RSSI", "c11", ``, `bad_name: tasmota: Tasmota has no command of that name (its commands have letters, and a number behind them: POWER, POWER2, Dimmer, TelePeriod)`)
	s.publish("tele/plug/LWT", `Offline`, `property plug online false`)
	s.command("plug", "POWER", "c12", `"ON"`, `state: tasmota: the device is offline`)
}

func TestTasmotaTopics(t *testing.T) {
	t.Parallel()
	s := newTasmotaStage(t, "")
	const online = `Online`
	s.publish("tasmota/hall/tele/LWT", online, `property hall online true`)
	s.publish("attic/tele/LWT", online, `property attic online true`)
	s.publish("tasmota/hall/stat/RESULT", `{"POWER":"ON"}`, `property hall POWER true`)
	s.command("hall", "POWER", "c1", `"ON"`, `publish tasmota/hall/cmnd/POWER ON`)
	s.command("attic", "POWER", "c1", `"ON"`, `publish attic/cmnd/POWER ON`)
	s.publish("tele/a/b/LWT", online, `unmapped: nothing maps the topic tele/a/b/LWT`)
	s.publish("cmnd/plug/POWER", `ON`, `unmapped: nothing maps the topic cmnd/plug/POWER`)
	s.publish("tele/a b/LWT", online, `bad_device: tasmota: device id "a b" holds ' ' (1 to 128 of A-Z a-z 0-9 - . _ : ending in a letter, a digit or -)`)

	s = newTasmotaStage(t, "/house/east/")
	s.publish("house/east/tele/plug/LWT", online, `property plug online true`)
	s.publish("house/east/p2/tele/LWT", online, `property p2 online true`)
	s.publish("tele/house/east/p3/LWT", online, `property p3 online true`)
	s.command("p3", "POWER", "c1", `"ON"`, `publish cmnd/house/east/p3/POWER ON`)
	s.publish("tele/plug/LWT", online, `unmapped: nothing maps the topic tele/plug/LWT`)
	for _, bad := range []string{"a/+", "{x}", "/", "#"} {
		if _, err := preset.Tasmota(mapping.Preset{Name: "tasmota", Prefix: bad}); err == nil {
			t.Errorf("the prefix %q was taken", bad)
		}
	}
}

func TestTasmotaFaults(t *testing.T) {
	t.Parallel()
	s := newTasmotaStage(t, "")
	s.publish("tele/plug/SENSOR", `{"Time":`, `undecodable: tasmota: no JSON: json: line 1, column 9: the payload ends where a value was expected`)
	s.publish("tele/plug/SENSOR", `nothing`, `undecodable: tasmota: the payload is no JSON object`)
	s.publish("tele/plug/SENSOR", `{"A":{"Temperature":nan}}`, `undecodable: tasmota: no JSON: json: line 1, column 21: expected a value, found nan, which JSON does not have`)
	s.publish("stat/plug/RESULT", `{"POWER"`, `undecodable: tasmota: no JSON: json: line 1, column 9: the payload ends where a colon was expected`)
	// An array ends somewhere.
	var want []string
	for i := range 64 {
		want = append(want, fmt.Sprintf(`"A_%d":1`, i+1))
	}
	slices.Sort(want)
	s.publish("tele/plug/SENSOR", `{"A":[`+strings.Repeat("1,", 63)+`1]}`, `telemetry plug {`+strings.Join(want, ",")+`}`)
	s.publish("tele/plug/SENSOR", `{"A":[`+strings.Repeat("1,", 64)+`1]}`, `telemetry plug {`+strings.Join(want, ",")+`}`, `unsupported 1`)
	// A name as long as a name may be, and one that is longer.
	long := strings.Repeat("n", mapping.MaxNameBytes-4)
	s.publish("tele/plug/SENSOR", `{"`+long+`":1,"`+long+`n":2}`, `telemetry plug {"`+long+`":1}`, `unsupported 1`)
}

func FuzzTasmota(f *testing.F) {
	f.Add("tele/plug/SENSOR", `{"Time":"2026-02-28T10:13:52+02:00","DS18B20-1":{"Id":"0","Temperature":20.6},"ENERGY":{"Power":[1,2]},"Switch1":"ON"}`)
	f.Add("tele/plug/STATE", `{"Uptime":"0T18:36:12","POWER1":"OFF","Channel":[1,2],"Wifi":{"RSSI":100,"SSId":"x"}}`)
	f.Add("stat/plug/RESULT", `{"POWER":"ON","Button1":{"Action":"SINGLE"}}`)
	f.Add("stat/plug/STATUS8", `{"StatusSNS":{"A":1},"StatusSTS":{"B":2}}`)
	f.Add("stat/plug/POWER", `ON`)
	f.Add("tele/plug/INFO1", `{"Info1":{"Version":"1"}}`)
	f.Add("tasmota/discovery/AABB/config", `{"t":"plug","ft":"%prefix%/%topic%/","tp":["cmnd","stat","tele"],"sw":"1"}`)
	family, err := preset.Tasmota(mapping.Preset{})
	fuzzDevice(f, family, err, "plug", "POWER")
}
