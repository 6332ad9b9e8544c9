package broker_test

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"testing"

	"iotc-gateway/broker"
)

// BenchmarkParked measures what a session whose client is away holds, besides the messages that wait in it.
func BenchmarkParked(b *testing.B) {
	const n = 2000
	for _, subs := range []int{0, 2} {
		b.Run(fmt.Sprintf("subscriptions=%d", subs), func(b *testing.B) {
			for b.Loop() {
				br := setup(b, withLimits(func(l *broker.Limits) { l.ConnectionRate = 0 }))
				runtime.GC()
				runtime.GC()
				before := heapLive()
				for i := range n {
					conn, err := net.Dial("tcp", br.addr.String())
					if err != nil {
						b.Fatal(err)
					}
					c := &raw{t: b, conn: conn, r: bufio.NewReader(conn), version: 4}
					c.mustConnect(connectOpts{id: "d" + strconv.Itoa(i), resume: true})
					for s := range subs {
						c.subscribe(uint16(s+1), fmt.Sprintf("devices/d%d/commands/%d/request/+", i, s), 1)
					}
					c.disconnect()
				}
				eventually(b, "gone", func() bool { return br.Stats().Connections == 0 })
				runtime.GC()
				runtime.GC()
				b.ReportMetric(float64(heapLive()-before)/n, "B-heap/session")
				br.stop()
			}
		})
	}
}

// heapLive is what the last collection found in use.
func heapLive() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
