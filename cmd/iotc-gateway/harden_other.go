//go:build !linux

package main

// forbidCoreDumps does nothing where there is no portable way.
func forbidCoreDumps() error { return nil }
