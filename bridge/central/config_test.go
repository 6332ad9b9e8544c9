package central_test

import (
	"fmt"
	"strings"
	"testing"

	"iotc-gateway/bridge/central"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*central.Config)
		want   []string // path, then a part of the message
	}{
		"defaults":         {func(*central.Config) {}, nil},
		"https":            {func(c *central.Config) { c.URL = "https://my-app.azureiotcentral.com/api" }, nil},
		"loopback":         {func(c *central.Config) { c.URL = "http://127.0.0.1:8090/api" }, nil},
		"loopback 6":       {func(c *central.Config) { c.URL = "http://[::1]:8090" }, nil},
		"localhost":        {func(c *central.Config) { c.URL = "http://LocalHost:8090" }, nil},
		"insecure":         {func(c *central.Config) { c.URL, c.Insecure = "http://10.0.0.1", true }, nil},
		"plain":            {func(c *central.Config) { c.URL = "http://10.0.0.1/api" }, []string{"url", "insecure: true"}},
		"like a loopback":  {func(c *central.Config) { c.URL = "http://localhost.example.com" }, []string{"url", "plain http"}},
		"no scheme":        {func(c *central.Config) { c.URL = "my-app.example/api" }, []string{"url", "https://"}},
		"no host":          {func(c *central.Config) { c.URL = "https:///api" }, []string{"url", "names no host"}},
		"password":         {func(c *central.Config) { c.URL = "https://u:p@x.example/api" }, []string{"url", "token_file"}},
		"query":            {func(c *central.Config) { c.URL = "https://x.example/api?a=b" }, []string{"url", "end with the path"}},
		"no version":       {func(c *central.Config) { c.APIVersion = "" }, []string{"api_version", "2022-07-31"}},
		"two tokens":       {func(c *central.Config) { c.TokenFile, c.TokenEnv = "a", "b" }, []string{"token_env", "exclude"}},
		"no time":          {func(c *central.Config) { c.Timeout = 0 }, []string{"timeout", "between"}},
		"negative rate":    {func(c *central.Config) { c.Rate = -1 }, []string{"rate", "negative"}},
		"header name":      {func(c *central.Config) { c.Headers = map[string]string{"a b": "c"} }, []string{"headers", "no header name"}},
		"own header":       {func(c *central.Config) { c.Headers = map[string]string{"authorization": "c"} }, []string{"headers.authorization", "gateway itself"}},
		"two-line header":  {func(c *central.Config) { c.Headers = map[string]string{"x-a": "c\r\nd"} }, []string{"headers.x-a", "one line"}},
		"several together": {func(c *central.Config) { c.URL, c.Timeout = "ftp://x", -1 }, []string{"url", "https://", "timeout", "between"}},
	} {
		cfg := central.DefaultConfig()
		test.change(&cfg)
		var got []string
		cfg.Validate(func(path, message string) { got = append(got, path, message) })
		ok := len(got) == len(test.want)
		for i := 0; ok && i < len(got); i += 2 {
			ok = got[i] == test.want[i] && strings.Contains(got[i+1], test.want[i+1])
		}
		if !ok {
			t.Errorf("%s: reported %q, want %q", name, got, test.want)
		}
		if len(test.want) > 0 || cfg.URL == "" {
			if _, err := central.NewClient(cfg, central.ClientOptions{}); err == nil {
				t.Errorf("%s: a client was made", name)
			}
		}
	}
}

func TestMissingCAFile(t *testing.T) {
	t.Parallel()
	cfg := central.DefaultConfig()
	cfg.URL, cfg.CAFile = "https://x.example", t.TempDir()+"/ca.pem"
	if _, err := central.NewClient(cfg, central.ClientOptions{}); err == nil || !strings.Contains(err.Error(), "certificate authorities") {
		t.Errorf("got %v", err)
	}
	write(t, cfg.CAFile, "no certificate")
	if _, err := central.NewClient(cfg, central.ClientOptions{}); err == nil || !strings.Contains(err.Error(), "no PEM certificate") {
		t.Errorf("got %v", err)
	}
}

func ExampleParseFilter() {
	f, err := central.ParseFilter("simulated eq false and not (displayName eq 'Pump 7''s sensor')")
	fmt.Println(f.Match(central.Device{ID: "d1", DisplayName: "Sensor Alpha"}), err)
	_, err = central.ParseFilter("temperature eq 5")
	fmt.Println(err)
	// Output:
	// true <nil>
	// "temperature" is no field of a device; fields are id, displayName, template, simulated, provisioned, enabled, lastSeen, firmwareVersion (position 1)
}
