package configs

import (
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/mapping"
)

// Version is the edition of the configuration that this program writes and
// reads; see the package comment.
const Version = 1

// Config is everything that can be set.
type Config struct {
	ConfigVersion int            `yaml:"config_version" doc:"Edition of the configuration this file was written for; leave it out for the current one."`
	Gateway       Gateway        `yaml:"gateway" doc:"The gateway itself: its name, its data directory, its clock."`
	Central       central.Config `yaml:"central" doc:"The uplink: an IoT Central application, or another gateway's local API."`
	Broker        broker.Config  `yaml:"broker" doc:"The embedded MQTT broker."`
	Mapping       mapping.Config `yaml:"mapping" doc:"What topics and payloads become."`
	Buffer        buffer.Config  `yaml:"buffer" doc:"The durable queue between the devices and the application."`
	Bridge        bridge.Config  `yaml:"bridge" doc:"How the queue is delivered, and which devices are registered."`
	Console       Console        `yaml:"console" doc:"The operators' HTTP listener: health and metrics."`
	Log           Log            `yaml:"log" doc:"What is logged, and how."`

	report *report
}

// Gateway is the section gateway.
type Gateway struct {
	ID             string        `yaml:"id" doc:"Name of this gateway, and the device id under which it reports its own health; by default made from the host name."`
	DataDir        string        `yaml:"data_dir" doc:"Directory for the store, users and tokens. By default STATE_DIRECTORY, else /var/lib/iotc-gateway where that is writable, else ~/.local/state/iotc-gateway."`
	Profile        string        `yaml:"profile" enum:"default,small" doc:"Which defaults hold for everything that is not set: default, or small for boards with 512 MiB of memory and 32-bit systems, with less memory for broker and queue."`
	Clock          string        `yaml:"clock" enum:"auto,trusted,wait" doc:"Whether the wall clock may be believed where the kernel does not say: auto believes a clock that is not behind the last one seen, trusted always, wait holds records back until it is synchronised."`
	Report         string        `yaml:"report" enum:"on,off" doc:"Whether the gateway reports its own health as a device."`
	ReportInterval time.Duration `yaml:"report_interval" doc:"Time between two reports of the gateway's own health."`
}

// Console is the section console.
type Console struct {
	Address  string   `yaml:"address" doc:"Address the console listens on, host:port; empty turns the console off."`
	TLS      TLS      `yaml:"tls" doc:"Certificate of the console; needed off loopback."`
	Insecure bool     `yaml:"insecure" doc:"Allow plain HTTP on an address other than loopback, for use behind a proxy that adds TLS."`
	Hosts    []string `yaml:"hosts" doc:"Host names that the console answers to, besides localhost and its own addresses."`
}

// TLS names the files of a server certificate.
type TLS struct {
	CertFile string `yaml:"cert_file" doc:"PEM file of the certificate and its chain."`
	KeyFile  string `yaml:"key_file" doc:"PEM file of the private key."`
}

// Log is the section log.
type Log struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error" doc:"The least severe level that is logged."`
	Format string `yaml:"format" enum:"json,console" doc:"json for machines, console for people."`
}

// Default returns the configuration of a gateway that was told nothing. It is
// complete but for gateway.id and gateway.data_dir, which [Load] derives from
// the machine.
func Default() *Config {
	return &Config{
		ConfigVersion: Version,
		Gateway: Gateway{
			Profile:        "default",
			Clock:          "auto",
			Report:         "on",
			ReportInterval: time.Minute,
		},
		Central: central.DefaultConfig(),
		Broker:  broker.DefaultConfig(),
		Mapping: mapping.DefaultConfig(),
		Buffer:  buffer.DefaultConfig(),
		Bridge:  bridge.DefaultConfig(),
		Console: Console{Address: "127.0.0.1:8080"},
		Log:     Log{Level: "info", Format: "json"},
	}
}

// Where tells where a value was written, or its nearest parent that was; it is
// the zero Position for a default. Packages report faults by path, and this
// puts file and line to them.
func (c *Config) Where(path string) Position {
	if c.report == nil {
		return Position{}
	}
	return c.report.where(path)
}
