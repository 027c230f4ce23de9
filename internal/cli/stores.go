package cli

import (
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/blobstore"
	"github.com/tranship/tranship/internal/storage/filestore"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/s3store"
)

// drivers are the clouds that this binary knows. File stores may only lie in
// roots.
func drivers(roots []string) storage.Drivers {
	return storage.Drivers{
		"s3":     s3store.Open,
		"file":   filestore.Opener(roots),
		"mem":    memstore.Open,
		"gs":     blobstore.Open,
		"azblob": blobstore.Open,
	}
}
