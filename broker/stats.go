package broker

import "sync/atomic"

// reason names why something was refused, dropped or ended. The names are the values of a metric's label.
type reason uint8

const (
	reasonMaxConnections reason = iota
	reasonAddressConnections
	reasonConnectionRate
	reasonConnectTimeout
	reasonConnectSize
	reasonNotConnect
	reasonHandshake
	reasonOrigin
	reasonProtocol
	reasonProtocolVersion
	reasonPacketSize
	reasonPacketMemory
	reasonWriteTimeout
	reasonKeepAlive
	reasonPanic
	reasonMaxClients
	reasonCredentials
	reasonAnonymous
	reasonLoginThrottled
	reasonLoginBusy
	reasonCertificate
	reasonAuthMethod
	reasonClientID
	reasonClientIDOwner
	reasonDeviceID
	reasonWill
	reasonTakeover
	reasonUserRemoved
	reasonStarting
	reasonStopping
	reasonPublishACL
	reasonPublishDevice
	reasonPublishTopic
	reasonPublishRate
	reasonTopicAlias
	reasonQoS2Pending
	reasonQoS2Duplicate
	reasonRefusedStore
	reasonRefusedQuota
	reasonRefusedOther
	reasonSubscribeACL
	reasonSubscribeFilter
	reasonSubscribeLimit
	reasonDeliveryACL
	reasonSlowConsumer
	reasonTooLarge
	reasonQueueMessages
	reasonQueueBytes
	reasonQueueExpired
	reasonRetainedLimit
	reasonSessionExpired
	reasonSessionEvicted
	reasonStoreCorrupt
	reasonAdministrative
	reasonCount
)

var reasonNames = [reasonCount]string{
	reasonMaxConnections:     "max_connections",
	reasonAddressConnections: "max_connections_per_address",
	reasonConnectionRate:     "connection_rate",
	reasonConnectTimeout:     "connect_timeout",
	reasonConnectSize:        "max_connect_bytes",
	reasonNotConnect:         "not_connect",
	reasonHandshake:          "handshake",
	reasonOrigin:             "websocket_upgrade",
	reasonProtocol:           "protocol_error",
	reasonProtocolVersion:    "protocol_version",
	reasonPacketSize:         "max_packet_bytes",
	reasonPacketMemory:       "packet_memory",
	reasonWriteTimeout:       "write_timeout",
	reasonKeepAlive:          "keep_alive",
	reasonPanic:              "panic",
	reasonMaxClients:         "max_clients",
	reasonCredentials:        "bad_credentials",
	reasonAnonymous:          "anonymous",
	reasonLoginThrottled:     "login_throttled",
	reasonLoginBusy:          "login_busy",
	reasonCertificate:        "certificate",
	reasonAuthMethod:         "auth_method",
	reasonClientID:           "client_id",
	reasonClientIDOwner:      "client_id_owner",
	reasonDeviceID:           "device_id",
	reasonWill:               "will",
	reasonTakeover:           "takeover",
	reasonUserRemoved:        "user_removed",
	reasonStarting:           "starting",
	reasonStopping:           "stopping",
	reasonPublishACL:         "publish_acl",
	reasonPublishDevice:      "publish_device_id",
	reasonPublishTopic:       "publish_topic",
	reasonPublishRate:        "publish_rate",
	reasonTopicAlias:         "topic_alias",
	reasonQoS2Pending:        "max_qos2_pending",
	reasonQoS2Duplicate:      "qos2_duplicate",
	reasonRefusedStore:       "refused_unspecified",
	reasonRefusedQuota:       "refused_quota",
	reasonRefusedOther:       "refused_other",
	reasonSubscribeACL:       "subscribe_acl",
	reasonSubscribeFilter:    "subscribe_filter",
	reasonSubscribeLimit:     "max_subscriptions",
	reasonDeliveryACL:        "delivery_acl",
	reasonSlowConsumer:       "slow_consumer",
	reasonTooLarge:           "client_max_packet_size",
	reasonQueueMessages:      "queued_messages",
	reasonQueueBytes:         "queued_bytes",
	reasonQueueExpired:       "queue_expired",
	reasonRetainedLimit:      "max_retained",
	reasonSessionExpired:     "session_expired",
	reasonSessionEvicted:     "max_sessions",
	reasonStoreCorrupt:       "store_corrupt",
	reasonAdministrative:     "administrative",
}

// String is the reason's name in metrics, logs and events.
func (r reason) String() string { return reasonNames[r] }

// Reasons lists the names that Stats.Reasons can have, in a fixed order.
func Reasons() []string { return append([]string(nil), reasonNames[:]...) }

// counters are moved with atomic operations alone.
type counters struct {
	reasons     [reasonCount]atomic.Int64
	received    [3]atomic.Int64
	bytes       atomic.Int64
	acked       atomic.Int64
	refused     atomic.Int64
	duplicates  atomic.Int64
	wills       atomic.Int64
	accepted    atomic.Int64
	logins      atomic.Int64
	connections atomic.Int64
	clients     atomic.Int64
	inFlight    atomic.Int64
	queued      atomic.Int64
	queuedBytes atomic.Int64
	expiring    atomic.Int64 // of the queued messages, those that can expire
	throttledNs atomic.Int64
}

func (c *counters) count(r reason) { c.reasons[r].Add(1) }

// Stats is a snapshot. What is not called a gauge only grows.
type Stats struct {
	Connections     int64    // gauge: open sockets
	Clients         int64    // gauge: connected MQTT clients
	Sessions        int64    // gauge: sessions, connected or waiting for their client
	Subscriptions   int64    // gauge
	Retained        int64    // gauge: retained messages, without $SYS
	RetainedBytes   int64    // gauge
	InFlight        int64    // gauge: publications handed over and not settled
	QueuedMessages  int64    // gauge: messages that wait for a subscriber's acknowledgement
	QueuedBytes     int64    // gauge
	PacketMemory    int64    // gauge: bytes of large packets being read or stored
	Accepted        int64    // sockets accepted
	Logins          int64    // clients let in
	Received        [3]int64 // publications by QoS
	ReceivedBytes   int64    // their payloads
	Acknowledged    int64    // PUBACK and PUBREC that said yes
	Refused         int64    // publications refused, for whatever reason
	Duplicates      int64    // publications that carried DUP
	Wills           int64    // last wills published
	Delivered       int64    // messages sent to subscribers
	DeliveryDropped int64    // messages that a slow subscriber did not get
	BytesReceived   int64    // on the wire, without TLS
	BytesSent       int64
	BackPressure    float64          // seconds that clients were slowed down by their rate limit
	Reasons         map[string]int64 // refusals, drops and ends by reason; every name is there
}
