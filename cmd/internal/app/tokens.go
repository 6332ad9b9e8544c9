package app

import "path/filepath"

// TokensFile is where the API tokens of a data directory live.
func TokensFile(dataDir string) string { return filepath.Join(dataDir, "tokens.json") }
