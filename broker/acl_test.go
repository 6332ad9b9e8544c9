package broker_test

import (
	"testing"

	"iotc-gateway/broker"
)

func TestACL(t *testing.T) {
	t.Parallel()
	dev := broker.User{Name: "d1", Role: broker.RoleDevice}.Identity()
	extra := broker.User{Name: "d1", Role: broker.RoleDevice, Topics: []string{"plant/+/x", "mine/{device}/#"}}.Identity()
	hub := broker.User{Name: "hub", Role: broker.RoleBridge, Devices: []string{"room-*", "attic"}}.Identity()
	all := broker.User{Name: "all", Role: broker.RoleBridge, Devices: []string{"*"}}.Identity()
	op := broker.User{Name: "op", Role: broker.RoleOperator}.Identity()
	mon := broker.User{Name: "mon", Role: broker.RoleMonitor}.Identity()
	greedy := broker.User{Name: "d1", Role: broker.RoleDevice, Topics: []string{"#"}}.Identity()
	a := broker.NewACL([]broker.Scope{
		{Name: "tasmota", Pattern: "tele/{device}/SENSOR", Publish: true},
		{Name: "tasmota", Pattern: "cmnd/{device}/#", Subscribe: true},
		{Name: "shelly", Pattern: "shellies/shelly-{device}/{thing}/state", Publish: true, Subscribe: true},
	})
	const pub, sub = broker.ActionPublish, broker.ActionSubscribe
	for _, x := range []struct {
		id     *broker.Identity
		action broker.Action
		topic  string
		want   bool
	}{
		{nil, pub, "devices/d1/telemetry", false},
		{dev, "own", "devices/d1/telemetry", false},
		// The native scheme.
		{dev, pub, "devices/d1/telemetry", true},
		{dev, pub, "devices/d1/telemetry/t", true},
		{dev, pub, "devices/d1/telemetry/t/u", false},
		{dev, pub, "devices/d1/telemetry/", false},
		{dev, pub, "devices/d1/properties", true},
		{dev, pub, "devices/d1/properties/p", true},
		{dev, pub, "devices/d1/properties/p/get", true},
		{dev, pub, "devices/d1/properties/p/desired", false},
		{dev, pub, "devices/d1/properties/p/desired/x", false},
		{dev, pub, "devices/d1/commands/c/response/1", true},
		{dev, pub, "devices/d1/commands/c/request/1", false},
		{dev, pub, "devices/d1/commands/c/status/1", false},
		{dev, pub, "devices/d1/commands/c/trigger", false},
		{dev, pub, "devices/d1", false},
		{dev, pub, "devices//telemetry", false},
		{dev, pub, "devices/d1/other", false},
		{dev, pub, "devices/d2/telemetry", false},
		{dev, pub, "devices/D1/telemetry", false},
		{dev, pub, "plant/x", false},
		{dev, pub, "gateway/status", false},
		{dev, pub, "$SYS/x", false},
		{dev, pub, "devices/+/telemetry", false},
		{dev, pub, "devices/d1/tele\x00metry", false},
		{dev, pub, "", false},
		{dev, sub, "devices/d1/#", true},
		{dev, sub, "devices/d1/commands/+/request/+", true},
		{dev, sub, "devices/d1/properties/+/desired", true},
		{dev, sub, "devices/+/commands/+/request/+", false},
		{dev, sub, "devices/#", false},
		{dev, sub, "#", false},
		{dev, sub, "+/d1/#", false},
		{dev, sub, "devices/d2/#", false},
		{dev, sub, "$SYS/#", false},
		{dev, sub, "$share/g/devices/d1/#", true},
		{dev, sub, "$SHARE/g/#", false},
		{dev, sub, "$ShArE/g/devices/d2/x", false},
		{dev, sub, "$share/g", false},
		{dev, sub, "$share//devices/d1/#", false},
		{dev, sub, "$share/+/devices/d1/#", false},
		{dev, sub, "devices/d1/a#", false},
		{dev, sub, "devices/d1/#/x", false},
		{dev, sub, "", false},
		// Scopes.
		{dev, pub, "tele/d1/SENSOR", true},
		{dev, pub, "tele/d2/SENSOR", false},
		{dev, pub, "cmnd/d1/POWER", false},
		{dev, sub, "cmnd/d1/POWER", true},
		{dev, sub, "cmnd/d1/#", true},
		{dev, sub, "cmnd/+/#", false},
		{dev, sub, "tele/d1/SENSOR", false},
		{dev, pub, "shellies/shelly-d1/relay/state", true},
		{dev, pub, "shellies/shelly-d1/relay/command", false},
		{dev, pub, "shellies/shelly-d2/relay/state", false},
		{dev, pub, "shellies/d1/relay/state", false},
		{dev, pub, "shellies/shelly-/relay/state", false},
		{dev, sub, "shellies/shelly-d1/+/state", true},
		{dev, sub, "shellies/+/+/state", false},
		{all, sub, "shellies/+/+/state", false}, // more than shelly-{device}
		{all, sub, "cmnd/+/#", true},
		// A user's own topics.
		{extra, pub, "plant/a/x", true},
		{extra, pub, "plant/a/b/x", false},
		{extra, sub, "plant/+/x", true},
		{extra, sub, "plant/#", false},
		{extra, pub, "mine/d1/deep/er", true},
		{extra, pub, "mine/d2/x", false},
		{extra, sub, "mine/d1", true},
		{greedy, pub, "anything/at/all", true},
		{greedy, pub, "devices/d2/telemetry", false}, // never as another device
		{greedy, pub, "devices/d1/properties/p/desired", false},
		{greedy, pub, "gateway/x", false},
		{greedy, pub, "$x", false},
		{greedy, sub, "#", true},
		{greedy, sub, "$SYS/#", false},
		{greedy, sub, "+/x", true},
		// Bridges.
		{hub, pub, "devices/room-1/telemetry", true},
		{hub, pub, "devices/attic/telemetry", true},
		{hub, pub, "devices/hub/telemetry", false},
		{hub, pub, "devices/cellar/telemetry", false},
		{hub, sub, "devices/room-1/#", true},
		{hub, sub, "devices/+/commands/#", false},
		{hub, pub, "tele/room-9/SENSOR", true},
		{all, sub, "devices/+/commands/#", true},
		{all, sub, "devices/#", false},
		// Operators and monitors.
		{op, pub, "devices/d1/commands/c/trigger", true},
		{op, pub, "devices/d1/telemetry", false},
		{op, pub, "tele/d1/SENSOR", false},
		{op, sub, "devices/+/commands/+/status/+", true},
		{op, sub, "gateway/#", true},
		{op, sub, "$SYS/#", false},
		{mon, pub, "devices/mon/telemetry", false},
		{mon, pub, "devices/d1/commands/c/trigger", false},
		{mon, sub, "#", true},
		{mon, sub, "$SYS/#", true},
		{mon, sub, "$SYS", true},
		{mon, sub, "$other/#", false},
		{mon, sub, "$share/g/$SYS/#", true},
	} {
		name := "nobody"
		if x.id != nil {
			name = x.id.Name
		}
		got, rule := a.Decide(x.id, x.action, x.topic)
		if got != x.want || rule == "" {
			t.Errorf("%s %s %q = %v (%s), want %v", name, x.action, x.topic, got, rule, x.want)
		}
	}
}

