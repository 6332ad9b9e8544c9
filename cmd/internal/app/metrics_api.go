package app

import "strconv"

// The metrics of the local API and of commands for devices.
var (
	metricAPICalls = counter("api_calls_total", "Calls of the local API, by operation and status.", "operation", "status")
	metricAPITaken = counter("api_records_total", "Telemetry events and reports that the local API took in.")

	metricCommandsWaiting  = gauge("device_commands_waiting", "Commands that wait for their device.")
	metricCommandsAwaiting = gauge("device_commands_awaiting", "Commands that were delivered and not answered yet.")
	metricCommands         = counter("device_commands_total", "Commands for devices that were accepted.")
	metricCommandsRepeated = counter("device_commands_repeated_total", "Requests for a command that were sent again, and answered with the command they had made.")
	metricCommandsRefused  = counter("device_commands_refused_total", "Commands beyond what may wait.")
	metricCommandsEnded    = counter("device_commands_ended_total", "Commands for devices that ended, by state.", "status")
	metricCommandsLate     = counter("device_commands_late_total", "Answers of devices to commands that had ended.")
	metricCommandsUnstored = counter("device_commands_store_errors_total", "States of commands that could not be written.")
)

func (c collector) commands(send sender) {
	s := c.g.commands.Stats()
	send.put(metricCommandsWaiting, float64(s.Waiting))
	send.put(metricCommandsAwaiting, float64(s.Awaiting))
	send.put(metricCommands, float64(s.Triggered))
	send.put(metricCommandsRepeated, float64(s.Repeated))
	send.put(metricCommandsRefused, float64(s.Refused))
	send.put(metricCommandsLate, float64(s.Late))
	send.put(metricCommandsUnstored, float64(s.StoreFailed))
	for status, n := range s.Ended {
		send.put(metricCommandsEnded, float64(n), status)
	}
}

func (c collector) api(send sender) {
	send.put(metricAPITaken, float64(c.g.ingest.counters.API.Load()))
	c.g.apiCalls.each(func(op string, status int, n uint64) {
		send.put(metricAPICalls, float64(n), op, strconv.Itoa(status))
	})
}
