package s3store

import (
	"net/http"
	"strings"
	"time"
)

// standard is the storage class of an object of which the server says none:
// S3 leaves the header out for it.
const standard = "STANDARD"

// archives reports whether objects of a storage class must be restored before
// they can be read.
func archives(class string) bool { return class == "GLACIER" || class == "DEEP_ARCHIVE" }

// isArchived reports whether an answer's header says that an object cannot be
// read: it lies in an archive, by its class or because nobody has read it for
// long, and there is no copy of it that was restored for a time.
func isArchived(h http.Header, now time.Time) bool {
	tier := h.Get("X-Amz-Archive-Status")
	if !archives(h.Get(storageClass)) && tier != "ARCHIVE_ACCESS" && tier != "DEEP_ARCHIVE_ACCESS" {
		return false
	}
	// ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"
	restore := h.Get("X-Amz-Restore")
	if !strings.Contains(restore, `ongoing-request="false"`) {
		return true
	}
	_, rest, _ := strings.Cut(restore, `expiry-date="`)
	date, _, _ := strings.Cut(rest, `"`)
	until, err := http.ParseTime(date)
	return err != nil || !until.After(now)
}
