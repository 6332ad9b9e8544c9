package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// oneLine makes text from outside fit into a cell of a table: no line breaks,
// no control characters that a terminal would obey, and not longer than most
// characters. An empty cell is a dash.
func oneLine(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.TrimSpace(text)
	if text == "" {
		return "-"
	}
	if utf8.RuneCountInString(text) > most {
		return string([]rune(text)[:most-3]) + "..."
	}
	return text
}
