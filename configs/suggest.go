package configs

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// suggest helps with an unknown word, as the end of a sentence: it names the
// known word that is nearest, else all of them where they are few.
func suggest(word string, known []string) string {
	if near := didYouMean(word, known); near != "" || len(known) == 0 || len(known) > 12 {
		return near
	}
	return "; known here: " + strings.Join(known, ", ")
}

// didYouMean is empty when no known word is near.
func didYouMean(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	best, distance := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := editDistance(normal(word), normal(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// normal makes maxBytes, max-bytes and MAX_BYTES look alike.
func normal(word string) string {
	var b strings.Builder
	for _, r := range word {
		if r != '_' && r != '-' {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// editDistance is Levenshtein's, with two rows.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// printable shortens and cleans a text that comes from a file before it goes
// into a message.
func printable(s string) string {
	const most = 60
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s = strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) && r != utf8.RuneError {
				return r
			}
			return '?'
		}, s)
	}
	if utf8.RuneCountInString(s) > most {
		return string([]rune(s)[:most]) + "..."
	}
	return s
}
