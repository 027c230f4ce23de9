package config

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// redacted is what any rendering of a set Secret shows.
const redacted = "REDACTED"

// A Secret is a text that no log, error or dump shows. Reveal returns it.
type Secret string

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// String returns a stand-in for the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString returns what String does.
func (s Secret) GoString() string { return s.String() }

// LogValue returns what String does.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String does; it also serves JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Duration is a time.Duration written as "30s" or "5m".
type Duration time.Duration

// String returns the form that is read.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns the form that is read.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration with its unit.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write for example 30s or 5m", b)
	}
	*d = Duration(v)
	return nil
}

// A Size is a number of bytes written as "64MiB", "8GB" or plain "4096".
type Size int64

// String returns the form that is read, in binary units.
func (s Size) String() string { return strings.ReplaceAll(humanize.IBytes(uint64(max(s, 0))), " ", "") }

// MarshalText returns the form that is read.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a size with or without a unit.
func (s *Size) UnmarshalText(b []byte) error {
	v, err := humanize.ParseBytes(strings.TrimSpace(string(b)))
	if err != nil || v > 1<<62 {
		return fmt.Errorf("%q is not a size; write for example 64MiB", b)
	}
	*s = Size(v)
	return nil
}
