package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// errExited says that a child ended by itself.
var errExited = errors.New("the process ended by itself")

// process is a child that ends when the bench says so, and with the bench in any case.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has been waited for
	err  error         // of Wait; read it after done
}

// startProcess starts a child in a process group of its own, so that an interrupt at the terminal reaches the bench
// alone, which then ends its children in order.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to end and kills it when it does not within the limit. It reports how long that took.
func (p *process) stop(limit time.Duration) (time.Duration, error) {
	start := time.Now()
	if err := p.cmd.Process.Signal(terminate); err != nil && !p.exited() {
		p.kill()
		return 0, fmt.Errorf("stop: %w", err)
	}
	select {
	case <-p.done:
		return time.Since(start), p.err
	case <-time.After(limit):
		p.kill()
		return limit, fmt.Errorf("the process did not stop within %s", limit)
	}
}

// watch samples the memory of a process until it is told to stop.
type watch struct {
	stop chan struct{}
	wait sync.WaitGroup

	mu            sync.Mutex // guards the two below
	peakAnonymous int64
	peakRSS       int64
}

func watchMemory(pid int) *watch {
	w := &watch{stop: make(chan struct{})}
	w.wait.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			if u, err := readUsage(pid); err == nil {
				w.mu.Lock()
				w.peakAnonymous = max(w.peakAnonymous, u.Anonymous)
				w.peakRSS = max(w.peakRSS, u.PeakRSS)
				w.mu.Unlock()
			}
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
		}
	})
	return w
}

func (w *watch) end() (peakRSS, peakAnonymous int64) {
	close(w.stop)
	w.wait.Wait()
	return w.peakRSS, w.peakAnonymous
}

// environment is ours without what would change what is measured.
func environment(extra ...string) []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "IOTC_"), name == "GOMEMLIMIT", name == "GOGC", name == "GODEBUG", name == "GOMAXPROCS",
			name == "NOTIFY_SOCKET", name == "CREDENTIALS_DIRECTORY", name == "STATE_DIRECTORY",
			strings.EqualFold(name, "HTTP_PROXY"), strings.EqualFold(name, "HTTPS_PROXY"), strings.EqualFold(name, "ALL_PROXY"):
			continue
		}
		env = append(env, entry)
	}
	return append(env, extra...)
}

// pause sleeps and tells whether it could sleep to the end.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
