package blobstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	gcs "cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// GCS is Google Cloud Storage. Its versions are generations.
var GCS = Driver{
	Name:   "gs",
	Safe:   safeGCS,
	MD5:    true,
	Meta:   storage.MetaTraits{Headers: true, User: true},
	Native: nativeGCS,
	Read:   readGCS,
	From:   fromGCS,
	Fault:  faultGCS,
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

func nativeGCS(as func(any) bool) (Native, error) {
	var a gcs.ObjectAttrs
	if !as(&a) {
		return Native{}, errors.New("the driver has no native attributes")
	}
	return Native{
		Name:    a.Name,
		Version: strconv.FormatInt(a.Generation, 10),
		Sums:    storage.Sums{CRC32C: binary.BigEndian.AppendUint32(nil, a.CRC32C)},
	}, nil
}

// readGCS also keeps the service from decompressing.
func readGCS(as func(any) bool, version string) error {
	generation, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return fmt.Errorf("generation %q: %w", version, err)
	}
	var h **gcs.ObjectHandle
	if !as(&h) {
		return errors.New("the driver has no native handle")
	}
	*h = (*h).Generation(generation).ReadCompressed(true)
	return nil
}

func fromGCS(as func(any) bool, key string) error {
	var q *gcs.Query
	if !as(&q) {
		return errors.New("the driver has no native query")
	}
	q.StartOffset = key
	return q.SetAttrSelection([]string{"Name", "Size", "Updated", "Generation", "MD5", "CRC32C"})
}

// faultGCS is needed because gocloud takes a forbidden object for an absent one.
func faultGCS(err error) work.Fault {
	var native *googleapi.Error
	if !errors.As(err, &native) {
		return ""
	}
	for _, item := range native.Errors {
		if strings.HasSuffix(strings.ToLower(item.Reason), "ratelimitexceeded") {
			return work.Throttled // comes as 403
		}
	}
	return statusFault(native.Code)
}