func TestMayWrite(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		pattern, device string
		want            bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"*", "x", true},
		{"room-*", "room-1", true},
		{"room-*", "room-", true},
		{"room-*", "roo", false},
		{"*-x", "a-x", true},
		{"*-x", "a-y", false},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXbY", false},
		{"a*b", "ab", true},
		{"*", "", false},
		{"", "a", false},
	} {
		id := &broker.Identity{Role: broker.RoleBridge, Devices: []string{x.pattern}}
		if got := id.MayWrite(x.device); got != x.want {
			t.Errorf("%q may write %q = %v", x.pattern, x.device, got)
		}
	}
	if (&broker.Identity{Role: broker.RoleMonitor, Devices: []string{"*"}}).MayWrite("a") || (*broker.Identity)(nil).MayWrite("a") {
		t.Error("a monitor, or nobody, may write")
	}
}

// What a client sees of the rules, and that a change of rules and users reaches those who are connected.
func TestRulesOnTheWire(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withUsers(t))
		c := b.dial(t, version)
		c.mustConnect(connectOpts{id: "c", user: "dev1", pass: "secret1"})
		denied := map[byte]byte{4: 0x80, 5: 0x87}[version]
		for i, x := range []struct {
			filter string
			want   byte
		}{
			{"devices/dev1/#", 1},
			{"#", denied},
			{"devices/+/telemetry", denied},
			{"$SYS/#", denied},
			{"a/b#", map[byte]byte{4: 0x80, 5: 0x8f}[version]},
			{"$SHARE/x/#", denied},
		} {
			if code := c.subscribe(uint16(i+1), x.filter, 1); code != x.want {
				t.Fatalf("SUBSCRIBE %s: code %#x, want %#x", x.filter, code, x.want)
			}
		}
		b.reason(t, "subscribe_acl", 4)
		b.reason(t, "subscribe_filter", 1)
		if cs := b.Clients(); len(cs) != 1 || cs[0].Subscriptions != 1 || cs[0].Role != broker.RoleDevice || cs[0].User != "dev1" {
			t.Fatalf("%+v", cs)
		}
		if version == 5 {
			if a := c.publishAck("tele/dev1/SENSOR", "1", 1); a.code() != 0x87 {
				t.Fatalf("PUBACK %#x before the scope", a.code())
			}
		}
		b.SetScopes([]broker.Scope{{Name: "tasmota", Pattern: "tele/{device}/SENSOR", Publish: true}})
		if a := c.publishAck("tele/dev1/SENSOR", "1", 1); a.code() != 0 {
			t.Fatalf("PUBACK %#x with the scope", a.code())
		}
		c.publish("devices/dev1/telemetry", "1", 0, 0)
		if m := c.wantPublish(); m.topic != "devices/dev1/telemetry" {
			t.Fatalf("%+v", m)
		}

		if err := b.users.Remove("dev1"); err != nil {
			t.Fatal(err)
		}
		b.RefreshUsers()
		c.wantClosed()
		b.reason(t, "user_removed", 1)
		c = b.dial(t, version)
		if p := c.connect(connectOpts{id: "c", user: "dev1", pass: "secret1"}); p.code() != map[byte]byte{4: 4, 5: 0x86}[version] {
			t.Fatalf("CONNACK %#x for a user that is gone", p.code())
		}
	})
}

// A subscription that was granted does not outlive the right to it.
func TestRightsAreCheckedAtDelivery(t *testing.T) {
	t.Parallel()
	scope := []broker.Scope{{Name: "s", Pattern: "news/#", Publish: true, Subscribe: true}}
	b := setup(t, withUsers(t), func(_ *broker.Config, o *broker.Options) { o.Scopes = scope })
	c := b.dial(t, 4)
	c.mustConnect(connectOpts{id: "c", user: "dev1", pass: "secret1"})
	c.subscribe(1, "news/#", 1)
	if err := b.Publish("news/a", []byte("1"), 0, false); err != nil {
		t.Fatal(err)
	}
	c.wantPublish()
	b.SetScopes(nil)
	if err := b.Publish("news/a", []byte("2"), 0, false); err != nil {
		t.Fatal(err)
	}
	c.ping() // nothing came before the answer
	b.reason(t, "delivery_acl", 1)
}
