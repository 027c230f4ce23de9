package azurestore

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A refusal is an error of our own making: the request was not sent, or the
// service's answer cannot be used.
type refusal struct {
	fault  work.Fault
	field  work.Field
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(fault work.Fault, format string, args ...any) error {
	return &refusal{fault: fault, reason: fmt.Sprintf(format, args...)}
}

// A sourceError is a failure of the body's source, not of the store.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read what is to be stored: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// errLength means that a body does not have the length that was announced.
var errLength = errors.New("the body's length is not what was announced")

// codes are the faults of the codes that the service sends.
var codes = map[string]work.Fault{
	"BlobNotFound": work.NotFound, "ContainerNotFound": work.NotFound, "ResourceNotFound": work.NotFound,
	"ContainerDisabled": work.Denied,

	"AuthenticationFailed": work.Denied, "AuthorizationFailure": work.Denied, "AccountIsDisabled": work.Denied,
	"AuthorizationPermissionMismatch": work.Denied, "AuthorizationProtocolMismatch": work.Denied,
	"AuthorizationResourceTypeMismatch": work.Denied, "AuthorizationServiceMismatch": work.Denied,
	"AuthorizationSourceIPMismatch": work.Denied, "InsufficientAccountPermissions": work.Denied,
	"InvalidAuthenticationInfo": work.Denied, "NoAuthenticationInformation": work.Denied,
	"PublicAccessNotPermitted": work.Denied, "KeyBasedAuthenticationNotPermitted": work.Denied,
	"LeaseIdMissing": work.Denied, "LeaseIdMismatchWithBlobOperation": work.Denied, "LeaseLost": work.Denied,
	"BlobImmutableDueToPolicy": work.Denied, "BlobImmutableDueToLegalHold": work.Denied, "SnapshotsPresent": work.Denied,

	"ServerBusy": work.Throttled, "OperationTimedOut": work.Throttled, "TooManyRequests": work.Throttled,

	"ConditionNotMet": work.SrcChanged, "SourceConditionNotMet": work.SrcChanged, "BlobOverwritten": work.SrcChanged,
	"TargetConditionNotMet": work.SrcChanged, "InvalidSourceOrTargetCondition": work.SrcChanged,

	"Md5Mismatch": work.Corrupt, "Crc64Mismatch": work.Corrupt,

	"InternalError": work.Transient, "ContainerBeingDeleted": work.Transient, "AccountBeingCreated": work.Transient,
	"PendingCopyOperation": work.Transient, "RequestBodyIncomplete": work.Transient,

	"BlobArchived": work.Unsupported, "BlobBeingRehydrated": work.Unsupported, "InvalidBlobType": work.Unsupported,
	"InvalidMetadata": work.Unsupported, "EmptyMetadataKey": work.Unsupported, "MetadataTooLarge": work.Unsupported,
	"InvalidTagName": work.Unsupported, "InvalidTagValue": work.Unsupported, "TooManyTags": work.Unsupported, "InvalidTags": work.Unsupported,
	"InvalidResourceName": work.Unsupported, "RequestUrlFailedToParse": work.Unsupported,
	"RequestBodyTooLarge": work.Unsupported, "BlockCountExceedsLimit": work.Unsupported,
	"BlobTypeNotSupported":              work.Unsupported,
	"AccessTierNotSupportedForBlobType": work.Unsupported, "InvalidBlobTier": work.Unsupported,
}

// fields say what of an object it was that the service refused.
var fields = map[string]work.Field{
	"BlobArchived": work.FieldArchived, "BlobBeingRehydrated": work.FieldArchived,
	"InvalidMetadata": work.FieldMetadata, "EmptyMetadataKey": work.FieldMetadata, "MetadataTooLarge": work.FieldMetadata,
	"InvalidTagName": work.FieldTags, "InvalidTagValue": work.FieldTags, "TooManyTags": work.FieldTags, "InvalidTags": work.FieldTags,
	"InvalidResourceName": work.FieldKeys, "RequestUrlFailedToParse": work.FieldKeys,
	"AccessTierNotSupportedForBlobType": work.FieldClass, "InvalidBlobTier": work.FieldClass,
}

// answerFault is the fault of a refusal that the service gave.
func answerFault(e *azcore.ResponseError) work.Fault {
	if f, ok := codes[e.ErrorCode]; ok {
		return f
	}
	switch s := e.StatusCode; {
	case lacking(e):
		return work.Unsupported
	case s == http.StatusNotFound:
		return work.NotFound
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return work.Denied
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		return work.Throttled
	case s == http.StatusPreconditionFailed:
		return work.SrcChanged
	case s == http.StatusNotImplemented, s == http.StatusRequestURITooLong:
		return work.Unsupported
	case s == http.StatusRequestTimeout, s == http.StatusConflict, s >= 500:
		return work.Transient
	}
	return work.Invalid
}

// lacking reports whether the account as it is lacks what was asked for. The
// service has a code for each sort of account, such as those with a hierarchical
// namespace.
func lacking(e *azcore.ResponseError) bool {
	return strings.HasPrefix(e.ErrorCode, "FeatureNotSupported") || strings.HasPrefix(e.ErrorCode, "FeatureNotYetSupported")
}

// fieldOf returns what of an object it was that the service refused, if it was
// that. What accounts lack are tags, if some were sent.
func fieldOf(e *azcore.ResponseError) work.Field {
	if lacking(e) && e.RawResponse != nil && e.RawResponse.Request != nil {
		for name := range e.RawResponse.Request.Header {
			if strings.EqualFold(name, "x-ms-tags") {
				return work.FieldTags
			}
		}
	}
	return fields[e.ErrorCode]
}

// faultOf returns the fault of any error that a request can end in, empty for
// none.
func faultOf(err error) work.Fault {
	var (
		answer *azcore.ResponseError
		source *sourceError
		own    *refusal
		login  *azidentity.AuthenticationFailedError
	)
	switch {
	case err == nil:
		return ""
	case isClash(err):
		return work.Transient
	case errors.As(err, &source):
		if errors.Is(err, errLength) {
			return work.Corrupt
		}
		return storage.FaultOf(source.err)
	case errors.As(err, &own):
		return own.fault
	case errors.Is(err, errOrder):
		return work.Unsupported
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return work.Transient
	case errors.As(err, &login):
		return work.Denied
	case errors.As(err, &answer):
		return answerFault(answer)
	}
	return storage.NetworkFault(err)
}

// codeOf returns the code that the service gave, or "".
func codeOf(err error) string {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return answer.ErrorCode
	}
	return ""
}

