package broker_test

import (
	"testing"
)

// A command goes to who may act as the device and is there, and not to who watches.
func TestReaches(t *testing.T) {
	t.Parallel()
	b := setup(t, withUsers(t))
	const topic = "devices/dev1/commands/go/request/1"
	request := "devices/dev1/commands/+/request/+"
	if b.Reaches("dev1", topic) {
		t.Error("reached with nobody there")
	}
	for _, watcher := range []struct{ user, pass, filter string }{
		{"op", "secret4", request},
		{"mon", "secret5", "#"},
		{"", "", "#"},
		{"", "", "+/#"},
		{"", "", "devices/#"},
		{"", "", "devices/+/#"},
		{"", "", "devices/dev2/#"},
		{"dev2", "secret2", "devices/dev2/#"},
	} {
		c := b.dial(t, 5)
		c.mustConnect(connectOpts{id: "w-" + watcher.user + watcher.filter, user: watcher.user, pass: watcher.pass})
		c.subscribe(1, watcher.filter, 1)
		if b.Reaches("dev1", topic) {
			t.Errorf("reached %q through %s", watcher.user, watcher.filter)
		}
		c.disconnect()
	}
	for _, device := range []struct{ user, pass, filter, id string }{
		{"dev1", "secret1", "devices/dev1/#", "dev1"},
		{"", "", request, "dev1"},
		{"", "", "devices/+/commands/#", "dev1"},
		{"", "", "$share/g/" + request, "dev1"},
		{"hub", "secret3", "devices/room-1/commands/+/request/+", "room-1"},
	} {
		topic := "devices/" + device.id + "/commands/go/request/1"
		c := b.dial(t, 5)
		c.mustConnect(connectOpts{id: "d-" + device.user + device.filter, user: device.user, pass: device.pass, resume: true, expiry: 3600})
		c.subscribe(1, device.filter, 1)
		if !b.Reaches(device.id, topic) {
			t.Errorf("did not reach %q through %s", device.user, device.filter)
		}
		if b.Reaches("another", topic) && device.user != "" {
			t.Errorf("%q acts as another device", device.user)
		}
		// Its session goes on waiting, and it is not there.
		c.disconnect()
		eventually(t, "away", func() bool { return !b.Reaches(device.id, topic) })
	}
}

func BenchmarkReaches(b *testing.B) {
	s := setup(b)
	for _, id := range []string{"dev1", "dev2", "dev3"} {
		c := s.client(b, 5, id)
		c.subscribe(1, "devices/"+id+"/commands/+/request/+", 1)
	}
	eventually(b, "subscribed", func() bool { return s.Stats().Subscriptions == 3 })
	b.ReportAllocs()
	for b.Loop() {
		if !s.Reaches("dev1", "devices/dev1/commands/go/request/1") {
			b.Fatal("not reached")
		}
	}
}
