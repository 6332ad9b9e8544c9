package bench

// Names that the external tests need.
var (
	Sequences  = sequences
	ParseStat  = parseStat
	ParseField = parseField
	ReadUsage  = readUsage
	Merge      = merge
)

// Outcome is one run, for tests of what becomes of several.
type Outcome = outcome

// NewOutcome makes a run with one figure and an account.
func NewOutcome(name string, value, target float64, v Verdict, faultless bool) *Outcome {
	o := &outcome{faultless: faultless}
	o.aim(name, "ms", value, "<=", target)
	o.judged(v)
	return o
}

// BitsOf makes a set.
func BitsOf(members ...int) bitset {
	var b bitset
	for _, n := range members {
		b.set(n)
	}
	return b
}
