package configs

import (
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/mapping"
)

// Version is the edition of the configuration that this program writes and
// reads; see the package comment.
const Version = 1

// Config is everything that can be set.
type Config struct {
	ConfigVersion int            `yaml:"config_version" doc:"Edition of the configuration this file was written for; leave it out for the current one."`
	Gateway       Gateway        `yaml:"gateway" doc:"The gateway itself: its name, its data directory, its clock."`
	Central       Central        `yaml:"central" doc:"The uplink: an IoT Central application, or another gateway's local API."`
	Mapping       mapping.Config `yaml:"mapping" doc:"What topics and payloads become."`
	Bridge        bridge.Config  `yaml:"bridge" doc:"How the queue is delivered, and which devices are registered."`
	Console       Console        `yaml:"console" doc:"The operators' HTTP listener: dashboard, metrics, health and local API."`
	Log           Log            `yaml:"log" doc:"What is logged, and how."`

	report *report
}

// Gateway is the section gateway.
type Gateway struct {
	ID             string        `yaml:"id" doc:"Name of this gateway, and the device id under which it reports its own health; by default made from the host name."`
	DataDir        string        `yaml:"data_dir" doc:"Directory for the store, users and tokens. By default STATE_DIRECTORY, else /var/lib/iotc-gateway where that is writable, else ~/.local/state/iotc-gateway."`
	Clock          string        `yaml:"clock" enum:"auto|trusted|wait" doc:"Whether the wall clock may be believed where the kernel does not say: auto believes a clock that is not behind the last one seen, trusted always, wait holds records back until it is synchronised."`
	Report         string        `yaml:"report" enum:"on|off" doc:"Whether the gateway reports its own health as a device."`
	ReportInterval time.Duration `yaml:"report_interval" doc:"Time between two reports of the gateway's own health."`
}

// Central is the section central.
type Central struct {
	URL          string        `yaml:"url" doc:"Base URL of the application's API, such as https://my-app.azureiotcentral.com/api. Empty: records are stored and wait."`
	APIVersion   string        `yaml:"api_version" doc:"Value of the api-version parameter of every call."`
	TokenFile    string        `yaml:"token_file" doc:"File with the API token. It is read again on reload."`
	TokenEnv     string        `yaml:"token_env" doc:"Environment variable that holds the API token; used when token_file is empty."`
	Token        Secret        `yaml:"token" doc:"The API token itself. Prefer token_file: configuration files are copied and mailed around."`
	CAFile       string        `yaml:"ca_file" doc:"PEM file of root certificates that are trusted in addition to the system's."`
	Timeout      time.Duration `yaml:"timeout" doc:"Longest time that one call may take, connection and answer included."`
	Rate         float64       `yaml:"rate" doc:"Calls per second that the application allows; 0 for no limit."`
	Deduplicates bool          `yaml:"deduplicates" doc:"Whether the application remembers request ids, so that a command whose answer was lost may safely be sent again."`
	Insecure     bool          `yaml:"insecure" doc:"Allow an http:// URL to a host other than this one. The token then travels in the clear."`
	Gzip         bool          `yaml:"gzip" doc:"Compress request bodies. Only for an application that is known to accept it."`
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
	Level  string `yaml:"level" enum:"debug|info|warn|error" doc:"The least severe level that is logged."`
	Format string `yaml:"format" enum:"json|console" doc:"json for machines, console for people."`
}

// Default returns the configuration of a gateway that was told nothing. It is
// complete but for gateway.id and gateway.data_dir, which [Load] derives from
// the machine.
func Default() *Config {
	return &Config{
		ConfigVersion: Version,
		Gateway: Gateway{
			Clock:          "auto",
			Report:         "on",
			ReportInterval: time.Minute,
		},
		Central: Central{
			APIVersion: "2022-07-31",
			TokenEnv:   "IOTC_CENTRAL_TOKEN",
			Timeout:    15 * time.Second,
			Rate:       20,
		},
		Mapping: mapping.DefaultConfig(),
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
