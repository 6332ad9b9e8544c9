//go:build !linux

package app

import "time"

// processorTime cannot be told here.
func processorTime() (idle, all time.Duration, ok bool) { return 0, 0, false }
