package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// fuzzers is how many connections send mutilated packets at a time.
const fuzzers = 16

// fuzzScenario lets packet fuzzers loose on a running gateway beside normal clients: nobody may panic, nothing may grow and
// nothing of the normal clients may be lost.
func fuzzScenario(ctx context.Context, r *run) error {
	lasting := r.lasting(10*time.Minute, 10*time.Second)
	if err := r.freshSink(ctx); err != nil {
		return err
	}
	g, err := r.serve(ctx, Settings{})
	if err != nil {
		return err
	}
	fleet := r.fleet(g, FleetConfig{Clients: 20, Window: 1, Variants: 1, Interval: 100 * time.Millisecond, Prefix: "normal"})
	if err := r.warmUp(ctx, g, fleet); err != nil {
		return err
	}
	usage, err := g.settled(ctx)
	if err != nil {
		return err
	}
	routines, err := g.goroutines(ctx)
	if err != nil {
		return err
	}
	silence, err := closes(ctx, g.mqtt, nil, time.Second)
	if err != nil {
		return err
	}
	drip, err := closes(ctx, g.mqtt, appendConnect(nil, 4, "drip", true, 60), time.Second)
	if err != nil {
		return err
	}

	attack, stop := context.WithCancel(ctx)
	var (
		group sync.WaitGroup
		sent  atomic.Int64
	)
	for i := range fuzzers {
		group.Go(func() { fuzz(attack, g.mqtt, i, &sent) })
	}
	peak := watchMemory(g.process.pid())
	err = fleet.PublishFor(ctx, lasting)
	stop()
	group.Wait()
	during, duringAnonymous := peak.end()
	if err != nil {
		return fmt.Errorf("the normal clients: %w", err)
	}
	if err := g.emptied(ctx); err != nil {
		return err
	}
	// The Go runtime collects an idle heap every two minutes and only then gives memory back.
	if err := pause(ctx, r.quickly(2*time.Minute)); err != nil {
		return err
	}
	after, err := g.settled(ctx)
	if err != nil {
		return err
	}
	left, err := g.goroutines(ctx)
	if err != nil {
		return err
	}
	text, err := g.metrics(ctx)
	if err != nil {
		return err
	}
	r.outcome.add("fuzzed for", "s", lasting.Seconds())
	r.outcome.add("mutilated packets", "", float64(sent.Load()))
	r.outcome.add("panics that cost their sender the connection", "", float64(parseField(text, `iotc_gateway_mqtt_refused_total{reason="panic"}`)))
	r.outcome.aim("resident memory, growth at the end", "MiB", mebibytes(after.RSS-usage.RSS), "<=", 64)
	r.outcome.aim("resident memory, growth at the peak", "MiB", mebibytes(during-usage.RSS), "<=", 64)
	r.outcome.add("of it anonymous, at the end", "MiB", mebibytes(after.Anonymous-usage.Anonymous))
	r.outcome.add("of it anonymous, at the peak", "MiB", mebibytes(duringAnonymous-usage.Anonymous))
	r.outcome.aim("goroutines more than before", "", float64(left-routines), "<=", 5)
	r.outcome.aim("a silent socket is closed after", "s", silence.Seconds(), "<=", 6)
	r.outcome.aim("a CONNECT of a byte a second is closed after", "s", drip.Seconds(), "<=", 6)
	r.outcome.add("acknowledged after, p99, beside the fuzzers", "ms", milliseconds(fleet.Latency.Percentile(99)))
	verdict, err := r.judge(ctx, fleet)
	verdict.Unexpected = 0 // what the fuzzers published was theirs to publish
	r.outcome.judged(verdict)
	return err
}

// fuzz makes connections and sends mutilated packets on them until ctx ends.
func fuzz(ctx context.Context, address string, number int, sent *atomic.Int64) {
	rng := rand.New(rand.NewPCG(uint64(number), 2))
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 2, 0, byte(1+number))}}
	for round := 0; ctx.Err() == nil; round++ {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			_ = pause(ctx, 5*time.Millisecond)
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		drained := make(chan struct{})
		go func() { // whatever comes is of no interest, but a full socket would end the round early
			defer close(drained)
			_, _ = io.Copy(io.Discard, conn)
		}()
		version := byte(3 + rng.IntN(3))
		var out []byte
		if rng.IntN(4) > 0 {
			out = appendConnect(out, max(version, 4), fmt.Sprintf("fuzz-%d-%d", number, rng.IntN(500)), rng.IntN(2) == 0, 60)
		}
		for range 1 + rng.IntN(12) {
			out = append(out, mutilate(rng, sample(rng, max(version, 4)))...)
			sent.Add(1)
		}
		_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		_, _ = conn.Write(out)
		_ = pause(ctx, time.Duration(rng.IntN(20))*time.Millisecond)
		if tcp, ok := conn.(*net.TCPConn); ok && rng.IntN(3) == 0 {
			_ = tcp.SetLinger(0)
		}
		stop()
		_ = conn.Close()
		<-drained
	}
}

