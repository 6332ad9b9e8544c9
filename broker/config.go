package broker

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"
)

// Config is the broker's part of the configuration file.
type Config struct {
	Listeners []ListenerConfig `yaml:"listeners" doc:"Network addresses that clients connect to."`
	Auth      AuthConfig       `yaml:"auth" doc:"Who is let in."`
	Limits    Limits           `yaml:"limits" doc:"Bounds on what clients may cost the gateway."`
}

// ListenerConfig is one address that clients connect to.
type ListenerConfig struct {
	Name      string     `yaml:"name" doc:"Name of the listener in logs, metrics and policies; unique."`
	Address   string     `yaml:"address" doc:"Host and port to listen on; an empty host means every interface."`
	Transport string     `yaml:"transport" enum:"tcp,websocket" doc:"What carries MQTT: tcp (the default) or websocket."`
	Path      string     `yaml:"path" doc:"Path of a WebSocket listener; /mqtt by default."`
	Origins   []string   `yaml:"origins" doc:"Origins whose browser pages may connect by WebSocket, such as https://scada.example; with none, browsers are refused, and * lets all in."`
	Anonymous string     `yaml:"anonymous" enum:",never,loopback,always" doc:"Overrides auth.anonymous for this listener."`
	TLS       *TLSConfig `yaml:"tls" doc:"Certificate and key; without it the listener is in the clear."`
}

// TLSConfig makes a listener speak TLS 1.2 or 1.3. The files are read again when they change; connections go on.
type TLSConfig struct {
	CertFile     string `yaml:"cert_file" doc:"PEM file with the server's certificate and its chain."`
	KeyFile      string `yaml:"key_file" doc:"PEM file with the server's private key; readable by the gateway alone."`
	ClientCAFile string `yaml:"client_ca_file" doc:"PEM file with the authorities whose client certificates identify devices."`
	ClientAuth   string `yaml:"client_auth" enum:",none,optional,require" doc:"Whether a client must show a certificate: require (the default with client_ca_file), optional or none."`
	Identity     string `yaml:"identity" enum:",cn,san" doc:"Where a client certificate names its device: cn, the subject's common name (the default), or san, the first DNS, URI or e-mail name."`
	MinVersion   string `yaml:"min_version" enum:",1.2,1.3" doc:"Oldest TLS version that is accepted; 1.2 by default."`
}

// AuthConfig says who is let in.
type AuthConfig struct {
	Anonymous      string        `yaml:"anonymous" enum:"never,loopback,always" doc:"Whether clients may connect without credentials: never, loopback (listener and client both on this machine, not by WebSocket) or always."`
	FailureDelay   time.Duration `yaml:"failure_delay" doc:"How long an address is shut out after its first failed login; each further failure doubles it."`
	MaxDelay       time.Duration `yaml:"max_delay" doc:"The longest that an address is shut out after failed logins."`
	SuccessCache   time.Duration `yaml:"success_cache" doc:"How long a password that was right is remembered (as a keyed hash), so that a storm of reconnects does not cost a slow hash each; 0 turns it off."`
	RefusalDelay   time.Duration `yaml:"refusal_delay" doc:"How long an MQTT 3.1.1 client whose publish was refused is kept waiting before its connection is closed."`
	HashConcurrent int           `yaml:"hash_concurrent" doc:"How many passwords are hashed at the same time; each takes 8 MiB and tens of milliseconds."`
}

