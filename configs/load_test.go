package configs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iotc-gateway/configs"
)

// parse reads a file's text with nothing around it.
func parse(t *testing.T, text string) (*configs.Config, []configs.Fault) {
	t.Helper()
	cfg, err := configs.Parse("gateway.yaml", []byte(text), []string{"STATE_DIRECTORY=/state"}, nil)
	return cfg, faults(t, err)
}

func faults(t *testing.T, err error) []configs.Fault {
	t.Helper()
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*configs.Error](err)
	if !ok {
		t.Fatalf("the error is a %T, want *configs.Error: %v", err, err)
	}
	return e.Faults
}

func TestNoFileAtAll(t *testing.T) {
	t.Parallel()
	cfg, err := configs.Load("", []string{"STATE_DIRECTORY=/state:/other"}, nil)
	if err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	if cfg.Gateway.DataDir != "/state" {
		t.Errorf("data_dir is %q, want the first of STATE_DIRECTORY", cfg.Gateway.DataDir)
	}
	if cfg.Gateway.ID == "" {
		t.Error("gateway.id is empty")
	}
	if cfg.Console.Address != "127.0.0.1:8080" {
		t.Errorf("the console listens on %q, want loopback", cfg.Console.Address)
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	file := "central:\n  url: https://file.example/api\n  rate: 5\n  timeout: 3s\n"
	cfg, err := configs.Parse("gateway.yaml", []byte(file),
		[]string{"STATE_DIRECTORY=/s", "IOTC_CENTRAL_RATE=7", "IOTC_CENTRAL_TIMEOUT=4s", "IOTC_CONSOLE_HOSTS=[gw.local, 10.0.0.7]", "OTHER=1"},
		map[string]string{"central.timeout": "1m30s", "gateway.id": "042"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Central.URL != "https://file.example/api" || cfg.Central.Rate != 7 || cfg.Central.Timeout != 90*time.Second {
		t.Errorf("central is %+v: want url of the file, rate of the environment, timeout of the command line", cfg.Central)
	}
	if cfg.Central.APIVersion != "2022-07-31" {
		t.Errorf("api_version is %q: a default beside given keys is lost", cfg.Central.APIVersion)
	}
	if got := strings.Join(cfg.Console.Hosts, " "); got != "gw.local 10.0.0.7" {
		t.Errorf("a list from the environment came as %q", got)
	}
	if cfg.Gateway.ID != "042" {
		t.Errorf("gateway.id is %q: a text must stay as it was written", cfg.Gateway.ID)
	}
}

func TestStringsStayAsWritten(t *testing.T) {
	t.Parallel()
	cfg, found := parse(t, "gateway: {id: 042}\ncentral:\n  api_version: 2022-07-31\n  token_env: yes\n")
	if len(found) > 0 {
		t.Fatal(found)
	}
	if cfg.Gateway.ID != "042" || cfg.Central.APIVersion != "2022-07-31" || cfg.Central.TokenEnv != "yes" {
		t.Errorf("got %q, %q, %q", cfg.Gateway.ID, cfg.Central.APIVersion, cfg.Central.TokenEnv)
	}
}

func TestEmptySectionKeepsDefaults(t *testing.T) {
	t.Parallel()
	cfg, found := parse(t, "central:\n  # url: later\nlog:\n")
	if len(found) > 0 || cfg.Central.Timeout != 15*time.Second || cfg.Log.Level != "info" {
		t.Errorf("got %v and %+v", found, cfg.Central)
	}
}

// Every fault is told with its line, and all of them in one go.
func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, file, want string }{
		{"unknown key", "central:\n  timout: 3s\n", `gateway.yaml:2:3: central.timout: unknown key; did you mean "timeout"?`},
		{"other spelling", "central: {tokenFile: x}\n", `gateway.yaml:1:11: central.tokenFile: unknown key; did you mean "token_file"?`},
		{"unknown section", "centrl: {}\n", `gateway.yaml:1:1: centrl: unknown key; did you mean "central"?`},
		{"nothing near", "log:\n  zzzzzz: 1\n", `gateway.yaml:2:3: log.zzzzzz: unknown key; known here: level, format`},
		{"twice", "log:\n  level: info\n  level: warn\n", `gateway.yaml:3:3: log.level: the key stands twice; the first one is on line 2`},
		{"text for a number", "central:\n  rate: fast\n", `gateway.yaml:2:9: central.rate: expected a number, found the text "fast"`},
		{"list for a text", "central:\n  url: [a]\n", `gateway.yaml:2:8: central.url: expected a text, found a list`},
		{"text for a list", "console: {hosts: a}\n", `gateway.yaml:1:18: console.hosts: expected a list, found the text "a"`},
		{"word for a boolean", "log:\ncentral: {insecure: yes}\n", `gateway.yaml:2:21: central.insecure: expected true or false, found the text "yes"`},
		{"no unit", "central:\n  timeout: 15\n", `gateway.yaml:2:12: central.timeout: a duration needs its unit, such as 250ms, 15s, 720h or 30d`},
		{"not of the list", "log: {level: trace}\n", `gateway.yaml:1:14: log.level: "trace" is none of debug, info, warn, error`},
		{"section is a list", "- a\n", `gateway.yaml:1:1: expected keys with values, found a list`},
		{"two documents", "log: {}\n---\nlog: {}\n", `gateway.yaml:2:1: a second document begins here; a configuration is one document`},
		{"merge", "a: &a {}\nlog:\n  <<: *a\n", `gateway.yaml:3:3: log: a key must be a plain word`},
		{"syntax", "log:\n\tlevel: info\n", `gateway.yaml:2:1: not valid YAML: found character that cannot start any token`},
		{"http", "central:\n  url: http://example.com/api\n", `gateway.yaml:2:8: central.url: plain http:// would show the token to everyone on the way to example.com: use https://, or set insecure: true`},
		{"half a certificate", "console:\n  tls:\n    cert_file: a.pem\n", `gateway.yaml:3:5: console.tls: needs both cert_file and key_file`},
		{"open console", "console: {address: ':8080'}\n", `gateway.yaml:1:20: console.address: is reachable from other machines and needs console.tls, or console.insecure: true behind a proxy that adds TLS`},
		{"bad id", "gateway: {id: 'a b'}\n", `gateway.yaml:1:15: gateway.id: must be a device id: at most 128 letters, digits and . _ : -, the last one a letter, a digit or -`},
		{"other variable", "central: {token_file: '${HOME}/t'}\n", `gateway.yaml:1:23: central.token_file: ${HOME} is not expanded here; only ${CREDENTIALS_DIRECTORY}, ${STATE_DIRECTORY}, ${CONFIGURATION_DIRECTORY}, ${RUNTIME_DIRECTORY} are`},
		{"newer edition", "config_version: 2\nnews: true\n", `gateway.yaml:1:17: config_version: this program reads edition 1; the file says 2. Install a newer iotc-gateway, or write the file for edition 1`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, found := parse(t, test.file)
			for _, f := range found {
				if f.String() == test.want {
					return
				}
			}
			t.Errorf("got %v\nwant %s", found, test.want)
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := configs.Parse("gateway.yaml", []byte("log:\n  levl: info\ncentral:\n  rate: x\n  timeout: 5\n"),
		[]string{"STATE_DIRECTORY=/s", "IOTC_CENTRAL_UR=x"}, map[string]string{"log.formt": "json"})
	found := faults(t, err)
	if len(found) != 5 {
		t.Fatalf("found %d faults, want 5:\n%v", len(found), err)
	}
	for _, want := range []string{`IOTC_CENTRAL_UR: unknown environment variable; did you mean "IOTC_CENTRAL_URL"?`, `command line: log.formt: unknown key; did you mean "log.format"?`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
}

// Orchestrators set variables for a service of this name, and the token's own
// variable is no setting either.
func TestEnvironmentOfOthers(t *testing.T) {
	t.Parallel()
	env := []string{
		"STATE_DIRECTORY=/s", "IOTC_GATEWAY_SERVICE_HOST=10.0.0.1", "IOTC_GATEWAY_PORT_1883_TCP_ADDR=10.0.0.1",
		"IOTC_GATEWAY_PORT=tcp://10.0.0.1:1883", "IOTC_MY_TOKEN=x", "IOTC_CENTRAL_TOKEN_ENV=IOTC_MY_TOKEN", "IOTC_CONFIG=/etc/x.yaml",
	}
	if _, err := configs.Load("", env, nil); err != nil {
		t.Error(err)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "gateway.yaml")
	text := "gateway: {data_dir: data}\ncentral:\n  token_file: ${CREDENTIALS_DIRECTORY}/central-token\n  ca_file: /etc/ca.pem\nconsole: {tls: {cert_file: a.pem, key_file: b.pem}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(file, []string{"CREDENTIALS_DIRECTORY=/run/credentials/x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "data"), "/run/credentials/x/central-token", "/etc/ca.pem", filepath.Join(dir, "a.pem")}
	got := []string{cfg.Gateway.DataDir, cfg.Central.TokenFile, cfg.Central.CAFile, cfg.Console.TLS.CertFile}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("path is %q, want %q", got[i], want[i])
		}
	}
	if u := cfg.Unresolved(); len(u) != 0 {
		t.Errorf("unresolved: %v", u)
	}

	// Outside the service the variable stays, and nobody is stopped by it.
	cfg, err = configs.Load(file, nil, map[string]string{"gateway.data_dir": "relative"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Gateway.DataDir != "relative" {
		t.Errorf("a path from the command line became %q: it is relative to where the person is", cfg.Gateway.DataDir)
	}
	if u := cfg.Unresolved(); len(u) != 1 || u[0].Path != "central.token_file" || u[0].Line != 3 {
		t.Errorf("unresolved: %v", u)
	}
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	_, err := configs.Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "none.yaml: cannot be read: no such file") {
		t.Error(err)
	}
}

// A few lines of aliases stand for billions of values, and an alias may stand
// inside its own anchor; both end quickly and in one fault.
func TestAliasBombs(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("console:\n  hosts:\n    - &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 12 {
		a := string(rune('0' + i%10))
		if i > 9 {
			break
		}
		b := string(rune('0' + i + 1))
		if i == 9 {
			b = "z"
		}
		bomb.WriteString("    - &a" + b + " [" + strings.TrimSuffix(strings.Repeat("*a"+a+", ", 10), ", ") + "]\n")
	}
	for _, text := range []string{bomb.String(), "console:\n  hosts: &a [*a]\n", "console: &a\n  tls: *a\n"} {
		if _, found := parse(t, text); len(found) == 0 {
			t.Errorf("accepted:\n%.80s", text)
		}
	}
}

func TestMarshalRoundTrip(t *testing.T) {
	t.Parallel()
	cfg, found := parse(t, "gateway: {id: '042'}\ncentral: {headers: {X-Proxy-Key: geheim}, timeout: 90s, rate: 0.5}\nconsole: {hosts: ['true', b]}\n")
	if len(found) > 0 {
		t.Fatal(found)
	}
	text, err := cfg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "geheim") || !strings.Contains(string(text), "X-Proxy-Key: '[redacted]'") {
		t.Errorf("the secret is not redacted:\n%s", text)
	}
	again, err := configs.Parse("again.yaml", text, nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	second, err := again.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if string(second) != string(text) {
		t.Errorf("printed again it differs:\n%s\n%s", text, second)
	}
}

// Routes come from the file and then from the folder, and each knows where it
// stands.
func TestRoutesDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("gateway.yaml", "gateway: {data_dir: d}\nmapping:\n  routes_dir: routes.d\n  routes:\n    - {match: 'a/{device}', telemetry: all}\n")
	write("routes.d/10-b.yaml", "routes:\n- match: 'b/{device}'\n  telemetry: [x, y]\n- match: 'c/{device}'\n  telemetry: {x: payload.x}\n")
	write("routes.d/20-d.yml", "- {match: 'd/{device}', drop: true}\n")
	write("routes.d/.hidden.yaml", "nonsense")
	write("routes.d/README", "nonsense")
	write("routes.d/empty.yaml", "# nothing yet\n")
	cfg, err := configs.Load(filepath.Join(dir, "gateway.yaml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range cfg.Mapping.Routes {
		rel, err := filepath.Rel(dir, r.Source.File)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s:%d", r.Match, rel, r.Source.Line))
	}
	want := "a/{device} gateway.yaml:5, b/{device} routes.d/10-b.yaml:2, c/{device} routes.d/10-b.yaml:4, d/{device} routes.d/20-d.yml:1"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}

	write("routes.d/30-e.yaml", "- match: 'e/{device}'\n  telemetri: all\n")
	write("routes.d/40-f.yaml", "match: 'f'\n")
	_, err = configs.Load(filepath.Join(dir, "gateway.yaml"), nil, nil)
	for _, want := range []string{
		`30-e.yaml:2:3: mapping.routes[4].telemetri: unknown key; did you mean "telemetry"?`,
		`40-f.yaml:1:1: mapping.routes: expected a list of routes, alone or under the key routes, found keys with values`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
}

func TestPresetsAsWordsAndSections(t *testing.T) {
	t.Parallel()
	cfg, found := parse(t, "mapping: {presets: [tasmota, {name: shelly, prefix: hall}]}\n")
	if len(found) > 0 {
		t.Fatal(found)
	}
	if p := cfg.Mapping.Presets; len(p) != 2 || p[0].Name != "tasmota" || p[1].Prefix != "hall" {
		t.Errorf("got %+v", p)
	}
}

func TestWhere(t *testing.T) {
	t.Parallel()
	cfg, _ := parse(t, "console:\n  hosts:\n    - a\n    - b\n")
	if at := cfg.Where("console.hosts[1]").String(); at != "gateway.yaml:4:7" {
		t.Error(at)
	}
	if at := cfg.Where("console.hosts[1].deeper").String(); at != "gateway.yaml:4:7" {
		t.Error(at)
	}
	if at := configs.Default().Where("log.level").String(); at != "" {
		t.Error(at)
	}
}
