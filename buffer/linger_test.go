package buffer_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"iotc-gateway/buffer"
)

// TestLinger shows when a transaction waits for more: only while fewer wait than the one before had, and at most two
// milliseconds from its beginning.
func TestLinger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var commits, acked atomic.Int64
		var gate chan struct{}
		s := setup(t, func(b *bundle) {
			b.opt.Commit = func(commit func() error) error {
				if gate != nil {
					<-gate
				}
				commits.Add(1)
				return commit()
			}
		})
		let := func(n int) {
			for range n {
				gate <- struct{}{}
			}
			synctest.Wait()
		}
		n := 0
		add := func(count int) {
			for range count {
				s.Append(&buffer.Batch{Records: []buffer.Record{telemetry("a", n)}}, func(err error) {
					if err != nil {
						t.Error(err)
					}
					acked.Add(1)
				})
				n++
			}
			synctest.Wait()
		}
		expect := func(when string, wantCommits, wantAcked int64) {
			t.Helper()
			if c, a := commits.Load(), acked.Load(); c != wantCommits || a != wantAcked {
				t.Fatalf("%s: %d transactions and %d acknowledged, want %d and %d", when, c, a, wantCommits, wantAcked)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		commits.Store(0)
		gate = make(chan struct{}, 100)

		add(1) // a lone publish is written at once
		add(8) // and these come while it is
		let(1)
		expect("a lone publish", 1, 1)
		let(1)
		expect("what came meanwhile", 2, 9)

		let(10)
		add(3)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		expect("fewer than before, on their way", 2, 9)
		add(5)
		expect("as many as before", 3, 17)
		add(1)
		time.Sleep(2*time.Millisecond - 1)
		synctest.Wait()
		expect("one of eight", 3, 17)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		expect("the time is up", 4, 18)

		time.Sleep(10 * time.Millisecond)
		add(1)
		expect("a lone publish after a flood", 5, 19)
		close(gate)
		s.close()
	})
}
