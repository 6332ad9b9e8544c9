package buffer_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"iotc-gateway/buffer"
)

const (
	childEnv     = "BUFFER_TEST_CHILD"      // the directory of the child's store
	childSyncEnv = "BUFFER_TEST_CHILD_SYNC" // its Config.Sync, if not the default
)

// child appends and delivers until it is killed, and prints what it did: "a device n" once a record is acknowledged,
// "d device n" when one is about to be committed.
func child() {
	cfg := buffer.DefaultConfig()
	cfg.Sync = cmp.Or(os.Getenv(childSyncEnv), cfg.Sync)
	s, err := buffer.Open(cfg, buffer.Options{
		Dir: os.Getenv(childEnv), FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil },
	})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	out := func(kind, device string, n int) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s %s %d\n", kind, device, n)
	}
	for range 4 {
		go func() {
			for {
				l, err := s.Next(context.Background(), buffer.LeaseOptions{})
				if err != nil {
					return
				}
				out("d", l.Device, int(l.Records[0].Time))
				s.Commit(l)
			}
		}()
	}
	for c := range 8 {
		go func() {
			window := make(chan struct{}, 50)
			name := fmt.Sprint("d", c)
			for n := 1; ; n++ {
				window <- struct{}{}
				s.Append(&buffer.Batch{Records: []buffer.Record{{
					Class: buffer.ClassTelemetry, Device: name, Value: payload(n), Time: int64(n),
				}}}, func(err error) {
					if err != nil {
						fmt.Println("error", err)
					}
					out("a", name, n)
					<-window
				})
			}
		}()
	}
	select {}
}

// TestKill kills a real process with SIGKILL while it appends and delivers: what it acknowledged and did not deliver is
// there, in order, and nothing that it delivered long before comes again.
func TestKill(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked, delivered := map[string]int{}, map[string]int{}
		lines := bufio.NewScanner(pipe)
		for n := 0; lines.Scan(); n++ {
			var kind, device string
			var k int
			if _, err := fmt.Sscan(lines.Text(), &kind, &device, &k); err != nil {
				if strings.HasPrefix(lines.Text(), "error") {
					t.Fatal(lines.Text())
				}
				continue // cut off by the kill
			}
			switch kind {
			case "a":
				acked[device] = k
			case "d":
				delivered[device] = k
			}
			if n == 3000*(round+1) {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		b := setup(t, func(b *bundle) { b.dir = dir })
		if aside := b.Stats().SetAside; aside != "" {
			t.Fatal("set aside")
		}
		count := b.Stats().Classes[buffer.ClassTelemetry].Count
		seen := map[string]int{}
		for range count {
			l := b.next(buffer.LeaseOptions{})
			n := int(l.Records[0].Time)
			// What was delivered just before the kill may come again, in order and with gaps: each block of records keeps
			// its own notes of what was settled. What was not delivered comes without a gap.
			if last := seen[l.Device]; n <= last || n > max(last, delivered[l.Device])+1 {
				t.Fatalf("%s: %d after %d, delivered were %d", l.Device, n, last, delivered[l.Device])
			}
			seen[l.Device] = n
			b.Commit(l)
		}
		for d, n := range acked {
			if max(seen[d], delivered[d]) < n {
				t.Fatalf("%s: acknowledged up to %d, delivered %d, found up to %d", d, n, delivered[d], seen[d])
			}
		}
		b.close()
	}
}
