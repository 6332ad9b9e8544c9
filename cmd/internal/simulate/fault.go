package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Fault is something that goes wrong now and then.
type Fault string

// The faults. Each happens to a publish, a connection or a command with the
// probability that was asked for.
const (
	Outlier    Fault = "outlier"    // a number far out of its range
	Missing    Fault = "missing"    // a field less
	WrongType  Fault = "wrong_type" // a text in place of a number
	Garbage    Fault = "garbage"    // a payload that is no JSON
	Duplicate  Fault = "duplicate"  // the same publish again
	Late       Fault = "late"       // a timestamp up to an hour old
	Disconnect Fault = "disconnect" // the connection breaks without a word
	Command    Fault = "command"    // a command fails
	Mute       Fault = "mute"       // a command is not answered
)

// Faults are the probabilities of each.
type Faults map[Fault]float64

// AllFaults lists them with what each does.
func AllFaults() map[Fault]string {
	return map[Fault]string{
		Outlier: "a number far out of its range", Missing: "a field less", WrongType: "a text in place of a number",
		Garbage: "a payload that is no JSON", Duplicate: "the same publish again", Late: "a timestamp up to an hour old",
		Disconnect: "the connection breaks without a word", Command: "a command fails", Mute: "a command is not answered",
	}
}

// ParseFaults reads name=probability, separated by commas.
func ParseFaults(text string) (Faults, error) {
	out := Faults{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, number, ok := strings.Cut(part, "=")
		if _, known := AllFaults()[Fault(name)]; !known {
			return nil, fmt.Errorf("%q is no fault; there are %s", name, strings.Join(faultNames(), ", "))
		}
		p, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil || !(p >= 0 && p <= 1) {
			return nil, fmt.Errorf("%q: write it as %s=0.01, with a probability from 0 to 1", part, name)
		}
		out[Fault(name)] = p
	}
	return out, nil
}

func faultNames() []string {
	var out []string
	for _, f := range slices.Sorted(maps.Keys(AllFaults())) {
		out = append(out, string(f))
	}
	return out
}
