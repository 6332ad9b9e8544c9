//go:build e2e

package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deviceScript is an MQTT 5 device on npm's mqtt: it writes down each command
// that it carries out and answers on the response topic with the correlation
// data. A command "hold" is answered when a file is there.
const deviceScript = `
const mqtt = require('mqtt'), fs = require('fs');
const [host, port, id, gate] = process.argv.slice(2);
const c = mqtt.connect({host, port, clientId: id, protocolVersion: 5, clean: false, reconnectPeriod: 100, keepalive: 5,
  properties: {sessionExpiryInterval: 3600}});
const request = 'devices/' + id + '/commands/+/request/+';
c.on('connect', () => c.subscribe(request, {qos: 2}, () => console.log('READY')));
c.on('error', e => console.log('ERROR', e.message));
c.on('message', (topic, payload, packet) => {
  const [, , , name, , command] = topic.split('/');
  console.log('RUN', name, command, packet.dup ? 'again' : 'once');
  const {responseTopic, correlationData} = packet.properties;
  const answer = (status, result) => c.publish(responseTopic, JSON.stringify({status, result}), {qos: 1, properties: {correlationData}},
    e => console.log('ACKED', command, e ? e.message : 'ok'));
  if (name === 'ok') answer('Completed', {args: payload.length ? JSON.parse(payload) : null, correlation: correlationData.toString() === command});
  if (name === 'bad') answer('Failed', 'jammed');
  if (name === 'hold') {
    const t = setInterval(() => { if (fs.existsSync(gate)) { clearInterval(t); answer('Completed', 'held'); } }, 50);
  }
});
`

// edge is a gateway with operators' tokens and devices of npm's mqtt.
type edge struct {
	*site
	modules  string
	operator string
	admin    string
}

// npm installs the MQTT client that many devices and flows are made with.
func npm(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--silent", "mqtt@5").CombinedOutput()
	if err != nil {
		t.Fatalf("npm install mqtt: %v\n%s", err, out)
	}
	return filepath.Join(dir, "node_modules")
}

func newEdge(t *testing.T, more string) *edge {
	t.Helper()
	e := &edge{site: newSite(t)}
	e.configure(more)
	e.operator, e.admin = e.token("operator"), e.token("admin")
	return e
}

// token makes a token with the command line.
func (s *site) token(role string) string {
	s.t.Helper()
	out, err := exec.Command(binary(s.t), "token", "create", "--role", role, "-o", "json", "--config", s.config()).Output()
	if err != nil {
		s.t.Fatalf("token create: %v", err)
	}
	var made struct{ Token string }
	if err := json.Unmarshal(out, &made); err != nil || made.Token == "" {
		s.t.Fatalf("token create: %s: %v", out, err)
	}
	return made.Token
}

// startDevice starts a device and waits until it listens.
func (e *edge) startDevice(id string) *process {
	e.t.Helper()
	if e.modules == "" {
		e.modules = npm(e.t)
		if err := os.WriteFile(filepath.Join(e.dir, "device.js"), []byte(deviceScript), 0o600); err != nil {
			e.t.Fatal(err)
		}
	}
	host, port, _ := net.SplitHostPort(e.mqtt)
	p := start(e.t, nil, []string{"NODE_PATH=" + e.modules}, "node", filepath.Join(e.dir, "device.js"), host, port, id, e.gate())
	eventually(e.t, 20*time.Second, id+" listens", func() bool { return strings.Contains(p.output(), "READY") })
	return p
}

func (e *edge) gate() string { return filepath.Join(e.dir, "gate") }

// curl makes a call of the local API as an operator would, and returns the
// status and the answer.
func (s *site) curl(token, method, path, body string) (int, map[string]any) {
	s.t.Helper()
	args := []string{
		"-sS", "-m", "10", "-w", "\n%{http_code}", "-X", method, "-H", "Authorization: Bearer " + token,
		"http://" + s.console + "/api/" + path + "?api-version=2022-07-31",
	}
	if body != "" {
		args = append(args, "-H", "Content-Type: application/json", "-d", body)
	}
	out, _ := exec.Command("curl", args...).Output() // without an answer the status is 000
	text, code, _ := strings.Cut(string(out), "\n")
	if i := strings.LastIndex(string(out), "\n"); i >= 0 {
		text, code = string(out)[:i], string(out)[i+1:]
	}
	var answer map[string]any
	_ = json.Unmarshal([]byte(text), &answer)
	status := 0
	_, _ = fmt.Sscan(code, &status)
	return status, answer
}

