package configs_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"iotc-gateway/configs"
)

func TestParseBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "64KiB": 64 << 10, "2GiB": 2 << 30, "500MB": 500e6, "1.5 GiB": 3 << 29, "7 B": 7, "1kB": 1000,
	} {
		if got, err := configs.ParseBytes(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1e9", "0x10", "9999999TiB", "10 Mib", "NaN", "9223372036854775807KiB", "inf"} {
		if got, err := configs.ParseBytes(text); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "250ms": 250 * time.Millisecond, "720h": 720 * time.Hour, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour,
	} {
		if got, err := configs.ParseDuration(text); err != nil || got != want {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "15", "1.5", "-3s", "d", "-1d", "1w", "999999999d", "106751d24h", "NaNd"} {
		if got, err := configs.ParseDuration(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

// What is printed is read again as the same value.
func TestUnitsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<62).Draw(t, "bytes")
		if got, err := configs.ParseBytes(configs.FormatBytes(n)); err != nil || got != n {
			t.Fatalf("%d is printed as %s and read as %d, %v", n, configs.FormatBytes(n), got, err)
		}
		d := time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "duration"))
		if got, err := configs.ParseDuration(configs.FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%v is printed as %s and read as %v, %v", d, configs.FormatDuration(d), got, err)
		}
	})
}
