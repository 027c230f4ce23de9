package azurestore

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// How much the service copies at once. It answers when it is done, so a
// request must not take too long.
var (
	maxCopy  int64 = 256 << 20 // bytes of an object copied in one request
	copyPart int64 = 64 << 20  // bytes of a block, at least
)

const copyStreams = 4 // blocks of one object that the service copies at once

// CopyFrom lets the service copy, from the same or another account, if this
// agent can show it a right to read the source. Content headers and metadata
// go along as the source has them, also what Meta does not tell of, and tags.
func (s *Store) CopyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, opts storage.PutOptions) (storage.Info, error) {
	out, err := s.copyFrom(ctx, key, src, in, opts)
	return out, s.fail("copy to", key, err)
}

func (s *Store) copyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, opts storage.PutOptions) (storage.Info, error) {
	from, ok := src.(*Store)
	if !ok {
		return storage.Info{}, refuse(work.Unsupported, "the source is not an Azure store")
	}
	if err := s.keeps(key); err != nil {
		return storage.Info{}, err
	}
	p, err := from.properties(ctx, in.Key, in.ETag)
	if err != nil {
		return storage.Info{}, err
	}
	now := infoOf(in.Key, p)
	if now.Archived {
		return storage.Info{}, &refusal{work.Unsupported, work.FieldArchived, "the object is archived: rehydrate it first"}
	}
	meta := now.Meta
	meta.ModTime, meta.Class = time.Time{}, opts.Meta.Class
	w, err := write(meta)
	if err != nil {
		return storage.Info{}, err
	}
	w.user = make(map[string]*string, len(p.Metadata))
	for name, value := range p.Metadata {
		w.user[strings.ToLower(name)] = value
	}
	if now.TagCount > 0 {
		if w.tags, err = from.tags(ctx, in.Key); err != nil {
			return storage.Info{}, err
		}
	}
	c := copying{to: s, key: key, size: now.Size, w: w, over: opts.If,
		match:  &blob.SourceModifiedAccessConditions{SourceIfMatch: quote(now.ETag)},
		tiered: p.AccessTier != nil && (p.AccessTierInferred == nil || !*p.AccessTierInferred)}
	if c.url, c.bearer, err = s.mayRead(ctx, from, in.Key); err != nil {
		return storage.Info{}, err
	}
	out, err := c.run(ctx)
	return out, c.explain(clashed(err, opts.If))
}

// mayRead returns a URL with which this store's service can read an object of
// from, and what else it must show.
func (s *Store) mayRead(ctx context.Context, from *Store, key string) (place string, bearer *string, err error) {
	object := from.container.NewBlobClient(from.prefix + key)
	place, err = object.GetSASURL(sas.BlobPermissions{Read: true, Tag: false}, time.Now().Add(6*time.Hour), nil)
	if err == nil {
		return place, nil, nil
	}
	place = object.URL()
	u, err := url.Parse(place)
	if err != nil {
		return "", nil, err
	}
	if domain(u.Host) != domain(s.pool.origin) {
		// What the source's service takes for us is not for others to see.
		return "", nil, refuse(work.Unsupported, "the stores belong to different clouds")
	}
	if from.token == nil {
		return place, nil, nil // its SAS token is in it
	}
	token, err := from.token.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://storage.azure.com/.default"}})
	if err != nil {
		return "", nil, err
	}
	text := "Bearer " + token.Token
	return place, &text, nil
}

// domain is what follows an account's name in the host of its endpoint.
func domain(host string) string {
	_, rest, _ := strings.Cut(host, ".")
	return rest
}

// A copying is one copy that the service makes.
type copying struct {
	to     *Store
	key    string
	size   int64
	w      writing
	url    string // of the source
	bearer *string
	match  *blob.SourceModifiedAccessConditions
	over   storage.Condition
	tiered bool // the source has an access tier that somebody chose
}

func (c *copying) run(ctx context.Context) (storage.Info, error) {
	if c.size > maxCopy {
		return c.blocks(ctx)
	}
	in := storage.Info{Key: c.key, Size: c.size}
	no := false // the source's properties are in c.w; its MD5 may be a mere claim
	resp, err := c.to.blob(c.key).UploadBlobFromURL(ctx, c.url, &blockblob.UploadBlobFromURLOptions{
		CopySourceBlobProperties: &no, CopySourceAuthorization: c.bearer, SourceModifiedAccessConditions: c.match,
		HTTPHeaders: c.w.headers, Metadata: c.w.user, Tags: c.w.tags, Tier: c.w.tier, AccessConditions: under(c.over),
	})
	if statusOf(err) != http.StatusNotImplemented {
		if err == nil {
			in.ETag, in.Sums.MD5 = unquote(text(resp.ETag)), resp.ContentMD5
		}
		return in, err
	}
	// An older way, which takes the source's headers along, and its tier unless
	// it is told another. Nobody tells which one the account's default is.
	if c.tiered && c.w.tier == nil {
		return in, refuse(work.Unsupported, "the service would keep the source's access tier")
	}
	old, err := c.to.blob(c.key).CopyFromURL(ctx, c.url, &blob.CopyFromURLOptions{
		CopySourceAuthorization: c.bearer, SourceModifiedAccessConditions: c.match,
		Metadata: c.w.user, BlobTags: c.w.tags, Tier: c.w.tier, BlobAccessConditions: under(c.over),
	})
	if err == nil {
		in.ETag = unquote(text(old.ETag))
	}
	return in, err
}

// blocks copies an object that is too big for one request.
func (c *copying) blocks(ctx context.Context) (storage.Info, error) {
	part := max(copyPart, (c.size+maxBlocks-1)/maxBlocks)
	n := int((c.size + part - 1) / part)
	id := newID()
	ids, said := make([]string, n), make([]storage.Sums, n)
	length := func(i int) int64 { return min(part, c.size-int64(i)*part) }
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(copyStreams)
	for i := range n {
		ids[i] = id.block(i+1, nonce{})
		group.Go(func() error {
			resp, err := c.to.blob(c.key).StageBlockFromURL(ctx2, ids[i], c.url, &blockblob.StageBlockFromURLOptions{
				Range:                   blob.HTTPRange{Offset: int64(i) * part, Count: length(i)},
				CopySourceAuthorization: c.bearer, SourceModifiedAccessConditions: c.match,
			})
			if err == nil {
				said[i], err = confirm(storage.Sums{}, nil, resp.ContentCRC64)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return storage.Info{}, err
	}
	in, err := c.to.commitBlocks(ctx, c.key, ids, c.size, c.w, c.over)
	if codeOf(err) == "InvalidBlockList" {
		err = refuse(work.Transient, "another writer of the same key discarded the blocks")
	}
	var sums joined
	for i := range said {
		sums.add(said[i], length(i))
	}
	in.Sums = sums.whole()
	return in, err
}

// explain turns what stands in the way of a copy by the service, but not of one
// through the agent, into work.Unsupported.
func (c *copying) explain(err error) error {
	switch code := codeOf(err); {
	case code == "CannotVerifyCopySource" && statusOf(err) == http.StatusNotFound:
		return refuse(work.NotFound, "the source is gone")
	case code == "CannotVerifyCopySource" && statusOf(err) == http.StatusPreconditionFailed:
		return refuse(work.SrcChanged, "the source has changed")
	case code == "CannotVerifyCopySource", code == "UnauthorizedBlobOverwrite", strings.HasPrefix(code, "CopySource"),
		statusOf(err) == http.StatusNotImplemented:
		return refuse(work.Unsupported, "the service cannot copy from there: %v", readable(err))
	}
	return err
}