// noContainer reports whether err says that the whole container is not there.
func noContainer(err error) bool { return codeOf(err) == "ContainerNotFound" }

// fail makes the error of an operation.
func (s *Store) fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	var done *storage.Error
	if errors.As(err, &done) && done.Store == s.name {
		return err
	}
	e := &storage.Error{Op: op, Store: s.name, Key: key, Fault: faultOf(err), Err: readable(err)}
	var answer *azcore.ResponseError
	var own *refusal
	var source *sourceError
	var login *azidentity.AuthenticationFailedError
	switch {
	case isClash(err):
		e.Clash = true
	case errors.As(err, &source):
	case errors.As(err, &own):
		e.Field = own.field
	case errors.As(err, &login):
		e.Expired, e.Hint = true, "renew what the agent logs in with"
	case errors.As(err, &answer):
		e.Field, e.After = fieldOf(answer), retryAfter(answer.RawResponse)
		e.Expired = expired(answer)
		e.Hint = hint(answer, e.Expired)
	case storage.NoAnswer(err):
		e.Unreachable, e.Hint = true, storage.UnreachableHint
	}
	return e
}

// hint says what the user can do about a refusal.
func hint(e *azcore.ResponseError, expired bool) string {
	switch {
	case expired:
		return "renew the agent's SAS token or login"
	case e.ErrorCode == "ContainerNotFound":
		return "check the container's name and the account"
	case e.ErrorCode == "BlobArchived", e.ErrorCode == "BlobBeingRehydrated":
		return "the object is archived: rehydrate it first"
	case lacking(e) && fieldOf(e) == work.FieldTags:
		return "the account takes no tags: carry tags=drop leaves them behind"
	case strings.HasPrefix(e.ErrorCode, "Lease"):
		return "somebody holds a lease on the object: break it first"
	case strings.HasPrefix(e.ErrorCode, "BlobImmutable"):
		return "a policy or legal hold of the container protects the object"
	case e.ErrorCode == "SnapshotsPresent":
		return "the object has snapshots: remove them first"
	case answerFault(e) == work.Denied:
		return "check the agent's credentials and that they may do this"
	}
	return ""
}

