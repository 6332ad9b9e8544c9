package bridge_test

import (
	"testing"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
)

// create registers devices in an emulated application.
func create(t testing.TB, a *emulator.Application, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := a.CreateDevice(t.Context(), id, central.DeviceCreate{}, ""); err != nil {
			t.Fatal(err)
		}
	}
}
