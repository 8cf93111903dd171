//go:build e2e

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bringUp puts the addresses of services, destinations and clients on the
// loopback interface.
func bringUp(addresses []string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	for _, text := range addresses {
		bits := "/32"
		if strings.Contains(text, ":") {
			bits = "/128"
		}
		address, err := netlink.ParseAddr(text + bits)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(lo, address); err != nil {
			return fmt.Errorf("add address %s: %w", text, err)
		}
	}
	return nil
}

// servers answer each message with their own name and the message.
type servers struct {
	listeners map[string]io.Closer
}

// serveUDP starts a server whose name is its address.
func (s *servers) serveUDP(ctx context.Context, address string) error {
	conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", address)
	if err != nil {
		return err
	}
	s.listeners["udp "+address] = conn
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, client, err := conn.ReadFrom(buffer)
			if err != nil {
				return // stopped
			}
			// A client that is gone has no use for the answer.
			_, _ = conn.WriteTo(append([]byte(address+" "), buffer[:n]...), client)
		}
	}()
	return nil
}

// serveTCP starts a server that keeps connections open until the client closes.
func (s *servers) serveTCP(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	s.listeners["tcp "+address] = listener
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // stopped
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return nil
}

func (s *servers) stopUDP(address string) error {
	return s.listeners["udp "+address].Close()
}

// group is a number of UDP clients of one service, each with a port of its own
// that it keeps.
type group struct {
	name string
	// source is the address of the clients, target that of the service.
	source, target string
	// mark is the firewall mark of the packets.
	mark    int
	number  int
	clients []*client
}

type client struct {
	conn     *net.UDPConn
	messages int
}

// open opens the sockets of the clients.
func (g *group) open(ctx context.Context) error {
	dialer := net.Dialer{
		LocalAddr: &net.UDPAddr{IP: net.ParseIP(g.source)},
		Control: func(_, _ string, conn syscall.RawConn) error {
			var err error
			control := conn.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, g.mark)
			})
			return errors.Join(control, err)
		},
	}
	for range g.number {
		conn, err := dialer.DialContext(ctx, "udp", g.target)
		if err != nil {
			return fmt.Errorf("clients %s: %w", g.name, err)
		}
		g.clients = append(g.clients, &client{conn: conn.(*net.UDPConn)})
	}
	return nil
}

// ask lets all clients ask at once and again, each until it has an answer, and
// returns one line for each: the group, the client's port and what happened.
func (g *group) ask(within time.Duration) string {
	lines := make([]string, len(g.clients))
	var wait sync.WaitGroup
	for i, c := range g.clients {
		wait.Go(func() {
			port := c.conn.LocalAddr().(*net.UDPAddr).Port
			lines[i] = fmt.Sprintf("%s %d %s\n", g.name, port, c.ask(within))
		})
	}
	wait.Wait()
	return strings.Join(lines, "")
}

// ask is "answered" and the name of the server, "refused" where the last thing
// heard was that nobody listens, or "silent".
func (c *client) ask(within time.Duration) string {
	const again = 400 * time.Millisecond
	tick := time.NewTicker(again)
	defer tick.Stop()
	outcome := "silent"
	for deadline := time.Now().Add(within); time.Now().Before(deadline); <-tick.C {
		server, err := c.exchange(again)
		if err == nil {
			return "answered " + server
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			outcome = "refused"
		}
	}
	return outcome
}

// exchange sends a message and waits for the answer to it.
func (c *client) exchange(within time.Duration) (server string, err error) {
	c.messages++
	message := fmt.Appendf(nil, "message %d", c.messages)
	if err := c.conn.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	if _, err := c.conn.Write(message); err != nil {
		return "", err
	}
	buffer := make([]byte, 1500)
	for {
		n, err := c.conn.Read(buffer)
		if err != nil {
			return "", err
		}
		name, echo, _ := bytes.Cut(buffer[:n], []byte(" "))
		if bytes.Equal(echo, message) { // not a late answer to an older message
			return string(name), nil
		}
	}
}

// connect opens TCP connections, and closes those above keep at once.
func connect(ctx context.Context, address string, number, keep int) ([]net.Conn, error) {
	var kept []net.Conn
	for i := range number {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return kept, err
		}
		if err := exchangeTCP(conn); err != nil {
			return kept, fmt.Errorf("TCP by way of %s: %w", address, err)
		}
		if i < keep {
			kept = append(kept, conn)
		} else if err := conn.Close(); err != nil {
			return kept, err
		}
	}
	return kept, nil
}

func exchangeTCP(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	message := []byte("message")
	if _, err := conn.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, len(message)))
	return err
}