// An answerError says in one line what the service answered.
type answerError struct {
	text string
	err  error
}

func (e *answerError) Error() string { return e.text }
func (e *answerError) Unwrap() error { return e.err }

// readable makes an error fit to be shown: one line, and without the URL of a
// request, which may hold a SAS token.
func readable(err error) error {
	var answer *azcore.ResponseError
	var sent *url.Error
	var own *refusal
	var source *sourceError
	switch {
	case errors.As(err, &source), errors.As(err, &own):
		return err
	case errors.As(err, &answer):
		return &answerError{answerText(answer), err}
	case errors.As(err, &sent):
		return sent.Err
	}
	return err
}

func answerText(e *azcore.ResponseError) string {
	var b strings.Builder
	if e.ErrorCode != "" {
		fmt.Fprintf(&b, "%s (%d)", e.ErrorCode, e.StatusCode)
	} else {
		fmt.Fprintf(&b, "%d %s", e.StatusCode, http.StatusText(e.StatusCode))
	}
	message, detail := told(e)
	for _, text := range []string{message, detail} {
		if text != "" {
			b.WriteString(": " + text)
		}
	}
	if e.RawResponse != nil {
		if id := e.RawResponse.Header.Get("x-ms-request-id"); id != "" {
			b.WriteString(" [request " + id + "]")
		}
	}
	return b.String()
}

// told returns what the service's answer says to people, without the request's
// ID and time, which follow on lines of their own.
func told(e *azcore.ResponseError) (message, detail string) {
	if e.RawResponse == nil || e.RawResponse.Body == nil {
		return "", ""
	}
	var answer struct {
		Message string
		Detail  string `xml:"AuthenticationErrorDetail"`
	}
	// The SDK has read the body and put it back; what it says is an extra.
	body, err := io.ReadAll(io.LimitReader(e.RawResponse.Body, 64<<10))
	if again, ok := e.RawResponse.Body.(io.Seeker); ok {
		_, _ = again.Seek(0, io.SeekStart)
	}
	if err != nil || xml.Unmarshal(body, &answer) != nil {
		return "", ""
	}
	message, _, _ = strings.Cut(strings.TrimSpace(answer.Message), "\n")
	return strings.TrimSpace(message), strings.Join(strings.Fields(answer.Detail), " ")
}

// expired reports whether the service refused credentials for their age.
func expired(e *azcore.ResponseError) bool {
	if e.ErrorCode != "AuthenticationFailed" && e.ErrorCode != "InvalidAuthenticationInfo" {
		return false
	}
	message, detail := told(e)
	text := strings.ToLower(message + " " + detail)
	return strings.Contains(text, "expired") || strings.Contains(text, "not valid in the specified time frame") ||
		strings.Contains(text, "lifetime validation failed")
}

// retryAfter returns how long the service asks to be left alone.
func retryAfter(r *http.Response) time.Duration {
	if r == nil {
		return 0
	}
	for name, unit := range map[string]time.Duration{
		"x-ms-retry-after-ms": time.Millisecond, "Retry-After-Ms": time.Millisecond, "Retry-After": time.Second,
	} {
		text := r.Header.Get(name)
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			return time.Duration(n) * unit
		}
		if at, err := http.ParseTime(text); err == nil {
			return max(0, time.Until(at))
		}
	}
	return 0
}

// statusOf returns the HTTP status of a refusal, or 0.
func statusOf(err error) int {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}
