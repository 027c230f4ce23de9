package s3store

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// An apiError is a refusal that the server gave.
type apiError struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string   `xml:"Code"`
	Message   string   `xml:"Message"`
	Region    string   `xml:"Region"`
	Endpoint  string   `xml:"Endpoint"`
	RequestID string   `xml:"RequestId"`
	status    int
	date      string        // by the server's clock
	id2       string        // what Amazon's support wants beside the request's id
	after     time.Duration // how long the server asks to be left alone
	about     work.Field    // what of the object it is about, if its code does not say
}

func newAPIError(resp *http.Response, body []byte) *apiError {
	e := &apiError{}
	if err := xml.Unmarshal(body, e); err != nil {
		*e = apiError{} // a proxy's page, or nothing as after HEAD
	}
	e.heard(resp)
	return e
}

// heard adds what the answer's header says.
func (e *apiError) heard(resp *http.Response) {
	h := resp.Header
	e.status, e.date, e.id2 = resp.StatusCode, h.Get("Date"), h.Get("X-Amz-Id-2")
	e.after = retryAfter(h.Get("Retry-After"), time.Now())
	if id := h.Get("X-Amz-Request-Id"); id != "" {
		e.RequestID = id
	}
	if region := h.Get("X-Amz-Bucket-Region"); region != "" {
		e.Region = region
	}
}

// retryAfter reads the header of this name: seconds or a date; 0 if it is
// neither, or over.
func retryAfter(text string, now time.Time) time.Duration {
	if sec, err := strconv.ParseInt(text, 10, 32); err == nil {
		return max(0, time.Duration(sec)*time.Second)
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

func (e *apiError) Error() string {
	var b strings.Builder
	if e.Code != "" {
		fmt.Fprintf(&b, "%s (%d)", e.Code, e.status)
	} else {
		fmt.Fprintf(&b, "%d %s", e.status, http.StatusText(e.status))
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.RequestID != "" {
		b.WriteString(" [request " + e.RequestID)
		if e.id2 != "" {
			b.WriteString(", " + e.id2)
		}
		b.WriteString("]")
	}
	return b.String()
}

// A credentialsError means that no credentials could be found or renewed.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "find credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// A refusal is an error of our own making: the request was not sent, or the
// server's answer cannot be used.
type refusal struct {
	fault  work.Fault
	field  work.Field // what of the object cannot be held, if that is why
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(fault work.Fault, format string, args ...any) error {
	return &refusal{fault: fault, reason: fmt.Sprintf(format, args...)}
}

// misfit refuses an object for what the store cannot hold of it.
func misfit(field work.Field, format string, args ...any) error {
	return &refusal{work.Unsupported, field, fmt.Sprintf(format, args...)}
}

// faultOf returns the fault of any error that a request can end in, empty for
// none.
func faultOf(err error) work.Fault {
	var (
		api    *apiError
		creds  *credentialsError
		source *sourceError
		own    *refusal
		lost   *clash
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &lost):
		return work.Transient
	case errors.As(err, &source):
		if errors.Is(err, errLength) {
			return work.Corrupt
		}
		return storage.FaultOf(source.err)
	case errors.As(err, &api):
		return api.fault()
	case errors.As(err, &own):
		return own.fault
	case errors.Is(err, errOrder):
		return work.Unsupported
	case errors.As(err, &creds):
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return work.Transient
		}
		return work.Denied
	}
	return storage.NetworkFault(err)
}

// passing reports whether the same request may succeed in a moment.
func passing(err error) bool {
	var source *sourceError
	var lost *clash
	if errors.As(err, &source) || errors.As(err, &lost) {
		return false
	}
	f := faultOf(err)
	return f == work.Transient || f == work.Throttled
}

// adjust learns the server's clock from an error about ours.
func (c *client) adjust(err error) {
	var api *apiError
	if !errors.As(err, &api) || api.Code != "RequestTimeTooSkewed" {
		return
	}
	if t, err := http.ParseTime(api.date); err == nil {
		c.skew.Store(int64(time.Until(t)))
	}
}

// fail makes the error of an operation. Faults of the network are told as
// they are; cancellation is left to be found with errors.Is.
func (s *Store) fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	var done *storage.Error
	if errors.As(err, &done) && done.Store == s.name {
		return err
	}
	e := &storage.Error{Op: op, Store: s.name, Key: key, Fault: faultOf(err), Err: err}
	var (
		api    *apiError
		creds  *credentialsError
		source *sourceError
		own    *refusal
		lost   *clash
	)
	switch {
	case errors.As(err, &lost):
		e.Clash = true
	case errors.As(err, &source):
		var of *storage.Error // the other store's
		if errors.As(source.err, &of) {
			e.Hint, e.Field, e.After, e.Expired = of.Hint, of.Field, of.After, of.Expired
		}
	case errors.As(err, &api):
		e.Hint, e.Field, e.Expired = api.hint(), api.field(), s.client.expired(api)
		if e.Fault == work.Throttled {
			e.After = api.after
		}
	case errors.As(err, &own):
		e.Field = own.field
	case errors.As(err, &creds):
		e.Hint = "give the agent credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role of its machine"
		if e.Expired = creds.expired(); e.Expired {
			e.Hint = renewHint
		}
	case storage.NoAnswer(err):
		e.Unreachable, e.Hint = true, storage.UnreachableHint
	}
	if e.Expired && source == nil {
		s.client.outdated()
	}
	return e
}

const renewHint = "renew the agent's session credentials"

// expired reports whether a refusal means that the credentials are no longer
// good. Only credentials of a session have a token that can be invalid.
func (c *client) expired(e *apiError) bool {
	switch e.Code {
	case "ExpiredToken", "TokenRefreshRequired", "RequestExpired":
		return true
	case "InvalidToken", "InvalidTokenId":
		return c.session.Load()
	}
	return false
}

// expired reports whether no credentials could be had because what they are
// made from has expired. Providers have no common error for it: it may come
// from a service, a file, or a program of the user's.
func (e *credentialsError) expired() bool {
	var api smithy.APIError
	if errors.As(e.err, &api) && strings.HasPrefix(api.ErrorCode(), "ExpiredToken") {
		return true
	}
	return strings.Contains(strings.ToLower(e.err.Error()), "expired")
}
