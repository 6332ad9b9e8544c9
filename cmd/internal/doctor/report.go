package doctor

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Status tells how bad a finding is.
type Status string

// The statuses. Only a Fault makes the report fail.
const (
	OK      Status = "ok"
	Note    Status = "note"    // worth knowing; nothing to do, or nothing that could be looked at
	Warning Status = "warning" // works now, and will not for ever or not in every case
	Fault   Status = "fault"   // something does not work
)

// Finding is what one look at one thing showed.
type Finding struct {
	Check   string `json:"check"`
	Status  Status `json:"status"`
	Message string `json:"message"`
	// Advice is what to do about it; empty when there is nothing to do.
	Advice string `json:"advice,omitempty"`
}

// Report is everything that was found, in the order of the checks.
type Report struct {
	Version  string    `json:"version"`
	Time     time.Time `json:"time"`
	Config   string    `json:"config,omitempty"`
	DataDir  string    `json:"data_dir,omitempty"`
	Running  bool      `json:"running"`
	Findings []Finding `json:"findings"`
}

// Count is how many findings have a status.
func (r Report) Count(s Status) (n int) {
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// Write prints the report for people: no colour and no column that a long
// message would break.
func (r Report) Write(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		word := string(f.Status)
		if f.Status == Fault {
			word = "FAULT"
		}
		fmt.Fprintf(&b, "%-8s %-13s %s\n", word, f.Check, strings.ReplaceAll(f.Message, "\n", "\n"+strings.Repeat(" ", 23)))
		if f.Advice != "" {
			fmt.Fprintf(&b, "%23s-> %s\n", "", f.Advice)
		}
	}
	state := "stopped"
	if r.Running {
		state = "running"
	}
	fmt.Fprintf(&b, "\nThe gateway is %s: %s, %s.\n", state, plural(r.Count(Fault), "fault"), plural(r.Count(Warning), "warning"))
	_, err := io.WriteString(w, b.String())
	return err
}

func plural(n int, word string) string {
	switch n {
	case 0:
		return "no " + word + "s"
	case 1:
		return "1 " + word
	default:
		return fmt.Sprintf("%d %ss", n, word)
	}
}
