package simulate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// brokerURL reads the address of a broker: host:port, mqtt:// or mqtts://.
func brokerURL(text string) (*url.URL, error) {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		switch u.Scheme {
		case "mqtt", "tcp", "mqtts", "ssl", "tls":
			if u.Port() == "" {
				return nil, fmt.Errorf("%s names no port; 1883 is usual, and 8883 with TLS", text)
			}
			return u, nil
		}
		return nil, fmt.Errorf("%s: the scheme must be mqtt or mqtts", text)
	}
	if _, _, err := net.SplitHostPort(text); err != nil {
		return nil, fmt.Errorf("%s is no address; write it as 127.0.0.1:1883 or mqtts://gateway:8883", text)
	}
	return &url.URL{Scheme: "mqtt", Host: text}, nil
}

func secure(u *url.URL) bool { return u.Scheme == "mqtts" || u.Scheme == "ssl" || u.Scheme == "tls" }

// clientOptions are those of one device's connection. The connection is made
// here and not by the library, so that a fault can break it.
func (o *Options) clientOptions(d *device) *mqtt.ClientOptions {
	c := mqtt.NewClientOptions().AddBroker("tcp://" + o.broker.Host).SetClientID(d.id)
	// A session that outlives the connection lets the library send again what
	// was not acknowledged; leave ends it.
	c.SetCleanSession(false).SetOrderMatters(false).SetStore(resendStore{mqtt.NewOrderedMemoryStore()})
	c.SetConnectTimeout(connectTimeout).SetWriteTimeout(5 * time.Second).SetMaxReconnectInterval(maxReconnect)
	c.SetOnConnectHandler(d.connected)
	c.SetConnectionLostHandler(func(mqtt.Client, error) { d.run.stats.connected.Add(-1) })
	switch {
	case o.Username != "":
		c.SetUsername(o.Username).SetPassword(o.Password)
	case o.Password != "":
		// Each device is a user of its own name.
		c.SetUsername(d.id).SetPassword(o.Password)
	}
	dialer := &net.Dialer{Timeout: connectTimeout}
	c.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		conn, err := dialer.Dial("tcp", o.broker.Host)
		if err != nil {
			return nil, err
		}
		if secure(o.broker) {
			cfg := o.TLS.Clone()
			if cfg == nil {
				cfg = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			if cfg.ServerName == "" {
				cfg.ServerName = o.broker.Hostname()
			}
			conn = tls.Client(conn, cfg)
		}
		c := &cable{Conn: conn}
		d.mu.Lock()
		d.conn = c
		d.mu.Unlock()
		return c, nil
	})
	return c
}

// cable is a connection that can be pulled: what is written afterwards
// vanishes, as into the buffers of a dead link, and a read fails.
type cable struct {
	net.Conn
	pulled atomic.Bool
}

var errPulled = errors.New("the connection broke")

func (c *cable) pull() {
	c.pulled.Store(true)
	_ = c.Conn.Close()
}

func (c *cable) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.pulled.Load() {
		return 0, errPulled
	}
	return n, err
}

func (c *cable) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.pulled.Load() {
		return len(b), nil
	}
	return n, err
}

// leave disconnects and has the broker forget the session, as far as that
// works at once: a simulation leaves nothing behind.
func (d *device) leave() {
	open := d.client.IsConnectionOpen()
	d.client.Disconnect(250)
	if !open {
		return
	}
	o := d.run.opts.clientOptions(d)
	o.SetCleanSession(true).SetAutoReconnect(false).SetOnConnectHandler(nil).SetConnectionLostHandler(nil)
	last := mqtt.NewClient(o)
	if token := last.Connect(); token.WaitTimeout(2*time.Second) && token.Error() == nil {
		last.Disconnect(100)
	}
}
