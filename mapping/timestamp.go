package mapping

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// EarliestTime is the first time that a device's clock is believed: before it, the clock was not set.
var EarliestTime = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)

// ParseTime reads a device's time from JSON text or plain text: RFC 3339 (also with a space for the T, and without a zone,
// which is taken as UTC), seconds or milliseconds since 1970, as a number or as digits in a string. Numbers from 1e11 up are
// milliseconds: as seconds they would lie beyond the year 5000.
func ParseTime(text string) (time.Time, error) {
	s := strings.TrimSpace(text)
	if n := len(s); n >= 2 && s[0] == '"' && s[n-1] == '"' {
		s = s[1 : n-1]
	}
	if s == "" {
		return time.Time{}, fmt.Errorf("no time in an empty text")
	}
	if len(s) > 64 {
		return time.Time{}, fmt.Errorf("%q is no time", clip(s))
	}
	if c := s[0]; (c >= '0' && c <= '9' || c == '-') && strings.IndexByte(s[1:], '-') < 0 && strings.IndexByte(s, ':') < 0 {
		return parseEpoch(s)
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: want RFC 3339, or seconds or milliseconds since 1970", clip(s))
}

// msFrom is the first number that counts milliseconds.
const msFrom = 1e11

func parseEpoch(s string) (time.Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n >= msFrom || n <= -msFrom {
			if n > math.MaxInt64/int64(time.Microsecond) {
				return time.Time{}, fmt.Errorf("%s is no time", s)
			}
			return time.UnixMilli(n).UTC(), nil
		}
		return time.Unix(n, 0).UTC(), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1e15 {
		return time.Time{}, fmt.Errorf("%q is no time", clip(s))
	}
	if math.Abs(f) >= msFrom {
		f /= 1000
	}
	// Microseconds are as fine as a double still counts them in this century.
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(math.Round(part*1e6))*1000).UTC(), nil
}

// stamp is the time of a record and its source.
type stamp struct {
	time time.Time
	from TimeSource
}

// credible tells whether a device's time can be: not before 2015, and not farther ahead than the publication's bound.
func credible(t, now time.Time, bound time.Duration) bool {
	if t.Before(EarliestTime) || t.Year() > 9999 {
		return false
	}
	return bound <= 0 || !t.After(now.Add(bound))
}

// stamp reads the time of a record from the text of a timestamp. No text, or null, is the time of receipt; so is a time that
// cannot be true or is an empty string, which is counted: many devices count from 1970 until they have found a clock.
func (in *input) stamp(text []byte, res *Result) (stamp, error) {
	if len(text) == 0 || string(text) == "null" {
		return stamp{in.now, Receipt}, nil
	}
	if string(text) == `""` {
		res.Tally.Implausible++
		return stamp{in.now, Receipt}, nil
	}
	t, err := ParseTime(string(text))
	if err != nil {
		return stamp{}, &Error{Code: CodeUndecodable, Name: timestampKey, Message: "timestamp: " + err.Error()}
	}
	if !credible(t, in.now, in.pub.FutureBound) {
		res.Tally.Implausible++
		return stamp{in.now, Receipt}, nil
	}
	return stamp{t, Payload}, nil
}
