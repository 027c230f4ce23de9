package azurestore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Stat asks the service for what it knows of an object. Where that includes an
// MD5, a second request finds out whose word it is.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	in, err := s.stat(ctx, key)
	return in, s.fail("stat", key, err)
}

func (s *Store) stat(ctx context.Context, key string) (storage.Info, error) {
	p, err := s.properties(ctx, key, "")
	if err != nil {
		return storage.Info{}, err
	}
	in := infoOf(key, p)
	if !perhapsComputed(p) {
		return in, nil
	}
	blocks, err := s.blob(key).GetBlockList(ctx, blockblob.BlockListTypeCommitted, &blockblob.GetBlockListOptions{AccessConditions: match(in.ETag)})
	if err == nil && len(blocks.CommittedBlocks) == 0 && unquote(text(blocks.ETag)) == in.ETag {
		in.Sums.MD5 = p.ContentMD5
	}
	// Whatever went wrong: then nobody vouches for the MD5.
	return in, ctx.Err()
}

// perhapsComputed reports whether the service may have computed the MD5 of an
// object itself, as far as the object's properties tell. It keeps what a
// client claims when blocks are committed, when properties are set, which
// changes the time of the last modification, and when an object is copied.
func perhapsComputed(p blob.GetPropertiesResponse) bool {
	return len(p.ContentMD5) == 16 && text(p.BlobType) == string(blob.BlobTypeBlockBlob) && p.CopyID == nil &&
		p.CreationTime != nil && p.LastModified != nil && p.CreationTime.Equal(*p.LastModified)
}

func (s *Store) properties(ctx context.Context, key, etag string) (blob.GetPropertiesResponse, error) {
	if err := s.keeps(key); err != nil {
		return blob.GetPropertiesResponse{}, err
	}
	p, err := s.blob(key).GetProperties(ctx, &blob.GetPropertiesOptions{AccessConditions: match(etag)})
	if err == nil && p.ContentLength == nil {
		err = refuse(work.Transient, "the service tells no length")
	}
	return p, err
}

// infoOf is what an object's properties say, but for checksums.
func infoOf(key string, p blob.GetPropertiesResponse) storage.Info {
	in := storage.Info{
		Key: key, Size: *p.ContentLength, ETag: unquote(text(p.ETag)),
		Archived: archived(text(p.AccessTier), text(p.ArchiveStatus)),
		Meta: storage.Meta{
			ContentType:        text(p.ContentType),
			ContentEncoding:    text(p.ContentEncoding),
			ContentLanguage:    text(p.ContentLanguage),
			ContentDisposition: text(p.ContentDisposition),
			CacheControl:       text(p.CacheControl),
			Class:              text(p.AccessTier),
		},
	}
	if p.TagCount != nil {
		in.TagCount = int(*p.TagCount)
	}
	if p.LastModified != nil {
		in.ModTime = *p.LastModified
	}
	readUser(&in.Meta, p.Metadata)
	if !in.Meta.ModTime.IsZero() {
		in.ModTime = in.Meta.ModTime
	}
	return in
}

// archived reports whether an object must be rehydrated before it can be read,
// or is being so.
func archived(tier, status string) bool {
	return tier == string(blob.AccessTierArchive) || strings.HasPrefix(status, "rehydrate-pending")
}

// Get opens a range of an object. The service compares etag for us. It does
// not tell the class of what it hands out: Stat does.
func (s *Store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, in, err := s.get(ctx, key, etag, off, n)
	return body, in, s.fail("get", key, err)
}

