package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iotc-gateway/bridge/central"
)

// startEmulator runs the command until the test ends. It returns its first line and the function that stops it and
// returns the exit code and what was printed after that line.
func startEmulator(t *testing.T, args ...string) (first string, stop func() (int, string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	code, rest := make(chan int, 1), make(chan string, 1)
	go func() {
		n := execute(ctx, append([]string{"emulator"}, args...), w, io.Discard)
		_ = w.Close()
		code <- n
	}()
	out := bufio.NewReader(r)
	first, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("the emulator printed %q: %v", first, err)
	}
	go func() {
		b, _ := io.ReadAll(out)
		rest <- string(b)
	}()
	t.Cleanup(cancel)
	return first, func() (int, string) {
		cancel()
		return <-code, <-rest
	}
}

func TestEmulatorServesAndStops(t *testing.T) {
	t.Parallel()
	first, stop := startEmulator(t, "--listen", "127.0.0.1:0", "--device", "d1", "--fault", "status=503,calls=1,operations=sendTelemetry", "-o", "json")
	var at struct{ URL, Token string }
	if err := json.Unmarshal([]byte(first), &at); err != nil {
		t.Fatalf("%s: %v", first, err)
	}
	cfg := central.DefaultConfig()
	cfg.URL = at.URL
	c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(at.Token)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	for _, want := range []int{503, 0} {
		if err := c.SendTelemetry(t.Context(), "d1", json.RawMessage(`{"seq":1}`), "r1"); central.StatusOf(err) != want {
			t.Errorf("got %v, want %d", err, want)
		}
	}
	code, last := stop()
	if code != 0 || !strings.Contains(last, `"accepted":1`) {
		t.Errorf("exit code %d after %s", code, last)
	}
}

// A token that was given is not shown again.
func TestEmulatorKeepsItsToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("file-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for token, args := range map[string][]string{"plain-secret": {"--token", "plain-secret"}, "file-secret": {"--token-file", file}} {
		first, stop := startEmulator(t, append(args, "--listen", "127.0.0.1:0")...)
		code, rest := stop()
		if text := first + rest; code != 0 || strings.Contains(text, token) || !strings.Contains(text, "url: http://127.0.0.1:") {
			t.Errorf("exit code %d after %s", code, text)
		}
	}
}

func TestEmulatorUsage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"bad fault":       {[]string{"--fault", "colour=red"}, 2, `"colour" is unknown`},
		"bad device":      {[]string{"--device", "pump."}, 2, "--device pump."},
		"bad output":      {[]string{"-o", "xml"}, 2, "text or json"},
		"bad history":     {[]string{"--history", "-1"}, 2, "must not be negative"},
		"two tokens":      {[]string{"--token", "a", "--token-file", "b"}, 2, "token"},
		"argument":        {[]string{"extra"}, 2, "extra"},
		"missing token":   {[]string{"--token-file", "no-such-file"}, 1, "read the token"},
		"forward to http": {[]string{"--forward-commands", "http://10.0.0.1/api", "--forward-token-file", "f"}, 2, "plain http://"},
		"bad address":     {[]string{"--listen", "127.0.0.1:99999"}, 1, "listen"},
	} {
		var out, errs bytes.Buffer
		code := execute(t.Context(), append([]string{"emulator"}, test.args...), &out, &errs)
		if code != test.code || !strings.Contains(errs.String(), test.want) {
			t.Errorf("%s: exit code %d and %s, want %d and %q", name, code, &errs, test.code, test.want)
		}
	}
}
