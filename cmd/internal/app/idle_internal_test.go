//go:build linux

package app

import (
	"testing"
	"time"
)

func TestProcessorTime(t *testing.T) {
	t.Parallel()
	const second = time.Second
	for text, want := range map[string]struct {
		idle, all time.Duration
		ok        bool
	}{
		"cpu  100 0 200 700 50 0 10 40 0 0\ncpu0 1 2 3\n": {7500 * second / 1000, 11 * second, true},
		"cpu  100 0 200 700 50 0 10 40 0 0":               {}, // cut off
		"cpu0 100 0 200 700 50 0 10 40 0 0\n":             {},
		"cpu  100 0 200 700\n":                            {},
		"cpu  100 0 200 x 50 0 10 40 0 0\n":               {},
		"":                                                {},
	} {
		idle, all, ok := parseProcessorTime([]byte(text))
		if idle != want.idle || all != want.all || ok != want.ok {
			t.Errorf("%q: idle %s of %s, %v", text, idle, all, ok)
		}
	}
	if idle, all, ok := processorTime(); !ok || idle > all || all == 0 {
		t.Errorf("here: idle %s of %s, %v", idle, all, ok)
	}
}
