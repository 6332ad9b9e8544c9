package doctor

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

const removed = "[redacted]"

// shortest is the length below which a value is no secret worth the name, and
// would garble every text.
const shortest = 5

// Redactor takes secrets out of texts: values that it was told, and whatever
// looks like a secret.
type Redactor struct{ values []string }

// Add tells values that must not be shown.
func (r *Redactor) Add(secrets ...string) {
	for _, s := range secrets {
		if s = strings.TrimSpace(s); len(s) >= shortest && !slices.Contains(r.values, s) {
			r.values = append(r.values, s)
		}
	}
	// A longer one first: it may contain a shorter one.
	slices.SortFunc(r.values, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}

// looksSecret are the shapes of secrets, with what of a match is kept.
func looksSecret() []struct {
	shape *regexp.Regexp
	kept  string
} {
	return []struct {
		shape *regexp.Regexp
		kept  string
	}{
		{regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`), removed},
		{regexp.MustCompile(`SharedAccessSignature [^\s"'\\]+`), "SharedAccessSignature " + removed},
		{regexp.MustCompile(`(?i)\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{5,}`), "$1 " + removed},
		{regexp.MustCompile(`\$argon2[a-z]*\$[^\s"'\\]+`), removed},
		{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`), removed},
		{regexp.MustCompile(`://[^\s/:@"']*:[^\s/@"']+@`), "://" + removed + "@"},
		{regexp.MustCompile(`(?i)((?:password|passwd|passphrase|secret|token|sig|(?:api|access|account|private|shared)[_-]?key)\\?["']?\s*[=:]\s*\\?["']?)[^\s"',;&}\\\[]{5,}`), "${1}" + removed},
	}
}

// Text returns the text without secrets.
func (r *Redactor) Text(s string) string {
	for _, v := range r.values {
		s = strings.ReplaceAll(s, v, removed)
	}
	for _, l := range looksSecret() {
		s = l.shape.ReplaceAllString(s, l.kept)
	}
	return s
}
