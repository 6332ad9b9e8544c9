package template

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is something in a template file that a person should mend.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`              // from 1; 0 when it is about the file as a whole
	Column  int    `json:"column"`            // from 1, in characters
	Message string `json:"message"`           // what is wrong
	Hint    string `json:"hint,omitempty"`    // what to do about it
	Warning bool   `json:"warning,omitempty"` // the template works all the same
}

// Error implements error: file:line:column: message (hint).
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (")
		b.WriteString(p.Hint)
		b.WriteString(")")
	}
	return b.String()
}

// Problems is every fault of a load, in the order of files and lines.
type Problems []Problem

// Error implements error, a line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single Problem.
func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i := range p {
		errs[i] = p[i]
	}
	return errs
}

// problems collects what is found, errors and warnings apart, each bounded.
type problems struct {
	errors, warnings Problems
	more             int // errors beyond the bound
}

func (c *problems) add(p Problem) {
	list := &c.errors
	if p.Warning {
		list = &c.warnings
	}
	if len(*list) >= MaxProblems {
		if !p.Warning {
			c.more++
		}
		return
	}
	*list = append(*list, p)
}

// at reports an error where a node stands.
func (c *problems) at(n *node, hint, format string, args ...any) {
	c.add(n.problem(fmt.Sprintf(format, args...), hint))
}

// warn reports a warning where a node stands.
func (c *problems) warn(n *node, hint, format string, args ...any) {
	p := n.problem(fmt.Sprintf(format, args...), hint)
	p.Warning = true
	c.add(p)
}

func sorted(list Problems) Problems {
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(list)
}

// result returns the errors in order, nil if there are none.
func (c *problems) result() error {
	if len(c.errors) == 0 {
		return nil
	}
	list := sorted(c.errors)
	if c.more > 0 {
		last := list[len(list)-1]
		list = append(list, Problem{File: last.File, Message: fmt.Sprintf("%d more problems are not listed", c.more)})
	}
	return list
}

// nearest returns the candidate that a word was probably meant to be, or "".
func nearest(word string, candidates []string) string {
	best, bestDistance := "", 3
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), bestDistance); d < bestDistance && d*3 <= len(c) {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of edits between two words, or limit if it is not below limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		least := row[0]
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
	}
	return row[len(b)]
}

// meant is the hint for a misspelt word: "did you mean x?", else a list of what is allowed.
func meant(word string, candidates []string) string {
	if c := nearest(word, candidates); c != "" {
		return fmt.Sprintf("did you mean %q?", c)
	}
	if len(candidates) > 16 {
		return ""
	}
	return "one of " + strings.Join(candidates, ", ")
}
