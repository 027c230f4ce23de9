package gcsstore

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// An apiError is a refusal that the service gave, in either of its languages.
type apiError struct {
	status  int
	reason  string // such as rateLimitExceeded or NoSuchKey
	message string
	request string // the service's name for the request
	after   time.Duration
}

// xmlError is how the XML API refuses.
type xmlError struct {
	XMLName xml.Name `xml:"Error"`
	Code    string   `xml:"Code"`
	Message string   `xml:"Message"`
}

func newAPIError(resp *http.Response, body []byte) *apiError {
	var x xmlError
	if xml.Unmarshal(body, &x) == nil {
		e := &apiError{status: resp.StatusCode, reason: x.Code, message: x.Message}
		e.read(resp.Header)
		return e
	}
	var native *googleapi.Error
	if !errors.As(googleapi.CheckResponseWithBody(resp, body), &native) {
		native = &googleapi.Error{Code: resp.StatusCode, Header: resp.Header}
	}
	return fromNative(native)
}

func fromNative(n *googleapi.Error) *apiError {
	e := &apiError{status: n.Code, message: n.Message}
	if len(n.Errors) > 0 {
		e.reason = n.Errors[0].Reason
		e.message = cmp.Or(e.message, n.Errors[0].Message)
	}
	if text := strings.TrimSpace(n.Body); e.message == "" && len(text) < 200 {
		e.message = text
	}
	e.read(n.Header)
	return e
}

// read takes what an answer's header says of the refusal.
func (e *apiError) read(h http.Header) {
	e.request = h.Get("X-Guploader-Uploadid")
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		e.after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		e.after = max(time.Until(at), 0)
	}
}

func (e *apiError) Error() string {
	var b strings.Builder
	if e.reason != "" {
		fmt.Fprintf(&b, "%s (%d)", e.reason, e.status)
	} else {
		fmt.Fprintf(&b, "%d %s", e.status, http.StatusText(e.status))
	}
	if e.message != "" {
		b.WriteString(": " + e.message)
	}
	if e.request != "" {
		b.WriteString(" [request " + e.request + "]")
	}
	return b.String()
}

// fault reads the refusal.
func (e *apiError) fault() work.Fault {
	reason := strings.ToLower(e.reason)
	switch {
	case strings.HasSuffix(reason, "ratelimitexceeded"), reason == "slowdown":
		return work.Throttled // comes as 403 or 429
	case reason == "baddigest", strings.Contains(e.message, "doesn't match calculated"):
		return work.Corrupt // comes as 400
	case reason == "metadatatoolarge", reason == "entitytoolarge", reason == "keytoolongerror":
		return work.Unsupported
	case reason == "internalerror", reason == "requesttimeout", reason == "incompletebody":
		return work.Transient
	}
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return work.Denied
	case http.StatusNotFound, http.StatusGone:
		return work.NotFound
	case http.StatusPreconditionFailed:
		return work.SrcChanged
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return work.Throttled
	case http.StatusNotImplemented, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong:
		return work.Unsupported
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusOK:
		return work.Transient
	}
	if e.status >= 500 {
		return work.Transient
	}
	return work.Invalid
}

// noBucket reports whether the refusal says that the whole bucket is not
// there.
func (e *apiError) noBucket() bool {
	return e.status == http.StatusNotFound &&
		(e.reason == "NoSuchBucket" || strings.Contains(e.message, "bucket does not exist"))
}

const (
	hintCredentials = "give the agent credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, or the machine's service account"
	hintBucket      = "check the bucket's name, and that it was not deleted"
)

// hint says what the user can do about the refusal.
func (e *apiError) hint() string {
	switch {
	case e.noBucket():
		return hintBucket
	case strings.EqualFold(e.reason, "retentionPolicyNotMet"):
		return "the bucket's retention policy protects what stands there"
	case strings.EqualFold(e.reason, "UserProjectMissing"):
		return "the bucket bills whoever reads it, which is not supported"
	case e.status == http.StatusUnauthorized:
		return "renew the agent's credentials"
	case e.fault() == work.Denied:
		return "check that the agent's service account may do this; writing needs the permissions of roles/storage.objectUser"
	}
	return ""
}

