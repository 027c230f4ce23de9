package s3store

import (
	"errors"
	"net/http"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// codes are the faults of the codes that servers send.
var codes = map[string]work.Fault{
	"NoSuchKey": work.NotFound, "NoSuchBucket": work.NotFound, "NoSuchUpload": work.NotFound,
	"NoSuchVersion": work.NotFound, "NotFound": work.NotFound,

	"AccessDenied": work.Denied, "AllAccessDisabled": work.Denied, "AccountProblem": work.Denied,
	"InvalidAccessKeyId": work.Denied, "SignatureDoesNotMatch": work.Denied, "ExpiredToken": work.Denied,
	"InvalidToken": work.Denied, "TokenRefreshRequired": work.Denied, "NotSignedUp": work.Denied,
	"AuthorizationHeaderMalformed": work.Denied, "InvalidSecurity": work.Denied, "UnauthorizedAccess": work.Denied,
	"RequestExpired": work.Denied, "InvalidTokenId": work.Denied,
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
	"QuotaExceeded": work.Unsupported, "InvalidTag": work.Unsupported, "InvalidStorageClass": work.Unsupported,
	"UnsupportedMetadata": work.Unsupported, "RequestHeaderSectionTooLarge": work.Unsupported,

	"PermanentRedirect": work.Invalid, "TemporaryRedirect": work.Invalid, "IllegalLocationConstraintException": work.Invalid,
	"InvalidBucketName": work.Invalid, "InvalidArgument": work.Invalid, "InvalidRequest": work.Invalid,
	"InvalidDigest": work.Invalid, "InvalidPart": work.Invalid, "InvalidPartOrder": work.Invalid,
	"EntityTooSmall": work.Invalid, "InvalidRange": work.Invalid, "MethodNotAllowed": work.Invalid,
	"MalformedXML": work.Invalid, "MissingContentLength": work.Invalid,
}

// fields are what of an object the codes are about.
var fields = map[string]work.Field{
	"KeyTooLongError": work.FieldKeys, "KeyTooLong": work.FieldKeys, "InvalidObjectName": work.FieldKeys,
	"XMinioInvalidObjectName": work.FieldKeys, "InvalidURI": work.FieldKeys,
	"DirectoryObjectContainsData": work.FieldKeys, "ObjectParentIsFile": work.FieldKeys,
	"XMinioObjectExistsAsDirectory": work.FieldKeys, "XMinioParentIsObject": work.FieldKeys,

	"MetadataTooLarge": work.FieldMetadata, "UnsupportedMetadata": work.FieldMetadata,
	"RequestHeaderSectionTooLarge": work.FieldMetadata,

	"InvalidTag": work.FieldTags, "InvalidStorageClass": work.FieldClass,

	"InvalidObjectState": work.FieldArchived,
}

// field returns what of the object the error is about, if anything.
func (e *apiError) field() work.Field {
	if f, ok := fields[e.Code]; ok {
		return f
	}
	return e.about
}

// blame finds out whether a refusal is about the tags or the storage class
// that a request carried: servers that know neither have no code for them.
func blame(err error, h http.Header) error {
	var api *apiError
	if !errors.As(err, &api) || api.field() != "" || api.fault() != work.Unsupported && api.fault() != work.Invalid {
		return err
	}
	text := strings.ToLower(api.Message)
	tags, class := h.Get(tagging) != "", h.Get(storageClass) != ""
	switch {
	case strings.Contains(text, "encrypt"):
	case tags && strings.Contains(text, "tagging"):
		api.about = work.FieldTags
	case class && (strings.Contains(text, "storage-class") || strings.Contains(text, "storage class")):
		api.about = work.FieldClass
	case api.Code != "NotImplemented" || strings.Contains(text, "checksum"):
	case tags:
		api.about = work.FieldTags
	case class:
		api.about = work.FieldClass
	}
	return err
}

func (e *apiError) fault() work.Fault {
	if e.about != "" {
		return work.Unsupported
	}
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
	case "ExpiredToken", "InvalidToken", "InvalidTokenId", "TokenRefreshRequired", "RequestExpired":
		return renewHint
	case "RequestTimeTooSkewed":
		return "set the agent's clock"
	case "InvalidObjectState":
		return "the object is archived: restore it first"
	case "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException":
		return "the bucket is in another region" + e.elsewhere()
	}
	switch {
	case e.field() == work.FieldTags:
		return "the server does not take these tags: carry tags=drop leaves them behind"
	case e.field() == work.FieldClass:
		return "the server does not know this storage class: choose another, or carry class=drop for its default"
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
