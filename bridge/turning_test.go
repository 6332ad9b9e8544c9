package bridge_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/mapping"
)

// A watchdog hears no only where calls hang beyond every time limit.
func TestTurning(t *testing.T) {
	t.Parallel()
	const limit = time.Minute
	hang := func(ctx context.Context, _ *bridge.Lease) bridge.Verdict {
		<-ctx.Done()
		return bridge.Verdict{Action: bridge.Retry}
	}
	refuse := func(v bridge.Verdict) scriptedUplink {
		return scriptedUplink{deliver: func(context.Context, *bridge.Lease) bridge.Verdict { return v }, probe: func(context.Context) bridge.Verdict { return v }}
	}
	for name, test := range map[string]struct {
		uplink scriptedUplink
		want   bool
	}{
		"delivers": {scriptedUplink{deliver: func(context.Context, *bridge.Lease) bridge.Verdict { return bridge.Verdict{} }}, true},
		"down":     {refuse(bridge.Verdict{Action: bridge.Retry, Unreachable: true}), true},
		"refused":  {refuse(bridge.Verdict{Action: bridge.PauseUplink}), true},
		"hangs":    {scriptedUplink{deliver: hang}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := newMemoryQueue()
				q.add("d", mapping.KindTelemetry, 3)
				loop, stop := run(t, q, test.uplink, nil)
				if !loop.Turning(limit) {
					t.Error("not turning at the start")
				}
				time.Sleep(time.Hour)
				if got := loop.Turning(limit); got != test.want {
					t.Errorf("turning is %v after an hour, want %v", got, test.want)
				}
				stop()
			})
		})
	}
}
