package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"iotc-gateway/bridge"
	"iotc-gateway/buffer"
)

// metric declares one series that is read from a snapshot when it is asked for,
// so that no hot path moves a Prometheus object.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("iotc_gateway_"+name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("iotc_gateway_"+name, help, labels, nil), prometheus.GaugeValue}
}

// The names of the gateway's own metrics. None is labelled by device.
var (
	metricInfo         = gauge("info", "Always 1; the version is a label.", "version")
	metricReceived     = counter("publications_total", "Publications taken in from the field.")
	metricPayloads     = counter("publications_bytes_total", "Bytes of the payloads of the publications that the broker received.")
	metricStored       = counter("publications_stored_total", "Publications stored and acknowledged.")
	metricRecords      = counter("records_total", "Records stored.")
	metricUnmapped     = counter("publications_unmapped_total", "Publications on topics that nothing maps.")
	metricIngestDead   = counter("publications_dead_lettered_total", "Publications that became a dead letter.")
	metricRefused      = counter("publications_refused_total", "Publications that were not acknowledged because they could not be stored.")
	metricResent       = counter("publications_resent_total", "Publications that the client sent again (DUP).")
	metricIngestReason = counter("ingest_reasons_total", "Publications refused, dead-lettered or without effect, by reason.", "reason")
	metricPressure     = counter("ingest_delay_seconds_total", "Time that publishes were held back because the processor was overloaded.")
	metricOwned        = counter("properties_acknowledged_total", "Reports of properties that the cloud owns, which are not sent up.")
	metricLeftOut      = counter("mapping_left_out_total", "Values that mapping left out, by reason.", "reason")

	metricWaiting        = gauge("queue_records", "Records that wait for the uplink, by class.", "class")
	metricWaitingBytes   = gauge("queue_bytes", "Bytes of the records that wait for the uplink, by class.", "class")
	metricOldest         = gauge("queue_oldest_seconds", "How long the oldest record waits, by class; 0 where none does.", "class")
	metricClassStored    = counter("queue_stored_total", "Records stored, by class.", "class")
	metricClassDelivered = counter("queue_delivered_total", "Records that the uplink has taken, by class.", "class")
	metricStoreRefused   = counter("store_refused_total", "Batches that the store did not take, by reason.", "reason")
	metricSyncTime       = prometheus.NewDesc("iotc_gateway_store_sync_seconds", "Duration of the store's transactions, with the sync that buffer.sync asks for.", nil, nil)
	metricSyncErrors     = counter("store_sync_errors_total", "Transactions that could not be synced.")
	metricStoreLimit     = gauge("store_limit_bytes", "Bytes that records may take.")
	metricDropped        = counter("queue_dropped_total", "Records that left the queue without being delivered, by class and reason.", "class", "reason")
	metricDeadLetters    = gauge("dead_letters", "Dead letters that are kept.")
	metricDeadBytes      = gauge("dead_letter_bytes", "Bytes of the dead letters that are kept.")
	metricStoredBytes    = counter("queue_stored_bytes_total", "Bytes of the records stored, by class, with what a record costs beside its value.", "class")
	metricWritten        = counter("disk_written_bytes_total", "Bytes that the process has had written to disks since it started, as the kernel counts them; it is what wears out a flash card.")
	metricStoreBytes     = gauge("store_bytes", "Bytes that the store takes on disk.")
	metricFreeBytes      = gauge("disk_free_bytes", "Free bytes of the store's file system.")
	metricSyncs          = counter("store_syncs_total", "Transactions synced to disk.")
	metricCapacity       = gauge("queue_capacity_hours", "Hours until the queue is full at the present rate; negative when it does not grow.")

	metricDelivered = counter("uplink_records_total", "Records by what the uplink's answer made of them; one that is tried again counts each time.", "kind", "action", "reason")
	metricProbes    = counter("uplink_probes_total", "Probes of a closed uplink.")
	metricInFlight  = gauge("uplink_calls_in_flight", "Calls to the uplink that are under way.")
	metricState     = gauge("uplink_state", "1 for the state that the uplink is in, 0 for the others.", "state")
	metricRate      = gauge("uplink_rate_limit", "Calls a second that are allowed now; 0 is unlimited.")
	metricLatency   = prometheus.NewDesc("iotc_gateway_uplink_call_seconds", "Duration of calls to the uplink.", nil, nil)

	metricConnections  = gauge("mqtt_connections", "Open sockets of the broker.")
	metricClients      = gauge("mqtt_clients", "Connected MQTT clients.")
	metricSessions     = gauge("mqtt_sessions", "Sessions, connected or waiting for their client.")
	metricRetained     = gauge("mqtt_retained_messages", "Retained messages.")
	metricRetainedSize = gauge("mqtt_retained_bytes", "Bytes of the retained messages.")
	metricSubscribed   = gauge("mqtt_subscriptions", "Subscriptions of all sessions.")
	metricQueued       = gauge("mqtt_queued_messages", "Messages that wait for a subscriber's acknowledgement, connected or not.")
	metricQueuedBytes  = gauge("mqtt_queued_bytes", "The same in bytes.")
	metricMQTTInFlight = gauge("mqtt_in_flight", "Publications that were received and are not settled.")
	metricPacketMemory = gauge("mqtt_packet_memory_bytes", "Bytes of large packets that are being read or stored.")
	metricMQTTAccepted = counter("mqtt_connections_total", "Sockets accepted.")
	metricMQTTLogins   = counter("mqtt_logins_total", "Clients let in.")
	metricMQTTWills    = counter("mqtt_wills_total", "Last wills published.")
	metricMQTTSlowed   = counter("mqtt_back_pressure_seconds_total", "Time that clients were held to their publish rate.")
	metricMQTTSent     = counter("mqtt_deliveries_total", "Messages sent to subscribers.")
	metricMQTTBytes    = counter("mqtt_bytes_total", "Bytes on the wire, without TLS, by direction.", "direction")
	metricMQTTReceived = counter("mqtt_publishes_total", "PUBLISH packets received, by QoS.", "qos")
	metricMQTTAcked    = counter("mqtt_acknowledged_total", "PUBACK and PUBREC that said yes.")
	metricMQTTReasons  = counter("mqtt_refused_total", "Connections, packets and deliveries that the broker refused, dropped or ended, by reason.", "reason")
	metricClockSynced  = gauge("clock_synchronised", "1 while the wall clock is known to be right.")
	metricRegistry     = gauge("registered_devices", "Devices known to the registry, by state.", "state")
	metricDeliveryDrop = counter("mqtt_deliveries_dropped_total", "Messages that a slow subscriber did not get.")
)

