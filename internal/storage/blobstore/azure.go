package blobstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Azure is Azure Blob Storage. Its versions are ETags. User metadata does not
// count as kept, for gocloud escapes names and values; nor does the MD5 count
// as the service's, which keeps whatever a client claims.
var Azure = Driver{
	Name:   "azblob",
	Safe:   safeAzure,
	Meta:   storage.MetaTraits{Headers: true},
	Native: nativeAzure,
	Read:   readAzure,
	Reading: func(ctx context.Context) context.Context {
		// Unless it is told so, Go's HTTP client decompresses what it gets.
		return policy.WithHTTPHeader(ctx, http.Header{"Accept-Encoding": {"identity"}})
	},
	From:  fromAzure,
	Fault: faultAzure,
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

func nativeAzure(as func(any) bool) (Native, error) {
	var item container.BlobItem
	var props blob.GetPropertiesResponse
	switch {
	case as(&item) && item.Name != nil && item.Properties != nil && item.Properties.ETag != nil:
		return Native{Name: *item.Name, Version: bare(*item.Properties.ETag)}, nil
	case as(&props) && props.ETag != nil:
		return Native{Version: bare(*props.ETag)}, nil
	}
	return Native{}, errors.New("the driver has no native attributes")
}

// bare takes off the quotes, which listings leave out.
func bare(etag azcore.ETag) string { return strings.Trim(string(etag), `"`) }

func readAzure(as func(any) bool, version string) error {
	var o *blob.DownloadStreamOptions
	if !as(&o) {
		return errors.New("the driver has no native options")
	}
	etag := azcore.ETag(`"` + version + `"`)
	o.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &etag}}
	return nil
}

// fromAzure asks for what older services ignore; keys before are then skipped.
func fromAzure(as func(any) bool, key string) error {
	var o *container.ListBlobsHierarchyOptions
	if !as(&o) {
		return errors.New("the driver has no native options")
	}
	o.StartFrom = &key
	return nil
}

func faultAzure(err error) work.Fault {
	var native *azcore.ResponseError
	if !errors.As(err, &native) {
		return ""
	}
	return statusFault(native.StatusCode)
}
