package blobstore

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A Driver says how gocloud's driver for a kind of bucket behaves, where its
// portable interface does not, and reaches through it to the native one. The
// functions may be nil but for Safe; as is gocloud's conversion to native types.
type Driver struct {
	// Name is what Traits say.
	Name string
	// Safe reports why the driver would not use a key exactly as it is, or nil.
	Safe func(key string) error
	// Meta is the metadata that it keeps verbatim.
	Meta storage.MetaTraits
	// MD5 says that the MD5 among an object's attributes was computed by the
	// service or driver from the content, and is not the word of a client.
	MD5 bool
	// KeyTokens says that any key may stand for a page token, and the page
	// then begins after that key.
	KeyTokens bool
	// Native reads what a listed object or an object's attributes say natively.
	Native func(as func(any) bool) (Native, error)
	// Read prepares a read of one version, as Native names it.
	Read func(as func(any) bool, version string) error
	// Reading returns the context to read with, for what cannot be said in Read.
	Reading func(ctx context.Context) context.Context
	// From prepares a listing that may leave out the keys before one.
	From func(as func(any) bool, key string) error
	// Fault reads a native error; "" if it is none that it knows.
	Fault func(err error) work.Fault
}

// Native is what the portable interface hides of an object.
type Native struct {
	Name    string // the key without gocloud's unescaping; empty if unknown
	Version string // names this version of the content
	Sums    storage.Sums
}

// Memory is gocloud's own memory bucket.
var Memory = Driver{
	Name: "memblob", Safe: safeMemory, MD5: true, KeyTokens: true,
	Meta: storage.MetaTraits{Headers: true, User: true},
}

// statusFault says what the status of an HTTP response means, the same for
// every service.
func statusFault(status int) work.Fault {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return work.Denied
	case http.StatusNotFound:
		return work.NotFound
	case http.StatusPreconditionFailed:
		return work.SrcChanged
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return work.Throttled
	case http.StatusBadRequest:
		return work.Invalid
	}
	return work.Transient
}

var errUTF8 = errors.New("the key is not UTF-8")

// plain checks what no escaping driver takes.
func plain(key string) error {
	switch {
	case !utf8.ValidString(key):
		return errUTF8
	case strings.Contains(key, "__0x"):
		return errors.New("the driver would read __0x as an escape")
	case strings.Contains(key, "../"):
		return errors.New("the driver would escape ../")
	}
	return nil
}

func safeMemory(key string) error {
	if !utf8.ValidString(key) {
		return errUTF8
	}
	return nil
}
