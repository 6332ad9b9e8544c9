package broker_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"iotc-gateway/broker"
)

func TestUsersFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.json")
	u, err := broker.OpenUsers(path)
	if err != nil || len(u.List()) != 0 {
		t.Fatal(err, u)
	}
	pass := []byte("open sesame")
	if err := u.Add(broker.User{Name: "d1", Devices: []string{"d1", "d1-*"}, Topics: []string{"plant/#"}}, pass, false); err != nil {
		t.Fatal(err)
	}
	if string(pass) == "open sesame" {
		t.Error("the password was not wiped")
	}
	if err := u.Add(broker.User{Name: "d1"}, []byte("x"), false); !errors.Is(err, broker.ErrUserExists) {
		t.Errorf("adding twice: %v", err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatal(err, st.Mode())
	}
	data, _ := os.ReadFile(path)
	if strings.Contains(string(data), "sesame") || !strings.Contains(string(data), "$argon2id$v=19$m=8192,t=3,p=1$") {
		t.Fatalf("%s", data)
	}

	u2, err := broker.OpenUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	id, err := u2.Authenticate("d1", []byte("open sesame"))
	if err != nil || id.Name != "d1" || id.Role != broker.RoleDevice || !id.MayWrite("d1-x") || id.MayWrite("d2") {
		t.Fatal(err, id)
	}
	for _, x := range [][2]string{{"d1", "wrong"}, {"d1", ""}, {"d2", "open sesame"}, {"", ""}, {"d1", strings.Repeat("x", 5000)}} {
		if _, err := u2.Authenticate(x[0], []byte(x[1])); !errors.Is(err, broker.ErrCredentials) {
			t.Errorf("%q: %v", x, err)
		}
	}
	if err := u.Add(broker.User{Name: "d1", Role: broker.RoleMonitor}, []byte("new"), true); err != nil {
		t.Fatal(err)
	}
	if err := u2.Reload(); err != nil || u2.List()[0].Role != broker.RoleMonitor {
		t.Fatal(err, u2.List())
	}
	if err := u2.Remove("d1"); err != nil {
		t.Fatal(err)
	}
	if err := u2.Remove("d1"); !errors.Is(err, broker.ErrNoUser) {
		t.Errorf("removing twice: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".users-*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestUsersFileIsRefused(t *testing.T) {
	t.Parallel()
	good := `{"users":[{"name":"d","role":"device","hash":"$argon2id$v=19$m=8192,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`
	for name, x := range map[string]struct {
		data string
		mode os.FileMode
		want string // "" = accepted
	}{
		"good":        {good, 0o600, ""},
		"group":       {good, 0o640, "may be read by others"},
		"world":       {good, 0o604, "may be read by others"},
		"syntax":      {`{"users":`, 0o600, "EOF"},
		"unknown key": {`{"users":[{"name":"d","role":"device","topic":["x"]}]}`, 0o600, "unknown field"},
		"twice":       {`{"users":[{"name":"d","role":"device"},{"name":"d","role":"device"}]}`, 0o600, "twice"},
		"role":        {`{"users":[{"name":"d","role":"king"}]}`, 0o600, "role"},
		"name":        {`{"users":[{"name":"a/b","role":"device"}]}`, 0o600, "name"},
		"hash":        {`{"users":[{"name":"d","role":"device","hash":"secret"}]}`, 0o600, "argon2id"},
		"huge hash":   {strings.Replace(good, "m=8192", "m=4000000", 1), 0o600, "argon2id"},
		"topic":       {`{"users":[{"name":"d","role":"device","topics":["a#"]}]}`, 0o600, "topic"},
		"device":      {`{"users":[{"name":"d","role":"device","devices":["a/b"]}]}`, 0o600, "device pattern"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "users.json")
			if err := os.WriteFile(path, []byte(x.data), x.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, x.mode); err != nil {
				t.Fatal(err)
			}
			_, err := broker.OpenUsers(path)
			if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v, want %q", err, x.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestLogins(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		core, logs := observer.New(zap.DebugLevel)
		b := setup(t, withUsers(t), func(c *broker.Config, o *broker.Options) {
			o.Log = zap.New(core)
			c.Auth.FailureDelay, c.Auth.MaxDelay = time.Hour, time.Hour
			c.Auth.Anonymous = "never"
		})
		connect := func(user, pass string) byte {
			c := b.dial(t, version)
			return c.connect(connectOpts{id: "c-" + user, user: user, pass: pass}).code()
		}
		v := func(v3, v5 byte) byte {
			if version == 5 {
				return v5
			}
			return v3
		}
		if code := connect("", ""); code != v(5, 0x87) {
			t.Fatalf("anonymous: %#x", code)
		}
		if code := connect("dev1", "secret1"); code != 0 {
			t.Fatalf("right: %#x", code)
		}
		if code := connect("dev2", "hunter2-wrong"); code != v(4, 0x86) {
			t.Fatalf("wrong: %#x", code)
		}
		// The address is shut out now, also with the right password; but who was right a moment ago still is.
		if code := connect("dev2", "secret2"); code != v(3, 0x9f) {
			t.Fatalf("shut out: %#x", code)
		}
		if code := connect("dev1", "secret1"); code != 0 {
			t.Fatalf("remembered: %#x", code)
		}
		b.reason(t, "bad_credentials", 1)
		b.reason(t, "login_throttled", 1)
		b.reason(t, "anonymous", 1)
		for _, e := range logs.All() {
			line := e.Message
			for k, v := range e.ContextMap() {
				line += k + "=" + strings.TrimSpace(strings.ToLower(toString(v))) + " "
			}
			for _, secret := range []string{"secret1", "secret2", "hunter2"} {
				if strings.Contains(line, secret) {
					t.Errorf("a password is in the log: %s", line)
				}
			}
		}
	})
}

func toString(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return ""
}

// Anonymous clients are let in from this machine only when the listener is on it alone.
func TestAnonymousPolicy(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		global, own, address string
		want                 bool
	}{
		{"loopback", "", "127.0.0.1:0", true},
		{"loopback", "never", "127.0.0.1:0", false},
		{"never", "", "127.0.0.1:0", false},
		{"never", "always", "127.0.0.1:0", true},
		{"always", "", "127.0.0.1:0", true},
	} {
		b := setup(t, func(c *broker.Config, _ *broker.Options) {
			c.Auth.Anonymous = x.global
			c.Listeners[0].Anonymous = x.own
			c.Listeners[0].Address = x.address
		})
		c := b.dial(t, 4)
		if got := c.connect(connectOpts{id: "c"}).code() == 0; got != x.want {
			t.Errorf("%+v: let in = %v", x, got)
		}
	}
}

func TestDeviceIDsAreChecked(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, version byte) {
		b := setup(t, withUsers(t), func(_ *broker.Config, o *broker.Options) {
			o.CheckDevice = func(id string) error {
				if strings.HasSuffix(id, "2") || id == ".." {
					return errors.New("not a device id")
				}
				return nil
			}
		})
		c := b.dial(t, version)
		if p := c.connect(connectOpts{id: "c", user: "dev2", pass: "secret2"}); p.code() != map[byte]byte{4: 5, 5: 0x87}[version] {
			t.Fatalf("CONNACK %#x", p.code())
		}
		for _, topic := range []string{"devices/bad2/telemetry", "devices/../telemetry"} {
			c = b.client(t, version, "anon")
			c.publish(topic, "1", 1, 1)
			if version == 5 {
				if a := c.want(4); a.code() != 0x90 || !strings.Contains(string(a.body), "not a device id") {
					t.Fatalf("PUBACK % x", a.body)
				}
				c.disconnect()
			} else {
				c.wantClosed()
			}
		}
		b.reason(t, "publish_device_id", 2)
		c = b.client(t, version, "anon")
		if a := c.publishAck("plant/../x", "1", 1); a.code() != 0 {
			t.Fatalf("PUBACK %#x", a.code())
		}
		c.publish("devices/a\x00b/telemetry", "1", 1, 1) // NUL: malformed (MQTT 5 §1.5.4)
		c.wantClosed()
	})
}

