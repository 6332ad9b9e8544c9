package buffer_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"iotc-gateway/buffer"
)

// payload is 200 bytes of the kind that sensors send.
func payload(n int) []byte {
	b := fmt.Appendf(nil, `{"temperature":%d.%d,"humidity":%d,"pressure":10%d.%d,"battery":3.%d,"state":"ok","note":"`, n%40, n%10, n%100, n%100, n%10, n%7)
	for i := 0; len(b) < 198; i++ {
		b = strconv.AppendInt(b, int64((n*7919+i*104729)%97), 36)
	}
	return append(b, `"}`...)
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func written() int64 {
	b, _ := os.ReadFile("/proc/self/io")
	for line := range bytes.Lines(b) {
		if f := strings.Fields(string(line)); len(f) == 2 && f[0] == "write_bytes:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}

func size(dir string) (n int64) {
	_ = filepath.Walk(dir, func(_ string, fi os.FileInfo, err error) error {
		if err == nil && fi.Mode().IsRegular() {
			n += fi.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return n
}

func BenchmarkAppendLone(b *testing.B) {
	s := setup(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.add(buffer.Record{Class: buffer.ClassTelemetry, Device: "a", Value: payload(i)})
	}
}

// BenchmarkSteady appends from 50 clients with 20 records each under way while 32 workers lease and commit.
func BenchmarkSteady(b *testing.B) {
	for _, clients := range []int{1, 50} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			s := setup(b)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var workers sync.WaitGroup
			var delivered atomic.Int64
			total := int64(b.N)
			for range 32 {
				workers.Go(func() {
					for {
						l, err := s.Next(ctx, buffer.LeaseOptions{})
						if err != nil {
							return
						}
						s.Commit(l)
						if delivered.Add(1) == total {
							cancel()
						}
					}
				})
			}
			window := 1000 / clients
			if clients == 1 {
				window = 100
			}
			b.ReportAllocs()
			c0, w0 := cpu(), written()
			b.ResetTimer()
			flood(b, s, clients, window, b.N)
			workers.Wait()
			b.StopTimer()
			b.ReportMetric(float64(cpu()-c0)/float64(b.N)/1e3, "cpu-us/op")
			b.ReportMetric(float64(written()-w0)/float64(b.N)/200, "bytes/byte")
			st := s.Stats()
			b.ReportMetric(float64(b.N)/float64(st.Commits), "op/commit")
		})
	}
}

// BenchmarkPaced appends 12,000 records a second from 50 devices, whatever the disk does: what a transaction costs, and
// how many records share one, decides here.
func BenchmarkPaced(b *testing.B) {
	s := setup(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var workers sync.WaitGroup
	for range 32 {
		workers.Go(func() {
			for {
				l, err := s.Next(ctx, buffer.LeaseOptions{})
				if err != nil {
					return
				}
				s.Commit(l)
			}
		})
	}
	var acks sync.WaitGroup
	var waited atomic.Int64
	value := payload(1)
	acks.Add(b.N)
	c0, w0 := cpu(), written()
	b.ResetTimer()
	start := time.Now()
	for i := range b.N {
		if ahead := time.Until(start.Add(time.Duration(i) * time.Second / 12_000)); ahead > 500*time.Microsecond {
			time.Sleep(ahead)
		}
		at := time.Now()
		r := buffer.Record{Class: buffer.ClassTelemetry, Device: "device-" + strconv.Itoa(i%50), Value: bytes.Clone(value), Time: 1}
		s.Append(&buffer.Batch{Records: []buffer.Record{r}}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			waited.Add(int64(time.Since(at)))
			acks.Done()
		})
	}
	acks.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpu()-c0)/float64(b.N)/1e3, "cpu-us/op")
	b.ReportMetric(float64(written()-w0)/float64(b.N)/200, "bytes/byte")
	b.ReportMetric(float64(b.N)/float64(s.Stats().Commits), "op/commit")
	b.ReportMetric(float64(waited.Load())/float64(b.N)/1e6, "ack-ms")
	cancel()
	workers.Wait()
}

func flood(b testing.TB, s *bundle, clients, window, n int) {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	for c := range clients {
		wg.Go(func() {
			slots := make(chan struct{}, window)
			name := fmt.Sprintf("device-%03d", c)
			var values [64][]byte
			for i := range values {
				values[i] = payload(c*64 + i)
			}
			done := func(err error) {
				if err != nil {
					b.Error(err)
				}
				<-slots
			}
			for i := left.Add(-1); i >= 0; i = left.Add(-1) {
				slots <- struct{}{}
				batch := &buffer.Batch{Records: []buffer.Record{{Class: buffer.ClassTelemetry, Device: name, Value: bytes.Clone(values[i%64]), Time: 1}}}
				s.Append(batch, done)
			}
			for range window {
				slots <- struct{}{}
			}
		})
	}
	wg.Wait()
}

// BenchmarkBacklog stores b.N records with nobody to take them, then drains them.
func BenchmarkBacklog(b *testing.B) {
	s := setup(b, func(s *bundle) { s.cfg.MaxBytes = 2 << 30 })
	c0, w0 := cpu(), written()
	start := time.Now()
	flood(b, s, 50, 20, b.N)
	in := time.Since(start)
	c1, w1 := cpu(), written()
	b.ReportMetric(float64(b.N)/in.Seconds(), "in/s")
	b.ReportMetric(float64(c1-c0)/float64(b.N)/1e3, "in-cpu-us")
	b.ReportMetric(float64(w1-w0)/float64(b.N)/200, "in-bytes/byte")
	full := size(s.dir)
	start = time.Now()
	s.reopen()
	b.ReportMetric(time.Since(start).Seconds()*1000, "open-ms")
	c1 = cpu()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var workers sync.WaitGroup
	var delivered atomic.Int64
	start = time.Now()
	for range 32 {
		workers.Go(func() {
			for {
				l, err := s.Next(ctx, buffer.LeaseOptions{})
				if err != nil {
					return
				}
				s.Commit(l)
				if delivered.Add(1) == int64(b.N) {
					cancel()
				}
			}
		})
	}
	workers.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "out/s")
	b.ReportMetric(float64(cpu()-c1)/float64(b.N)/1e3, "out-cpu-us")
	b.ReportMetric(float64(full)/1e6, "full-MB")
	start = time.Now()
	for size(s.dir) > 16<<20 && time.Since(start) < time.Minute {
		<-time.After(time.Second / 4)
	}
	b.ReportMetric(float64(size(s.dir))/1e6, "after-MB")
	b.ReportMetric(time.Since(start).Seconds(), "after-s")
}
