package kmsg

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ack-exporter/collector"
)

// escape writes s as devkmsg_read does (kernel/printk/printk.c: msg_add_ext_text).
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c >= 127 || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func TestParseRecord(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		input    string
		facility uint64
		seq      uint64
		fragment bool
		message  string
	}{
		"kernel":                {"5,0,0,-;Linux version 6.18.44\n", 0, 0, false, "Linux version 6.18.44"},
		"user space":            {"12,345,1437589224,-;ack probe\n", 1, 345, false, "ack probe"},
		"daemon":                {"30,346,1437589224,-;systemd[1]: Started\n", 3, 346, false, "systemd[1]: Started"},
		"highest level":         {"7,2,3,-;debug\n", 0, 2, false, "debug"},
		"start of a line":       {"4,2,3,c;Oops: 0000 [#1] \n", 0, 2, false, "Oops: 0000 [#1] "},
		"rest of a line":        {"4,2,3,+;SMP \n", 0, 2, true, "SMP "},
		"caller":                {"6,339,5140900,-,caller=T1;NET: Registered\n", 0, 339, false, "NET: Registered"},
		"keys":                  {"7,160,424069,-;pci_root PNP0A03:00: host bridge\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n", 0, 160, false, "pci_root PNP0A03:00: host bridge"},
		"semicolon in the text": {"6,1,2,-;a;b\n", 0, 1, false, "a;b"},
		"comma in the text":     {"6,1,2,-;a,b\n", 0, 1, false, "a,b"},
		"no text":               {"6,1,2,-;\n", 0, 1, false, ""},
		"no line break":         {"6,1,2,-;a", 0, 1, false, "a"},
		"escapes":               {`6,1,2,-;a\x0ab\x5cc\xc3\xa9` + "\n", 0, 1, false, "a\nb\\cé"},
		"no escapes":            {`6,1,2,-;\x4 \xGG \n \x\x41\` + "\n", 0, 1, false, `\x4 \xGG \n \xA\`},
		"largest number":        {"6,18446744073709551615,2,-;a\n", 0, 1<<64 - 1, false, "a"},
	}
	for name, test := range tests {
		r, err := parseRecord([]byte(test.input))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.facility != test.facility || r.seq != test.seq || r.fragment != test.fragment || string(r.message) != test.message {
			t.Errorf("%s: %+v with the message %q", name, r, r.message)
		}
	}
}

func TestParseRecordMalformed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ input, says string }{
		"nothing":                {"", "no semicolon"},
		"text":                   {"Linux version 6.18.44\n", "no semicolon"},
		"two fields":             {"6,1;a\n", "less than four"},
		"three fields":           {"6,1,2;a\n", "less than four"},
		"priority":               {"x,1,2,-;a\n", "priority"},
		"priority in brackets":   {"<6>,1,2,-;a\n", "priority"},
		"negative priority":      {"-1,1,2,-;a\n", "priority"},
		"sequence number":        {"6,,2,-;a\n", "sequence"},
		"sequence number beyond": {"6,18446744073709551616,2,-;a\n", "sequence"},
		"timestamp":              {"6,1,2.5,-;a\n", "timestamp"},
	}
	for name, test := range tests {
		_, err := parseRecord([]byte(test.input))
		if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v instead of one that says %q", name, err, test.says)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{
		"", ";", ",,,;", "6,1,2,-;a\n", "6,1,2,-,caller=T1;a\n K=v\n", "4,2,3,+;SMP \n", `6,1,2,-;\x0a\x5c\x`,
		"18446744073709551615,18446744073709551615,18446744073709551615,c;\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > bufferSize {
			t.Skip("longer than the buffer")
		}
		before := len(b)
		r, err := parseRecord(b)
		if err != nil && !errors.Is(err, collector.ErrDecode) {
			t.Errorf("error %v", err)
		}
		if len(r.message) > before {
			t.Errorf("%d bytes of message in %d bytes", len(r.message), before)
		}
	})
}

// Any text survives what the kernel does to it.
func FuzzEscapes(f *testing.F) {
	for _, s := range []string{"", `\`, `\x41`, "a\nb", "\x00\xff", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > bufferSize/4-100 {
			t.Skip("longer than the buffer")
		}
		r, err := parseRecord([]byte("6,1,2,-;" + escape(text) + "\n K=v\n"))
		if err != nil || !bytes.Equal(r.message, []byte(text)) {
			t.Errorf("%q became %q, error %v", text, r.message, err)
		}
	})
}
