package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/report"
)

// listenMetrics opens the listener of /metrics; nil where none is wanted, or
// where the default address, which nobody asked for, cannot be had.
func (c *settings) listenMetrics(ctx context.Context, log *slog.Logger) (net.Listener, error) {
	if !c.servesMetrics || c.Metrics.Listen == "" || c.Metrics.Listen == config.NoListener {
		return nil, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Metrics.Listen)
	if err == nil {
		return listener, nil
	}
	if c.Chosen("metrics.listen") {
		return nil, fmt.Errorf("%s: %w; choose another address, or %s", c.Label("metrics.listen"), err, config.NoListener)
	}
	log.Warn("metrics are not served; set metrics.listen", "err", err)
	return nil, nil
}

// serveMetrics answers until ctx ends. That it fails is no reason to stop
// copying logs.
func serveMetrics(ctx context.Context, listener net.Listener, token config.Secret, status func() report.Status, log *slog.Logger) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{status}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	server := &http.Server{
		Handler:           metricsHandler(registry, token, status),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	log.Info("metrics", "url", "http://"+listener.Addr().String()+"/metrics")
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Error("metrics are no longer served", "err", err)
	}
}

// metricsHandler is the whole listener: three paths to read, for who may.
func metricsHandler(registry prometheus.Gatherer, token config.Secret, status func() report.Status) http.Handler {
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 20 * time.Second})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		if !allowed(r, token) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token of metrics.token is wanted", http.StatusUnauthorized)
			return
		}
		metrics.ServeHTTP(w, r)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		st := status()
		why := report.NotReady(&st)
		if why == "" {
			fmt.Fprintln(w, "ok")
			return
		}
		if !allowed(r, token) {
			why = "not ready"
		}
		http.Error(w, why, http.StatusServiceUnavailable)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "there is nothing to change here", http.StatusMethodNotAllowed)
		case token == "" && !loopbackHost(r.Host):
			// A page that a browser on this machine shows may have had its name
			// pointed at us (DNS rebinding).
			http.Error(w, "this is served to this machine only, under its own name", http.StatusForbidden)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// allowed holds the request's token against ours, in a time that says nothing.
func allowed(r *http.Request, token config.Secret) bool {
	if token == "" {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	want, got := sha256.Sum256([]byte(token.Reveal())), sha256.Sum256([]byte(given))
	return ok && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// loopbackHost reports whether a Host header names this machine.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return config.IsLoopback(strings.Trim(host, "[]"))
}
