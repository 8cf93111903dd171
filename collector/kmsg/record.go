package kmsg

import (
	"bytes"
	"fmt"
	"strconv"

	"ack-exporter/collector"
)

// record is one record of the kernel's log.
type record struct {
	// facility is 0 for the kernel itself. User space that writes to /dev/kmsg
	// cannot choose 0 (kernel/printk/printk.c: devkmsg_write).
	facility uint64
	// seq is the sequence number: one more than that of the record before.
	seq uint64
	// fragment: the message is not the beginning of a line but goes on with that of
	// an earlier record (flag +), which older kernels do.
	fragment bool
	// message is the text without escapes; it shares the memory of the input.
	message []byte
}

// parseRecord reads what one read(2) of /dev/kmsg returns, in the format of the
// kernel's Documentation/ABI/testing/dev-kmsg:
//
//	priority,sequence,timestamp,flags[,more];message
//	 KEY=value
//
// It changes b, because it removes the escapes in place. Its errors are of the
// kind collector.ErrDecode.
func parseRecord(b []byte) (record, error) {
	header, text, found := bytes.Cut(b, []byte{';'})
	if !found {
		return record{}, malformed("no semicolon after the header")
	}
	priority, header, _ := bytes.Cut(header, []byte{','})
	sequence, header, _ := bytes.Cut(header, []byte{','})
	timestamp, header, found := bytes.Cut(header, []byte{','})
	if !found {
		return record{}, malformed("less than four fields in the header")
	}
	flags, _, _ := bytes.Cut(header, []byte{','})

	p, ok := parseNumber(priority)
	if !ok {
		return record{}, malformed("the priority is no number")
	}
	seq, ok := parseNumber(sequence)
	if !ok {
		return record{}, malformed("the sequence number is no number")
	}
	if _, ok := parseNumber(timestamp); !ok {
		return record{}, malformed("the timestamp is no number")
	}
	message, _, _ := bytes.Cut(text, []byte{'\n'}) // the rest are KEY=value lines
	return record{
		facility: p >> 3,
		seq:      seq,
		fragment: bytes.IndexByte(flags, '+') >= 0,
		message:  unescape(message),
	}, nil
}

func malformed(reason string) error {
	return fmt.Errorf("kernel log record: %s: %w", reason, collector.ErrDecode)
}

func parseNumber(b []byte) (uint64, bool) {
	n, err := strconv.ParseUint(string(b), 10, 64)
	return n, err == nil
}

// unescape puts the bytes in place of their \xNN, which the kernel writes for
// what is not printable ASCII and for the backslash. It changes b.
func unescape(b []byte) []byte {
	first := bytes.IndexByte(b, '\\')
	if first < 0 {
		return b
	}
	out := b[:first]
	for i := first; i < len(b); i++ {
		if c, ok := escaped(b[i:]); ok {
			out = append(out, c)
			i += len(`\xNN`) - 1
			continue
		}
		out = append(out, b[i])
	}
	return out
}

// escaped is the byte for which the \xNN at the beginning of b stands.
func escaped(b []byte) (byte, bool) {
	if len(b) < len(`\xNN`) || b[0] != '\\' || b[1] != 'x' {
		return 0, false
	}
	high, ok1 := hexDigit(b[2])
	low, ok2 := hexDigit(b[3])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
