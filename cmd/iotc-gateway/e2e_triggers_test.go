//go:build e2e

package main_test

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// statuses leaves an operator's client subscribed to every status, in a session
// that outlives the gateway, and returns what it was told of a command.
func (m *member) statuses(t *testing.T) func(command string) []string {
	t.Helper()
	sub := func() *process {
		return start(t, nil, nil, "mosquitto_sub", m.args("-status", "-c", "-t", "devices/+/commands/+/status/+", "-F", "%t %p")...)
	}
	p := sub()
	eventually(t, 10*time.Second, "the operator's client is connected", func() bool { return m.s.metric("mqtt_clients") > 0 })
	return func(command string) []string {
		var list []string
		for line := range strings.Lines(p.output()) {
			_, payload, _ := strings.Cut(line, " ")
			_, status, _ := strings.Cut(payload, `"status":"`)
			status, _, _ = strings.Cut(status, `"`)
			if strings.Contains(line, "/commands/"+command+"/") {
				list = append(list, status)
			}
		}
		return list
	}
}

func (s *site) faults(body string) {
	s.t.Helper()
	if n := call(s.t, http.MethodPut, "http://"+s.api+"/emulator/faults", siteToken, strings.NewReader(body), nil); n >= 300 {
		s.t.Fatalf("faults %s: status %d", body, n)
	}
}

func (s *site) commandsRun() int {
	s.t.Helper()
	var stats struct{ Commands int }
	call(s.t, http.MethodGet, "http://"+s.api+"/emulator/stats", siteToken, nil, &stats)
	return stats.Commands
}

func (s *site) kill() {
	s.t.Helper()
	s.gateway.signal(syscall.SIGKILL)
	s.startGateway()
}

func ended(list []string) string {
	for _, s := range list {
		if s != "Queued" && s != "Pending" {
			return s
		}
	}
	return ""
}

func TestE2ETriggeredCommandsSurviveKills(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("buffer: {classes: {command: {max_age: 10m}}}\n")
	op := s.member("boss", "--role", "operator", "--devices", "*")
	pump := s.member("pump")
	s.startApplication("--command-delay", "2s")
	s.startGateway()
	told := op.statuses(t)
	pump.publish("devices/pump/telemetry", `{"a":1}`)
	eventually(t, 20*time.Second, "the device is registered", func() bool { return len(s.received("pump")) == 1 })

	// Killed while it waits for the link.
	s.faults(`{"down": true}`)
	pump.publish("devices/pump/telemetry", `{"a":2}`)
	eventually(t, 20*time.Second, "the gateway knows that the link is down", func() bool { return s.metric(`uplink_state{state="offline"}`) == 1 })
	op.publish("devices/pump/commands/waits/trigger", `{}`)
	s.kill()
	s.faults(`{"down": false}`)
	eventually(t, 60*time.Second, "the command that waited has ended", func() bool { return ended(told("waits")) != "" })
	if got := ended(told("waits")); got != "Completed" {
		t.Errorf("a command that waited for the link ended as %s", got)
	}

	// Killed while it is being sent.
	s.faults(`{"faults": [{"operations": ["triggerCommand"], "latency": "4s"}]}`)
	before := s.commandsRun()
	op.publish("devices/pump/commands/sending/trigger", `{}`)
	eventually(t, 20*time.Second, "the command is being sent", func() bool { return s.metric("uplink_calls_in_flight") > 0 })
	time.Sleep(500 * time.Millisecond)
	s.kill()
	s.faults(`{"faults": []}`)
	eventually(t, 60*time.Second, "the command that was being sent has ended", func() bool { return ended(told("sending")) != "" })
	time.Sleep(5 * time.Second) // a second try would be seen by now
	if got := ended(told("sending")); got != "Unknown" || s.commandsRun() > before+1 {
		t.Errorf("a command whose sending was interrupted ended as %s after %d runs, want Unknown after at most one", got, s.commandsRun()-before)
	}

	// Killed while the application carries it out.
	op.publish("devices/pump/commands/running/trigger", `{}`)
	eventually(t, 20*time.Second, "the application has the command", func() bool { return fmt.Sprint(told("running")) == "[Queued Pending]" })
	before = s.commandsRun()
	s.kill()
	eventually(t, 60*time.Second, "the command that was running has ended", func() bool { return ended(told("running")) != "" })
	if got := ended(told("running")); got != "Completed" || s.commandsRun() != before {
		t.Errorf("a running command ended as %s after %d further runs", got, s.commandsRun()-before)
	}

	// And an operator who asks for the answer itself, with MQTT 5.
	host, port, _ := net.SplitHostPort(s.mqtt)
	out, err := exec.Command("mosquitto_rr", "-h", host, "-p", port, "-u", op.name, "-P", op.password, "-i", "boss-rr", "-V", "mqttv5", "-q", "1", "-W", "30",
		"-t", "devices/pump/commands/asked/trigger", "-e", "devices/pump/answers/boss", "-m", `{}`).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"status":"Completed"`) {
		t.Errorf("mosquitto_rr: %v %s", err, out)
	}
}
