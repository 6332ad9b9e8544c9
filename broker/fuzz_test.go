package broker_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"iotc-gateway/broker"
)

// corpus reads testdata/malformed.txt.
func corpus(tb testing.TB) map[string][]byte {
	tb.Helper()
	f, err := os.Open("testdata/malformed.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	packets := map[string][]byte{}
	for s := bufio.NewScanner(f); s.Scan(); {
		name, rest, ok := strings.Cut(s.Text(), " ")
		if !ok || name == "#" {
			continue
		}
		data, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		packets[name] = data
	}
	return packets
}

// attack sends bytes to the broker, as the first thing on a connection or after a CONNECT, and half-closes.
func attack(b *bundle, id string, version byte, data []byte) {
	c, err := net.Dial("tcp", b.addr.String())
	if err != nil {
		return
	}
	defer c.Close()
	if version != 0 {
		_, _ = c.Write((&raw{version: version}).connectPacket(connectOpts{id: fmt.Sprint(id, version), resume: true, expiry: 60}))
	}
	_, _ = c.Write(data)
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(wait))
	var buf [512]byte
	for {
		if _, err := c.Read(buf[:]); err != nil {
			return
		}
	}
}

// calm checks that nothing is left of an attack.
func (b *bundle) calm(tb testing.TB, clients int64) {
	tb.Helper()
	eventually(tb, "calm", func() bool {
		s := b.Stats()
		return s.Clients == clients && s.Connections == clients && s.PacketMemory == 0 && s.InFlight == 0
	})
}

func TestMalformedPackets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	packets := corpus(t)
	if len(packets) < 70 {
		t.Fatalf("only %d packets in the corpus", len(packets))
	}
	other := b.client(t, 5, "bystander")
	var wg sync.WaitGroup
	for name, data := range packets {
		// Each under a name of its own: a session that is taken over ends before its packet was looked at.
		id := "attacker-" + name
		wg.Go(func() {
			attack(b, id, 0, data)
			attack(b, id, 4, data)
			attack(b, id, 5, data)
		})
	}
	for id := uint16(1); id <= 100; id++ {
		if a := other.publishAck(telemetry, "1", id); a.code() != 0 {
			t.Errorf("bystander got %#x", a.code())
		}
	}
	wg.Wait()
	b.calm(t, 1)
	other.ping()
	if n := b.Stats().Reasons["panic"]; n != 0 {
		t.Errorf("%d panics", n)
	}
}

func FuzzPackets(f *testing.F) {
	for _, data := range corpus(f) {
		f.Add(data)
	}
	r := &raw{version: 5}
	f.Add(r.publishPacket("devices/d/telemetry", []byte("1"), 1, 1, true, 0x23, 0, 1))
	f.Add(append(r.publishPacket("devices/d/telemetry", []byte("1"), 2, 1, false), 0x62, 2, 0, 1))
	b := setup(f, withLimits(func(l *broker.Limits) { l.ConnectionRate, l.MaxConnectionsPerAddress = 0, 0 }))
	b.sink.in = make(chan *broker.Publication, 1<<20)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, version := range []byte{0, 4, 5} {
			attack(b, "attacker", version, data)
		}
		b.calm(t, 0)
	})
}

// A filter that is allowed allows nothing that a topic under it would not be allowed: what a subscription lets through is
// within the rules, however the filter is put together.
func FuzzSubscriptionStaysWithinTheRules(f *testing.F) {
	for _, s := range []string{"devices/d1/#", "devices/+/#", "#", "+/d1/telemetry", "$share/g/devices/d1/+", "$SHARE/g/#", "tele/d1/+", "tele/+/SENSOR", "a//b", "/", "devices/d1/+/x/#", "cmnd/d1"} {
		f.Add(s, "x", "devices/d2/telemetry")
	}
	acl := broker.NewACL([]broker.Scope{{Name: "s", Pattern: "tele/{device}/+", Subscribe: true}, {Name: "s", Pattern: "cmnd/x-{device}/#", Subscribe: true, Publish: true}})
	users := []*broker.Identity{
		broker.User{Name: "d1", Role: broker.RoleDevice}.Identity(),
		broker.User{Name: "d1", Role: broker.RoleDevice, Topics: []string{"plant/+/x/#", "own/{device}"}}.Identity(),
		broker.User{Name: "hub", Role: broker.RoleBridge, Devices: []string{"room-*"}}.Identity(),
		broker.User{Name: "all", Role: broker.RoleBridge, Devices: []string{"*"}}.Identity(),
		broker.User{Name: "op", Role: broker.RoleOperator}.Identity(),
	}
	f.Fuzz(func(t *testing.T, filter, word, tail string) {
		if word = strings.ReplaceAll(word, "/", ""); word == "" {
			word = "x" // an empty level names no device, and nobody publishes there
		}
		for _, id := range users {
			ok, _ := acl.Decide(id, broker.ActionSubscribe, filter)
			if !ok {
				continue
			}
			inner := filter
			if parts := strings.SplitN(filter, "/", 3); strings.EqualFold(parts[0], "$share") {
				inner = parts[2]
			}
			levels := strings.Split(inner, "/")
			for i, l := range levels {
				switch l {
				case "+":
					levels[i] = word
				case "#":
					levels[i] = tail
				}
			}
			topic := strings.Join(levels, "/")
			if !broker.ValidTopic(topic) || topic[0] == '$' && inner[0] != '$' {
				continue // no such topic, or one that the filter does not match (MQTT 5 §4.7.2)
			}
			if ok, rule := acl.Decide(id, broker.ActionSubscribe, topic); !ok {
				t.Fatalf("%s may subscribe %q but not %q: %s", id.Name, filter, topic, rule)
			}
		}
	})
}

