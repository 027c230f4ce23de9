package blobstore

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/storage"
)

// A Driver says how gocloud's driver for a kind of bucket behaves, where its
// portable interface does not.
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
}

// The drivers whose ways are known.
var (
	GCS = Driver{
		Name: "gs", Safe: safeGCS, MD5: true,
		Meta: storage.MetaTraits{Headers: true, User: true},
	}
	// Azure escapes the names and values of user metadata, so they would not
	// be verbatim, and keeps whatever MD5 a client claims.
	Azure = Driver{Name: "azblob", Safe: safeAzure, Meta: storage.MetaTraits{Headers: true}}
	// Memory is gocloud's own memory bucket.
	Memory = Driver{
		Name: "memblob", Safe: safeMemory, MD5: true, KeyTokens: true,
		Meta: storage.MetaTraits{Headers: true, User: true},
	}
)

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

func safeGCS(key string) error {
	switch {
	case strings.ContainsAny(key, "\r\n"):
		return errors.New("the driver would escape line breaks")
	case key == "." || key == "..":
		return fmt.Errorf("the service takes no object called %s", key)
	case len(key) > 1024:
		return fmt.Errorf("the key has %d bytes, the service takes 1024", len(key))
	}
	return plain(key)
}

func safeAzure(key string) error {
	for _, c := range []byte(key) {
		if c < 32 || c == 127 || strings.IndexByte(`\"#%?`, c) >= 0 {
			return fmt.Errorf("the driver would escape %q", c)
		}
	}
	for part := range strings.SplitSeq(key, "/") {
		if strings.HasSuffix(part, ".") {
			return errors.New("the service drops dots at the end of a part")
		}
	}
	switch {
	case strings.HasSuffix(key, "/"):
		return errors.New("the driver would escape the slash at the end")
	case utf8.RuneCountInString(key) > 1024:
		return errors.New("the service takes 1024 characters")
	}
	return plain(key)
}
