//go:build browser

package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/console"
)

// The suite needs Chromium and axe-core; `.ci/run browser` gets both.
//
//	CHROMIUM        the browser, /usr/bin/chromium
//	AXE             axe.min.js of the npm package axe-core
//	BROWSER_SHOTS   a folder for pictures of every view; none are made without
var (
	chromium = envOr("CHROMIUM", "/usr/bin/chromium")
	axePath  = os.Getenv("AXE")
	shots    = os.Getenv("BROWSER_SHOTS")
)

func envOr(key, otherwise string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return otherwise
}

// allocator starts one browser for a test.
func allocator(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(chromium), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("no-proxy-server", true))
	t.Cleanup(cancel)
	// The first tab starts the browser; the others are opened from it. No
	// deadline: its end would be the browser's.
	first, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(first); err != nil {
		t.Fatalf("start %s: %v", chromium, err)
	}
	return first
}

// tab is a browser's tab with what it complained of.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // to chromedp, a tab is a context
	mu  sync.Mutex
	bad []string
	// expected are complaints that the test provokes.
	expected []string
}

func newTab(t *testing.T, browser context.Context, width, height int64) *tab { //nolint:revive // the test comes first, as in every helper
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	// The first action of a tab opens it, and must have no deadline either.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height)); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	listening, stop := context.WithCancel(ctx)
	reading.Go(func() {
		for m, err := range chromedp.Console(listening) {
			if err != nil {
				return
			}
			switch m.Type {
			case "error", "warning", "exception", "assert":
			default:
				if !m.IsException() {
					continue
				}
			}
			p.mu.Lock()
			p.bad = append(p.bad, fmt.Sprintf("%s: %s", m.Type, m))
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() { stop(); reading.Wait() })
	return p
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.picture("failed-" + strings.ReplaceAll(p.t.Name(), "/", "-"))
		p.t.Fatalf("in the browser: %v; it complained of %q", err, p.complaints())
	}
}

func ask[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("evaluate %.80s: %v", expression, err)
	}
	return v
}

