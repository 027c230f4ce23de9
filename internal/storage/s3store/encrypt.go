package s3store

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// An encryption is how the server is to encrypt what is stored; the zero value
// leaves it to the bucket's own rule.
type encryption struct {
	sort string // AES256, aws:kms, aws:kms:dsse
	key  string // of KMS; empty: Amazon's own
}

// parseEncryption reads the parameters ssetype and kmskeyid.
func parseEncryption(q url.Values) (encryption, error) {
	e := encryption{key: q.Get("kmskeyid")}
	if text := q.Get("ssetype"); text != "" {
		for _, sort := range []string{"AES256", "aws:kms", "aws:kms:dsse"} {
			if strings.EqualFold(text, sort) {
				e.sort = sort
			}
		}
		if e.sort == "" {
			return e, fmt.Errorf("parameter ssetype is %q, want AES256, aws:kms or aws:kms:dsse", text)
		}
	}
	switch {
	case e.key != "" && e.sort == "":
		e.sort = "aws:kms"
	case e.key != "" && e.sort == "AES256":
		return e, fmt.Errorf("parameter kmskeyid names a key, but ssetype AES256 uses none")
	}
	return e, nil
}

// kms reports whether the ETag of what is stored is not its MD5.
func (e encryption) kms() bool { return strings.HasPrefix(e.sort, "aws:kms") }

// write sets the headers of a request that creates an object.
func (e encryption) write(h http.Header) {
	if e.sort != "" {
		h["X-Amz-Server-Side-Encryption"] = []string{e.sort}
	}
	if e.key != "" {
		h["X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"] = []string{e.key}
	}
}