// registerMetrics puts everything on one registry.
func (g *Gateway) registerMetrics(r *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{g},
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// collector reads the parts' snapshots when Prometheus asks.
type collector struct{ g *Gateway }

// Describe implements prometheus.Collector. It sends nothing, which makes the
// collector unchecked: series by reason come and go.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	send := sender(ch)
	send.put(metricInfo, 1, c.g.version)
	synced := 0.0
	if c.g.clock.Synced() {
		synced = 1
	}
	send.put(metricClockSynced, synced)
	c.ingest(send)
	c.queue(send)
	c.broker(send)
	c.registry(send)
	c.down(send)
	c.commands(send)
	c.api(send)
	if c.g.loop != nil {
		c.uplink(send)
	}
}

type sender chan<- prometheus.Metric

func (s sender) put(m metric, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
}

func (c collector) ingest(send sender) {
	n := &c.g.ingest.counters
	send.put(metricReceived, float64(n.Received.Load()))
	send.put(metricStored, float64(n.Stored.Load()))
	send.put(metricRecords, float64(n.Records.Load()))
	send.put(metricUnmapped, float64(n.Unmapped.Load()))
	send.put(metricIngestDead, float64(n.DeadLettered.Load()))
	send.put(metricRefused, float64(n.Refused.Load()))
	send.put(metricResent, float64(n.Resent.Load()))
	send.put(metricOwned, float64(n.Acknowledgements.Load()))
	send.put(metricPressure, time.Duration(c.g.ingest.pressure.total.Load()).Seconds())
	n.mu.Lock()
	defer n.mu.Unlock()
	for reason, count := range n.reasons {
		send.put(metricIngestReason, float64(count), reason)
	}
	for reason, count := range map[string]int{
		"drop_rule": n.tally.Dropped, "empty": n.tally.Empty, "unchanged": n.tally.Unchanged,
		"too_soon": n.tally.TooSoon, "replayed": n.tally.Replayed, "implausible_time": n.tally.Implausible,
		"repeated": n.tally.Repeated, "unresolved": n.tally.Unresolved, "unsupported": n.tally.Unsupported,
		"no_online": n.tally.NoOnline, "no_property": n.tally.NoProperty,
	} {
		send.put(metricLeftOut, float64(count), reason)
	}
}

