package memstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const pageSize = 1000

// A Store is one memory store seen under a prefix.
type Store struct {
	bucket *bucket
	prefix string
	url    string
}

var (
	_ storage.Store     = (*Store)(nil)
	_ storage.Copier    = (*Store)(nil)
	_ storage.Multipart = (*Store)(nil)
	_ storage.Tagger    = (*Store)(nil)
	_ storage.Keeper    = (*Store)(nil)
	_ storage.Prober    = (*Store)(nil)
)

// Archive is the storage class whose objects cannot be read.
const Archive = "ARCHIVE"

// A bucket holds the objects of one name.
type bucket struct {
	mu      sync.Mutex
	objects map[string]*object
	keys    []string // sorted; may name objects that are gone
	added   []string // keys not in keys yet
	uploads map[string]*upload
	lastID  int
}

// An object is never changed once it is in a bucket.
type object struct {
	data []byte
	info storage.Info // its key is the full one
}

// named are the buckets of this process by name; they live as long as it does.
var named = struct {
	mu      sync.Mutex
	buckets map[string]*bucket
}{buckets: map[string]*bucket{}}

func newBucket() *bucket {
	return &bucket{objects: map[string]*object{}, uploads: map[string]*upload{}}
}

// Open is the storage.Opener of mem://name/prefix.
func Open(_ context.Context, u *url.URL, c storage.Credentials) (storage.Store, error) {
	fail := func(err error) error {
		return &storage.Error{Op: "open", Store: u.Redacted(), Fault: work.Invalid, Err: err}
	}
	if u.Host == "" {
		return nil, fail(errors.New("no name; write for example mem://name/prefix"))
	}
	if err := errors.Join(storage.CheckQuery(u, "prefix"), c.Check()); err != nil {
		return nil, fail(err)
	}
	prefix, err := storage.Prefix(u)
	if err != nil {
		return nil, fail(err)
	}
	named.mu.Lock()
	defer named.mu.Unlock()
	b := named.buckets[u.Host]
	if b == nil {
		b = newBucket()
		named.buckets[u.Host] = b
	}
	return &Store{bucket: b, prefix: prefix, url: u.Redacted()}, nil
}

// New returns an empty store that no URL names.
func New() *Store { return &Store{bucket: newBucket(), url: "mem:"} }

// Traits implements storage.Store.
func (s *Store) Traits() storage.Traits {
	return storage.Traits{
		Name:      "mem",
		ETagIsMD5: true,
		Meta:      storage.MetaTraits{Headers: true, User: true, Tags: true, Class: true, ModTime: true},
		Fences:    true,
	}
}

// Close implements storage.Store. The objects stay.
func (s *Store) Close() error { return nil }

func (s *Store) fail(op, key string, fault work.Fault, err error) error {
	return &storage.Error{Op: op, Store: s.url, Key: key, Fault: fault, Err: err}
}

