package console

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Verdict answers "is it all right?" in words.
type Verdict struct {
	Level    Level  `json:"level"`
	Headline string `json:"headline"`
	// Detail says what happens now and what to do, in one or two sentences.
	Detail string `json:"detail"`
}

// Level is how good or bad it is.
type Level string

// The levels, from good to bad.
const (
	LevelOK    Level = "ok"    // nothing to do
	LevelNote  Level = "note"  // nothing is lost, somebody should have a look
	LevelWarn  Level = "warn"  // data waits, and will be lost if nothing changes in time
	LevelFault Level = "fault" // data is refused or lost now
)

// Judge makes the verdict. The first rule that speaks wins, so the worst comes
// first.
func Judge(o *Overview) Verdict {
	for _, rule := range []func(*Overview) (Verdict, bool){judgeStore, judgeChecks, judgeUplink, judgeRest} {
		if v, ok := rule(o); ok {
			return v
		}
	}
	if o.Uplink.State == "starting" {
		return Verdict{LevelOK, "The gateway is ready.", "It takes publications; nothing has gone up since it was started."}
	}
	return Verdict{LevelOK, "All is well.", "Everything that devices sent has gone up."}
}

func judgeStore(o *Overview) (Verdict, bool) {
	switch {
	case o.Store.Failed != "":
		return Verdict{LevelFault, "Nothing can be stored: devices are refused.", "The disk does not take writes (" + o.Store.Failed + "). Devices keep their messages if they can; the gateway tries again every second."}, true
	case o.Store.DiskFull:
		return Verdict{LevelFault, "The disk is full: devices are refused.", fmt.Sprintf("%s are free. Make room on the disk; the gateway goes on by itself.", bytesWords(o.Store.FreeBytes))}, true
	}
	return Verdict{}, false
}

// judgeChecks lets a health check that nobody else knows speak for itself.
func judgeChecks(o *Overview) (Verdict, bool) {
	for _, c := range o.Checks {
		if !c.OK && !c.Advisory {
			return Verdict{LevelFault, "Something is wrong: " + c.Name + ".", sentence(c.Message)}, true
		}
	}
	return Verdict{}, false
}

func judgeUplink(o *Overview) (Verdict, bool) {
	v := Verdict{Level: LevelWarn}
	switch o.Uplink.State {
	case "unauthorised":
		v.Headline = "The application refuses the gateway's token."
		v.Detail = "Give it a new token (central.token_file) and reload; nothing is lost meanwhile. "
	case "offline":
		v.Headline = "The uplink is down; what devices send is kept."
	case "none":
		return Verdict{LevelNote, "No uplink is set up; what devices send is kept.", sentence(waiting(o) + "Set central.url to send it up")}, true
	case "degraded":
		v.Level, v.Headline = LevelNote, "The application answers with faults; what devices send is kept."
	default:
		return Verdict{}, false
	}
	v.Detail += waiting(o)
	if o.Uplink.Reason != "" && o.Uplink.State != "unauthorised" {
		v.Detail += sentence("Last answer: " + o.Uplink.Reason)
	}
	if h := o.Backlog.HoursLeft; h >= 0 && h < 1 {
		v.Level, v.Headline = LevelFault, strings.TrimSuffix(v.Headline, "; what devices send is kept.")
		v.Headline = strings.TrimSuffix(v.Headline, ".") + ", and the store is nearly full."
	}
	return v, true
}

func judgeRest(o *Overview) (Verdict, bool) {
	b := o.Backlog
	switch {
	case len(o.Uplink.PausedKinds) > 0:
		return Verdict{LevelWarn, "The application refuses some of the records: " + strings.Join(o.Uplink.PausedKinds, ", ") + ".", "The token lacks a right. Those records wait, the others go up."}, true
	case b.HoursLeft >= 0 && b.HoursLeft < 24:
		return Verdict{LevelWarn, "More comes in than goes up; the store will be full in " + hoursWords(b.HoursLeft) + ".", waiting(o) + "Oldest records are dropped then, as buffer.classes says."}, true
	case o.Uplink.State == "throttled" && b.OldestSeconds > 60:
		return Verdict{LevelNote, "The application asked for fewer calls; the backlog grows slowly smaller.", waiting(o)}, true
	case b.Records > 0 && b.OldestSeconds > 30:
		return Verdict{LevelNote, "The uplink works and catches up.", waiting(o)}, true
	case o.DeadLetters > 0:
		return Verdict{LevelNote, fmt.Sprintf("All goes up, but %s could not be used.", count(o.DeadLetters, "message", "messages")), "They are kept among the dead letters, each with its reason."}, true
	case o.Waiting > 0:
		return Verdict{LevelNote, fmt.Sprintf("%s to be approved.", count(int64(o.Waiting), "device waits", "devices wait")), "Their data is kept until somebody approves them."}, true
	case !o.ClockSynced:
		return Verdict{LevelNote, "All goes up, but the clock is not synchronised.", "Times of receipt are corrected once it is."}, true
	}
	return Verdict{}, false
}

// waiting says the backlog in a sentence.
func waiting(o *Overview) string {
	b := o.Backlog
	if b.Records == 0 {
		return "Nothing waits. "
	}
	s := fmt.Sprintf("%s (%s) %s", count(b.Records, "record", "records"), bytesWords(b.Bytes), plural(b.Records, "waits", "wait"))
	if b.OldestSeconds >= 1 {
		s += ", the oldest for " + secondsWords(b.OldestSeconds)
	}
	switch {
	case b.DrainSeconds >= 0 && o.Uplink.Delivers:
		s += "; all will have gone up in about " + secondsWords(b.DrainSeconds)
	case b.HoursLeft >= 0:
		s += "; there is room for another " + hoursWords(b.HoursLeft)
	}
	return s + ". "
}

func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func count(n int64, one, many string) string { return grouped(n) + " " + plural(n, one, many) }

// grouped writes thousands apart.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func bytesWords(n int64) string {
	const unit = 1024.0
	v := float64(n)
	for _, u := range []string{"B", "KiB", "MiB", "GiB"} {
		if v < unit || u == "GiB" {
			if v >= 10 || u == "B" {
				return fmt.Sprintf("%.0f %s", v, u)
			}
			return fmt.Sprintf("%.1f %s", v, u)
		}
		v /= unit
	}
	return ""
}

func hoursWords(h float64) string { return secondsWords(h * 3600) }

// secondsWords says a duration roughly, in its largest sensible unit.
func secondsWords(s float64) string {
	d := time.Duration(min(s, math.MaxInt32) * float64(time.Second))
	switch {
	case d < 2*time.Minute:
		return count(int64(math.Ceil(d.Seconds())), "second", "seconds")
	case d < 2*time.Hour:
		return count(int64(d.Minutes()), "minute", "minutes")
	case d < 48*time.Hour:
		return count(int64(d.Hours()), "hour", "hours")
	case d < 2*365*24*time.Hour:
		return count(int64(d.Hours()/24), "day", "days")
	default:
		return "years"
	}
}
