package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

const finishWithin = 60 * time.Second

type server struct {
	version  string
	instance string
	fail     uint64
	ready    atomic.Bool
	draining atomic.Bool
	asked    atomic.Uint64
	failed   atomic.Uint64
}

// serve answers until SIGTERM. Then it says that it is not ready, goes on answering for the time
// of -drain (clients need it to notice), finishes the requests under way, and ends with 0.
func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	version := flags.String("version", "none", "what / answers")
	listen := flags.String("listen", ":8080", "address to listen on")
	ready := flags.String("ready", "now", "now, never, or the time until /readyz says yes")
	drain := flags.Duration("drain", 3*time.Second, "how long to go on after SIGTERM")
	fail := flags.Uint64("fail", 0, "one of so many requests of / is answered with 500; 0: none")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	s := &server{version: *version, instance: os.Getenv("HOSTNAME"), fail: *fail}
	if err := s.becomeReady(*ready); err != nil {
		return err
	}
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGINT)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	fmt.Println("serving", s.version, "on", listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ending:
	}
	s.draining.Store(true)
	fmt.Println("draining for", *drain)
	time.Sleep(*drain)
	limit, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	if err := web.Shutdown(limit); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	fmt.Println("all requests are answered: ending")
	return nil
}

func (s *server) becomeReady(when string) error {
	switch when {
	case "now":
		s.ready.Store(true)
	case "never":
	default:
		delay, err := time.ParseDuration(when)
		if err != nil {
			return fmt.Errorf("-ready: %w", err)
		}
		time.AfterFunc(delay, func() { s.ready.Store(true) })
	}
	return nil
}

func (s *server) handler() http.Handler {
	paths := http.NewServeMux()
	paths.HandleFunc("/{$}", s.answer)
	paths.HandleFunc("/metrics", s.metrics)
	paths.HandleFunc("/wait/{time}", s.wait)
	paths.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	paths.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() || s.draining.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Version", s.version)
		w.Header().Set("X-Instance", s.instance)
		// The client closes after this answer, so that none is in its hands when we go.
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		paths.ServeHTTP(w, r)
	})
}

// answer tells the version, also where it fails, so that a client knows whose answer it is.
func (s *server) answer(w http.ResponseWriter, _ *http.Request) {
	if asked := s.asked.Add(1); s.fail > 0 && asked%s.fail == 0 {
		s.failed.Add(1)
		http.Error(w, s.version, http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, s.version)
}

// metrics tells Prometheus of the requests of /; like most programs it has no series for a code
// that it has not answered.
func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	failed := s.failed.Load()
	fmt.Fprintln(w, "# TYPE http_requests_total counter")
	fmt.Fprintf(w, "http_requests_total{code=\"200\"} %d\n", s.asked.Load()-failed)
	if failed > 0 {
		fmt.Fprintf(w, "http_requests_total{code=\"500\"} %d\n", failed)
	}
}

// wait answers as / does, but only after the time in the path: a request that is under way.
func (s *server) wait(w http.ResponseWriter, r *http.Request) {
	delay, err := time.ParseDuration(r.PathValue("time"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	time.Sleep(delay)
	fmt.Fprintln(w, s.version)
}
