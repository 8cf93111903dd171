//go:build e2e

package vm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The record of a machine is a sequence of sections, each
//
//	@@BEGIN <name> <number of bytes>
//	<the bytes>
//	@@END
//
// and a last line, "@@PASS <number of sections>" or "@@FAIL <why>". A machine
// that panicked, hung or was cut short has no such line, or not enough sections.

// ParseRecord returns the sections by name, those before an error included.
func ParseRecord(record string) (map[string]string, error) {
	sections := make(map[string]string)
	for record != "" {
		line, rest, _ := strings.Cut(record, "\n")
		keyword, argument, _ := strings.Cut(line, " ")
		switch keyword {
		case "@@BEGIN":
			name, body, after, err := parseSection(argument, rest)
			if err != nil {
				return sections, err
			}
			if _, twice := sections[name]; twice {
				return sections, fmt.Errorf("section %s is there twice", name)
			}
			sections[name] = body
			rest = after
		case "@@PASS":
			if argument != strconv.Itoa(len(sections)) {
				return sections, fmt.Errorf("there are %d sections; the machine wrote %s", len(sections), argument)
			}
			return sections, nil
		case "@@FAIL":
			return sections, fmt.Errorf("the machine says: %s", argument)
		default:
			return sections, fmt.Errorf("%.80q is between sections", line)
		}
		record = rest
	}
	return sections, errors.New("the record breaks off: the machine did not come to the end of its script")
}

func parseSection(argument, rest string) (name, body, after string, err error) {
	name, size, _ := strings.Cut(argument, " ")
	n, err := strconv.ParseUint(size, 10, 31)
	if err != nil {
		return "", "", "", fmt.Errorf("size of section %s: %w", name, err)
	}
	if uint64(len(rest)) < n {
		return "", "", "", fmt.Errorf("section %s breaks off after %d of %d bytes", name, len(rest), n)
	}
	body = rest[:n]
	after, ok := strings.CutPrefix(rest[n:], "\n@@END\n")
	if !ok {
		return "", "", "", fmt.Errorf("section %s has no end", name)
	}
	return name, body, after, nil
}
