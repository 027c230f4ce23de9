package s3store

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/tranship/tranship/internal/storage"
)

// An algorithm is a checksum that servers compute and compare.
type algorithm struct {
	algo   storage.Algos
	name   string // as in requests and answers
	header string
	length int // in bytes
	field  func(*storage.Sums) *[]byte
}

// algorithms are those that servers know, the one to prefer first.
var algorithms = []*algorithm{
	{storage.CRC64NVME, "CRC64NVME", "X-Amz-Checksum-Crc64nvme", 8, func(s *storage.Sums) *[]byte { return &s.CRC64NVME }},
	crc32c,
	{storage.CRC32, "CRC32", "X-Amz-Checksum-Crc32", 4, func(s *storage.Sums) *[]byte { return &s.CRC32 }},
	{storage.SHA256, "SHA256", "X-Amz-Checksum-Sha256", 32, func(s *storage.Sums) *[]byte { return &s.SHA256 }},
}

// crc32c is what uploads in parts go by: processors compute it as fast as
// memory delivers the bytes, and that of the whole follows from the parts'.
var crc32c = &algorithm{storage.CRC32C, "CRC32C", "X-Amz-Checksum-Crc32c", 4, func(s *storage.Sums) *[]byte { return &s.CRC32C }}

// etagOf is the ETag that an object gets from its parts, or empty if theirs
// are not MD5s.
func etagOf(parts []storage.Part) string {
	sum := md5.New()
	for _, p := range parts {
		part := md5Of(p.Tag)
		if part == nil {
			return ""
		}
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil)) + "-" + strconv.Itoa(len(parts))
}

// sameForm reports whether an ETag looks as if it had been made as etagOf does.
// Some servers have ways of their own, which say nothing of the parts.
func sameForm(etag, want string) bool {
	sum, n, _ := strings.Cut(etag, "-")
	_, parts, _ := strings.Cut(want, "-")
	return md5Of(sum) != nil && n == parts
}

// readSums collects what an answer vouches for of the whole object: the
// checksums that are not composed of those of parts, and the ETag where it is
// the MD5 of the content.
func readSums(h http.Header) storage.Sums {
	var s storage.Sums
	if !strings.EqualFold(h.Get("X-Amz-Checksum-Type"), "COMPOSITE") {
		for _, a := range algorithms {
			if v := h[a.header]; len(v) == 1 {
				*a.field(&s) = decodeSum(v[0], a.length)
			}
		}
	}
	if !otherETag(h) {
		s.MD5 = md5Of(unquote(h.Get("Etag")))
	}
	return s
}

// otherETag reports whether an object is encrypted such that its ETag is
// something else than the MD5 of its content.
func otherETag(h http.Header) bool {
	return strings.HasPrefix(h.Get("X-Amz-Server-Side-Encryption"), "aws:kms") ||
		h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != ""
}

// decodeSum reads a checksum; one of parts ends in their number and is none.
func decodeSum(text string, length int) []byte {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != length {
		return nil
	}
	return b
}

// md5Of returns the MD5 that an ETag is, or nil.
func md5Of(etag string) []byte {
	if len(etag) != 32 {
		return nil
	}
	b, err := hex.DecodeString(etag)
	if err != nil {
		return nil
	}
	return b
}

// writeSums sets a header that makes the server refuse other bytes. One is
// enough: servers take a single x-amz-checksum, and MD5 beside it costs them a
// second pass over the bytes, so it is sent only where nothing else is known.
// It reports whether it found any.
func writeSums(h http.Header, s storage.Sums) bool {
	for _, a := range algorithms {
		if b := *a.field(&s); b != nil {
			h[a.header] = []string{base64.StdEncoding.EncodeToString(b)}
			return true
		}
	}
	if s.MD5 == nil {
		return false
	}
	h["Content-Md5"] = []string{base64.StdEncoding.EncodeToString(s.MD5)}
	return true
}

func unquote[T string | []byte](etag T) T {
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag[1 : len(etag)-1]
	}
	return etag
}

func quote(etag string) string {
	if strings.HasPrefix(etag, "W/") {
		return etag
	}
	return `"` + etag + `"`
}
