package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/cmd/internal/console"
)

// operator is somebody who is logged in to the dashboard.
type operator struct {
	b      *bench
	cookie *http.Cookie
}

func (b *bench) operator(role access.Role) *operator {
	b.t.Helper()
	tokens, err := access.Open(app.TokensFile(filepath.Join(b.dir, "data")), access.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	_, secret, err := tokens.Create(access.Token{Name: "the " + string(role), Role: role}, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	o := &operator{b: b}
	o.call("POST", "login", fmt.Sprintf(`{"token":%q}`, secret), http.StatusOK, nil)
	return o
}

// call makes a request of the dashboard's page and reads its answer.
func (o *operator) call(method, path, body string, status int, into any) {
	o.b.t.Helper()
	r, err := http.NewRequestWithContext(o.b.t.Context(), method, "http://"+o.b.gateway.ConsoleAddr().String()+"/console/api/"+path, strings.NewReader(body))
	if err != nil {
		o.b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if o.cookie != nil {
		r.AddCookie(o.cookie)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		o.b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.b.t.Fatal(err)
	}
	if resp.StatusCode != status {
		o.b.t.Fatalf("%s %s answers %d %s, want %d", method, path, resp.StatusCode, text, status)
	}
	for _, c := range resp.Cookies() {
		o.cookie = c
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			o.b.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
}

// TestFiguresAgree runs through an outage and then asks everybody for the
// figures: the application's own account, /metrics and the dashboard.
func TestFiguresAgree(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	o := b.operator(access.Operator)
	const devices, each = 3, 40
	last := map[string]float64{}
	send := func(from, to int) {
		for d := range devices {
			id := fmt.Sprintf("meter-%d", d+1)
			c := b.connect(id, "", "")
			for i := from; i < to; i++ {
				last[id] = float64(i) + float64(d)/10
				if !publish(c, "devices/"+id+"/telemetry", fmt.Sprintf(`{"power":%v}`, last[id])) {
					t.Fatalf("%s: publish %d was not acknowledged", id, i)
				}
			}
		}
	}
	// Before, during and after an outage; some of it cannot be used.
	send(0, each/2)
	b.application.Faults.SetDown(true)
	send(each/2, each-5)
	c := b.connect("broken", "", "")
	for range 4 {
		publish(c, "devices/broken/telemetry", `{"power":`)
	}
	publish(c, "nobody/maps/this", `1`)
	publish(b.connect("meter-1", "", ""), "devices/meter-1/properties/firmware", `"3.2"`)
	b.eventually("the uplink is known to be down", func() bool {
		var during console.Overview
		o.call("GET", "overview", "", http.StatusOK, &during)
		return !during.Uplink.Delivers && during.Verdict.Level == console.LevelWarn && during.Backlog.Records > 0 && during.Backlog.OldestSeconds > 0
	})
	b.application.Faults.SetDown(false)
	send(each-5, each)
	total := float64(devices * each)
	// The property is one record more.
	b.eventually("the backlog drains", func() bool { return b.metric("queue_records") == 0 && b.metric("queue_delivered_total") == total+1 })

	account := 0
	for d := range devices {
		account += len(b.bodies(fmt.Sprintf("meter-%d", d+1)))
	}
	if account != devices*each {
		t.Fatalf("the application got %d messages, want %d", account, devices*each)
	}
	var now console.Overview
	b.eventually("the dashboard's figures are those of now", func() bool {
		o.call("GET", "overview", "", http.StatusOK, &now)
		return now.Backlog.Records == 0 && now.Totals.Delivered == uint64(total)+1
	})
	const dead, unmapped = 4, 1
	for what, got := range map[string][3]float64{
		// the application's account or what was sent, /metrics, the dashboard
		"telemetry stored":         {float64(account), b.metric(`queue_stored_total{class="telemetry"}`), float64(now.Backlog.Classes[3].Stored)},
		"telemetry delivered":      {float64(account), b.metric(`queue_delivered_total{class="telemetry"}`), float64(now.Backlog.Classes[3].Delivered)},
		"properties delivered":     {1, b.metric(`queue_delivered_total{class="property"}`), float64(now.Backlog.Classes[2].Delivered)},
		"records stored":           {total + 1, b.metric("records_total"), float64(now.Totals.Records)},
		"records delivered":        {total + 1, b.metric("queue_delivered_total"), float64(now.Totals.Delivered)},
		"publications received":    {total + 1 + dead + unmapped, b.metric("publications_total"), float64(now.Totals.Received)},
		"publications stored":      {total + 1 + dead, b.metric("publications_stored_total"), float64(now.Totals.Stored)},
		"dead letters made":        {dead, b.metric("publications_dead_lettered_total"), float64(now.Totals.DeadLetters)},
		"dead letters kept":        {dead, b.metric("dead_letters"), float64(now.DeadLetters)},
		"of a reason":              {dead, b.metric(`ingest_reasons_total{reason="undecodable"}`), float64(now.Totals.Reasons["undecodable"])},
		"not mapped":               {unmapped, b.metric("publications_unmapped_total"), float64(now.Totals.Unmapped)},
		"refused":                  {0, b.metric("publications_refused_total"), float64(now.Totals.Refused)},
		"waiting":                  {0, b.metric("queue_records"), float64(now.Backlog.Records)},
		"bytes waiting":            {0, b.metric("queue_bytes"), float64(now.Backlog.Bytes)},
		"dropped":                  {0, b.metric("queue_dropped_total"), float64(len(now.Totals.Dropped))},
		"accepted by the uplink":   {total + 1, b.metric(`uplink_records_total{action="accepted"`), float64(now.Totals.Delivered)},
		"publishes by the broker":  {total + 1 + dead + unmapped, b.metric("mqtt_publishes_total"), float64(now.Totals.Received)},
		"acknowledged":             {total + 1 + dead + unmapped, b.metric("mqtt_acknowledged_total"), float64(now.Totals.Received)},
		"devices in the registry":  {devices, b.metric(`registered_devices{state="registered"}`), devices},
		"oldest record in seconds": {0, b.metric("queue_oldest_seconds"), now.Backlog.OldestSeconds},
	} {
		if got[0] != got[1] || got[0] != got[2] {
			t.Errorf("%s: %v it should be, /metrics says %v, the dashboard %v", what, got[0], got[1], got[2])
		}
	}
	if now.Verdict.Headline != "All goes up, but 4 messages could not be used." {
		t.Errorf("the verdict is %q", now.Verdict)
	}

	var list struct{ Devices []console.Device }
	o.call("GET", "devices", "", http.StatusOK, &list)
	for _, d := range list.Devices {
		want, ok := last[d.ID]
		if !ok {
			continue
		}
		if len(d.Values) == 0 || string(d.Values[0].Last) != fmt.Sprint(want) || d.State != "registered" || d.Connection != "connected" {
			t.Errorf("%s is shown as %+v, its last value is %v", d.ID, d, want)
		}
	}
	var dl struct {
		Groups []struct {
			Reason string
			Count  int
		}
	}
	o.call("GET", "dead-letters", "", http.StatusOK, &dl)
	if len(dl.Groups) != 1 || dl.Groups[0].Count != dead || dl.Groups[0].Reason != "undecodable" {
		t.Errorf("the dead letters are %+v", dl.Groups)
	}
}

// TestDashboardActions acts on a gateway that is no fake.
func TestDashboardActions(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	o := b.operator(access.Operator)
	c := b.connect("pump", "", "")
	publish(c, "devices/pump/telemetry", `{"level":1}`)
	b.eventually("delivery", func() bool { return len(b.bodies("pump")) == 1 })

	told := make(chan string, 4)
	if s := c.Subscribe("devices/pump/#", 1, func(_ mqtt.Client, m mqtt.Message) { told <- m.Topic() + " " + string(m.Payload()) }); !s.WaitTimeout(5*time.Second) || s.Error() != nil {
		t.Fatal(s.Error())
	}
	next := func(prefix string) string {
		t.Helper()
		for {
			select {
			case m := <-told:
				if strings.HasPrefix(m, prefix) {
					return m
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("the device was told nothing that begins with %s", prefix)
			}
		}
	}

	o.call("PUT", "devices/pump/properties/interval", `{"value":5}`, http.StatusOK, nil)
	if m := next("devices/pump/properties/interval/desired "); !strings.Contains(m, `"value":5`) {
		t.Errorf("the device was told %s", m)
	}
	var detail console.DeviceDetail
	o.call("GET", "devices/pump", "", http.StatusOK, &detail)
	if len(detail.Properties) != 1 || string(detail.Properties[0].Desired) != "5" {
		t.Errorf("the properties are %+v", detail.Properties)
	}

	var started, status console.Command
	o.call("POST", "devices/pump/commands/prime", `{"arguments":{"seconds":5}}`, http.StatusAccepted, &started)
	m := next("devices/pump/commands/prime/request/")
	topic, args, _ := strings.Cut(m, " ")
	if args != `{"seconds":5}` {
		t.Errorf("the command came as %s", m)
	}
	publish(c, strings.Replace(topic, "/request/", "/response/", 1), `{"status":"Completed","result":{"primed":true}}`)
	b.eventually("the command completes", func() bool {
		o.call("GET", "devices/pump/commands/"+started.ID, "", http.StatusOK, &status)
		return status.Final
	})
	if status.Status != "Completed" || string(status.Result) != `{"primed":true}` {
		t.Errorf("the command ended as %+v", status)
	}
	o.call("POST", "devices/nobody/commands/prime", `{}`, http.StatusNotFound, nil)

	// A dead letter is shown as it was sent, and dropped.
	publish(c, "devices/pump/telemetry", `{"level":`)
	var page struct{ Letters []console.DeadLetter }
	b.eventually("a dead letter", func() bool {
		o.call("GET", "dead-letters?reason=undecodable", "", http.StatusOK, &page)
		return len(page.Letters) == 1
	})
	var letter console.DeadLetterDetail
	id := page.Letters[0].ID
	o.call("GET", fmt.Sprintf("dead-letters/%d", id), "", http.StatusOK, &letter)
	if letter.Payload != `{"level":` || !strings.Contains(string(letter.Mapped), `"code":"undecodable"`) {
		t.Errorf("the dead letter is %+v", letter)
	}
	var outcome struct{ Retried, Failed, Dropped int }
	o.call("POST", "dead-letters/retry", fmt.Sprintf(`{"ids":[%d]}`, id), http.StatusOK, &outcome)
	if outcome.Retried != 0 || outcome.Failed != 1 {
		t.Errorf("a retry of what cannot be read: %+v", outcome)
	}
	o.call("POST", "dead-letters/drop", fmt.Sprintf(`{"ids":[%d]}`, id), http.StatusOK, &outcome)
	o.call("GET", fmt.Sprintf("dead-letters/%d", id), "", http.StatusNotFound, nil)

	var tried struct {
		Trial struct {
			Requests []struct{ Method, Path string }
		}
	}
	o.call("POST", "try", `{"topic":"devices/x/telemetry/t","payload":"21.5"}`, http.StatusOK, &tried)
	if r := tried.Trial.Requests; len(r) != 1 || r[0].Method != http.MethodPost || r[0].Path != "/devices/x/telemetry" {
		t.Errorf("the playground says %+v", tried)
	}

	o.call("POST", "connections/disconnect", `{"client":"pump"}`, http.StatusOK, nil)
	b.eventually("the client is gone", func() bool { return !c.IsConnectionOpen() })
}

// TestTap watches what is published.
func TestTap(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	o := b.operator(access.Reader)
	c := b.connect("sensor", "", "")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.gateway.ConsoleAddr().String()+"/console/api/tap?topic=devices/%2B/telemetry", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(o.cookie)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	publish(c, "devices/sensor/telemetry/other", `1`) // not what is watched
	publish(c, "devices/sensor/telemetry", `{"n":1}`)
	publish(c, "devices/sensor/telemetry", `{"n":`)
	var text strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), "dead_letter") {
		n, err := resp.Body.Read(buf)
		if err != nil {
			t.Fatalf("%v after %s", err, text.String())
		}
		text.Write(buf[:n])
	}
	for _, want := range []string{`"outcome":"stored"`, `"path":"/devices/sensor/telemetry"`, `"detail":"undecodable: `} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the tap lacks %s: %s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "telemetry/other") {
		t.Errorf("the tap shows what was not asked for: %s", text.String())
	}
}