func (s *Store) get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	if off < 0 {
		return nil, storage.Info{}, refuse(work.Invalid, "negative offset %d", off)
	}
	if n == 0 {
		p, err := s.properties(ctx, key, etag)
		if err != nil {
			return nil, storage.Info{}, err
		}
		in := infoOf(key, p)
		if off > in.Size {
			return nil, in, refuse(work.Invalid, "offset %d lies beyond the object's %d bytes", off, in.Size)
		}
		return http.NoBody, in, nil
	}
	if err := s.keeps(key); err != nil {
		return nil, storage.Info{}, err
	}
	opts := &blob.DownloadStreamOptions{AccessConditions: match(etag)}
	ranged := off > 0 || n > 0
	if ranged {
		opts.Range = blob.HTTPRange{Offset: off, Count: max(n, 0)}
	}
	resp, err := s.blob(key).DownloadStream(ctx, opts)
	if err != nil {
		return nil, storage.Info{}, err
	}
	in, err := gotten(key, &resp, ranged, off, n)
	if err != nil {
		resp.Body.Close()
		return nil, storage.Info{}, err
	}
	return &content{src: resp.Body, store: s, key: key, left: *resp.ContentLength}, in, nil
}

// gotten makes sure that an answer holds the bytes that were asked for, and
// returns what it says of the whole object.
func gotten(key string, r *blob.DownloadStreamResponse, ranged bool, off, n int64) (storage.Info, error) {
	if r.ContentLength == nil {
		return storage.Info{}, refuse(work.Transient, "the service sends a body without a length")
	}
	size := *r.ContentLength
	if ranged {
		var first, last int64
		if _, err := fmt.Sscanf(text(r.ContentRange), "bytes %d-%d/%d", &first, &last, &size); err != nil {
			return storage.Info{}, refuse(work.Transient, "the service sends range %q", text(r.ContentRange))
		}
		want := size - off
		if n >= 0 {
			want = n
		}
		if first != off || last-first+1 != want || *r.ContentLength != want {
			return storage.Info{}, refuse(work.Invalid, "asked for %d bytes from %d, the service has range %q", n, off, text(r.ContentRange))
		}
	}
	return infoOf(key, blob.GetPropertiesResponse{
		ContentLength: &size, ETag: r.ETag, LastModified: r.LastModified, TagCount: r.TagCount,
		ContentType: r.ContentType, ContentEncoding: r.ContentEncoding, ContentLanguage: r.ContentLanguage,
		ContentDisposition: r.ContentDisposition, CacheControl: r.CacheControl, Metadata: r.Metadata,
	}), nil
}

// match returns the condition that an object is of a version, if one is given.
func match(etag string) *blob.AccessConditions {
	if etag == "" {
		return nil
	}
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: quote(etag)}}
}

func quote(etag string) *azcore.ETag {
	e := azcore.ETag(`"` + etag + `"`)
	return &e
}

// unquote takes off the quotes, which listings leave out.
func unquote(etag string) string { return strings.Trim(etag, `"`) }

// content is the body of an object, checked for its length; its errors are the
// store's.
type content struct {
	src   io.ReadCloser
	store *Store
	key   string
	left  int64
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.left -= int64(n)
	if err == io.EOF && c.left > 0 {
		err = fmt.Errorf("%w: %d bytes are missing", io.ErrUnexpectedEOF, c.left)
	}
	if err != nil && err != io.EOF {
		err = c.store.fail("get", c.key, err)
	}
	return n, err
}

// Close implements io.Closer.
func (c *content) Close() error { return c.src.Close() }

// Tags implements storage.Tagger.
func (s *Store) Tags(ctx context.Context, key string) (map[string]string, error) {
	tags, err := s.tags(ctx, key)
	return tags, s.fail("read the tags of", key, err)
}

func (s *Store) tags(ctx context.Context, key string) (map[string]string, error) {
	if err := s.keeps(key); err != nil {
		return nil, err
	}
	resp, err := s.blob(key).GetTags(ctx, nil)
	if err != nil {
		return nil, err
	}
	var tags map[string]string
	for _, t := range resp.BlobTagSet {
		if tags == nil {
			tags = make(map[string]string)
		}
		tags[text(t.Key)] = text(t.Value)
	}
	return tags, nil
}
