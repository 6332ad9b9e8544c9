package configs

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// validate reports every value that cannot work.
func validate(c *Config, report func(path, message string)) {
	section := func(name string) func(string, string) {
		return func(path, message string) { report(join(name, path), message) }
	}
	c.Gateway.Validate(section("gateway"))
	c.Central.Validate(section("central"))
	c.Broker.Validate(section("broker"))
	c.Mapping.Validate(section("mapping"))
	c.Buffer.Validate(section("buffer"))
	c.Bridge.Validate(section("bridge"))
	c.Console.Validate(section("console"))
}

// Validate checks a configuration that was put together or changed in code;
// [Load] has done it already.
func (c *Config) Validate() error {
	r := newReport()
	if c.report != nil {
		r.at = c.report.at
	}
	validate(c, r.addAt)
	return r.err()
}

// IoT Central takes at most 128 of these, the last one a letter, a digit or a dash.
var deviceID = regexp.MustCompile(`^[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]$`)

// Validate reports what is impossible in the section gateway.
func (g Gateway) Validate(report func(path, message string)) {
	if !deviceID.MatchString(g.ID) {
		report("id", "must be a device id: at most 128 letters, digits and . _ : -, the last one a letter, a digit or -")
	}
	if g.ReportInterval < time.Second {
		report("report_interval", "must be at least 1s")
	}
}

// Validate reports what is impossible in the section console.
func (c Console) Validate(report func(path, message string)) {
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		report("tls", "needs both cert_file and key_file")
	}
	for i, h := range c.Hosts {
		if h == "" || strings.ContainsAny(h, "/ @?#") {
			report("hosts["+strconv.Itoa(i)+"]", "must be a host name or address, without scheme or path")
		}
	}
	if c.Address == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || !validPort(port) {
		report("address", "must be host:port, such as 127.0.0.1:8080, or :8080 for every address")
		return
	}
	if !isLoopback(host) && c.TLS.CertFile == "" && !c.Insecure {
		report("address", "is reachable from other machines and needs console.tls, or console.insecure: true behind a proxy that adds TLS")
	}
}

func validPort(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}

// isLoopback says whether only this machine can reach a host. A name other
// than localhost is not looked up: its answer may change.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
