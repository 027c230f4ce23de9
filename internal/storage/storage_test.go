package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

func TestFaultOf(t *testing.T) {
	t.Parallel()
	denied := &Error{Op: "get", Store: "mem://a", Key: "k", Fault: work.Denied, Err: errors.New("no")}
	tests := []struct {
		name string
		err  error
		want work.Fault
	}{
		{"none", nil, ""},
		{"own", denied, work.Denied},
		{"own, wrapped", fmt.Errorf("copy: %w", denied), work.Denied},
		{"own around another", &Error{Fault: work.Corrupt, Err: denied}, work.Corrupt},
		{"no such file", &fs.PathError{Err: os.ErrNotExist}, work.NotFound},
		{"no permission", fmt.Errorf("open: %w", os.ErrPermission), work.Denied},
		{"canceled", context.Canceled, work.Transient},
		{"too late", context.DeadlineExceeded, work.Transient},
		{"anything else", errors.New("x"), work.Transient},
	}
	for _, tt := range tests {
		if got := FaultOf(tt.err); got != tt.want {
			t.Errorf("%s: FaultOf(%v) = %q, want %q", tt.name, tt.err, got, tt.want)
		}
		if tt.err != nil && !Is(tt.err, tt.want) || Is(tt.err, "other") {
			t.Errorf("%s: Is does not agree with FaultOf", tt.name)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	e := &Error{Op: "put", Store: "s3://b", Key: "a\nb", Fault: work.Denied, Hint: "ask", Err: errors.New("no")}
	if got, want := e.Error(), `put "a\nb" of s3://b: no (ask)`; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	e = &Error{Op: "list", Store: "s3://b", Err: errors.New("no")}
	if got, want := e.Error(), `list s3://b: no`; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"s3://bucket", "s3://b/pre fix?endpoint=http://h:1", "file:///data", "mem://a/b"} {
		if _, err := ParseURL(good); err != nil {
			t.Errorf("ParseURL(%q) = %v", good, err)
		}
	}
	for bad, word := range map[string]string{
		"":                       "scheme",
		"/data/folder":           "scheme",
		"s3://key:secret@bucket": "credentials",
		"s3://key@bucket":        "credentials",
		"s3://bu%zzcket":         "not a URL",
		"\x7f://x":               "not a URL",
	} {
		_, err := ParseURL(bad)
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("ParseURL(%q) = %v, want an error about %s", bad, err, word)
		}
	}
}

func TestErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"s3://key:hunter2@bucket", "s3://key:hunter2@bu%zzcket", "nope://key:hunter2@bucket",
		"s3://bucket/a?X-Amz-Signature=hunter2", "azblob://box?sig=hunter2", "s3://bucket/a%3FX-Amz-Signature=hunter2"} {
		_, err := Drivers{}.Open(t.Context(), raw, Credentials{})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q) = %v, want an error without the password", raw, err)
		}
	}
}

func TestDriversOpen(t *testing.T) {
	t.Parallel()
	var opened string
	d := Drivers{
		"mem": func(_ context.Context, u *url.URL, _ Credentials) (Store, error) {
			opened = u.String()
			return nil, nil
		},
		"abc": nil,
	}
	if _, err := d.Open(t.Context(), "mem://name/prefix?a=b", Credentials{}); err != nil || opened != "mem://name/prefix?a=b" {
		t.Errorf("Open gave the driver %q, %v", opened, err)
	}
	_, err := d.Open(t.Context(), "ftp://host/x", Credentials{})
	if !Is(err, work.Invalid) || !strings.Contains(err.Error(), "abc, mem") {
		t.Errorf("Open of an unknown scheme = %v, want invalid with the known schemes", err)
	}
	if _, err := d.Open(t.Context(), "no scheme", Credentials{}); !Is(err, work.Invalid) {
		t.Errorf("Open of no URL = %v, want invalid", err)
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"s3://b":                  "",
		"s3://b/":                 "",
		"s3://b/a":                "a/",
		"s3://b/a/b/":             "a/b/",
		"s3://b/a%20b%2Fc":        "a b/c/",
		"s3://b//a":               "/a/",
		"s3://b?prefix=a/b-":      "a/b-",
		"s3://b/?prefix=a%2Bb%20": "a+b ",
	} {
		u, err := ParseURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Prefix(u); err != nil || got != want {
			t.Errorf("Prefix(%q) = %q, %v, want %q", raw, got, err, want)
		}
	}
	u, err := ParseURL("s3://b/a?prefix=c")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Prefix(u); err == nil {
		t.Errorf("Prefix(%q) = %q, want an error", u, got)
	}
}

func TestCheckQuery(t *testing.T) {
	t.Parallel()
	u := &url.URL{RawQuery: "prefix=a&region=b"}
	if err := CheckQuery(u, "prefix", "region"); err != nil {
		t.Errorf("CheckQuery = %v", err)
	}
	if err := CheckQuery(u, "prefix"); err == nil || !strings.Contains(err.Error(), "region") {
		t.Errorf("CheckQuery = %v, want an error that names region", err)
	}
	if err := CheckQuery(&url.URL{RawQuery: "a=%zz"}, "a"); err == nil {
		t.Error("CheckQuery of a damaged query succeeded")
	}
}
