//go:build e2e

package vm

import (
	"maps"
	"strings"
	"testing"
)

const record = "@@BEGIN a 4\nx\ny\n\n@@END\n@@BEGIN b/c 0\n\n@@END\n@@PASS 2\n"

func TestParseRecord(t *testing.T) {
	sections, err := ParseRecord(record)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"a": "x\ny\n", "b/c": ""}; !maps.Equal(sections, want) {
		t.Errorf("got %q, not %q", sections, want)
	}
}

// A machine that panics, hangs or is killed stops in the middle of its record.
func TestParseRecordCutShort(t *testing.T) {
	for n := range len(record) - len(" 2\n") {
		if _, err := ParseRecord(record[:n]); err == nil {
			t.Errorf("the first %d bytes are taken for a whole record", n)
		}
	}
}

func TestParseRecordBad(t *testing.T) {
	for name, bad := range map[string]string{
		"failure":           strings.Replace(record, "@@PASS 2", "@@FAIL why", 1),
		"lost section":      strings.Replace(record, "@@BEGIN b/c 0\n\n@@END\n", "", 1),
		"lost byte":         strings.Replace(record, "x\n", "x", 1),
		"kernel's message":  strings.Replace(record, "@@PASS", "[    1.0] oops\n@@PASS", 1),
		"section twice":     strings.Replace(record, "b/c", "a", 1),
		"size not a number": strings.Replace(record, "a 4", "a four", 1),
	} {
		if _, err := ParseRecord(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
