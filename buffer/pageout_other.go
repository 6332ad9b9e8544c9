//go:build !linux

package buffer

// pageOut does nothing here: other systems have no such advice.
func pageOut(string, int64) (mapped int64, err error) { return 0, nil }
