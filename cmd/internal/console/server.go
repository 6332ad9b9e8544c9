package console

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// Options are what a Server is made of.
type Options struct {
	Address string
	// Certificate makes the console speak TLS. Nil is plain HTTP.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Hosts are the names that the console answers to besides addresses and
	// localhost: a page elsewhere must not reach it under a name of its own.
	Hosts   []string
	Health  func() Health
	Metrics prometheus.Gatherer
	// API is the local IoT Central API, mounted at /api. Nil leaves it out.
	API http.Handler
	// Dashboard is the operators' page, mounted at /console/. Nil leaves it
	// out.
	Dashboard *Dashboard
	Log       *zap.Logger
}

// Server is the console. New binds its address, Run serves it.
type Server struct {
	listener net.Listener
	http     *http.Server
	log      *zap.Logger
}

// New binds the console's address.
func New(opts Options) (*Server, error) {
	l, err := net.Listen("tcp", opts.Address)
	if err != nil {
		return nil, fmt.Errorf("console: listen on %s: %w", opts.Address, err)
	}
	if opts.Certificate != nil {
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: opts.Certificate, NextProtos: []string{"h2", "http/1.1"}})
	}
	s := &Server{listener: l, log: opts.Log}
	s.http = &http.Server{
		Handler:           onlyHosts(opts.Hosts, routes(opts)),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          zap.NewStdLog(opts.Log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
	if opts.Dashboard != nil {
		s.http.RegisterOnShutdown(opts.Dashboard.EndStreams)
	}
	return s, nil
}

func routes(opts Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		h := opts.Health()
		h.write(w, r, h.Healthy())
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		h := opts.Health()
		h.write(w, r, h.Ready())
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(opts.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 20 * time.Second}))
	if opts.API != nil {
		mux.Handle("/api/", opts.API)
	}
	if opts.Dashboard != nil {
		mux.Handle("/console/", opts.Dashboard)
		mux.Handle("/console", opts.Dashboard)
		mux.Handle("/{$}", opts.Dashboard)
	}
	return mux
}

// Addr is where the console listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends and then gives requests that are under way a
// moment to finish.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("console: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		_ = s.http.Close()
	}
	if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}

// Close releases the address; Run does so by itself.
func (s *Server) Close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}

// onlyHosts refuses requests under a foreign name, so that a page on the web
// cannot reach the console by a name that it lets point here (DNS rebinding).
func onlyHosts(names []string, next http.Handler) http.Handler {
	allowed := map[string]bool{"localhost": true}
	for _, n := range names {
		allowed[n] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !allowed[host] && net.ParseIP(trimBrackets(host)) == nil {
			http.Error(w, fmt.Sprintf("the console does not answer to the name %q; add it to console.hosts", host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func trimBrackets(host string) string {
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}