// garbage is what a scanner that speaks something else might send.
func garbage(rng *rand.Rand) []byte {
	switch rng.IntN(3) {
	case 0:
		return []byte("GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
	case 1:
		return mutilate(rng, sample(rng, 5))
	}
	b := make([]byte, 1+rng.IntN(300))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// sample is a valid packet of some type.
func sample(rng *rand.Rand, version byte) []byte {
	topics := []string{"devices/fuzz/telemetry", "devices/fuzz/telemetry/x", "devices/fuzz/properties/p", "fuzz/a/b/c", "$SYS/x", "", "devices/fuzz/commands/c/response/1"}
	filters := []string{"fuzz/#", "devices/fuzz/+/x", "#", "+/+", "$share/g/fuzz/#", "$SYS/#", "devices/fuzz/commands/+/request/+", ""}
	id := binary.BigEndian.AppendUint16(nil, uint16(rng.IntN(50)))
	props := []byte{}
	if version == 5 {
		props = [][]byte{{0}, {3, 0x23, 0, 1}, {5, 0x02, 0, 0, 0, 9}, {8, 0x26, 0, 1, 'k', 0, 2, 'v', 'v'}, {2, 0x01, 1}, {2, 0x0b, 1}}[rng.IntN(6)]
	}
	payload := []byte(`{"temperature": 21.5}`)
	if rng.IntN(20) == 0 {
		payload = make([]byte, rng.IntN(100_000))
	}
	join := func(first byte, parts ...[]byte) []byte {
		var body []byte
		for _, p := range parts {
			body = append(body, p...)
		}
		return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
	}
	topic, filter := appendString(nil, topics[rng.IntN(len(topics))]), appendString(nil, filters[rng.IntN(len(filters))])
	switch rng.IntN(14) {
	case 0:
		return appendConnect(nil, version, "fuzz-inner", rng.IntN(2) == 0, uint16(rng.IntN(100)))
	case 1, 2, 3:
		return join(0x30|byte(rng.IntN(2)), topic, props, payload)
	case 4, 5:
		return join(0x32|byte(rng.IntN(2)), topic, id, props, payload)
	case 6:
		return join(0x34, topic, id, props, payload)
	case 7:
		return join([]byte{0x40, 0x50, 0x62, 0x70}[rng.IntN(4)], id)
	case 8, 9:
		return join(0x82, id, props[:min(1, len(props))], filter, []byte{byte(rng.IntN(3))})
	case 10:
		return join(0xa2, id, props[:min(1, len(props))], filter)
	case 11:
		return []byte{0xc0, 0}
	case 12:
		return join(0xe0, []byte{byte(rng.IntN(256)), 0})
	}
	return join(0xf0, []byte{0x18, 0})
}

// mutilate changes a packet: some of its bits, its length, its end, or nothing.
func mutilate(rng *rand.Rand, p []byte) []byte {
	for range rng.IntN(4) {
		if len(p) == 0 {
			return p
		}
		at := rng.IntN(len(p))
		switch rng.IntN(7) {
		case 0:
			p[at] ^= 1 << rng.IntN(8)
		case 1:
			p[at] = byte(rng.Uint32())
		case 2:
			p = p[:at]
		case 3:
			p = append(p, p[:at]...)
		case 4: // the header, where most decisions are made
			p[min(len(p)-1, rng.IntN(6))] = byte(rng.Uint32())
		case 5: // a remaining length of many bytes
			p = append([]byte{p[0], 0xff, 0xff, byte(rng.IntN(256)), byte(rng.IntN(128))}, p[1:]...)
		default:
			p = append(p[:at:at], append([]byte{0xff, 0xff, 0x00}, p[at:]...)...)
		}
	}
	return p
}