// until waits for an expression to be true.
func (p *tab) until(expression string) {
	p.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ask[bool](p, "Boolean("+expression+")") {
		if time.Now().After(deadline) {
			p.picture("failed-" + strings.ReplaceAll(p.t.Name(), "/", "-"))
			p.t.Fatalf("%s does not come about; the page says %.400s; it complained of %q", expression, ask[string](p, "document.body.innerText"), p.complaints())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (p *tab) says(text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// press clicks the first button or link of that name.
func (p *tab) press(name string) {
	p.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll('dialog[open] button, dialog[open] a')].concat(document.querySelector('dialog[open]') ? [] : [...document.querySelectorAll('button, a, summary')]).find((b) => b.innerText.trim() === %q && b.checkVisibility())`, name)
	p.until(find)
	ask[bool](p, "("+find+".click(), true)")
}

// unfold opens the first dead letter.
func (p *tab) unfold() {
	p.t.Helper()
	p.until("document.querySelector('details.letter summary')")
	ask[bool](p, "(document.querySelector('details.letter summary').click(), true)")
}

// enter puts text into the control with a label, as typing does.
func (p *tab) enter(label, text string) {
	p.t.Helper()
	ask[bool](p, fmt.Sprintf(`(() => {
		const label = [...document.querySelectorAll('label')].find((l) => l.innerText.trim() === %q);
		const control = document.getElementById(label.htmlFor);
		control.value = %q;
		control.dispatchEvent(new Event('input', {bubbles: true}));
		control.dispatchEvent(new Event('change', {bubbles: true}));
		return true;
	})()`, label, text))
}

func (p *tab) complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.bad), func(s string) bool {
		return slices.ContainsFunc(p.expected, func(e string) bool { return strings.Contains(s, e) })
	})
}

func (p *tab) picture(name string) {
	if shots == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(shots, name+".png"), png, 0o600)
	}
	if err != nil {
		p.t.Errorf("picture %s: %v", name, err)
	}
}

// login goes through the login page.
func (p *tab) login(b *bundle, role access.Role) {
	p.t.Helper()
	_, secret := b.token(role)
	p.do(chromedp.Navigate(b.url + "/console/"))
	p.says("Log in")
	p.enter("Token", secret)
	p.press("Log in")
	p.until("document.querySelector('nav a')")
}

// check looks for what is wrong with a page whatever it shows.
func (p *tab) check(what string) {
	p.t.Helper()
	if over := ask[float64](p, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
		p.t.Errorf("%s: the page is %v px wider than the window", what, over)
	}
	if n := ask[float64](p, "document.querySelectorAll('h1').length"); n != 1 {
		p.t.Errorf("%s: %v headings of the first level", what, n)
	}
	for _, v := range p.axe() {
		p.t.Errorf("%s: axe: %s", what, v)
	}
	if bad := p.complaints(); len(bad) > 0 {
		p.t.Errorf("%s: the console says %q", what, bad)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bad = nil
}

// axe runs axe-core and returns its serious findings.
func (p *tab) axe() []string {
	p.t.Helper()
	if axePath == "" {
		p.t.Fatal("AXE names no axe.min.js: run `.ci/run browser`")
	}
	source, err := os.ReadFile(axePath)
	if err != nil {
		p.t.Fatal(err)
	}
	if !ask[bool](p, "typeof axe !== 'undefined'") {
		ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
		defer cancel()
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](string(source)+"; true")); err != nil {
			p.t.Fatal(err)
		}
	}
	found := ask[string](p, `axe.run(document, {resultTypes: ['violations']}).then((r) => JSON.stringify(r.violations.map((v) => ({impact: v.impact, id: v.id, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' ' + (n.any[0]?.message || ''))}))))`)
	var violations []struct {
		Impact, ID, Help string
		Nodes            []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for _, v := range violations {
		if v.Impact == "serious" || v.Impact == "critical" || v.Impact == "moderate" {
			out = append(out, fmt.Sprintf("%s %s (%s): %q", v.Impact, v.ID, v.Help, v.Nodes))
		}
	}
	return out
}

// hours fills the history: a day's swing of the rate, and an outage when asked.
func (b *bundle) hours(outage bool) {
	const n = console.HistorySamples
	begin := b.clock().Add(-6 * time.Hour)
	in, out := 0.0, 0.0
	for i := range n {
		rate := 9 + 3*math.Sin(float64(i)/400) + math.Sin(float64(i)/7) + 0.8*math.Sin(float64(i)*1.7)
		in += rate * 5
		up := !outage || i < n-1140
		if up {
			out = in
		}
		b.page.AddSample(console.Sample{
			Time: begin.Add(time.Duration(i+1) * 5 * time.Second), In: uint64(in), Out: uint64(out), Backlog: int64(in - out),
			Bytes: int64(in-out) * 280, Delivers: up,
		})
	}
	b.source.set(func(o *console.Overview) {
		o.Totals.Records, o.Totals.Delivered = uint64(in), uint64(out)
		if outage {
			o.Backlog.Records = int64(in - out)
		}
	})
}

// TestBrowserViews opens every view in every shape.
func TestBrowserViews(t *testing.T) {
	views := []struct{ name, hash, text string }{
		{"overview", "#/", "Application"},
		{"devices", "#/devices", "pump-7"},
		{"device", "#/devices/pump-7", "Latest publications"},
		{"dead-letters", "#/dead-letters", "Dead letters"},
		{"dead-letters-reason", "#/dead-letters/template", "All reasons"},
		{"live", "#/live", "Watching"},
		{"playground", "#/try?topic=plant/1", "not mapped"},
		{"access", "#/access", "MQTT connections"},
	}
	browser := allocator(t)
	for _, shape := range []struct {
		name          string
		width, height int64
	}{{"phone", 360, 740}, {"desktop", 1440, 900}} {
		for _, theme := range []string{"light", "dark"} {
			t.Run(shape.name+"-"+theme, func(t *testing.T) {
				b := setup(t)
				b.source.letters, b.source.overview.DeadLetters, b.source.overview.Totals.Reasons = nil, 0, nil
				b.hours(false)
				p := newTab(t, browser, shape.width, shape.height)
				p.do(chromedp.Navigate(b.url + "/console/"))
				p.says("Log in")
				ask[bool](p, fmt.Sprintf("(iotcTheme.set(%q), true)", theme))
				p.check("login")
				p.picture(fmt.Sprintf("%s-%s-login", shape.name, theme))
				p.login(b, access.Admin)
				p.says("All is well")
				for _, state := range []string{"well", "outage", "letters"} {
					switch state {
					case "outage":
						b.source.cut()
						b.pass(time.Second)
						b.hours(true)
					case "letters":
						b.source.overview = healthy(b.clock).overview
						b.source.withLetters()
						b.pass(time.Second)
					}
					for _, v := range views {
						what := fmt.Sprintf("%s-%s-%s-%s", shape.name, theme, state, v.name)
						if state == "outage" && v.name != "overview" || state == "letters" && !strings.HasPrefix(v.name, "dead") && v.name != "overview" {
							continue
						}
						p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(b.url+"/console/"+v.hash))
						p.says(v.text)
						switch {
						case v.name == "live":
							for i := range 6 {
								b.source.events <- madeEvent(i, b.clock())
							}
							p.says("thermostat")
						case v.name == "overview" && state != "letters":
							p.until("document.querySelectorAll('.chart canvas').length === 2")
							p.until("!document.querySelector('.verdict h1').innerText.includes('Looking')")
						case v.name == "dead-letters-reason" && state == "letters":
							p.unfold()
							p.says("As the device sent it")
						}
						p.picture(what)
						p.check(what)
					}
				}
			})
		}
	}
}

// addr is where a login comes from.
var addr = netip.MustParseAddr("127.0.0.1")

func madeEvent(i int, t time.Time) console.TapEvent {
	e := console.TapEvent{
		Time: t, Topic: "devices/thermostat-1/telemetry", Payload: `{"temperature": 21.5}`, Bytes: 21, QoS: 1, Client: "thermostat-1", Outcome: "stored", Route: "native", Devices: []string{"thermostat-1"},
		Calls: []console.Call{{Method: "POST", Path: "/devices/thermostat-1/telemetry", Body: `{"temperature":21.5,"timestamp":"2026-11-25T10:00:00.000Z"}`}},
	}
	switch i {
	case 1:
		e.Outcome, e.Detail, e.Calls, e.Payload = "dead_letter", "undecodable: the payload is no JSON", nil, `{"temperature"`
	case 2:
		e.Outcome, e.Detail, e.Calls, e.Topic = "unmapped", "unmapped: nothing maps plant/hall/7/temp", nil, "plant/hall/7/temp"
	case 3:
		e.Outcome, e.Detail, e.Calls = "nothing", "nothing has changed enough to be told", nil
	case 4:
		e.Outcome, e.Detail, e.Calls = "refused", "queue_full: buffer: full", nil
	}
	return e
}

// TestBrowserActions does everything that can be done, as an operator and as
// an admin.
func TestBrowserActions(t *testing.T) {
	browser := allocator(t)
	for _, width := range []int64{360, 1440} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			b := setup(t)
			p := newTab(t, browser, width, 800)
			p.expected = []string{"401", "422"} // answers that the test provokes
			p.do(chromedp.Navigate(b.url + "/console/"))
			p.says("make a token")
			p.enter("Token", "iotcgw_wrong_x")
			p.press("Log in")
			p.says("That is no token of this gateway")
			p.login(b, access.Operator)

			open := func(hash, text string) {
				t.Helper()
				ask[bool](p, fmt.Sprintf("(location.hash = %q, true)", hash))
				p.says(text)
			}
			did := func(action string) {
				t.Helper()
				p.until("true")
				deadline := time.Now().Add(10 * time.Second)
				for !slices.Contains(b.source.noted(), action) {
					if time.Now().After(deadline) {
						t.Fatalf("%q was not done, but %q", action, b.source.noted())
					}
					time.Sleep(20 * time.Millisecond)
				}
			}

			open("#/devices", "plug-kitchen")
			p.enter("Search", "pump-")
			p.until("document.querySelectorAll('tbody tr').length === 2")
			p.enter("Search", "")
			p.enter("Show", "errors")
			p.until("document.querySelectorAll('tbody tr').length === 1")
			p.press("hall-4-temp")
			p.says("expected a double")
			if h := ask[string](p, "document.activeElement.tagName"); h != "H1" {
				t.Errorf("after a change of view the focus is on %s", h)
			}

			open("#/devices/pump-7", "on its way")
			p.enter("Property", "interval")
			p.enter("Desired value", "refused")
			p.press("Set")
			p.says("expected a number")
			p.enter("Desired value", "7")
			p.press("Set")
			p.says("interval is set")
			did("set pump-7 interval 7")
			p.enter("Command", "prime")
			p.enter("Arguments", `{"seconds": 5}`)
			p.press("Trigger")
			p.says("Pending")
			did(`trigger pump-7 prime {"seconds":5}`)
			b.source.mu.Lock()
			b.source.status = "Completed"
			b.source.mu.Unlock()
			p.says("Completed")

			open("#/dead-letters", "Dead letters")
			p.says("The payload could not be read")
			p.press("Retry all")
			p.says("28 put back into the queue.")
			open("#/dead-letters/undecodable", "All reasons")
			p.unfold()
			p.press("Retry")
			p.says("unexpected end of JSON")
			p.press("Drop")
			p.says("They are removed for good")
			p.check("dialog")
			p.picture(fmt.Sprintf("dialog-%d", width))
			p.press("Cancel")
			p.press("Drop")
			p.press("Drop")
			p.says("1 dropped.")
			did("drop [37]")

			open("#/live", "Watching")
			b.source.events <- madeEvent(0, b.clock())
			p.says("thermostat-1")
			p.says("3 were left out")
			p.press("Pause")
			p.says("Paused")
			p.press("try")
			p.says("my-sensor")

			open("#/access", "MQTT connections")
			p.press("Disconnect")
			p.says("The client may connect again at once.")
			p.press("Disconnect")
			did("disconnect pump-7: disconnected by the operator")
			if ask[bool](p, "document.body.innerText.includes('Make a new token')") {
				t.Error("an operator is offered to create tokens")
			}
			p.press("Log out")
			p.says("You have none?")

			p.login(b, access.Admin)
			open("#/devices/plug-kitchen", "waits for approval")
			p.press("Approve this device")
			did("approve plug-kitchen")
			open("#/access", "What people did")
			p.press("Make a new token")
			p.enter("Name", "wall screen")
			p.press("Create a token")
			p.says("Copy it now")
			secret := ask[string](p, "document.querySelector('dialog pre').innerText")
			if _, err := b.tokens.Authenticate(secret, addr); err != nil {
				t.Errorf("the new token %q: %v", secret, err)
			}
			p.press("Close")
			p.says("wall screen")

			// A reader is offered nothing that would be refused.
			p.press("Log out")
			p.login(b, access.Reader)
			for hash, text := range map[string]string{"#/devices/pump-7": "needs the role operator", "#/dead-letters": "Show", "#/access": "MQTT connections"} {
				open(hash, text)
				for _, button := range []string{"Set", "Trigger", "Retry all", "Drop all", "Disconnect", "Make a new token"} {
					if ask[bool](p, fmt.Sprintf("[...document.querySelectorAll('main button, main summary')].some((b) => b.innerText.trim() === %q)", button)) {
						t.Errorf("a reader is offered %s in %s", button, hash)
					}
				}
			}

			// A session that ends leads back to the login.
			for _, tok := range b.tokens.List() {
				if _, err := b.tokens.Revoke(tok.ID); err != nil {
					t.Fatal(err)
				}
			}
			p.says("You have none?")
			if bad := p.complaints(); len(bad) > 0 {
				t.Errorf("the console says %q", bad)
			}
		})
	}
}

// TestBrowserKeyboard goes through the page without a mouse.
func TestBrowserKeyboard(t *testing.T) {
	b := setup(t)
	p := newTab(t, allocator(t), 1440, 900)
	p.login(b, access.Operator)
	p.do(chromedp.Navigate(b.url + "/console/#/dead-letters"))
	p.says("Retry all")
	ask[bool](p, "(document.body.focus(), document.activeElement.blur(), true)")
	var names []string
	for range 40 {
		p.do(chromedp.KeyEvent("\t"))
		if ask[bool](p, "document.activeElement === document.body") {
			continue // in between two rounds
		}
		name := ask[string](p, "document.activeElement.innerText.trim()")
		names = append(names, name)
		if ask[string](p, "getComputedStyle(document.activeElement).outlineStyle") == "none" {
			t.Errorf("the focus on %s cannot be seen", name)
		}
	}
	for _, want := range []string{"Skip to the content", "Overview", "Devices", "Access", "Log out", "Show", "Retry all", "Drop all"} {
		if !slices.Contains(names, want) {
			t.Errorf("the tab key never comes to %s: %q", want, names)
		}
	}
}
