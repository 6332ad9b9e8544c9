package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/app"
)

func TestTokenIsMadeListedAndRevoked(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	run := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, warn bytes.Buffer
		args = append([]string{"token"}, args...)
		if code := execute(t.Context(), append(args, "--set", "gateway.data_dir="+dir), &out, &warn); code != want {
			t.Fatalf("%v: exit code %d, want %d: %s%s", args, code, want, &out, &warn)
		}
		return out.String(), warn.String()
	}
	if out, _ := run(0, "list"); !strings.Contains(out, "token create --role") {
		t.Errorf("an empty list is %q", out)
	}
	out, _ := run(0, "create", "--role", "gateway", "--devices", "hall-*,yard-1", "--expires", "90d", "--name", "hall 3", "-o", "json")
	var made map[string]string
	if err := json.Unmarshal([]byte(out), &made); err != nil || len(made) != 2 {
		t.Fatalf("%s: %v", out, err)
	}
	plain, told := run(0, "create", "--role", "reader")
	if !strings.Contains(told, "only time") || strings.Contains(told, strings.TrimSpace(plain)) {
		t.Errorf("the words beside the token: %q", told)
	}
	tokens, err := access.Open(app.TokensFile(dir), access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for role, secret := range map[access.Role]string{access.Gateway: made["token"], access.Reader: strings.TrimSpace(plain)} {
		if p, err := tokens.Authenticate(secret, netip.Addr{}); err != nil || p.Role != role {
			t.Errorf("%s: %+v, %v", role, p, err)
		}
	}
	list, _ := run(0, "list")
	if !strings.Contains(list, made["id"]) || !strings.Contains(list, "hall-*,yard-1") || strings.Contains(list, made["token"]) {
		t.Errorf("the list is %s", list)
	}
	if out, _ := run(0, "revoke", made["id"]); out != "revoked gateway token "+made["id"]+"\n" {
		t.Errorf("told %q", out)
	}
	if _, err := tokens.Authenticate(made["token"], netip.Addr{}); err == nil {
		t.Error("a revoked token is let in")
	}
	run(1, "revoke", made["id"])
	for _, wrong := range [][]string{{"create"}, {"create", "--role", "root"}, {"create", "--role", "reader", "--expires", "90"}, {"revoke"}, {"list", "-o", "xml"}} {
		run(2, wrong...)
	}
}