// A flood of wrong passwords from one address costs a few hashes, not one each: the others are turned away.
func TestFloodOfLogins(t *testing.T) {
	t.Parallel()
	b := setup(t, withUsers(t), func(c *broker.Config, _ *broker.Options) {
		c.Auth.FailureDelay, c.Auth.MaxDelay, c.Auth.HashConcurrent = time.Hour, time.Hour, 2
	})
	const n = 60
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c := b.dial(t, 5)
			if p := c.connect(connectOpts{id: fmt.Sprint("c", i), user: "dev1", pass: "wrong"}); p.code() != 0x86 && p.code() != 0x9f {
				t.Errorf("CONNACK %#x", p.code())
			}
		})
	}
	wg.Wait()
	r := b.Stats().Reasons
	if r["bad_credentials"] > 4 || r["bad_credentials"]+r["login_throttled"] != n {
		t.Fatalf("%d were hashed, %d turned away", r["bad_credentials"], r["login_throttled"])
	}
}

// Who takes another user's name for a client identifier does not lock that user out.
func TestClientIDsOfOtherUsers(t *testing.T) {
	t.Parallel()
	b := setup(t, withUsers(t))
	c := b.dial(t, 5)
	if p := c.connect(connectOpts{id: "dev2", user: "dev1", pass: "secret1"}); p.code() != 0x85 {
		t.Fatalf("CONNACK %#x", p.code())
	}
	b.reason(t, "client_id_owner", 1)
	b.dial(t, 5).mustConnect(connectOpts{id: "dev2", user: "dev2", pass: "secret2"})
	b.dial(t, 5).mustConnect(connectOpts{id: "whatever", user: "dev1", pass: "secret1"})
}

// Root writes the users file for whom the folder belongs to.
func TestUsersFileBelongsToTheFoldersOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner := os.Geteuid()
	if owner == 0 {
		owner = 4321
		if err := os.Chown(dir, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "users.json")
	u, err := broker.OpenUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Add(broker.User{Name: "d"}, []byte("x"), false); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || int(st.Sys().(*syscall.Stat_t).Uid) != owner {
		t.Fatalf("%v %+v", err, st)
	}
}
