package metadata

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ack-exporter/collector"
)

func FuzzTermination(f *testing.F) {
	for _, seed := range []string{"", "2030-01-05T18:02:00Z\n", "2030-01-05T18:02:00+00:00", "2030-01-05T18:02:00+08:00", "2030-01-05T18:02:00.5Z", "None"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		at, err := parseTermination(body)
		switch {
		case err != nil:
			if !errors.Is(err, collector.ErrDecode) || !at.IsZero() {
				t.Fatalf("%v, %v", at, err)
			}
		case at.IsZero():
			if strings.TrimSpace(body) != "" {
				t.Fatalf("%q is taken for nothing", body)
			}
		case at.Location() != time.UTC || at.Unix() <= 0:
			t.Fatalf("%q: %v", body, at)
		}
	})
}

func FuzzWord(f *testing.F) {
	for _, seed := range []string{"i-bp1aaaa\n", "ecs.g6e.large", "", "<html>", "a b", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		word, err := parseWord(body)
		if (err == nil) != (word != "") || err != nil && !errors.Is(err, collector.ErrDecode) || !strings.Contains(body, word) {
			t.Fatalf("%q, %v", word, err)
		}
		if again, err2 := parseWord(word); err == nil && (again != word || err2 != nil) {
			t.Fatalf("%q becomes %q, %v", word, again, err2)
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, seed := range []string{"c2VjcmV0==\n", "", "a\r\nb", "a b", "\x00", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		token, err := parseToken(body)
		if (err == nil) != (token != "") || strings.ContainsAny(token, " \r\n\x00\x7f") {
			t.Fatalf("%q, %v", token, err)
		}
	})
}