func (c collector) queue(send sender) {
	st, oldest := c.g.store.Stats(), c.g.store.Oldest()
	for _, class := range buffer.Classes() {
		k, name := st.Classes[class], class.String()
		send.put(metricWaiting, float64(k.Count), name)
		send.put(metricWaitingBytes, float64(k.Bytes), name)
		send.put(metricOldest, oldest[class].Seconds(), name)
		send.put(metricClassStored, float64(k.Stored), name)
		send.put(metricStoredBytes, float64(k.StoredBytes), name)
		send.put(metricClassDelivered, float64(k.Delivered), name)
		for reason, n := range k.Dropped {
			send.put(metricDropped, float64(n), name, reason)
		}
	}
	for reason, n := range st.Refused {
		send.put(metricStoreRefused, float64(n), reason)
	}
	send.put(metricDeadLetters, float64(st.DeadLetters))
	send.put(metricDeadBytes, float64(st.DeadLetterBytes))
	send.put(metricStoreBytes, float64(st.DiskBytes))
	send.put(metricWritten, float64(writtenBytes()))
	send.put(metricStoreLimit, float64(st.LimitBytes))
	send.put(metricFreeBytes, float64(st.FreeBytes))
	send.put(metricSyncs, float64(st.Commits))
	send.put(metricSyncErrors, float64(st.CommitErrors))
	send.put(metricCapacity, st.HoursLeft)
	total, seconds, buckets := c.g.syncs.histogram()
	send <- prometheus.MustNewConstHistogram(metricSyncTime, total, seconds, buckets)
}

func (c collector) broker(send sender) {
	st := c.g.broker.Stats()
	send.put(metricConnections, float64(st.Connections))
	send.put(metricPayloads, float64(st.ReceivedBytes))
	send.put(metricClients, float64(st.Clients))
	send.put(metricSessions, float64(st.Sessions))
	send.put(metricRetained, float64(st.Retained))
	send.put(metricRetainedSize, float64(st.RetainedBytes))
	send.put(metricSubscribed, float64(st.Subscriptions))
	send.put(metricQueued, float64(st.QueuedMessages))
	send.put(metricQueuedBytes, float64(st.QueuedBytes))
	send.put(metricMQTTInFlight, float64(st.InFlight))
	send.put(metricPacketMemory, float64(st.PacketMemory))
	send.put(metricMQTTAccepted, float64(st.Accepted))
	send.put(metricMQTTLogins, float64(st.Logins))
	send.put(metricMQTTWills, float64(st.Wills))
	send.put(metricMQTTSlowed, st.BackPressure)
	send.put(metricMQTTSent, float64(st.Delivered))
	send.put(metricMQTTBytes, float64(st.BytesReceived), "received")
	send.put(metricMQTTBytes, float64(st.BytesSent), "sent")
	for qos, n := range st.Received {
		send.put(metricMQTTReceived, float64(n), string('0'+rune(qos)))
	}
	send.put(metricMQTTAcked, float64(st.Acknowledged))
	send.put(metricDeliveryDrop, float64(st.DeliveryDropped))
	for reason, n := range st.Reasons {
		send.put(metricMQTTReasons, float64(n), reason)
	}
}

func (c collector) registry(send sender) {
	byState := map[bridge.DeviceState]int{bridge.DeviceRegistered: 0, bridge.DevicePending: 0, bridge.DeviceApproved: 0, bridge.DeviceRefused: 0, bridge.DeviceDeleted: 0}
	for _, d := range c.g.registry.Devices() {
		byState[d.State]++
	}
	for state, n := range byState {
		send.put(metricRegistry, float64(n), string(state))
	}
}

func (c collector) uplink(send sender) {
	st := c.g.loop.Stats()
	for key, n := range st.Records {
		send.put(metricDelivered, float64(n), key.Kind.String(), key.Action.String(), key.Reason)
	}
	send.put(metricProbes, float64(st.Probes))
	send.put(metricInFlight, float64(st.InFlight))
	for s := bridge.Starting; s <= bridge.Offline; s++ {
		value := 0.0
		if s == st.Status.State {
			value = 1
		}
		send.put(metricState, value, s.String())
	}
	rate, _ := c.g.pacer.Rate()
	send.put(metricRate, rate)
	buckets, total := make(map[float64]uint64, len(bridge.LatencyBounds)), uint64(0)
	for i, n := range st.Latency.Counts {
		total += n
		if i < len(bridge.LatencyBounds) {
			buckets[bridge.LatencyBounds[i].Seconds()] = total
		}
	}
	send <- prometheus.MustNewConstHistogram(metricLatency, total, st.Latency.Sum.Seconds(), buckets)
}
