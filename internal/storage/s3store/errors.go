package s3store

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

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
	date      string // by the server's clock
}

func newAPIError(resp *http.Response, body []byte) *apiError {
	e := &apiError{}
	if err := xml.Unmarshal(body, e); err != nil {
		*e = apiError{} // a proxy's page, or nothing as after HEAD
	}
	e.status, e.date = resp.StatusCode, resp.Header.Get("Date")
	if id := resp.Header.Get("X-Amz-Request-Id"); id != "" {
		e.RequestID = id
	}
	if region := resp.Header.Get("X-Amz-Bucket-Region"); region != "" {
		e.Region = region
	}
	return e
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
		b.WriteString(" [request " + e.RequestID + "]")
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
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(fault work.Fault, format string, args ...any) error {
	return &refusal{fault, fmt.Sprintf(format, args...)}
}

// codes are the faults of the codes that servers send.
var codes = map[string]work.Fault{
	"NoSuchKey": work.NotFound, "NoSuchBucket": work.NotFound, "NoSuchUpload": work.NotFound,
	"NoSuchVersion": work.NotFound, "NotFound": work.NotFound,

	"AccessDenied": work.Denied, "AllAccessDisabled": work.Denied, "AccountProblem": work.Denied,
	"InvalidAccessKeyId": work.Denied, "SignatureDoesNotMatch": work.Denied, "ExpiredToken": work.Denied,
	"InvalidToken": work.Denied, "TokenRefreshRequired": work.Denied, "NotSignedUp": work.Denied,
	"AuthorizationHeaderMalformed": work.Denied, "InvalidSecurity": work.Denied, "UnauthorizedAccess": work.Denied,
	"XAdminUserNotFound": work.Denied, // versitygw's InvalidAccessKeyId

	"SlowDown": work.Throttled, "TooManyRequests": work.Throttled, "Throttling": work.Throttled,
	"ThrottlingException": work.Throttled, "RequestLimitExceeded": work.Throttled, "BandwidthLimitExceeded": work.Throttled,
	"RequestThrottled": work.Throttled, "SlowDownRead": work.Throttled, "SlowDownWrite": work.Throttled,
	"ServiceUnavailable": work.Throttled, "Busy": work.Throttled,

	"PreconditionFailed": work.SrcChanged,

	"BadDigest": work.Corrupt, "XAmzContentSHA256Mismatch": work.Corrupt, "XAmzContentChecksumMismatch": work.Corrupt,
	"IncompleteBody": work.Transient, "RequestTimeout": work.Transient, "OperationAborted": work.Transient,
	"InternalError": work.Transient, "RequestTimeTooSkewed": work.Transient, "ConditionalRequestConflict": work.Transient,

	// versitygw says so whenever it cannot give a finished object its name, also
	// because a folder on the way was just removed.
	"ExistingObjectIsDirectory": work.Transient,

	"KeyTooLongError": work.Unsupported, "KeyTooLong": work.Unsupported, "InvalidObjectName": work.Unsupported,
	"XMinioInvalidObjectName": work.Unsupported, "InvalidURI": work.Unsupported, "EntityTooLarge": work.Unsupported,
	"MetadataTooLarge": work.Unsupported, "NotImplemented": work.Unsupported, "InvalidObjectState": work.Unsupported,
	"DirectoryObjectContainsData": work.Unsupported, "ObjectParentIsFile": work.Unsupported,
	"XMinioObjectExistsAsDirectory": work.Unsupported, "XMinioParentIsObject": work.Unsupported,
	"QuotaExceeded": work.Unsupported,

	"PermanentRedirect": work.Invalid, "TemporaryRedirect": work.Invalid, "IllegalLocationConstraintException": work.Invalid,
	"InvalidBucketName": work.Invalid, "InvalidArgument": work.Invalid, "InvalidRequest": work.Invalid,
	"InvalidDigest": work.Invalid, "InvalidPart": work.Invalid, "InvalidPartOrder": work.Invalid,
	"EntityTooSmall": work.Invalid, "InvalidRange": work.Invalid, "MethodNotAllowed": work.Invalid,
	"MalformedXML": work.Invalid, "MissingContentLength": work.Invalid,
}

func (e *apiError) fault() work.Fault {
	if f, ok := codes[e.Code]; ok {
		return f
	}
	switch {
	case e.status == http.StatusNotFound:
		return work.NotFound
	case e.status == http.StatusUnauthorized, e.status == http.StatusForbidden:
		return work.Denied
	case e.status == http.StatusTooManyRequests, e.status == http.StatusServiceUnavailable:
		return work.Throttled
	case e.status == http.StatusPreconditionFailed:
		return work.SrcChanged
	case e.status == http.StatusNotImplemented, e.status == http.StatusRequestURITooLong:
		return work.Unsupported
	case e.status == http.StatusRequestTimeout, e.status == http.StatusConflict, e.status >= 500:
		return work.Transient
	}
	return work.Invalid
}

// hint says what the user can do about the error.
func (e *apiError) hint() string {
	switch e.Code {
	case "NoSuchBucket":
		return "check the bucket's name, the endpoint and the account"
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed":
		return "check the agent's credentials, the profile and the region" + e.elsewhere()
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return "renew the agent's session credentials"
	case "RequestTimeTooSkewed":
		return "set the agent's clock"
	case "InvalidObjectState":
		return "the object is archived: restore it first"
	case "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException":
		return "the bucket is in another region" + e.elsewhere()
	}
	switch {
	case e.fault() == work.Denied:
		return "check that the agent's credentials may do this"
	case e.status == http.StatusMovedPermanently:
		return "the bucket is in another region" + e.elsewhere()
	}
	return ""
}

func (e *apiError) elsewhere() string {
	switch {
	case e.Region != "":
		return "; the server names region " + e.Region
	case e.Endpoint != "":
		return "; the server names endpoint " + e.Endpoint
	}
	return ""
}

// faultOf returns the fault of any error that a request can end in, empty for
// none.
func faultOf(err error) work.Fault {
	var (
		api    *apiError
		creds  *credentialsError
		source *sourceError
		own    *refusal
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &source):
		if errors.Is(err, errLength) {
			return work.Corrupt
		}
		return storage.FaultOf(source.err)
	case errors.As(err, &api):
		return api.fault()
	case errors.As(err, &own):
		return own.fault
	case errors.As(err, &creds):
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return work.Transient
		}
		return work.Denied
	}
	return work.Transient // the network's
}

// passing reports whether the same request may succeed in a moment.
func passing(err error) bool {
	var source *sourceError
	if errors.As(err, &source) {
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
	var api *apiError
	var creds *credentialsError
	switch {
	case errors.As(err, &api):
		e.Hint = api.hint()
	case errors.As(err, &creds):
		e.Hint = "give the agent credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role of its machine"
	}
	return e
}
