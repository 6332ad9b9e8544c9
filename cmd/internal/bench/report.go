package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Target is what a figure is to reach.
type Target struct {
	Op    string  `json:"op"` // ">=", "<=" or "<"
	Value float64 `json:"value"`
}

// Met compares without rounding.
func (t Target) Met(value float64) bool {
	switch t.Op {
	case ">=":
		return value >= t.Value
	case "<=":
		return value <= t.Value
	case "<":
		return value < t.Value
	}
	return false
}

// Figure is one measured quantity: the median of its runs.
type Figure struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit,omitempty"`
	Value  float64   `json:"value"`
	Runs   []float64 `json:"runs"`
	Target *Target   `json:"target,omitempty"`
	Met    *bool     `json:"met,omitempty"`
}

// Result is a scenario after all its runs.
type Result struct {
	Scenario string   `json:"scenario"`
	About    string   `json:"about"`
	Figures  []Figure `json:"figures"`
	Account  *Verdict `json:"account,omitempty"` // summed over the runs
	Kept     bool     `json:"kept"`              // no promise was broken
	Error    string   `json:"error,omitempty"`   // the scenario could not be run to its end
	Elapsed  string   `json:"elapsed"`
}

// Short says whether a figure missed its target.
func (r Result) Short() bool {
	return slices.ContainsFunc(r.Figures, func(f Figure) bool { return f.Met != nil && !*f.Met })
}

// Report is everything one call of the command found out.
type Report struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version,omitempty"`
	Machine Machine   `json:"machine"`
	Runs    int       `json:"runs"`
	Quick   bool      `json:"quick,omitempty"`
	Results []Result  `json:"results"`
}

// Machine is what the figures depend on.
type Machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	Go         string  `json:"go"`
	System     string  `json:"system"`
	FileSystem string  `json:"file_system"`
	InMemory   bool    `json:"in_memory,omitempty"`
	SyncP50    float64 `json:"fdatasync_p50_ms"`
	SyncP99    float64 `json:"fdatasync_p99_ms"`
	Load       string  `json:"load_before"` // the machine's own load average before the bench
}

// Broken says whether a promise was broken or a scenario could not be run.
func (r Report) Broken() bool {
	return slices.ContainsFunc(r.Results, func(s Result) bool { return !s.Kept || s.Error != "" })
}

// Short says whether any figure missed its target.
func (r Report) Short() bool { return slices.ContainsFunc(r.Results, Result.Short) }

// outcome is one run of a scenario.
type outcome struct {
	figures   []Figure
	account   *Verdict
	faultless bool // nothing gave the gateway a reason to send a call again
}

func (o *outcome) add(name, unit string, value float64) {
	o.figures = append(o.figures, Figure{Name: name, Unit: unit, Value: value})
}

func (o *outcome) aim(name, unit string, value float64, op string, target float64) {
	o.figures = append(o.figures, Figure{Name: name, Unit: unit, Value: value, Target: &Target{Op: op, Value: target}})
}

func (o *outcome) judged(v Verdict) {
	if o.account == nil {
		o.account = &Verdict{}
	}
	o.account.Add(v)
}

func (o *outcome) broken() bool {
	return o.account != nil && (o.account.Broken() || o.faultless && o.account.Repeated > 0)
}

