package metadata

import (
	"fmt"
	"strings"
	"time"

	"ack-exporter/collector"
)

// parseTermination reads a time in UTC such as 2030-01-05T18:02:00Z. Nothing at all
// is the zero time.
func parseTermination(body string) (time.Time, error) {
	body = strings.TrimSpace(body)
	if body == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, body)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.60q is not a time: %w", body, collector.ErrDecode)
	}
	// Before 1970 it is no time of a cloud, and could be mistaken for none.
	if _, offset := t.Zone(); offset != 0 || t.Unix() <= 0 {
		return time.Time{}, fmt.Errorf("%.60q is not a time of termination in UTC: %w", body, collector.ErrDecode)
	}
	return t.UTC(), nil
}

// parseWord reads an identifier such as i-bp1a, cn-hangzhou-i or ecs.g6e.large.
// A page of a proxy is none.
func parseWord(body string) (string, error) {
	word := strings.TrimSpace(body)
	if word == "" || len(word) > maxWord || strings.Trim(word, wordCharacters) != "" {
		return "", fmt.Errorf("%.60q is not an identifier: %w", word, collector.ErrDecode)
	}
	return word, nil
}

const (
	// maxWord is longer than any identifier of the cloud.
	maxWord        = 128
	wordCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
)

// parseToken reads a token. It is a secret: no error shows any of it.
func parseToken(body string) (string, error) {
	token := strings.TrimSpace(body)
	other := strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
	if token == "" || other >= 0 {
		return "", fmt.Errorf("%d bytes that are not a token: %w", len(token), collector.ErrDecode)
	}
	return token, nil
}
