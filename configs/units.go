package configs

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are tried from the longest suffix to the shortest. Binary units
// are what memory and disk limits are usually meant in; the decimal ones are
// taken at their word, 1 MB is a million bytes.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// ParseBytes reads a size such as 4096, 64KiB, 1.5GiB or 500MB.
func ParseBytes(text string) (int64, error) {
	number, factor := strings.TrimSpace(text), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n < 0 || n > math.MaxInt64/factor {
			return 0, fmt.Errorf("size %q is out of range", text)
		}
		return n * factor, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) || strings.ContainsAny(number, "eExXpP_") {
		return 0, fmt.Errorf("%q is not a size; write it like 4096, 64KiB or 2GiB", text)
	}
	f *= float64(factor)
	if f < 0 || f >= math.MaxInt64 {
		return 0, fmt.Errorf("size %q is out of range", text)
	}
	return int64(math.Round(f)), nil
}

// FormatBytes writes a size in the largest binary unit that divides it, so
// that ParseBytes gives the same number back.
func FormatBytes(n int64) string {
	if n == 0 {
		return "0"
	}
	for _, u := range []int{3, 2, 1, 0} {
		if f := sizeUnits[u].bytes; n%f == 0 {
			return strconv.FormatInt(n/f, 10) + sizeUnits[u].suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

const day = 24 * time.Hour

var errNoUnit = errors.New("a duration needs its unit, such as 250ms, 15s, 720h or 30d")

// ParseDuration reads what [time.ParseDuration] reads, and whole or fractional
// days in front of it: 30d, 1d12h. A bare number other than 0 is refused,
// because nobody can tell whether it meant seconds or milliseconds.
func ParseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	switch text {
	case "0":
		return 0, nil
	case "":
		return 0, errNoUnit
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, errNoUnit
	}
	var days time.Duration
	rest := text
	if number, after, ok := strings.Cut(text, "d"); ok {
		f, err := strconv.ParseFloat(number, 64)
		if err != nil || math.IsNaN(f) {
			return 0, fmt.Errorf("%q is not a duration; write it like 250ms, 15s, 720h or 30d", text)
		}
		if f *= float64(day); f < 0 || f >= math.MaxInt64 {
			return 0, fmt.Errorf("duration %q is out of range", text)
		}
		days, rest = time.Duration(f), after
	}
	if rest == "" {
		return days, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration; write it like 250ms, 15s, 720h or 30d", text)
	}
	if d < 0 {
		return 0, fmt.Errorf("duration %q is negative", text)
	}
	if days > math.MaxInt64-d {
		return 0, fmt.Errorf("duration %q is out of range", text)
	}
	return days + d, nil
}

// FormatDuration writes a duration without the trailing zeroes of
// [time.Duration.String]: 15s, 720h, 1h30m.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