// A refusal is an error of our own making: the request was not sent, or the
// service's answer cannot be used.
type refusal struct {
	fault  work.Fault
	reason string
	field  work.Field
}

func (r *refusal) Error() string { return r.reason }

func refuse(fault work.Fault, format string, args ...any) error {
	return &refusal{fault: fault, reason: fmt.Sprintf(format, args...)}
}

// told returns the refusal in err that the service gave, or nil.
func told(err error) *apiError {
	var own *apiError
	if errors.As(err, &own) {
		return own
	}
	var native *googleapi.Error
	if errors.As(err, &native) {
		return fromNative(native)
	}
	return nil
}

// faultOf returns the fault of any error that a request can end in, empty for
// none.
func faultOf(err error) work.Fault {
	var (
		source *sourceError
		own    *refusal
		token  *oauth2.RetrieveError
	)
	switch {
	case err == nil:
		return ""
	case isClash(err):
		return work.Transient
	case errors.As(err, &source):
		if errors.Is(err, errBytes) {
			return work.Corrupt
		}
		return storage.FaultOf(source.err)
	case errors.As(err, &own):
		return own.fault
	case errors.Is(err, errOrder):
		return work.Unsupported
	case errors.As(err, &token):
		if token.Response != nil && (token.Response.StatusCode >= 500 || token.Response.StatusCode == http.StatusTooManyRequests) {
			return work.Transient
		}
		return work.Denied
	}
	if e := told(err); e != nil {
		return e.fault()
	}
	return storage.NetworkFault(err)
}

// passing reports whether the same request may succeed in a moment.
func passing(err error) bool {
	var source *sourceError
	if errors.As(err, &source) || errors.Is(err, context.Canceled) {
		return false
	}
	f := faultOf(err)
	return f == work.Transient || f == work.Throttled
}

// gone reports whether err says that an object, but not its bucket, is not
// there.
func gone(err error) bool {
	if faultOf(err) != work.NotFound {
		return false
	}
	e := told(err)
	return e == nil || !e.noBucket()
}

// readToken reads why no token was given. Some sources of tokens leave it in
// the answer's body.
func readToken(t *oauth2.RetrieveError) (code, text string) {
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(t.Body, &body) == nil {
		code, text = body.Error, body.Description
	}
	code, text = cmp.Or(t.ErrorCode, code), cmp.Or(t.ErrorDescription, text)
	if t.Response != nil {
		code = cmp.Or(code, t.Response.Status)
	}
	return code, strings.TrimSuffix(code+": "+text, ": ")
}

// fail makes the error of an operation.
func (s *Store) fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	var done *storage.Error
	if errors.As(err, &done) && done.Store == s.name {
		return err
	}
	e := &storage.Error{Op: op, Store: s.name, Key: key, Fault: faultOf(err), Err: bare(err)}
	var (
		own    *refusal
		token  *oauth2.RetrieveError
		source *sourceError
	)
	switch api := told(err); {
	case isClash(err):
		e.Clash = true
	case errors.As(err, &source):
	case errors.As(err, &own):
		e.Field = own.field
	case api != nil:
		e.Err, e.Hint, e.After = api, api.hint(), api.after
		e.Expired = api.status == http.StatusUnauthorized && !s.client.options.anonymous
		if e.Fault == work.NotFound && (key == "" || op == "put") {
			e.Hint = hintBucket // nothing else can be missing
		}
	case errors.As(err, &token):
		e.Hint = hintCredentials
		code, text := readToken(token)
		e.Expired = code == "invalid_grant"
		e.Err = fmt.Errorf("no token was given: %s", text)
	case storage.NoAnswer(err): // also that nobody gives a token
		e.Unreachable, e.Hint = true, storage.UnreachableHint
	}
	return e
}
