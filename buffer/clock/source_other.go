//go:build !linux

package clock

import (
	"crypto/rand"
	"time"
)

// fill takes what is portable: every start counts as a boot, and nothing is known about synchronisation.
func (s *Source) fill() {
	start := time.Now()
	if s.BootID == nil {
		s.BootID = rand.Text
	}
	if s.Up == nil {
		s.Up = func() int64 { return int64(time.Since(start)) + 1 }
	}
	if s.Wall == nil {
		s.Wall = time.Now
	}
	if s.Sync == nil {
		s.Sync = func() Sync { return Unknown }
	}
}
