package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// ListenerInfo describes a listener.
type ListenerInfo struct {
	Name      string
	Address   string // as bound
	Transport string // tcp, tls, websocket or secure websocket
}

// listener accepts connections, guards them and hands them to the library.
type listener struct {
	b    *Broker
	cfg  ListenerConfig
	net  net.Listener
	tls  *certificates // nil without TLS
	loop bool          // bound to a loopback address

	closeOnce sync.Once
}

func (b *Broker) listen(cfg ListenerConfig) (*listener, error) {
	l := &listener{b: b, cfg: cfg}
	if cfg.TLS != nil {
		certs, err := loadCertificates(*cfg.TLS)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", cfg.Name, err)
		}
		l.tls = certs
	}
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4}}
	nl, err := lc.Listen(context.Background(), "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", cfg.Name, err)
	}
	l.net = nl
	if a, ok := nl.Addr().(*net.TCPAddr); ok {
		l.loop = a.IP.IsLoopback()
	}
	return l, nil
}

func (l *listener) info() ListenerInfo {
	t := "tcp"
	switch {
	case l.cfg.Transport == "websocket" && l.tls != nil:
		t = "secure websocket"
	case l.cfg.Transport == "websocket":
		t = "websocket"
	case l.tls != nil:
		t = "tls"
	}
	return ListenerInfo{Name: l.cfg.Name, Address: l.net.Addr().String(), Transport: t}
}

// The library's Listener interface. Close does not close the clients: the broker does, see Broker.shutdown.
func (l *listener) Init(*slog.Logger) error   { return nil }
func (l *listener) ID() string                { return l.cfg.Name }
func (l *listener) Address() string           { return l.net.Addr().String() }
func (l *listener) Protocol() string          { return "tcp" }
func (l *listener) Close(_ listeners.CloseFn) { l.close() }
func (l *listener) close()                    { l.closeOnce.Do(func() { _ = l.net.Close() }) }
func (l *listener) Serve(listeners.EstablishFn) {
	if l.cfg.Transport == "websocket" {
		l.serveWebSocket()
		return
	}
	for {
		conn, addr, err := l.accept()
		if err != nil {
			return
		}
		if !l.b.spawn(func() { l.serve(conn, addr) }) {
			_ = conn.Close()
		}
	}
}

// serve sees a TCP or TLS connection through.
func (l *listener) serve(conn net.Conn, addr netip.Addr) {
	defer conn.Close()
	if l.tls == nil {
		l.b.serve(newLink(l.b, l, conn, addr))
		return
	}
	tc := tls.Server(conn, l.tls.config())
	ctx, cancel := context.WithTimeout(context.Background(), l.b.cfg.Limits.ConnectTimeout)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		l.b.count.count(reasonHandshake)
		l.b.noise.debug("TLS handshake failed", zap.String("listener", l.cfg.Name), zap.Stringer("remote", conn.RemoteAddr()), zap.Error(err))
		return
	}
	l.b.serve(newLink(l.b, l, tc, addr))
}

// accept waits for a connection that may come in. Others are closed and counted. A passing error, such as too many open
// files, must not end the listener.
func (l *listener) accept() (net.Conn, netip.Addr, error) {
	delay := 5 * time.Millisecond
	for {
		conn, err := l.net.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || l.b.stopped() {
				return nil, netip.Addr{}, net.ErrClosed
			}
			l.b.noise.warn("accept failed", zap.String("listener", l.cfg.Name), zap.Error(err))
			select {
			case <-time.After(delay):
			case <-l.b.quit:
			}
			delay = min(2*delay, time.Second)
			continue
		}
		addr := addressOf(conn.RemoteAddr())
		g, r, ok := l.b.gate.admit(conn, addr)
		if !ok {
			l.b.count.count(r)
			l.b.noise.warn("connection refused", zap.String("listener", l.cfg.Name), zap.Stringer("remote", conn.RemoteAddr()), zap.Stringer("reason", r))
			if t, ok := conn.(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
			_ = conn.Close()
			continue
		}
		l.b.count.accepted.Add(1)
		_ = conn.SetReadDeadline(time.Now().Add(l.b.cfg.Limits.ConnectTimeout))
		_ = conn.SetWriteDeadline(time.Now().Add(l.b.cfg.Limits.ConnectTimeout))
		return g, addr, nil
	}
}

// serve hands a connection to the library and cleans up after it, also after a panic: a packet that trips over a fault in
// the library, or in us, costs its sender the connection and nobody else anything.
func (b *Broker) serve(l *link) {
	defer func() {
		if r := recover(); r != nil {
			l.blame(reasonPanic)
			b.noise.error("a client's packet caused a panic; its connection was closed", zap.String("remote", l.remote),
				zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
		}
		b.finish(l)
	}()
	err := l.awaitConnect()
	if err == nil {
		err = b.server.EstablishConnection(l.listener.cfg.Name, l)
	}
	if !l.connected.Load() {
		if _, ok := l.blamed(); !ok && err != nil {
			l.blame(reasonProtocol)
		}
		b.noise.debug("connection ended before it was let in", zap.String("remote", l.remote), zap.String("reason", l.why(err)))
	}
}

// gate counts open connections, in all and by address.
type gate struct {
	limits *Limits
	stats  *counters

	mu      sync.Mutex
	open    map[*counted]struct{}
	address map[netip.Addr]int
	rates   map[netip.Addr]*rate.Limiter
}

func newGate(limits *Limits, stats *counters) *gate {
	return &gate{limits: limits, stats: stats, open: map[*counted]struct{}{}, address: map[netip.Addr]int{}, rates: map[netip.Addr]*rate.Limiter{}}
}

// admit lets a connection through, or says why not.
func (g *gate) admit(c net.Conn, addr netip.Addr) (net.Conn, reason, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case len(g.open) >= g.limits.MaxConnections:
		return nil, reasonMaxConnections, false
	case g.limits.MaxConnectionsPerAddress > 0 && g.address[addr] >= g.limits.MaxConnectionsPerAddress:
		return nil, reasonAddressConnections, false
	case g.limits.ConnectionRate > 0:
		r, ok := g.rates[addr]
		if !ok {
			full := float64(g.limits.ConnectionBurst)
			makeRoom(g.rates, func(r *rate.Limiter) bool { return r.Tokens() >= full })
			r = rate.NewLimiter(rate.Limit(g.limits.ConnectionRate), g.limits.ConnectionBurst)
			g.rates[addr] = r
		}
		if !r.Allow() {
			return nil, reasonConnectionRate, false
		}
	}
	cc := &counted{Conn: c, gate: g, addr: addr}
	g.open[cc] = struct{}{}
	g.address[addr]++
	g.stats.connections.Add(1)
	return cc, 0, true
}

// closeAll closes every open connection, whatever it is doing.
func (g *gate) closeAll() {
	g.mu.Lock()
	all := make([]*counted, 0, len(g.open))
	for c := range g.open {
		all = append(all, c)
	}
	g.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	gate *gate
	addr netip.Addr
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() {
		g := c.gate
		g.mu.Lock()
		delete(g.open, c)
		if g.address[c.addr]--; g.address[c.addr] <= 0 {
			delete(g.address, c.addr)
		}
		g.mu.Unlock()
		g.stats.connections.Add(-1)
	})
	return c.Conn.Close()
}