// List implements storage.Store.
func (s *Store) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	after := r.After
	for {
		if err := ctx.Err(); err != nil {
			return s.fail("list", "", work.Transient, err)
		}
		page, more := s.page(after, r.Upto)
		if len(page) > 0 {
			after = page[len(page)-1].Key
			if err := fn(page); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// page returns the next objects after a key and whether there may be more.
func (s *Store) page(after, upto string) (page []storage.Info, more bool) {
	b := s.bucket
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sort()
	from := s.prefix + after
	i := sort.Search(len(b.keys), func(i int) bool { return b.keys[i] > from })
	for ; i < len(b.keys); i++ {
		key, ok := strings.CutPrefix(b.keys[i], s.prefix)
		if !ok || upto != "" && key > upto {
			return page, false
		}
		o := b.objects[b.keys[i]]
		if o == nil {
			continue
		}
		if len(page) == pageSize {
			return page, true
		}
		page = append(page, storage.Info{Key: key, Size: o.info.Size, ETag: o.info.ETag, ModTime: o.info.ModTime, Archived: o.info.Archived})
	}
	return page, false
}

// sort brings keys up to date. It is called with mu held.
func (b *bucket) sort() {
	if len(b.added) == 0 {
		return
	}
	sort.Strings(b.added)
	merged := make([]string, 0, len(b.objects))
	keep := func(key string) {
		if b.objects[key] != nil && (len(merged) == 0 || merged[len(merged)-1] != key) {
			merged = append(merged, key)
		}
	}
	old := b.keys
	for _, key := range b.added {
		for len(old) > 0 && old[0] < key {
			keep(old[0])
			old = old[1:]
		}
		keep(key)
	}
	for _, key := range old {
		keep(key)
	}
	b.keys, b.added = merged, nil
}

func (b *bucket) get(key string) *object {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.objects[key]
}

// put stores an object if what stands there is what c asks for. It is called
// with mu held.
func (b *bucket) put(o *object, c storage.Condition) error {
	there := b.objects[o.info.Key]
	switch {
	case c.Absent && there != nil:
		return fmt.Errorf("version %s stands there already", there.info.ETag)
	case c.ETag != "" && there == nil:
		return fmt.Errorf("version %s is gone", c.ETag)
	case c.ETag != "" && there.info.ETag != c.ETag:
		return fmt.Errorf("version %s stands there, not %s", there.info.ETag, c.ETag)
	case there == nil:
		b.added = append(b.added, o.info.Key)
	}
	b.objects[o.info.Key] = o
	return nil
}

// put stores an object on a condition.
func (s *Store) put(op, key string, o *object, c storage.Condition) (storage.Info, error) {
	s.bucket.mu.Lock()
	err := s.bucket.put(o, c)
	s.bucket.mu.Unlock()
	if err != nil {
		return storage.Info{}, &storage.Error{Op: op, Store: s.url, Key: key, Fault: work.Transient, Clash: true, Err: err}
	}
	return s.outer(o), nil
}

// find returns the object under key, pinned to etag unless that is empty.
func (s *Store) find(ctx context.Context, op, key, etag string) (*object, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.fail(op, key, work.Transient, err)
	}
	o := s.bucket.get(s.prefix + key)
	switch {
	case o == nil || key == "":
		return nil, s.fail(op, key, work.NotFound, errors.New("no such object"))
	case etag != "" && o.info.ETag != etag:
		return nil, s.fail(op, key, work.SrcChanged, fmt.Errorf("version is %s, not %s", o.info.ETag, etag))
	}
	return o, nil
}

// readable is find for whoever wants the object's bytes.
func (s *Store) readable(ctx context.Context, op, key, etag string) (*object, error) {
	o, err := s.find(ctx, op, key, etag)
	if err != nil {
		return nil, err
	}
	if o.info.Archived {
		return nil, &storage.Error{Op: op, Store: s.url, Key: key, Fault: work.Unsupported, Field: work.FieldArchived,
			Err: errors.New("its storage class is " + Archive), Hint: "the object is archived: restore it first"}
	}
	return o, nil
}

// outer returns the info of an object as this store's callers see it.
func (s *Store) outer(o *object) storage.Info {
	info := o.info
	info.Key = strings.TrimPrefix(info.Key, s.prefix)
	info.Sums = info.Sums.Clone()
	info.Meta = cloneMeta(info.Meta)
	info.Meta.Tags = nil // they take another request
	return info
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	o, err := s.find(ctx, "stat", key, "")
	if err != nil {
		return storage.Info{}, err
	}
	return s.outer(o), nil
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	o, err := s.readable(ctx, "get", key, etag)
	if err != nil {
		return nil, storage.Info{}, err
	}
	size := int64(len(o.data))
	if n < 0 {
		n = size - off
	}
	if off < 0 || n < 0 || off+n > size {
		return nil, storage.Info{}, s.fail("get", key, work.Invalid,
			fmt.Errorf("range of %d bytes from %d in an object of %d", n, off, size))
	}
	body := &body{ctx: ctx, Reader: bytes.NewReader(o.data[off : off+n])}
	return body, s.outer(o), nil
}

// A body ends when its context does, as one from a network would.
type body struct {
	ctx context.Context
	*bytes.Reader
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

// WriteTo implements io.WriterTo.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.Reader.WriteTo(w)
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return s.fail("delete", key, work.Transient, err)
	}
	s.bucket.mu.Lock()
	defer s.bucket.mu.Unlock()
	delete(s.bucket.objects, s.prefix+key)
	return nil
}

// stamp returns the modification time of new content.
func stamp(meta storage.Meta) time.Time {
	if !meta.ModTime.IsZero() {
		return meta.ModTime
	}
	return time.Now()
}