// Limits bound what clients may cost. Zero means unlimited where the description says so.
type Limits struct {
	MaxClients               int           `yaml:"max_clients" doc:"Connected MQTT clients."`
	MaxConnections           int           `yaml:"max_connections" doc:"Open sockets, also of those that have not said CONNECT yet."`
	MaxConnectionsPerAddress int           `yaml:"max_connections_per_address" doc:"Open sockets from one address (an IPv6 /64 counts as one); 0 = unlimited."`
	ConnectionRate           float64       `yaml:"connection_rate" doc:"New connections a second from one address, on average; 0 = unlimited."`
	ConnectionBurst          int           `yaml:"connection_burst" doc:"New connections from one address that may come at once."`
	ConnectTimeout           time.Duration `yaml:"connect_timeout" doc:"Time from the accepted socket to a whole CONNECT, with the TLS handshake in it."`
	WriteTimeout             time.Duration `yaml:"write_timeout" doc:"How long a client may refuse to read before it is disconnected."`
	MaxConnectBytes          int64         `yaml:"max_connect_bytes" unit:"bytes" doc:"Size of a CONNECT with its will; nothing larger is read before somebody logged in."`
	MaxPacketBytes           int64         `yaml:"max_packet_bytes" unit:"bytes" doc:"Size of any other packet."`
	PacketMemory             int64         `yaml:"packet_memory" unit:"bytes" doc:"Memory for packets above 4 KiB of all clients together that are being read or not yet stored; clients wait for it."`
	PublishRate              float64       `yaml:"publish_rate" doc:"Publishes a second of one client; above it the client is slowed down; 0 = unlimited."`
	PublishBytesRate         int64         `yaml:"publish_bytes_rate" unit:"bytes" doc:"Payload bytes a second of one client; above it the client is slowed down; 0 = unlimited."`
	MaxBackPressure          time.Duration `yaml:"max_back_pressure" doc:"A client that would have to be slowed down by more than this is disconnected."`
	InFlight                 int           `yaml:"in_flight" doc:"Publishes of one client that may wait to be stored; at the end of it the client is held back."`
	MaxQoS2Pending           int           `yaml:"max_qos2_pending" doc:"QoS 2 publishes of one session that wait for their release."`
	MaxSubscriptions         int           `yaml:"max_subscriptions" doc:"Subscriptions of one session."`
	MaxTopicBytes            int           `yaml:"max_topic_bytes" doc:"Length of a topic or filter."`
	MaxTopicLevels           int           `yaml:"max_topic_levels" doc:"Levels of a topic or filter."`
	MaxClientIDBytes         int           `yaml:"max_client_id_bytes" doc:"Length of a client identifier."`
	PendingWrites            int           `yaml:"pending_writes" doc:"Deliveries that may wait for a client's socket; more are dropped, QoS 1 too."`
	QueuedMessages           int           `yaml:"queued_messages" doc:"QoS 1 and 2 messages that wait for one session, offline or unacknowledged."`
	QueuedBytes              int64         `yaml:"queued_bytes" unit:"bytes" doc:"The same in bytes, with about 1200 for each message besides its own."`
	TotalQueuedBytes         int64         `yaml:"total_queued_bytes" unit:"bytes" doc:"The same for all sessions together."`
	SessionExpiry            time.Duration `yaml:"session_expiry" doc:"The longest that a session outlives its connection."`
	MaxSessions              int           `yaml:"max_sessions" doc:"Sessions that wait for their client; the one that waits longest is dropped for another."`
	MaxRetained              int           `yaml:"max_retained" doc:"Retained messages."`
	MaxRetainedBytes         int64         `yaml:"max_retained_bytes" unit:"bytes" doc:"Bytes of all retained messages together."`
	MaxKeepAlive             time.Duration `yaml:"max_keep_alive" doc:"The longest keep-alive; an MQTT 5 client is told, another that is silent for one and a half times as long is disconnected."`
}

// DefaultConfig is what holds without a configuration file: one listener on this machine, in the clear.
func DefaultConfig() Config {
	return Config{
		Listeners: []ListenerConfig{{Name: "local", Address: "127.0.0.1:1883"}},
		Auth:      DefaultAuth(),
		Limits:    DefaultLimits(),
	}
}

