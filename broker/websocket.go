package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// errText ends a WebSocket that carries text: MQTT is binary (MQTT 5 §6).
var errText = errors.New("a WebSocket message is not binary")

// serveWebSocket accepts MQTT over WebSocket (MQTT 5 §6): the same guards as for TCP, then HTTP, then the upgrade.
func (l *listener) serveWebSocket() {
	path := l.cfg.Path
	if path == "" {
		path = "/mqtt"
	}
	up := &websocket.Upgrader{
		ReadBufferSize: 1024, WriteBufferSize: 1024,
		HandshakeTimeout: l.b.cfg.Limits.ConnectTimeout,
		Subprotocols:     []string{"mqtt", "mqttv3.1"},
		CheckOrigin:      l.originAllowed,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { l.upgrade(up, w, r) })
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: l.b.cfg.Limits.ConnectTimeout,
		IdleTimeout:       l.b.cfg.Limits.ConnectTimeout,
		WriteTimeout:      l.b.cfg.Limits.ConnectTimeout,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // strangers cause it; the counters have it
	}
	_ = srv.Serve(&guarded{l}) // returns when the listener is closed
	_ = srv.Close()
}

// originAllowed refuses browsers unless their page's origin is listed. A client that is no browser sends no Origin.
func (l *listener) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin == "" || slices.ContainsFunc(l.cfg.Origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) })
}

func (l *listener) upgrade(up *websocket.Upgrader, w http.ResponseWriter, r *http.Request) {
	offered := websocket.Subprotocols(r)
	if !slices.Contains(offered, "mqtt") && !slices.Contains(offered, "mqttv3.1") {
		l.b.count.count(reasonOrigin)
		http.Error(w, "the WebSocket subprotocol must be mqtt", http.StatusBadRequest)
		return
	}
	if !l.b.begin() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	defer l.b.wg.Done()
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		l.b.count.count(reasonOrigin)
		return
	}
	defer c.Close()
	c.SetReadLimit(l.b.cfg.Limits.MaxPacketBytes + 4096)
	conn := &socket{Conn: c.NetConn(), ws: c}
	_ = conn.SetReadDeadline(time.Now().Add(l.b.cfg.Limits.ConnectTimeout)) // the upgrade cleared it
	l.b.serve(newLink(l.b, l, conn, addressOf(conn.RemoteAddr())))
}

// guarded is the listener as net/http sees it: connections pass the same gate, and TLS with a bounded handshake.
type guarded struct{ *listener }

func (g *guarded) Accept() (net.Conn, error) {
	conn, _, err := g.accept()
	if err != nil {
		return nil, err
	}
	if g.tls == nil {
		return conn, nil
	}
	// net/http does the handshake on its own goroutine, under ReadHeaderTimeout.
	return tls.Server(conn, g.tls.config()), nil
}

func (g *guarded) Addr() net.Addr { return g.net.Addr() }
func (g *guarded) Close() error   { g.listener.close(); return nil }

// socket is a WebSocket as a stream. One goroutine reads, and writers hold the client's lock.
type socket struct {
	net.Conn
	ws *websocket.Conn
	r  io.Reader
}

// Read gives the bytes of binary messages, of which a packet may span several (MQTT 5 §6.0).
func (s *socket) Read(p []byte) (int, error) {
	for {
		if s.r == nil {
			kind, r, err := s.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errText
			}
			s.r = r
		}
		n, err := s.r.Read(p)
		if errors.Is(err, io.EOF) {
			s.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends one binary message.
func (s *socket) Write(p []byte) (int, error) {
	if err := s.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline is kept by the WebSocket, which sets it on the socket before each write.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.ws.SetWriteDeadline(t) }

// ConnectionState gives the client's certificate, if there is TLS below.
func (s *socket) ConnectionState() tls.ConnectionState {
	if tc, ok := s.Conn.(*tls.Conn); ok {
		return tc.ConnectionState()
	}
	return tls.ConnectionState{}
}