// Nobody may publish what is the gateway's own, and nobody but an operator triggers.
func FuzzPublishNeverTouchesTheGatewaysOwn(f *testing.F) {
	for _, s := range []string{"devices/d1/properties/p/desired", "devices/d1/commands/c/request/1", "gateway/x", "$SYS/x", "devices/d1/commands/c/trigger", "devices/d2/telemetry", "plant/x"} {
		f.Add(s)
	}
	acl := broker.NewACL([]broker.Scope{{Name: "everything", Pattern: "#", Publish: true}})
	id := broker.User{Name: "d1", Role: broker.RoleDevice, Topics: []string{"#"}}.Identity()
	f.Fuzz(func(t *testing.T, topic string) {
		ok, rule := acl.Decide(id, broker.ActionPublish, topic)
		if !ok {
			return
		}
		parts := strings.Split(topic, "/")
		own := len(parts) > 2 && parts[0] == "devices" && parts[1] == "d1"
		if !broker.ValidTopic(topic) || topic[0] == '$' || parts[0] == "gateway" || parts[0] == "devices" && !own ||
			own && (strings.HasSuffix(topic, "/desired") && parts[2] == "properties" && len(parts) > 3 ||
				parts[2] == "commands" && (len(parts) < 4 || parts[4] != "response")) {
			t.Fatalf("%q was allowed: %s", topic, rule)
		}
	})
}

// However the stream is cut into reads, the headers found in it are the same.
func FuzzHeaderScanner(f *testing.F) {
	for _, data := range corpus(f) {
		f.Add(data, uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		whole, wholeErr := broker.ScanHeaders(data, len(data))
		parts, partsErr := broker.ScanHeaders(data, int(cut)%7+1)
		if (wholeErr == nil) != (partsErr == nil) || wholeErr == nil && whole != parts {
			t.Fatalf("%v %v, in parts %v %v", whole, wholeErr, parts, partsErr)
		}
	})
}

func FuzzUsersFile(f *testing.F) {
	f.Add([]byte(`{"users":[{"name":"d","role":"device","hash":"$argon2id$v=19$m=8192,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","devices":["a*"],"topics":["x/+"]}]}`))
	f.Add([]byte(`{"users":[{"name":"d","role":"monitor","hash":"$argon2id$v=19$m=8,t=,p=$$"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, u := range broker.ParseUsers(data) {
			if err := u.Validate(); err != nil {
				t.Fatalf("%+v was accepted: %v", u, err)
			}
		}
	})
}

func FuzzStoredRecords(f *testing.F) {
	f.Add("s/a", []byte(`{"user":"u","protocol":5,"expiry":100}`))
	f.Add("u/good\x00x/#", []byte(`{"qos":1}`))
	f.Add("m/good\x007", []byte(`{"topic":"x","qos":1,"payload":"eA=="}`))
	f.Add("q/good\x007", []byte{1})
	f.Add("r/x", []byte(`{"topic":"x","payload":"eA==","payload_format":1}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		store := newMemoryStore()
		store.kv["s/good"] = []byte(`{"user":"","protocol":4,"expiry":1000}`)
		store.kv[key] = value
		c := broker.DefaultConfig()
		c.Listeners = nil
		b, err := broker.New(c, broker.Options{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Load(); err != nil {
			t.Fatal(err)
		}
		b.Close()
	})
}
