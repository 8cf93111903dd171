package aliyun

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// valueError says what was expected where something else was.
type valueError struct{ want string }

func (e *valueError) Error() string { return "not " + e.want }

// noExpiry is the year from which on a time means never: what is paid by use ends in
// 2099 or 2999.
const noExpiry = 2099

// Time is a time as the API writes it, with seconds or without. The zero time stands
// for none.
type Time struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(raw []byte) error {
	parsed, ok := parseTime(text(raw))
	if !ok {
		return &valueError{"a time"}
	}
	*t = parsed
	return nil
}

// Expiry is the time as an end, and false where there is none.
func (t Time) Expiry() (time.Time, bool) {
	return t.Time, !t.IsZero() && t.Year() < noExpiry
}

func parseTime(s string) (Time, bool) {
	if s == "" {
		return Time{}, true
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if parsed, err := time.Parse(layout, s); err == nil {
			return Time{parsed.UTC()}, true
		}
	}
	return Time{}, false
}

// text is the value of a JSON string, number or boolean; "" for null.
func text(raw []byte) string {
	s := string(raw)
	if s == "null" {
		return ""
	}
	if unquoted, ok := strings.CutPrefix(s, `"`); ok {
		return strings.TrimSpace(strings.TrimSuffix(unquoted, `"`))
	}
	return s
}

var numberForm = regexp.MustCompile(`^-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?$`)

// Number is a number, which some calls write as a string. What is empty or null is 0;
// where that is not the same, a field is a pointer.
type Number float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(raw []byte) error {
	s := text(raw)
	if s == "" {
		*n = 0
		return nil
	}
	value, err := strconv.ParseFloat(s, 64)
	if err != nil || !numberForm.MatchString(s) {
		return &valueError{"a number"}
	}
	*n = Number(value)
	return nil
}

// Integer is a whole number, which some calls write as a string.
type Integer int64

// UnmarshalJSON implements json.Unmarshaler.
func (i *Integer) UnmarshalJSON(raw []byte) error {
	var n Number
	if err := n.UnmarshalJSON(raw); err != nil {
		return err
	}
	// Beyond 2^53 a float64 is not exact, and nothing here is so large.
	if float64(n) != math.Trunc(float64(n)) || math.Abs(float64(n)) > 1<<53 {
		return &valueError{"a whole number"}
	}
	*i = Integer(n)
	return nil
}

// Flag is a boolean, which some calls write as a string or a number.
type Flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *Flag) UnmarshalJSON(raw []byte) error {
	switch strings.ToLower(text(raw)) {
	case "true", "1":
		*f = true
	case "", "false", "0":
		*f = false
	default:
		return &valueError{"a boolean"}
	}
	return nil
}

// Tag is a tag of a resource.
type Tag struct {
	Key   string `json:"TagKey"`
	Value string `json:"TagValue"`
}

// tags are how most products wrap them.
type tags struct{ Tag []Tag }

// ids is a list of ids, which some calls wrap in an object. Another shape is no list: what
// it is about is then not known, and the rest of the answer is.
type ids []string

// UnmarshalJSON implements json.Unmarshaler.
func (i *ids) UnmarshalJSON(raw []byte) error {
	*i = nil
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		*i = list
		return nil
	}
	var wrapped map[string][]string
	if json.Unmarshal(raw, &wrapped) == nil && len(wrapped) == 1 {
		for _, list := range wrapped {
			*i = list
		}
	}
	return nil
}