func (e *edge) trigger(device, name, args string) string {
	e.t.Helper()
	status, answer := e.curl(e.operator, "POST", "devices/"+device+"/commands/"+name, args)
	id, _ := answer["commandId"].(string)
	if status != http.StatusOK || id == "" || answer["status"] != "Pending" {
		e.t.Fatalf("trigger %s: %d %v", name, status, answer)
	}
	return id
}

func (e *edge) command(device, id string) map[string]any {
	e.t.Helper()
	_, answer := e.curl(e.operator, "GET", "devices/"+device+"/commands/"+id+"/status", "")
	return answer
}

func (e *edge) await(device, id, status string) map[string]any {
	e.t.Helper()
	var last map[string]any
	eventually(e.t, 20*time.Second, "command "+id+" "+status, func() bool {
		last = e.command(device, id)
		return last["status"] == status
	})
	return last
}

func (e *edge) kill() {
	e.t.Helper()
	e.gateway.signal(syscall.SIGKILL)
	e.startGateway()
}

// runs counts how often a device carried a command out.
func runs(p *process, id string) int {
	return strings.Count(p.output(), " "+id+" once") + strings.Count(p.output(), " "+id+" again")
}

// rr is mosquitto_rr as a device that wakes up, says something, and takes what
// waits for it: the command of that topic. It returns what it got, empty for
// nothing within the time.
func (e *edge) rr(device, name, id string) string {
	e.t.Helper()
	host, port, _ := net.SplitHostPort(e.mqtt)
	out, _ := exec.Command("mosquitto_rr", "-h", host, "-p", port, "-V", "5", "-i", device, "-q", "1", "-W", "3", "-F", "%t %D %p",
		"-t", "devices/"+device+"/telemetry", "-m", `{"awake":1}`, "-e", "devices/"+device+"/commands/"+name+"/request/"+id).Output()
	return strings.TrimSpace(string(out))
}

