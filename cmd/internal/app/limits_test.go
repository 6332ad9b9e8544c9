package app_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"iotc-gateway/broker"
	"iotc-gateway/configs"
)

// Every reason for which the broker refuses, drops or ends has its counter on /metrics, from the start, and every limit that
// bounds an amount the amount beside it.
func TestLimitsShowOnMetrics(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *configs.Config) { c.Broker.Limits.MaxConnections = 1 })
	b.connect("first", "", "")
	if c, err := net.Dial("tcp", b.gateway.BrokerAddr("local").String()); err == nil {
		defer c.Close()
		_, _ = c.Read(make([]byte, 1)) // closed
	}
	page := get(t, "http://"+b.gateway.ConsoleAddr().String()+"/metrics")
	for _, reason := range broker.Reasons() {
		want := fmt.Sprintf(`iotc_gateway_mqtt_refused_total{reason=%q} `, reason)
		if reason == "max_connections" {
			want += "1"
		}
		if !strings.Contains(page, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, name := range []string{
		"connections 1", "clients 1", "sessions 1", "subscriptions 0", "retained_messages", "retained_bytes", "queued_messages 0",
		"queued_bytes 0", "in_flight 0", "packet_memory_bytes 0", "back_pressure_seconds_total 0", "logins_total 1", "deliveries_dropped_total 0",
	} {
		if _, valued := strings.CutSuffix(name, " 0"); !valued && !strings.HasSuffix(name, " 1") {
			name += " " // the gateway itself retains some
		}
		if !strings.Contains(page, "\niotc_gateway_mqtt_"+name) {
			t.Errorf("no iotc_gateway_mqtt_%s", name)
		}
	}
}
