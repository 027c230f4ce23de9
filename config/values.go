package config

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/tranship/tranship/internal/work"
)

// redacted is what any rendering of a set Secret shows.
const redacted = "REDACTED"

// A Secret is a text that no log, error or dump shows. Reveal returns it.
//
// The text hangs behind a pointer, because fmt prints the fields of foreign
// structs without asking their methods.
type Secret struct {
	text *string
}

// NewSecret returns a Secret that holds text; of "" it returns the zero Secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text itself.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == nil }

// String returns a stand-in for the text.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format prints what String returns, whatever the verb.
func (s Secret) Format(f fmt.State, verb rune) {
	if verb == 'q' || f.Flag('#') {
		fmt.Fprintf(f, "%q", s.String())
		return
	}
	fmt.Fprint(f, s.String())
}

// LogValue returns what String does.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String does; it also serves JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalYAML reads a text or a number as it is written.
func (s *Secret) UnmarshalYAML(n ast.Node) error {
	text, ok := scalar(n)
	if !ok {
		return &yaml.SyntaxError{Message: "want a text", Token: n.GetToken()}
	}
	*s = NewSecret(text)
	return nil
}

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

// UnmarshalYAML does what UnmarshalText does and says where it failed.
func (d *Duration) UnmarshalYAML(n ast.Node) error {
	text, ok := scalar(n)
	if !ok {
		return &yaml.SyntaxError{Message: "want a duration such as 30s or 5m", Token: n.GetToken()}
	}
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return &yaml.SyntaxError{Message: err.Error(), Token: n.GetToken()}
	}
	return nil
}

// A Size is a number of bytes written as "64MiB", "8GB" or plain "4096".
type Size int64

// String returns the form that is read, in the largest binary unit that is
// exact.
func (s Size) String() string { return work.SizeText(int64(s)) }

// MarshalText returns the form that is read.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a size with or without a unit.
func (s *Size) UnmarshalText(b []byte) error {
	v, err := work.ParseSize(string(b))
	if err != nil {
		return err
	}
	*s = Size(v)
	return nil
}

// UnmarshalYAML does what UnmarshalText does and says where it failed.
func (s *Size) UnmarshalYAML(n ast.Node) error {
	text, ok := scalar(n)
	if !ok {
		return &yaml.SyntaxError{Message: "want a size such as 64MiB", Token: n.GetToken()}
	}
	if err := s.UnmarshalText([]byte(text)); err != nil {
		return &yaml.SyntaxError{Message: err.Error(), Token: n.GetToken()}
	}
	return nil
}

// scalar returns the text of a YAML scalar as it is written.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}
