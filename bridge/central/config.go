package central

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config is the section central of the configuration: where the uplink is and how it is spoken to.
type Config struct {
	URL          string            `yaml:"url" doc:"Base address of the IoT Central REST API, such as https://my-app.azureiotcentral.com/api. Empty runs the gateway without an uplink. Plain http:// is allowed to loopback only, or with insecure."`
	APIVersion   string            `yaml:"api_version" doc:"The api-version sent with every call."`
	TokenFile    string            `yaml:"token_file" doc:"File that holds the API token. It is read again on reload and after an answer 401."`
	TokenEnv     string            `yaml:"token_env" doc:"Environment variable that holds the API token, for where no file can be had."`
	CAFile       string            `yaml:"ca_file" doc:"PEM file of certificate authorities trusted beside the system's."`
	Timeout      time.Duration     `yaml:"timeout" doc:"How long one call may take, from connecting to the end of the answer."`
	Rate         float64           `yaml:"rate" doc:"Most calls per second; 0 sets no limit."`
	Deduplicates bool              `yaml:"deduplicates" doc:"The server applies each request id once, so that a command whose answer was lost may be sent again."`
	CompressOver int64             `yaml:"compress_over" unit:"bytes" doc:"Bodies of more bytes than this are sent compressed (gzip); 0 compresses none. For servers that take it, such as another gateway; one that answers 415 gets them as they are."`
	Insecure     bool              `yaml:"insecure" doc:"Allow plain http:// to a host other than loopback: the token and all data can then be read on the way."`
	Headers      map[string]string `yaml:"headers" secret:"true" doc:"Extra headers of every call, for proxies that ask for one."`
}

// DefaultConfig returns the defaults; the rate is what the real service allows an application.
func DefaultConfig() Config {
	return Config{APIVersion: DefaultAPIVersion, Timeout: 15 * time.Second, Rate: 20}
}

// Validate reports every fault with the path of its key.
func (c Config) Validate(report func(path, message string)) {
	if c.URL != "" {
		if _, err := parseBase(c.URL, c.Insecure); err != nil {
			report("url", err.Error())
		}
	}
	if c.APIVersion == "" {
		report("api_version", "must not be empty; the reference's is "+DefaultAPIVersion)
	}
	if c.TokenFile != "" && c.TokenEnv != "" {
		report("token_env", "token_file and token_env exclude each other")
	}
	if c.Timeout <= 0 || c.Timeout > 10*time.Minute {
		report("timeout", fmt.Sprintf("must be between 0 and 10m, not %v", c.Timeout))
	}
	if c.CompressOver < 0 {
		report("compress_over", "must not be negative; 0 compresses nothing")
	}
	if c.Rate < 0 {
		report("rate", "must not be negative; 0 sets no limit")
	}
	for name, value := range c.Headers {
		switch {
		case !isHeaderName(name):
			report("headers", fmt.Sprintf("%q is no header name", name))
		case slices.ContainsFunc(ownHeaders, func(own string) bool { return strings.EqualFold(own, name) }):
			report("headers."+name, "is set by the gateway itself")
		case checkToken(value) != nil:
			report("headers."+name, "must be printable ASCII on one line")
		}
	}
}

// ownHeaders are those a user cannot set, for the client does.
var ownHeaders = []string{"Authorization", "Content-Type", "Content-Length", headerEncoding, "Accept", "Host", "Connection", "Transfer-Encoding", headerClientRequestID}

// parseBase checks the base address. The reference's addresses begin with /api, so an address without a path gets it.
func parseBase(raw string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("is no URL: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("must begin with https:// (or http:// to loopback)")
	case u.Hostname() == "":
		return nil, fmt.Errorf("names no host")
	case u.User != nil:
		return nil, fmt.Errorf("must not hold a user or password; the token belongs in token_file")
	case u.RawQuery != "" || u.Fragment != "" || u.RawPath != "":
		return nil, fmt.Errorf("must end with the path, such as /api")
	case u.Scheme == "http" && !insecure && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("plain http:// would show the token to everyone on the way to %s: use https://, or set insecure: true", u.Hostname())
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if u.Path == "" {
		u.Path = "/api"
	}
	return u, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return net.ParseIP(host).IsLoopback()
}

// isHeaderName tells whether s is a token of RFC 9110 §5.6.2.
func isHeaderName(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(s[i])) {
			return false
		}
	}
	return s != ""
}
