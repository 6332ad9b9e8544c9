//go:build e2e

package main_test

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// publisher is a mosquitto_pub that sends the lines it is fed, one publish a
// line, with a session that survives the gateway.
type publisher struct {
	*process
	device string
	feed   *os.File
	sent   int
}

func (s *site) startPublisher(device string) *publisher {
	host, port, _ := net.SplitHostPort(s.mqtt)
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	p := start(s.t, r, nil, "mosquitto_pub", "-h", host, "-p", port, "-i", device, "-c", "-q", "1", "-d", "-l", "-k", "5", "-t", "devices/"+device+"/telemetry")
	_ = r.Close() // the child has its own
	s.t.Cleanup(func() { _ = w.Close() })
	return &publisher{process: p, device: device, feed: w}
}

func (p *publisher) publish(n int) {
	for range n {
		p.sent++
		if _, err := fmt.Fprintf(p.feed, "{\"seq\":%d}\n", p.sent); err != nil {
			p.t.Fatalf("feed %s: %v", p.device, err)
		}
	}
}

// finish ends the input; the client then waits for its last PUBACK and ends.
func (p *publisher) finish() {
	p.t.Helper()
	_ = p.feed.Close()
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		p.t.Fatalf("%s did not end", p.device)
	}
}

var (
	ackLine    = regexp.MustCompile(`received PUBACK \(Mid: (\d+), RC:0\)`)
	resendLine = regexp.MustCompile(`sending PUBLISH \(d1, q1, r0, m(\d+),`)
)

// account reads from the client's own log which publishes it saw acknowledged
// and which it sent again. Message ids count from 1, as the sequences do.
func (p *publisher) account() (acked, resent map[int]bool) {
	out := p.output()
	read := func(re *regexp.Regexp) map[int]bool {
		ids := make(map[int]bool)
		for _, m := range re.FindAllStringSubmatch(out, -1) {
			id, _ := strconv.Atoi(m[1])
			ids[id] = true
		}
		return ids
	}
	return read(ackLine), read(resendLine)
}

func sequences(bodies []map[string]any) []int {
	var out []int
	for _, b := range bodies {
		if n, ok := b["seq"].(float64); ok {
			out = append(out, int(n))
		}
	}
	return out
}

// TestE2EOutageAndKill is the promise with real processes and a real client:
// the application goes away, the gateway is killed in the middle of a load and
// started again, the application comes back; every publish with a PUBACK
// arrives, in order, and none twice but what the client sent twice.
func TestE2EOutageAndKill(t *testing.T) {
	s := newSite(t)
	s.configure("")
	s.startApplication()
	s.startGateway()

	const devices, rounds = 5, 40
	var publishers []*publisher
	for d := range devices {
		publishers = append(publishers, s.startPublisher(fmt.Sprintf("dev%d", d)))
	}
	load := func(rounds int) {
		for range rounds {
			var wg sync.WaitGroup
			for _, p := range publishers {
				wg.Go(func() { p.publish(5) })
			}
			wg.Wait()
			time.Sleep(25 * time.Millisecond)
		}
	}
	load(rounds)
	eventually(t, 30*time.Second, "the first part is delivered", func() bool { return s.metric("queue_delivered_total") >= devices*rounds*5 })
	before := make(map[string][]int)
	for _, p := range publishers {
		before[p.device] = sequences(s.received(p.device))
	}
	s.application.signal(syscall.SIGTERM)
	load(rounds)
	if waiting := s.metric("queue_records"); waiting < devices {
		t.Fatalf("%v records wait during the outage, want a backlog", waiting)
	}

	// Kill the gateway under load and start it again.
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		time.Sleep(400 * time.Millisecond)
		s.gateway.signal(syscall.SIGKILL)
	}()
	load(rounds)
	<-killed
	s.startGateway()
	load(rounds)
	s.startApplication()
	for _, p := range publishers {
		p.finish()
	}
	eventually(t, 60*time.Second, "the backlog drains", func() bool { return s.metric("queue_records") == 0 })

	total := 0
	for _, p := range publishers {
		acked, resent := p.account()
		if len(acked) < p.sent*9/10 {
			t.Errorf("%s: only %d of %d publishes were acknowledged", p.device, len(acked), p.sent)
		}
		total += len(acked)
		got := append(before[p.device], sequences(s.received(p.device))...)
		times, last := make(map[int]int), 0
		for _, n := range got {
			if times[n]++; times[n] > 1 {
				continue
			}
			if n < last {
				t.Errorf("%s: %d arrived after %d", p.device, n, last)
			}
			last = n
		}
		for n := range acked {
			if times[n] == 0 {
				t.Errorf("%s: %d was acknowledged and did not arrive", p.device, n)
			}
		}
		for n, k := range times {
			if k > 1 && !resent[n] {
				t.Errorf("%s: %d arrived %d times and the client sent it once", p.device, n, k)
			}
		}
	}
	t.Logf("%d publishes acknowledged and delivered; the gateway counted %v as resent", total, s.metric("publications_resent_total"))
}

// TestE2EStopSettlesWithinTenSeconds stops the gateway under load.
func TestE2EStopSettlesWithinTenSeconds(t *testing.T) {
	s := newSite(t)
	s.configure("")
	s.startApplication()
	s.startGateway()
	p := s.startPublisher("dev")
	fed := make(chan struct{})
	go func() { defer close(fed); p.publish(2000) }()
	eventually(t, 10*time.Second, "publishes come in", func() bool { return s.metric("publications_stored_total") > 100 })
	begin := time.Now()
	s.gateway.signal(syscall.SIGTERM)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if s.gateway.err != nil {
		t.Errorf("the gateway ended with %v", s.gateway.err)
	}
	s.startGateway()
	<-fed
	p.finish()
	eventually(t, 30*time.Second, "the rest goes up", func() bool { return s.metric("queue_records") == 0 })
	acked, resent := p.account()
	if len(acked) < 1000 {
		t.Errorf("only %d publishes were acknowledged", len(acked))
	}
	times := make(map[int]int)
	for _, n := range sequences(s.received("dev")) {
		times[n]++
	}
	for n := range acked {
		if times[n] == 0 || times[n] > 1 && !resent[n] {
			t.Errorf("publish %d was acknowledged and arrived %d times", n, times[n])
		}
	}
}
