package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// Limits of what a request may say.
const (
	maxKey      = 255
	maxWho      = 100
	maxLimit    = 1000
	limitUnsaid = 100
)

// findings collects what is wrong with a request.
type findings []api.FieldError

func (f *findings) body(pointer, format string, args ...any) {
	*f = append(*f, api.FieldError{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

func (f *findings) parameter(name, format string, args ...any) {
	*f = append(*f, api.FieldError{Parameter: name, Detail: fmt.Sprintf(format, args...)})
}

func (f *findings) header(name, format string, args ...any) {
	*f = append(*f, api.FieldError{Header: name, Detail: fmt.Sprintf(format, args...)})
}

// err returns the findings as a problem, or nil if there are none.
func (f findings) err() error {
	if len(f) == 0 {
		return nil
	}
	return api.NewProblem(api.Invalid, "", f...)
}

// readBody decodes the body, a JSON object, into v and notes fields that are
// not known. An empty body is an empty object where that is allowed.
func readBody(r *http.Request, v any, mayBeEmpty bool, known fields, f *findings) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if len(b) == 0 && mayBeEmpty {
		return nil
	}
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return api.NewProblem(api.MediaType, "")
	}
	known.check(b, "", f)
	if err := json.Unmarshal(b, v); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) && te.Field != "" {
			f.body("/"+strings.ReplaceAll(te.Field, ".", "/"), "must not be a %s", te.Value)
			return f.err()
		}
		return api.NewProblem(api.BadRequest, "the body is not a JSON object: "+err.Error())
	}
	return f.err()
}

// fields names the fields that an object may have; those of an inner object
// stand under its name.
type fields map[string]fields

// check notes the fields of the object that are not known. What is no object is
// left to the decoder.
func (known fields) check(b []byte, at string, f *findings) {
	var got map[string]json.RawMessage
	if json.Unmarshal(b, &got) != nil {
		return
	}
	for name, value := range got {
		inner, ok := known[name]
		switch {
		case !ok:
			f.body(at+"/"+pointerText(name), "unknown field")
		case bytes.Equal(value, []byte("null")):
			f.body(at+"/"+name, "must not be null")
		case inner != nil:
			inner.check(value, at+"/"+name, f)
		}
	}
	slices.SortFunc(*f, func(a, b api.FieldError) int { return strings.Compare(a.Pointer, b.Pointer) })
}

// pointerText codes a name as JSON pointers do, and keeps it short.
func pointerText(name string) string {
	if len(name) > 64 {
		name = name[:64]
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(strings.ToValidUTF8(name, ""))
}

// readIdempotency returns the request's idempotency key, and a hash of what is
// asked for, however its JSON was written.
func readIdempotency(r *http.Request, nj work.NewJob) (work.Idempotency, error) {
	key := r.Header.Get(api.HeaderIdempotencyKey)
	var f findings
	if len(r.Header.Values(api.HeaderIdempotencyKey)) > 0 && key == "" || len(key) > maxKey || !printable(key) || !isASCII(key) {
		f.header(api.HeaderIdempotencyKey, "must be 1 to %d printable ASCII characters", maxKey)
		return work.Idempotency{}, f.err()
	}
	nj.SubmittedBy = "" // the same request by another hand is the same request
	b, err := json.Marshal(nj)
	if err != nil {
		return work.Idempotency{}, fmt.Errorf("hash the request: %w", err)
	}
	sum := sha256.Sum256(b)
	return work.Idempotency{Key: key, Hash: sum[:]}, nil
}

// readWho returns who asks, for the audit log. A site that is open takes the
// header's word for it, so that has to be well formed everywhere.
func readWho(r *http.Request, f *findings) string {
	if why := checkLine(r.Header.Get(api.HeaderWho), maxWho); why != "" {
		f.header(api.HeaderWho, "%s", why)
	}
	return work.CallerOf(r.Context()).Name
}

// readJobID returns the job that the address names.
func readJobID(r *http.Request) (work.JobID, error) {
	n, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || n < 1 {
		return 0, work.ErrNoJob
	}
	return work.JobID(n), nil
}

// A params reads the parameters of a query and notes what is wrong.
type params struct {
	values url.Values
	findings
}

// readParams refuses parameters that are not known, so that a misspelt filter
// is not taken for none.
func readParams(r *http.Request, known ...string) *params {
	p := &params{}
	var err error
	if p.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		p.parameter("", "the query cannot be read")
	}
	for name, v := range p.values {
		switch {
		case !slices.Contains(known, name):
			p.parameter(clip(name), "unknown parameter; known: %s", strings.Join(known, ", "))
		case len(v) > 1:
			p.parameter(name, "is given %d times", len(v))
		}
	}
	slices.SortFunc(p.findings, func(a, b api.FieldError) int { return strings.Compare(a.Parameter, b.Parameter) })
	return p
}

func (p *params) text(name string) string { return p.values.Get(name) }

func (p *params) limit(unsaid int) int {
	if n := p.number("limit", int64(unsaid), 1, maxLimit); n != 0 {
		return int(n)
	}
	return unsaid
}

func (p *params) number(name string, unsaid, least, most int64) int64 {
	raw := p.text(name)
	if raw == "" {
		return unsaid
	}
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || n < least || n > most {
		p.parameter(name, "must be a number from %d to %d", least, most)
		return unsaid
	}
	return n
}

func (p *params) time(name string, unsaid time.Time) time.Time {
	raw := p.text(name)
	if raw == "" {
		return unsaid
	}
	t, err := time.Parse(time.RFC3339, raw)
	if err != nil {
		p.parameter(name, "must be a time such as 2026-01-05T10:00:00Z")
		return unsaid
	}
	return t
}

// oneOf returns the parameter if it is empty or one of those that may be.
func oneOf[T ~string](p *params, name string, may ...T) T {
	v := T(p.text(name))
	if v != "" && !slices.Contains(may, v) {
		var names []string
		for _, m := range may {
			names = append(names, string(m))
		}
		p.parameter(name, "must be one of %s", strings.Join(names, ", "))
	}
	return v
}

// checkLine says what is wrong with a short text for people.
func checkLine(s string, most int) string {
	switch {
	case len(s) > most:
		return fmt.Sprintf("is longer than %d bytes", most)
	case !printable(s):
		return "holds characters that cannot be printed"
	}
	return ""
}

// printable reports whether s is text that moves no cursor.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

// clip shortens what a client sent before it is sent back.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
