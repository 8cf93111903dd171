//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/vishvananda/netlink"
)

// The network of the emulator, in which the machine can be reached.
const (
	card        = "eth0"
	cardAddress = "10.0.2.15"
	controlPort = "9000"
	// maxRequest bounds what is read of a request.
	maxRequest = 1 << 20
)

// serve starts an exporter that can be scraped from outside, and does what the
// test asks for, until it asks for the end:
//
//	POST /ipvsadm   runs ipvsadm for each line of the body
//	POST /ask       lets clients of the service dns ask, and answers what became of them
//	POST /end
func serve(ctx context.Context, r *record) error {
	s := &scene{record: r, servers: servers{make(map[string]io.Closer)}, groups: make(map[string]*group)}
	if err := s.prepareNode(ctx); err != nil {
		return err
	}
	ended := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ipvsadm", s.handleChange)
	mux.HandleFunc("POST /ask", s.handleAsk)
	mux.HandleFunc("POST /end", func(http.ResponseWriter, *http.Request) { close(ended) })
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort(cardAddress, controlPort))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: commandTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case <-ended:
		// The answer to the request for the end is written first.
		return errors.Join(server.Shutdown(ctx), s.end(ctx))
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prepareNode makes a node with one service, the DNS, as ACK wants it.
func (s *scene) prepareNode(ctx context.Context) error {
	var err error
	if s.needed, s.ipvs, err = findModules(); err != nil {
		return err
	}
	if err := errors.Join(s.needed.load(), s.ipvs.load()); err != nil {
		return err
	}
	if err := bringUp(addresses); err != nil {
		return err
	}
	if err := eventually(ctx, commandTimeout, bringUpCard); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	if err := s.serve(ctx); err != nil {
		return err
	}
	err = s.change(ctx, `
--set 900 120 10
-A -u 10.96.0.10:53 -s rr
-a -u 10.96.0.10:53 -r 10.244.1.1:5353 -m
-a -u 10.96.0.10:53 -r 10.244.1.2:5353 -m`)
	if err != nil {
		return err
	}
	e, err := identity{name: "root", host: cardAddress, port: 9777}.start(ctx)
	s.exporters = append(s.exporters, e)
	return err
}

func bringUpCard() error {
	link, err := netlink.LinkByName(card)
	if err != nil {
		return fmt.Errorf("find %s: %w", card, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up %s: %w", card, err)
	}
	address, err := netlink.ParseAddr(cardAddress + "/24")
	if err != nil {
		return err
	}
	return netlink.AddrReplace(link, address)
}

func (s *scene) handleChange(w http.ResponseWriter, r *http.Request) {
	lines, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err == nil {
		err = s.change(r.Context(), string(lines))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// handleAsk opens the sockets of the clients at the first request: they keep
// them, as some resolvers do.
func (s *scene) handleAsk(w http.ResponseWriter, r *http.Request) {
	const name = "dns"
	if s.groups[name] == nil {
		g := &group{name: name, source: client4, target: "10.96.0.10:53", number: 6}
		if err := g.open(context.WithoutCancel(r.Context())); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		s.groups[name] = g
	}
	fmt.Fprint(w, s.groups[name].ask(answerTime))
}

// answerTime is how long clients ask until they give up.
const answerTime = 5 * time.Second
