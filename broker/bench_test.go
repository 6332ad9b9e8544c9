package broker_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"iotc-gateway/broker"
)

// committer settles what it is handed in batches from a goroutine of its own, as a store with group commit does, but at
// once: what is measured is the broker's part.
type committer struct{ in chan *broker.Publication }

func newCommitter() *committer {
	c := &committer{in: make(chan *broker.Publication, 8192)}
	go func() {
		for p := range c.in {
			batch := append(make([]*broker.Publication, 0, 512), p)
			for len(batch) < cap(batch) && len(c.in) > 0 {
				batch = append(batch, <-c.in)
			}
			for _, p := range batch {
				p.Settle(broker.Outcome{})
			}
		}
	}()
	return c
}

func (c *committer) Ingest(p *broker.Publication) { c.in <- p }

// flood publishes n messages of 200 bytes with a window of its own and waits for every acknowledgement.
func flood(tb testing.TB, addr net.Addr, id string, n, window int) {
	r := dial(tb, addr, 4)
	r.mustConnect(connectOpts{id: id})
	_ = r.conn.SetReadDeadline(time.Time{})
	tokens, done := make(chan struct{}, window), make(chan struct{})
	go func() {
		defer close(done)
		br := bufio.NewReaderSize(r.conn, 4096)
		var ack [4]byte
		for range n {
			if _, err := io.ReadFull(br, ack[:]); err != nil {
				return
			}
			<-tokens
		}
	}()
	w := bufio.NewWriterSize(r.conn, 16<<10)
	pk := r.publishPacket("devices/"+id+"/telemetry", []byte(strings.Repeat("x", 200)), 1, 1, false)
	at := len(pk) - 202
	for i := range n {
		select {
		case tokens <- struct{}{}:
		default:
			_ = w.Flush()
			tokens <- struct{}{}
		}
		binary.BigEndian.PutUint16(pk[at:], uint16(i%60000+1))
		_, _ = w.Write(pk)
	}
	_ = w.Flush()
	<-done
}

func BenchmarkAccept(b *testing.B) {
	for _, x := range []struct{ clients, window int }{{1, 1}, {1, 100}, {50, 20}} {
		b.Run(fmt.Sprintf("clients=%d/window=%d", x.clients, x.window), func(b *testing.B) {
			c := newCommitter()
			br := setup(b, func(_ *broker.Config, o *broker.Options) { o.Ingest = c })
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range x.clients {
				wg.Go(func() { flood(b, br.addr, "d"+strconv.Itoa(i), b.N/x.clients+1, x.window) })
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// BenchmarkIdle measures what an idle connection costs in resident memory, this process's side of the socket included.
func BenchmarkIdle(b *testing.B) {
	const n = 2000
	for b.Loop() {
		br := setup(b, withLimits(func(l *broker.Limits) {
			l.MaxClients, l.MaxConnections, l.MaxConnectionsPerAddress, l.ConnectionRate = n, n, n, 0
		}))
		var conns []net.Conn
		runtime.GC()
		before, heap := resident(b), heapInUse()
		for i := range n {
			c, err := net.Dial("tcp", br.addr.String())
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, c)
			_, _ = c.Write((&raw{t: b, version: 4}).connectPacket(connectOpts{id: "d" + strconv.Itoa(i)}))
			var ack [4]byte
			if _, err := io.ReadFull(c, ack[:]); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		b.ReportMetric(float64(resident(b)-before)/n, "B-rss/conn")
		b.ReportMetric(float64(heapInUse()-heap)/n, "B-heap+stack/conn")
		for _, c := range conns {
			c.Close()
		}
		br.stop()
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// resident is the resident memory of the process, 0 where the system does not tell.
func resident(tb testing.TB) int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		tb.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