// DefaultAuth lets nobody in without credentials but from this machine.
func DefaultAuth() AuthConfig {
	return AuthConfig{
		Anonymous:      "loopback",
		FailureDelay:   500 * time.Millisecond,
		MaxDelay:       time.Minute,
		SuccessCache:   5 * time.Minute,
		RefusalDelay:   time.Second,
		HashConcurrent: 2,
	}
}

// DefaultLimits fit a Raspberry Pi with two thousand small devices.
func DefaultLimits() Limits {
	return Limits{
		MaxClients:               2000,
		MaxConnections:           2500,
		MaxConnectionsPerAddress: 1100,
		ConnectionRate:           200,
		ConnectionBurst:          1100,
		ConnectTimeout:           5 * time.Second,
		WriteTimeout:             1500 * time.Millisecond,
		MaxConnectBytes:          16 << 10,
		MaxPacketBytes:           256 << 10,
		PacketMemory:             32 << 20,
		MaxBackPressure:          5 * time.Second,
		InFlight:                 64,
		MaxQoS2Pending:           256,
		MaxSubscriptions:         128,
		MaxTopicBytes:            1024,
		MaxTopicLevels:           16,
		MaxClientIDBytes:         256,
		PendingWrites:            128,
		QueuedMessages:           1024,
		QueuedBytes:              2 << 20,
		TotalQueuedBytes:         8 << 20,
		SessionExpiry:            7 * 24 * time.Hour,
		MaxSessions:              2000,
		MaxRetained:              10000,
		MaxRetainedBytes:         16 << 20,
		MaxKeepAlive:             12 * time.Hour,
	}
}

// maxKeepAlive is the largest keep-alive whose one and a half times still fits the library's sixteen bits.
const maxKeepAlive = 43690 * time.Second

// Validate reports every fault with its path.
func (c Config) Validate(report func(path, message string)) {
	names := map[string]bool{}
	for i, l := range c.Listeners {
		path := fmt.Sprintf("listeners[%d]", i)
		l.validate(func(p, m string) { report(path+"."+p, m) })
		if l.Name != "" && names[l.Name] {
			report(path+".name", fmt.Sprintf("%q is used twice", l.Name))
		}
		names[l.Name] = true
	}
	c.Auth.validate(func(p, m string) { report("auth."+p, m) })
	c.Limits.validate(func(p, m string) { report("limits."+p, m) })
}

func oneOf(v string, allowed ...string) bool {
	return slices.Contains(allowed, v)
}

func (l ListenerConfig) validate(report func(path, message string)) {
	if l.Name == "" {
		report("name", "must not be empty")
	}
	if _, _, err := net.SplitHostPort(l.Address); err != nil {
		report("address", "must be host:port, such as 127.0.0.1:1883 or :8883")
	}
	if !oneOf(l.Transport, "", "tcp", "websocket") {
		report("transport", "must be tcp or websocket")
	}
	if l.Transport != "websocket" && (len(l.Origins) > 0 || l.Path != "") {
		report("transport", "origins and path are for websocket listeners")
	}
	if l.Path != "" && l.Path[0] != '/' {
		report("path", "must begin with /")
	}
	for i, o := range l.Origins {
		if u, err := url.Parse(o); o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Path != "") {
			report(fmt.Sprintf("origins[%d]", i), "must be an origin, such as https://scada.example, or *")
		}
	}
	if !oneOf(l.Anonymous, "", "never", "loopback", "always") {
		report("anonymous", "must be never, loopback or always")
	}
	if l.TLS == nil {
		return
	}
	if l.TLS.CertFile == "" {
		report("tls.cert_file", "must not be empty")
	}
	if l.TLS.KeyFile == "" {
		report("tls.key_file", "must not be empty")
	}
	if !oneOf(l.TLS.ClientAuth, "", "none", "optional", "require") {
		report("tls.client_auth", "must be none, optional or require")
	}
	if l.TLS.ClientCAFile == "" && oneOf(l.TLS.ClientAuth, "optional", "require") {
		report("tls.client_ca_file", "is needed to check client certificates")
	}
	if !oneOf(l.TLS.Identity, "", "cn", "san") {
		report("tls.identity", "must be cn or san")
	}
	if !oneOf(l.TLS.MinVersion, "", "1.2", "1.3") {
		report("tls.min_version", "must be 1.2 or 1.3")
	}
}