// merge takes the medians of the runs. Figures keep the order in which the first run that has them told them.
func merge(name, about string, runs []*outcome) Result {
	result := Result{Scenario: name, About: about, Kept: true}
	index := make(map[string]int)
	for _, run := range runs {
		for _, f := range run.figures {
			at, known := index[f.Name]
			if !known {
				at = len(result.Figures)
				index[f.Name] = at
				result.Figures = append(result.Figures, Figure{Name: f.Name, Unit: f.Unit, Target: f.Target})
			}
			result.Figures[at].Runs = append(result.Figures[at].Runs, f.Value)
		}
		if run.account != nil {
			if result.Account == nil {
				result.Account = &Verdict{}
			}
			result.Account.Add(*run.account)
		}
		result.Kept = result.Kept && !run.broken()
	}
	for i := range result.Figures {
		f := &result.Figures[i]
		f.Value = median(f.Runs)
		if f.Target != nil {
			f.Met = new(f.Target.Met(f.Value))
		}
	}
	return result
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// WriteTable prints the report for people.
func (r Report) WriteTable(w io.Writer) error {
	m := r.Machine
	var b strings.Builder
	fmt.Fprintf(&b, "iotc-gateway bench %s, %s\n", r.Version, r.Time.UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "%s, %d cores, %s, %s, %s; fdatasync p50 %.2f ms, p99 %.2f ms; load average before: %s\n",
		m.CPU, m.Cores, m.System, m.Go, m.FileSystem, m.SyncP50, m.SyncP99, m.Load)
	if m.InMemory {
		b.WriteString("The data directory is in memory: synced writes and bytes written mean nothing here. Choose another with --data-dir.\n")
	}
	quick := ""
	if r.Quick {
		quick = ", in a quick version that shows what breaks but measures roughly"
	}
	fmt.Fprintf(&b, "Figures are medians of %d runs%s.\n", r.Runs, quick)
	var rows [][4]string
	for _, result := range r.Results {
		rows = append(rows, result.rows()...)
	}
	var widths [4]int
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	at := 0
	for _, result := range r.Results {
		fmt.Fprintf(&b, "\n%s: %s (%s)\n", result.Scenario, result.About, result.Elapsed)
		for range result.rows() {
			row := rows[at]
			at++
			line := fmt.Sprintf("  %s  %s  %s  %s", pad(row[0], widths[0]), padLeft(row[1], widths[1]), pad(row[2], widths[2]), row[3])
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		if result.Error != "" {
			fmt.Fprintf(&b, "  not finished: %s\n", result.Error)
		}
	}
	b.WriteString("\n" + r.summary() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Report) summary() string {
	figures, short, broken := 0, 0, 0
	for _, result := range r.Results {
		for _, f := range result.Figures {
			if f.Met != nil {
				figures++
				if !*f.Met {
					short++
				}
			}
		}
		if !result.Kept || result.Error != "" {
			broken++
		}
	}
	text := fmt.Sprintf("%d of %d targets met", figures-short, figures)
	if broken > 0 {
		return text + fmt.Sprintf("; %d of %d scenarios BROKE a promise or could not be finished", broken, len(r.Results))
	}
	return text + "; every promise kept"
}

// rows are the cells of a result: what, reached, target, judgement.
func (r Result) rows() [][4]string {
	var rows [][4]string
	for _, f := range r.Figures {
		row := [4]string{f.Name, Number(f.Value, f.Unit)}
		if f.Target != nil {
			row[2] = f.Target.Op + " " + Number(f.Target.Value, f.Unit)
			row[3] = "met"
			if !*f.Met {
				row[3] = "SHORT"
			}
		}
		rows = append(rows, row)
	}
	if v := r.Account; v != nil {
		verdict := "kept"
		if !r.Kept {
			verdict = "BROKEN"
		}
		rows = append(rows,
			[4]string{"published, acknowledged, arrived", integers(v.Published, v.Acked, v.Arrived)},
			[4]string{"lost, duplicated, out of order", integers(v.Lost, v.Duplicated, v.OutOfOrder), "0, 0, 0", verdict},
		)
		if v.ResentTwice+v.Repeated > 0 {
			rows = append(rows, [4]string{"resent twice, repeated under one id", integers(v.ResentTwice, v.Repeated)})
		}
		if v.Refused > 0 {
			rows = append(rows, [4]string{"refused with a reason code", integers(v.Refused)})
		}
		if v.IDsReused+v.Unexpected+v.AckDisorder > 0 {
			rows = append(rows, [4]string{"ids reused, unexpected, acks out of order", integers(v.IDsReused, v.Unexpected, v.AckDisorder), "0, 0, 0", "BROKEN"})
		}
	}
	return rows
}

func integers(values ...int) string {
	var parts []string
	for _, v := range values {
		parts = append(parts, grouped(int64(v)))
	}
	return strings.Join(parts, ", ")
}

// Number formats a value with a sensible number of digits and its unit. A value is never rounded up to its target:
// it is cut after its last digit.
func Number(value float64, unit string) string {
	digits := 0
	switch magnitude := math.Abs(value); {
	case value == math.Trunc(value):
	case magnitude < 0.095:
		digits = 3
	case magnitude < 10:
		digits = 2
	case magnitude < 100:
		digits = 1
	}
	var text string
	if digits == 0 {
		text = grouped(int64(value))
	} else {
		scale := math.Pow10(digits)
		// The small addition undoes what binary fractions take away from a value such as 0.29.
		text = strconv.FormatFloat(math.Floor(value*scale+1e-9)/scale, 'f', digits, 64)
	}
	switch unit {
	case "":
		return text
	case "/s", "%":
		return text + unit
	}
	return text + " " + unit
}

func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return sign + text
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func padLeft(text string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text))) + text
}
