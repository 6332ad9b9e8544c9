package configs_test

import (
	"os"
	"testing"

	"iotc-gateway/configs"
)

// FuzzLoad: no text makes the loader panic or hang, and what it accepts it
// accepts again after printing it.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"gateway.yaml", "pi-tasmota.yaml", "industrial-pc.yaml", "container.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "info")
	}
	f.Add([]byte("console:\n  hosts: &a [*a]\n"), "[")
	f.Add([]byte("<<: {}\n? [a]\n: b\n"), "{a: &b *b}")
	f.Add([]byte("--- !!binary aGk=\n...\n--- x"), "!!int 3")
	f.Add([]byte("\xff\xfe"), "\x00")
	f.Fuzz(func(t *testing.T, text []byte, value string) {
		cfg, err := configs.Parse("fuzz.yaml", text, []string{"STATE_DIRECTORY=/s", "IOTC_CONSOLE_HOSTS=" + value}, map[string]string{"log.level": value})
		if err != nil {
			if len(faults(t, err)) == 0 {
				t.Fatal("an error without a fault")
			}
			return
		}
		printed, err := cfg.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := configs.Parse("printed.yaml", printed, nil, nil); err != nil {
			t.Fatalf("what is printed is refused: %v\n%s", err, printed)
		}
	})
}