func (e *edge) pub(device, topic, payload string) {
	e.t.Helper()
	host, port, _ := net.SplitHostPort(e.mqtt)
	if out, err := exec.Command("mosquitto_pub", "-h", host, "-p", port, "-V", "5", "-i", device, "-q", "1", "-t", topic, "-m", payload).CombinedOutput(); err != nil {
		e.t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

func TestE2ECommands(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "bridge: {device_commands: {expiry: 3s, timeout: 2s}}\n")
	e.startApplication()
	e.startGateway()
	device := e.startDevice("js-1")

	id := e.trigger("js-1", "ok", `{"speed":7}`)
	done := e.await("js-1", id, "Completed")
	if got := fmt.Sprint(done["result"]); got != "map[args:map[speed:7] correlation:true]" || done["completedTime"] == nil {
		t.Errorf("completed as %v", done)
	}
	id = e.trigger("js-1", "bad", "")
	if failed := e.await("js-1", id, "Failed"); failed["result"] != "jammed" {
		t.Errorf("failed as %v", failed)
	}
	id = e.trigger("js-1", "mute", "")
	e.await("js-1", id, "TimedOut")
	if n := runs(device, id); n != 1 {
		t.Errorf("the device that does not answer was told %d times", n)
	}

	for _, c := range []struct {
		token, method, path, body string
		status                    int
	}{
		{e.operator, "POST", "devices/nobody/commands/ok", "", 404},
		{e.operator, "PUT", "devices/away", "{}", 403},
		{e.admin, "PUT", "devices/away", "{}", 200},
		{"wrong", "GET", "devices", "", 401},
	} {
		if status, answer := e.curl(c.token, c.method, c.path, c.body); status != c.status {
			t.Errorf("%s %s: %d %v, want %d", c.method, c.path, status, answer, c.status)
		}
	}

	// A device that sleeps gets its command when it wakes up.
	id = e.trigger("away", "open", `{"degrees":90}`)
	if got, want := e.rr("away", "open", id), "devices/away/commands/open/request/"+id+" "+id+` {"degrees":90}`; got != want {
		t.Errorf("the device got %q, want %q", got, want)
	}
	if got := e.command("away", id)["status"]; got != "Delivered" {
		t.Errorf("after that it is %v", got)
	}
	e.pub("away", "devices/away/commands/open/response/"+id, `{"status":"Completed","result":90}`)
	e.await("away", id, "Completed")

	// One that sleeps too long does not get it any more.
	id = e.trigger("away", "open", "")
	e.await("away", id, "Expired")
	if got := e.rr("away", "open", id); got != "" {
		t.Errorf("an expired command reached the device: %q", got)
	}
}

func TestE2ECommandsSurviveKill(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "bridge: {device_commands: {expiry: 10m, timeout: 10m}}\n")
	e.startApplication()
	e.startGateway()
	if status, answer := e.curl(e.admin, "PUT", "devices/js-1", "{}"); status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	// Pending.
	id := e.trigger("js-1", "hold", "")
	e.kill()
	if got := e.command("js-1", id)["status"]; got != "Pending" {
		t.Fatalf("killed while Pending, it is %v", got)
	}
	// Delivered.
	device := e.startDevice("js-1")
	e.await("js-1", id, "Delivered")
	eventually(t, 10*time.Second, "the device runs it", func() bool { return runs(device, id) == 1 })
	for range 2 {
		e.kill()
		eventually(t, 10*time.Second, "the device is back", func() bool { return e.metric("mqtt_clients") >= 1 })
		if got := e.command("js-1", id)["status"]; got != "Delivered" {
			t.Fatalf("killed while Delivered, it is %v", got)
		}
	}
	// The answer.
	if err := os.WriteFile(e.gate(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.await("js-1", id, "Completed")
	e.kill()
	if got := e.command("js-1", id); got["status"] != "Completed" || got["result"] != "held" {
		t.Fatalf("killed when Completed, it is %v", got)
	}
	if n := runs(device, id); n != 1 {
		t.Errorf("the device ran it %d times", n)
	}
}

// Killed again and again while an operator triggers command after command: none
// runs twice, each that was answered to be Completed ran, and the same request
// is the same command.
func TestE2EKillsWhileCommanding(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "bridge: {device_commands: {expiry: 10m, timeout: 5s, max_waiting: 1000}}\n")
	e.startApplication()
	e.startGateway()
	device := e.startDevice("js-1")
	stop, ended := make(chan struct{}), make(chan map[string]string)
	go func() {
		ids := map[string]string{}
		for n := 0; ; n++ {
			select {
			case <-stop:
				ended <- ids
				return
			default:
			}
			request := fmt.Sprintf("request-%d", n)
			for {
				// The operator repeats a request that got no answer.
				if id := e.triggerAs(request, n); id != "" {
					ids[request] = id
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}()
	for range 6 {
		time.Sleep(time.Second)
		e.gateway.signal(syscall.SIGKILL)
		e.startGateway()
	}
	close(stop)
	ids := <-ended
	eventually(t, 30*time.Second, "every command has ended", func() bool {
		return e.metric("device_commands_waiting")+e.metric("device_commands_awaiting") == 0
	})
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`RUN ok (\S+)`).FindAllStringSubmatch(device.output(), -1) {
		counts[m[1]]++
	}
	states := map[any]int{}
	for request, id := range ids {
		status := e.command("js-1", id)["status"]
		states[status]++
		if n := counts[id]; n > 1 || n == 0 && status == "Completed" {
			t.Errorf("%s, %v, ran %d times", request, status, n)
		}
		if again := e.triggerAs(request, 0); again != id {
			t.Errorf("%s is %s and then %s", request, id, again)
		}
	}
	t.Logf("%d commands through 6 kills: %v, %d runs", len(ids), states, len(counts))
	if states["Completed"] < len(ids)/2 {
		t.Errorf("only %d of %d commands were completed", states["Completed"], len(ids))
	}
}

// triggerAs triggers a command under a request id; it returns "" without an
// answer.
func (e *edge) triggerAs(request string, n int) string {
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodPost, "http://"+e.console+"/api/devices/js-1/commands/ok?api-version=2022-07-31", strings.NewReader(fmt.Sprintf(`{"n":%d}`, n)))
	if err != nil {
		return ""
	}
	req.Header.Set("Authorization", "Bearer "+e.operator)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-ms-client-request-id", request)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ CommandID string }
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return ""
	}
	return answer.CommandID
}

// An application reaches a device through the gateway's local API.
func TestE2EForwardedCommand(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "")
	file := filepath.Join(e.dir, "operator-token")
	if err := os.WriteFile(file, []byte(e.operator), 0o600); err != nil {
		t.Fatal(err)
	}
	e.startApplication("--device", "js-1", "--forward-commands", "http://"+e.console+"/api", "--forward-token-file", file)
	e.startGateway()
	e.startDevice("js-1")
	base := "http://" + e.api + "/api/devices/js-1/commands/"
	var cmd struct {
		CommandID, Status string
		Result            struct{ Args map[string]int }
	}
	if status := call(t, http.MethodPost, base+"ok?api-version=2022-07-31", siteToken, strings.NewReader(`{"n":3}`), &cmd); status != http.StatusOK {
		t.Fatalf("%d %+v", status, cmd)
	}
	id := cmd.CommandID
	eventually(t, 10*time.Second, "completed", func() bool {
		return call(t, http.MethodGet, base+id+"/status?api-version=2022-07-31", siteToken, nil, &cmd) == http.StatusOK && cmd.Status == "Completed"
	})
	if cmd.Result.Args["n"] != 3 {
		t.Errorf("%+v", cmd)
	}
}

