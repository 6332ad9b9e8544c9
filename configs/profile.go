package configs

// The profiles of gateway.profile.
const (
	ProfileDefault = "default"
	ProfileSmall   = "small"
)

// Small returns the defaults for a board with 512 MiB of memory or a 32-bit
// system: some hundred devices instead of some thousand, and an outage of days
// rather than months. What is set explicitly still holds.
func Small() *Config {
	c := Default()
	c.Gateway.Profile = ProfileSmall

	c.Buffer.MaxBytes = 256 << 20
	c.Buffer.MemoryBytes = 2 << 20
	c.Buffer.MaxDevices = 4096
	c.Buffer.DeadLetters.MaxBytes = 16 << 20

	l := &c.Broker.Limits
	l.MaxClients = 300
	l.MaxConnections = 400
	l.MaxConnectionsPerAddress = 300
	l.ConnectionBurst = 300
	l.ConnectionRate = 50
	l.PacketMemory = 4 << 20
	l.InFlight = 32
	l.PendingWrites = 64
	l.QueuedMessages = 256
	l.QueuedBytes = 256 << 10
	l.TotalQueuedBytes = 4 << 20
	l.MaxSessions = 600
	l.MaxRetained = 2000
	l.MaxRetainedBytes = 4 << 20
	// A password costs 8 MiB while it is hashed.
	c.Broker.Auth.HashConcurrent = 1

	c.Bridge.Concurrency = 8
	c.Bridge.Registry.MaxDevices = 600
	return c
}

// Runtime is what a profile asks of Go's memory management; zeros ask nothing.
type Runtime struct {
	MemoryLimit int64 // as GOMEMLIMIT, bytes
	GCPercent   int   // as GOGC
}

// Runtime returns what the profile in force asks.
func (c *Config) Runtime() Runtime {
	if c.Gateway.Profile != ProfileSmall {
		return Runtime{}
	}
	// In a steady flow anonymous memory is a quarter less than at 100, and the collector takes some 5 % of the processor.
	return Runtime{MemoryLimit: 96 << 20, GCPercent: 50}
}
