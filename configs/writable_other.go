//go:build !unix

package configs

// writable is false where there is no /var/lib: the user's own place is used.
func writable(string) bool { return false }
