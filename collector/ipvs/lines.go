package ipvs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"ack-exporter/collector"
)

// maxLine is the size of a read, and so bounds a line; the kernel's are below 200
// bytes.
const maxLine = 64 << 10

// checkEvery is after how many lines the context is looked at.
const checkEvery = 1000

// eachLine calls f with every line of r, without its end, until f returns false.
// What f gets is overwritten by the next line. Its errors name the line.
func eachLine(ctx context.Context, r io.Reader, f func(line []byte) (more bool, err error)) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 0, maxLine), maxLine)
	n := 0
	for scanner.Scan() {
		n++
		if n%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		more, err := f(scanner.Bytes())
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if !more {
			return nil
		}
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d: longer than %d bytes: %w", n+1, maxLine, collector.ErrDecode)
	} else if err != nil {
		return err
	}
	return nil
}

// nextField splits the first field off a line.
func nextField(line []byte) (field, rest []byte) {
	line = bytes.TrimLeft(line, " ")
	if end := bytes.IndexByte(line, ' '); end >= 0 {
		return line[:end], line[end:]
	}
	return line, nil
}

// address is an IPv4 address, mapped into IPv6, or an IPv6 address.
type address [16]byte

// endpoint is an address and a port. Port 0 of a service or a destination means
// all ports.
type endpoint struct {
	addr address
	port uint16
}

// parseAddress reads an address as IPv4 in eight hexadecimal digits or as IPv6
// in eight groups of four (%08X and %pI6 of the kernel's printf).
func parseAddress(b []byte) (address, bool) {
	var a address
	switch len(b) {
	case 8:
		v, ok := parseHex(b)
		a[10], a[11] = 0xff, 0xff
		a[12], a[13], a[14], a[15] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
		return a, ok
	case 39:
		for group := range 8 {
			digits := b[5*group:]
			if group < 7 && digits[4] != ':' {
				return a, false
			}
			v, ok := parseHex(digits[:4])
			if !ok {
				return a, false
			}
			a[2*group], a[2*group+1] = byte(v>>8), byte(v)
		}
		return a, true
	}
	return a, false
}

// parsePort reads a port in four hexadecimal digits.
func parsePort(b []byte) (uint16, bool) {
	if len(b) != 4 {
		return 0, false
	}
	v, ok := parseHex(b)
	return uint16(v), ok
}

// parseEndpoint reads an address and a port as /proc/net/ip_vs joins them.
func parseEndpoint(b []byte) (e endpoint, ok bool) {
	colon := bytes.LastIndexByte(b, ':')
	if colon < 0 {
		return e, false
	}
	addr := b[:colon]
	if len(addr) > 2 && addr[0] == '[' && addr[len(addr)-1] == ']' {
		addr = addr[1 : len(addr)-1]
	}
	var okAddr, okPort bool
	e.addr, okAddr = parseAddress(addr)
	e.port, okPort = parsePort(b[colon+1:])
	return e, okAddr && okPort
}

// parseHex reads up to eight hexadecimal digits. Unlike strconv.ParseUint, it
// does without a copy of them.
func parseHex(b []byte) (v uint32, ok bool) {
	for _, c := range b {
		var digit byte
		switch {
		case '0' <= c && c <= '9':
			digit = c - '0'
		case 'a' <= c && c <= 'f':
			digit = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			digit = c - 'A' + 10
		default:
			return 0, false
		}
		v = v<<4 | uint32(digit)
	}
	return v, len(b) > 0
}

// parseDecimal reads a decimal number of at most 18 digits.
func parseDecimal(b []byte) (v uint64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = 10*v + uint64(c-'0')
	}
	return v, true
}
