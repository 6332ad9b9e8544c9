package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// figures is what one line of the view tells.
type figures struct {
	elapsed, total                time.Duration
	published, buffered, received uint64
	uplink, cut                   string
}

// view prints the progress: one line that changes on a terminal, a line every
// other second elsewhere. Several goroutines may print.
type view struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex
	width int
	last  time.Time
}

func (v *view) show(f figures) {
	v.mu.Lock()
	defer v.mu.Unlock()
	total := "until Ctrl-C"
	if f.total > 0 {
		total = "of " + f.total.String()
	}
	line := fmt.Sprintf("%4ds %s | published %-7d waiting %-6d delivered %-7d | uplink %s%s",
		int(f.elapsed.Seconds()), total, f.published, f.buffered, f.received, f.uplink, f.cut)
	if v.terminal {
		pad := max(0, v.width-len(line))
		v.width = len(line)
		_, _ = fmt.Fprintf(v.out, "\r%s%s", line, strings.Repeat(" ", pad))
		return
	}
	if time.Since(v.last) < 1900*time.Millisecond {
		return
	}
	v.last = time.Now()
	_, _ = fmt.Fprintln(v.out, line)
}

// say prints a line of its own.
func (v *view) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.terminal && v.width > 0 {
		_, _ = fmt.Fprintln(v.out)
		v.width = 0
	}
	_, _ = fmt.Fprintf(v.out, format+"\n", args...)
}

func (v *view) proof(p Proof) {
	v.say("")
	v.say("  published and acknowledged  %8d", p.Published)
	v.say("  delivered                   %8d", p.Delivered)
	v.say("  lost                        %8d", p.Lost)
	v.say("  duplicated                  %8d", p.Duplicated)
	v.say("  out of order                %8d", p.OutOfOrder)
	if p.Commands.Sent > 0 {
		v.say("  commands carried out        %8d   of %d", p.Commands.Completed, p.Commands.Sent)
	}
	if p.Unacknowledged > 0 {
		v.say("  delivered without PUBACK    %8d   (sent as the demo ended)", p.Unacknowledged)
	}
	if p.Others > 0 {
		v.say("  published by you, delivered %8d", p.Others)
	}
	v.say("")
	if p.Holds() {
		v.say("Proof: published = delivered, 0 lost, 0 duplicated, in order.")
		return
	}
	v.say("The proof FAILED: see the figures above.")
}