// Three gateways in a row, each the application of the one below, with an
// outage at each hop: what the lowest has acknowledged arrives at the top once
// and in order.
func TestE2EChain(t *testing.T) {
	t.Parallel()
	top, middle, low := newSite(t), newSite(t), newSite(t)
	above := func(s, over *site, token string) {
		file := filepath.Join(s.dir, "token")
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		s.api = over.console
		s.configure("buffer: {min_free_bytes: 1MiB}\n")
	}
	top.configure("")
	top.startApplication()
	above(middle, top, top.token("gateway"))
	above(low, middle, middle.token("gateway"))
	chain := []*site{top, middle, low}
	for _, s := range chain {
		s.startGateway()
	}
	p := low.startPublisher("plc-1")
	p.publish(50)
	arrived := func(n int) {
		t.Helper()
		eventually(t, 60*time.Second, fmt.Sprintf("%d readings at the top", n), func() bool { return len(top.received("plc-1")) >= n })
	}
	arrived(50)
	// Each hop is out for a while, by a kill and not by a stop.
	for _, out := range []*site{top, middle} {
		out.gateway.signal(syscall.SIGKILL)
		p.publish(50)
		eventually(t, 20*time.Second, "the lowest took it in", func() bool { return low.metric("publications_stored_total") >= float64(p.sent) })
		out.startGateway()
		arrived(p.sent)
	}
	inOrder(t, top.received("plc-1"), 1, p.sent)
	top.application.signal(syscall.SIGKILL)
	p.publish(50)
	eventually(t, 20*time.Second, "the top took it in", func() bool { return top.metric("api_records_total") >= 50 })
	top.startApplication()
	// The application was emptied by its restart, so only the last are there. Until one of them has made the device there
	// anew the top may know it as deleted, and tells the one below so.
	arrived(50)
	p.publish(1)
	p.finish()
	arrived(51)
	inOrder(t, top.received("plc-1"), p.sent-50, p.sent)
	var list struct{ Devices []struct{ ID string } }
	if status := call(t, http.MethodGet, "http://"+top.console+"/api/devices?api-version=2022-07-31", top.token("reader"), nil, &list); status != http.StatusOK || len(list.Devices) != 1 {
		t.Errorf("the top knows %+v", list)
	}
}

// inOrder checks that the readings from one to another are there once each.
func inOrder(t *testing.T, bodies []map[string]any, from, to int) {
	t.Helper()
	if len(bodies) != to-from+1 {
		t.Errorf("%d readings, want %d to %d", len(bodies), from, to)
	}
	for i, body := range bodies {
		if seq, _ := body["seq"].(float64); int(seq) != from+i {
			t.Fatalf("reading %d is %v, want %d", i, body["seq"], from+i)
		}
	}
}
