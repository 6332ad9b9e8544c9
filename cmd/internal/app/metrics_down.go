package app

// The metrics of what comes down, and of commands on their way up.
var (
	metricFollowed    = gauge("desired_properties", "Properties of devices that the cloud owns and that are followed.")
	metricUnconfirmed = gauge("desired_unconfirmed", "Desired values that their devices have not reported yet.")
	metricLocalWrites = gauge("desired_pending", "Local operators' values that have not reached the application.")
	metricPolls       = counter("property_polls_total", "Questions to the application for a property.")
	metricPollFaults  = counter("property_poll_faults_total", "Such questions that got no answer.")
	metricDesired     = counter("desired_total", "Desired values by what became of them.", "what")

	metricTriggersActive = gauge("triggered_commands", "Commands triggered here that have not ended.")
	metricTriggers       = counter("triggered_commands_total", "Commands triggered here by what became of them.", "what")
	metricStatusPolls    = counter("triggered_command_polls_total", "Questions to the application for the status of a command.")

	metricSynced      = gauge("registry_sync_timestamp_seconds", "When the application's devices were last read, 0 if never.")
	metricSyncDevices = gauge("registry_sync_devices", "Devices that the application had then.")
	metricSyncSkipped = gauge("registry_sync_skipped", "Of these, devices that found no room here.")
	metricSyncFailed  = counter("registry_sync_failures_total", "Attempts to read the application's devices that failed.")
)

func (c collector) down(send sender) {
	p := c.g.desired.Stats()
	send.put(metricFollowed, float64(p.Followed))
	send.put(metricUnconfirmed, float64(p.Unconfirmed))
	send.put(metricLocalWrites, float64(p.Pending))
	send.put(metricPolls, float64(p.Polls))
	send.put(metricPollFaults, float64(p.PollFaults))
	for what, n := range map[string]uint64{
		"changed": p.Changes, "set_locally": p.Local, "delivered": p.Delivered, "refused_by_template": p.Refused, "acknowledged": p.Acknowledged,
		"written": p.Written, "overtaken": p.Overtaken, "rejected": p.Rejected, "no_room": p.NoRoom,
	} {
		send.put(metricDesired, float64(n), what)
	}
	t := c.g.triggers.Stats()
	send.put(metricTriggersActive, float64(t.Active))
	send.put(metricStatusPolls, float64(t.Polls))
	for what, n := range map[string]uint64{
		"accepted": t.Accepted, "refused": t.Refused, "sent": t.Sent, "completed": t.Completed, "failed": t.Failed,
		"unknown": t.Unknown, "expired": t.Expired, "timed_out": t.TimedOut,
	} {
		send.put(metricTriggers, float64(n), what)
	}
	s := c.g.registry.SyncStats()
	at := 0.0
	if !s.Done.IsZero() {
		at = float64(s.Done.UnixMilli()) / 1000
	}
	send.put(metricSynced, at)
	send.put(metricSyncDevices, float64(s.Devices))
	send.put(metricSyncSkipped, float64(s.Skipped))
	send.put(metricSyncFailed, float64(s.Failed))
}
