package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// ErrRefused says that the broker answered CONNECT with a refusal.
var ErrRefused = errors.New("connection refused by the broker")

// answerTimeout is how long a client waits for any answer before it calls its connection dead.
const answerTimeout = 60 * time.Second

// client is one device: one persistent session, used by one goroutine at a time. It needs no second goroutine for
// the acknowledgements: it fills its window with one write, then reads what has come, then fills the freed places.
// Acknowledgements are four bytes, so a broker never waits for us to read while we wait for it to read.
type client struct {
	fleet   *Fleet
	number  int // among the devices of the fleet
	name    string
	topic   string
	conn    net.Conn
	reader  *bufio.Reader
	scratch []byte
	out     []byte
	payload []byte

	due     time.Time  // when the next publish is due, with FleetConfig.Interval
	pending []inFlight // sent and not answered, in the order of the first sending
	ledger  Published
}

type inFlight struct {
	seq  int
	sent time.Time
}

// packetID is the same for every sending of a sequence number, as a session's stored publish demands.
func packetID(seq int) uint16 { return uint16(seq%65535) + 1 }

// connect dials and waits for CONNACK. What is pending is sent again by the session that follows.
func (c *client) connect(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", c.fleet.cfg.Address)
	if err != nil {
		return fmt.Errorf("dial broker: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	if _, err := conn.Write(appendConnect(nil, c.fleet.cfg.Version, c.name, c.fleet.cfg.Clean, 0)); err != nil {
		_ = conn.Close()
		return fmt.Errorf("write CONNECT: %w", err)
	}
	reader := bufio.NewReaderSize(conn, 1<<10)
	kind, body, err := readPacket(reader, c.scratch)
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("read CONNACK: %w", err)
	}
	if kind != typeConnack || len(body) < 2 || body[1] != 0 {
		_ = conn.Close()
		return fmt.Errorf("%w: packet type %d, % x", ErrRefused, kind, body)
	}
	if ctx.Err() != nil {
		_ = conn.Close()
		return ctx.Err()
	}
	_ = conn.SetDeadline(time.Time{})
	c.conn, c.reader, c.scratch = conn, reader, body[:0]
	return nil
}

// publish sends quota messages (negative: until stop says so) and returns when all of them are answered. When the
// fleet reconnects, a lost connection only means that the rest is sent again over the next one.
func (c *client) publish(ctx context.Context, quota int, stop *atomic.Bool) error {
	for {
		if c.conn == nil {
			if err := c.reconnect(ctx); err != nil {
				return err
			}
		}
		err := c.session(ctx, &quota, stop)
		if err == nil {
			return nil
		}
		_ = c.conn.Close()
		c.conn = nil
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !c.fleet.cfg.Reconnect {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		c.fleet.lostConnections.Add(1)
	}
}

func (c *client) reconnect(ctx context.Context) error {
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := c.connect(ctx)
		if err == nil {
			return nil
		}
		if !c.fleet.cfg.Reconnect || c.fleet.abandoned.Load() || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
		}
	}
}

// session runs over one connection: first the resending, then new publishes.
func (c *client) session(ctx context.Context, quota *int, stop *atomic.Bool) error {
	conn := c.conn
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	c.out = c.out[:0]
	for _, p := range c.pending {
		if c.ledger.Resent == nil {
			c.ledger.Resent = make(map[int]int)
		}
		c.ledger.Resent[p.seq]++
		c.fleet.resent.Add(1)
		c.out = c.append(c.out, p.seq, true)
	}
	for {
		c.fill(quota, stop.Load())
		if len(c.out) > 0 {
			if _, err := conn.Write(c.out); err != nil {
				return err
			}
			c.out = c.out[:0]
		}
		if len(c.pending) == 0 {
			if stop.Load() || *quota == 0 || c.fleet.cfg.Interval == 0 {
				return nil
			}
			if err := pause(ctx, time.Until(c.due)); err != nil {
				return err
			}
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(answerTimeout))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.readAnswers(); err != nil {
			return err
		}
	}
}

// fill appends new publishes up to the window.
func (c *client) fill(quota *int, stopped bool) {
	room := c.fleet.cfg.Window - len(c.pending)
	if room <= 0 || *quota == 0 || stopped {
		return
	}
	now := time.Now()
	if interval := c.fleet.cfg.Interval; interval > 0 {
		if now.Before(c.due) {
			return
		}
		c.due, room = now.Add(interval), 1
	}
	for ; room > 0 && *quota != 0; room-- {
		seq := c.ledger.Next
		c.ledger.Next++
		c.pending = append(c.pending, inFlight{seq: seq, sent: now})
		c.out = c.append(c.out, seq, false)
		if *quota > 0 {
			*quota--
		}
	}
}

func (c *client) append(out []byte, seq int, dup bool) []byte {
	cfg := &c.fleet.cfg
	c.payload = Payload(c.payload[:0], c.number, seq, cfg.Variants, cfg.Size)
	return appendPublish(out, cfg.Version, c.topic, packetID(seq), dup, c.payload)
}

// readAnswers waits for one answer and takes all that have come with it.
func (c *client) readAnswers() error {
	var now time.Time
	for {
		kind, body, err := readPacket(c.reader, c.scratch)
		c.scratch = body[:0]
		if err != nil {
			return err
		}
		if now.IsZero() {
			now = time.Now()
		}
		switch kind {
		case typePuback:
			id, code, err := parseAck(body)
			if err != nil {
				return err
			}
			c.settle(id, code, now)
		case typeDisconnect:
			return fmt.Errorf("the broker sent DISCONNECT % x", body)
		default: // nothing else is answered to a publisher; a stray PINGRESP does no harm
		}
		// Four bytes are the shortest answer; less than that buffered is a packet cut in two.
		if c.reader.Buffered() < 4 || len(c.pending) == 0 {
			return nil
		}
	}
}

func (c *client) settle(id uint16, code byte, now time.Time) {
	at := -1
	for i := range c.pending {
		if packetID(c.pending[i].seq) == id {
			at = i
			break
		}
	}
	if at < 0 {
		c.fleet.strayAcks.Add(1)
		return
	}
	if at > 0 {
		c.fleet.ackDisorder.Add(1)
	}
	p := c.pending[at]
	c.pending = append(c.pending[:at], c.pending[at+1:]...)
	if code >= 0x80 {
		c.ledger.Refused.set(p.seq)
		c.fleet.refused.Add(1)
		return
	}
	c.ledger.Acked.set(p.seq)
	c.fleet.acked.Add(1)
	c.fleet.Latency.Record(now.Sub(p.sent))
}