func (a AuthConfig) validate(report func(path, message string)) {
	if !oneOf(a.Anonymous, "never", "loopback", "always") {
		report("anonymous", "must be never, loopback or always")
	}
	if a.FailureDelay < 0 || a.MaxDelay < a.FailureDelay {
		report("max_delay", "must not be below failure_delay")
	}
	if a.SuccessCache < 0 {
		report("success_cache", "must not be negative")
	}
	if a.RefusalDelay < 0 || a.RefusalDelay > time.Minute {
		report("refusal_delay", "must be between 0 and 1m")
	}
	if a.HashConcurrent < 1 || a.HashConcurrent > 64 {
		report("hash_concurrent", "must be between 1 and 64")
	}
}

func (l Limits) validate(report func(path, message string)) {
	between := func(path string, v, low, high int64) {
		if v < low || v > high {
			report(path, fmt.Sprintf("must be between %d and %d", low, high))
		}
	}
	between("max_clients", int64(l.MaxClients), 1, 1_000_000)
	between("max_connections", int64(l.MaxConnections), 1, 1_000_000)
	between("max_connections_per_address", int64(l.MaxConnectionsPerAddress), 0, 1_000_000)
	if l.ConnectionRate < 0 {
		report("connection_rate", "must not be negative")
	}
	if l.ConnectionRate > 0 && l.ConnectionBurst < 1 {
		report("connection_burst", "must be at least 1 when connection_rate is set")
	}
	positive := func(path string, d, low, high time.Duration) {
		if d < low || d > high {
			report(path, fmt.Sprintf("must be between %s and %s", low, high))
		}
	}
	positive("connect_timeout", l.ConnectTimeout, 10*time.Millisecond, 5*time.Minute)
	positive("write_timeout", l.WriteTimeout, 10*time.Millisecond, 5*time.Minute)
	positive("max_back_pressure", l.MaxBackPressure, 0, 5*time.Minute)
	positive("session_expiry", l.SessionExpiry, time.Second, 10*365*24*time.Hour)
	positive("max_keep_alive", l.MaxKeepAlive, time.Second, maxKeepAlive)
	between("max_connect_bytes", l.MaxConnectBytes, 128, 1<<20)
	between("max_packet_bytes", l.MaxPacketBytes, 128, 256<<20)
	between("packet_memory", l.PacketMemory, l.MaxPacketBytes, 1<<40)
	if l.PublishRate < 0 {
		report("publish_rate", "must not be negative")
	}
	if l.PublishBytesRate < 0 {
		report("publish_bytes_rate", "must not be negative")
	}
	between("in_flight", int64(l.InFlight), 1, 65535)
	between("max_qos2_pending", int64(l.MaxQoS2Pending), 1, 65535)
	between("max_subscriptions", int64(l.MaxSubscriptions), 1, 1_000_000)
	between("max_topic_bytes", int64(l.MaxTopicBytes), 16, 65535)
	between("max_topic_levels", int64(l.MaxTopicLevels), 4, 1024)
	between("max_client_id_bytes", int64(l.MaxClientIDBytes), 23, 65535)
	between("pending_writes", int64(l.PendingWrites), 1, 65535)
	between("queued_messages", int64(l.QueuedMessages), 1, 65535)
	between("queued_bytes", l.QueuedBytes, 1024, 1<<40)
	between("total_queued_bytes", l.TotalQueuedBytes, 1024, 1<<40)
	between("max_sessions", int64(l.MaxSessions), 1, 1_000_000)
	between("max_retained", int64(l.MaxRetained), 0, 10_000_000)
	between("max_retained_bytes", l.MaxRetainedBytes, 0, 1<<40)
}
