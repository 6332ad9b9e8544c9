package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs one command line.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCertCommands(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	if code, _, stderr := command(t, "cert", "device", "d1", "--dir", dir); code != 1 || !strings.Contains(stderr, "cert init") {
		t.Fatalf("without an authority: %d %s", code, stderr)
	}
	code, stdout, stderr := command(t, "cert", "init", "--dir", dir, "--host", "gw.example", "--host", "192.0.2.1")
	for _, want := range []string{"ca.crt", "gw.example, 192.0.2.1", "client_ca_file: " + dir + "/ca.crt", "cert device NAME"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Fatalf("%d, no %q in\n%s%s", code, want, stdout, stderr)
		}
	}
	if code, _, stderr := command(t, "cert", "init", "--dir", dir); code != 1 || !strings.Contains(stderr, "not overwritten") {
		t.Errorf("init twice: %d %s", code, stderr)
	}
	if code, stdout, _ := command(t, "cert", "device", "d1", "--dir", dir); code != 0 || !strings.Contains(stdout, "--cert "+dir+"/devices/d1.crt") || !strings.Contains(stdout, "-h gw.example") {
		t.Errorf("%d %s", code, stdout)
	}
	if code, _, stderr := command(t, "cert", "device", "a/b", "--dir", dir); code != 2 || !strings.Contains(stderr, "cannot be a device") {
		t.Errorf("a bad name: %d %s", code, stderr)
	}
	code, stdout, _ = command(t, "cert", "device", "d2", "d3", "--dir", dir, "-o", "json")
	var made deviceFiles
	if err := json.NewDecoder(strings.NewReader(stdout)).Decode(&made); code != 0 || err != nil || made.Device != "d2" || made.CA != dir+"/ca.crt" {
		t.Errorf("%d %v %+v", code, err, made)
	}
	if code, stdout, _ := command(t, "cert", "server", "--dir", dir); code != 0 || !strings.Contains(stdout, "gw.example, 192.0.2.1") {
		t.Errorf("renewed for other hosts: %d %s", code, stdout)
	}
	if code, stdout, _ := command(t, "cert", "list", "--dir", dir); code != 0 || strings.Count(stdout, "\n") != 6 {
		t.Errorf("%d %s", code, stdout)
	}
	if code, _, stderr := command(t, "cert", "init", "--dir", filepath.Join(dir, "x"), "--days", "-1"); code != 2 || !strings.Contains(stderr, "--days") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestACLTest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "gateway.yaml")
	text := `
gateway: {id: g, data_dir: "` + dir + `/data"}
broker:
  listeners:
    - {name: local, address: "127.0.0.1:1883"}
    - {name: open, address: ":1884"}
    - {name: web, address: "127.0.0.1:8083", transport: websocket}
    - {name: tls, address: ":8883", tls: {cert_file: a, key_file: b, client_ca_file: c}}
mapping:
  routes:
    - {match: "tele/{device}/SENSOR", payload: json, telemetry: {value: "payload.value"}}
    - {match: "hall/{device}/{rest...}", payload: json, telemetry: {value: "payload.value"}}
    - {match: "feed/x", device: "payload.id", payload: json, telemetry: {value: "payload.value"}}
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, user := range [][]string{{"d1"}, {"op", "--role", "operator"}, {"mon", "--role", "monitor"}, {"hub", "--role", "bridge", "--devices", "room-*", "--topics", "plant/#"}} {
		if code, _, stderr := command(t, append([]string{"user", "add", "--config", config, "--generate"}, user...)...); code != 0 {
			t.Fatal(stderr)
		}
	}
	for _, x := range []struct {
		args    string
		allowed bool
		rule    string
	}{
		{"--user d1 --topic devices/d1/telemetry", true, "native scheme"},
		{"--user d1 --topic devices/d2/telemetry", false, "belongs to another device"},
		{"--user d1 --topic tele/d1/SENSOR", true, "scope route tele/{device}/SENSOR"},
		{"--user d1 --topic hall/d1/a/b", true, "scope route hall/{device}/#"},
		{"--user d1 --topic hall/d1 --action subscribe", false, "no rule covers it"},
		{"--user d1 --topic feed/x", false, "no rule allows it"},
		{"--user d1 --topic tele/d2/SENSOR", false, "no rule allows it"},
		{"--user d1 --topic devices/d1/properties/x/desired", false, "by the gateway only"},
		{"--user d1 --topic devices/d1/# --action subscribe", true, "own devices"},
		{"--user d1 --topic # --action subscribe", false, "no rule covers it"},
		{"--user hub --topic devices/room-1/telemetry", true, "native scheme"},
		{"--user hub --topic plant/x", true, "user topics plant/#"},
		{"--user op --topic devices/d1/commands/x/trigger", true, "operators"},
		{"--user mon --topic $SYS/# --action subscribe", true, "monitors"},
		{"--topic plant/x", true, "user topics #"},
		{"--topic plant/x --listener open", false, "without credentials"},
		{"--topic plant/x --listener web", false, "without credentials"},
		{"--user cert-1 --topic devices/cert-1/telemetry --listener tls", true, "native scheme"},
		{"--user cert-1 --topic devices/cert-1/telemetry", false, "there is no user"},
		{"--user d1 --topic " + strings.Repeat("a/", 16) + "x", false, "longer or deeper"},
	} {
		args := append([]string{"acl", "test", "--config", config}, strings.Fields(x.args)...)
		code, stdout, stderr := command(t, args...)
		word := map[bool]string{true: "allowed: ", false: "refused: "}[x.allowed]
		if (code == 0) != x.allowed || !strings.HasPrefix(stdout, word) || !strings.Contains(stdout, x.rule) || stderr != "" {
			t.Errorf("%s: %d\n%s%s", x.args, code, stdout, stderr)
		}
		code, stdout, _ = command(t, append(args, "-o", "json")...)
		var answer struct {
			Allowed bool
			Rule    string
		}
		if err := json.Unmarshal([]byte(stdout), &answer); err != nil || answer.Allowed != x.allowed || (code == 0) != x.allowed || !strings.Contains(answer.Rule, x.rule) {
			t.Errorf("%s: %v %+v", x.args, err, answer)
		}
	}
	for _, args := range []string{"--topic x --action wish", "--user d1", "--topic x --listener none"} {
		if code := execute(context.Background(), append([]string{"acl", "test", "--config", config}, strings.Fields(args)...), &bytes.Buffer{}, &bytes.Buffer{}); code == 0 {
			t.Errorf("%s was accepted", args)
		}
	}
}
