package access_test

import (
	"strings"
	"testing"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		patterns string
		device   string
		want     bool
	}{
		{"", "anything", true},
		{"a", "a", true},
		{"a", "A", true},
		{"A*", "ab", true},
		{"a", "ab", false},
		{"a*", "a", true},
		{"*", "x", true},
		{"a*b", "ab", true},
		{"a*b", "aXXb", true},
		{"a*b", "aXbX", false},
		{"a*b", "ba", false},
		{"ab*ba", "aba", false},
		{"*a*b*", "xaxbx", true},
		{"*a*b*", "xbxax", false},
		{"x a", "a", true},
		{"x y", "a", false},
		{"**", "a", true},
		{"a**a", "aa", true},
		{"a**a", "a", false},
		{"a?", "ab", false},
		{"*.1", "x.1", true},
	} {
		if got := (access.Principal{Role: access.Reader, Devices: strings.Fields(c.patterns)}).Covers(c.device); got != c.want {
			t.Errorf("%q covers %q: %v", c.patterns, c.device, got)
		}
	}
}

func TestRefusalNamesTheLeastRole(t *testing.T) {
	t.Parallel()
	for need, want := range map[central.Permission]string{
		central.CreateDevices: `"device-admin"`, central.TriggerCommands: `"operator"`, central.WriteTelemetry: `"gateway"`,
		access.ManageGateway: `"admin"`, "something new": `"admin"`,
	} {
		err := access.Principal{Role: access.Reader}.May(need, "")
		if central.StatusOf(err) != 403 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", need, err, want)
		}
		if err := (access.Principal{Role: access.Admin}).May(need, "d"); err != nil {
			t.Errorf("an admin may not %s: %v", need, err)
		}
	}
	err := access.Principal{Role: access.Admin, Devices: []string{"hall-*"}}.May(central.ReadDevices, "yard-1")
	if central.StatusOf(err) != 403 || !strings.Contains(err.Error(), "hall-*") {
		t.Errorf("another device: %v", err)
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("a*b", "ab")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, pattern, device string) {
		p := access.Principal{Devices: []string{pattern}}
		if strings.Trim(pattern, "*") == "" && pattern != "" && !p.Covers(device) {
			t.Errorf("%q does not cover %q", pattern, device)
		}
		if !strings.Contains(pattern, "*") && pattern == device && !p.Covers(device) {
			t.Errorf("%q and %q", pattern, device)
		}
	})
}
