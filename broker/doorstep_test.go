package broker_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	"iotc-gateway/broker"
)

// However long a CONNECT is and however it comes, what follows it in the same bytes is not lost.
func TestConnectOfEveryLength(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, size := range []int{0, 1, 60, 90, 100, 110, 470, 480, 490, 500, 1000, 15000} {
		for _, piece := range []int{1, 7, 1 << 20} {
			if size > 1000 && piece == 1 {
				continue
			}
			c := b.dial(t, 4)
			will := strings.Repeat("w", size)
			data := c.connectPacket(connectOpts{id: fmt.Sprintf("c%d-%d", size, piece), will: "devices/d/telemetry", willPayload: will})
			data = append(data, c.publishPacket(telemetry, []byte("1"), 1, 9, false)...)
			for len(data) > 0 {
				n := min(piece, len(data))
				c.send(data[:n])
				data = data[n:]
			}
			c.want(2)
			if p := c.want(4); p.id() != 9 {
				t.Errorf("will of %d in pieces of %d: %+v", size, piece, p)
			}
			c.disconnect()
		}
	}
}

// BenchmarkSilent measures what a connection holds that has said nothing, or half a packet.
func BenchmarkSilent(b *testing.B) {
	const n = 2000
	for name, first := range map[string][]byte{"nothing": nil, "half": (&raw{version: 4}).connectPacket(connectOpts{id: "half-a-packet"})[:10]} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				br := setup(b, withLimits(func(l *broker.Limits) { l.MaxConnectionsPerAddress, l.ConnectionRate, l.ConnectTimeout = 0, 0, 5*60e9 }))
				var conns []net.Conn
				runtime.GC()
				before, heap := resident(b), heapInUse()
				for range n {
					c, err := net.Dial("tcp", br.addr.String())
					if err != nil {
						b.Fatal(err)
					}
					_, _ = c.Write(first)
					conns = append(conns, c)
				}
				eventually(b, "accepted", func() bool { return br.Stats().Connections == n })
				runtime.GC()
				b.ReportMetric(float64(resident(b)-before)/n, "B-rss/conn")
				b.ReportMetric(float64(heapInUse()-heap)/n, "B-heap+stack/conn")
				for _, c := range conns {
					c.Close()
				}
				br.stop()
			}
		})
	}
}
