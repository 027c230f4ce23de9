package agent

import (
	"context"
	"io"
	"slices"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/work"
)

const (
	splitSize = 40 << 10  // from here on an object of these tests is big
	bigSize   = 100 << 10 // of an object: seven parts of smallSizes, the last one short
)

// bigItem returns an item about one big object.
func bigItem(id work.ItemID, kind work.Kind, obj work.Object) work.Item {
	it := item(id, obj)
	it.Kind, it.Options.Split = kind, splitSize
	return it
}

// An uploading is a big object whose begin was done, seen from the
// coordinator's side.
type uploading struct {
	object work.Object
	upload work.Upload
	parts  []work.StoredPart
}

func (u uploading) item(id work.ItemID, kind work.Kind) work.Item {
	it := bigItem(id, kind, u.object)
	it.Upload = &u.upload
	return it
}

func (u uploading) part(id work.ItemID, n int) work.Item {
	it := u.item(id, work.Part)
	it.N = n
	return it
}

func (u uploading) finish(id work.ItemID) work.Item {
	it := u.item(id, work.Finish)
	it.Parts = slices.Clone(u.parts)
	return it
}

// begin has an agent open an upload.
func (r *rig) begin(id work.ItemID, obj work.Object, change ...func(*work.Item)) uploading {
	r.t.Helper()
	it := bigItem(id, work.Begin, obj)
	for _, c := range change {
		c(&it)
	}
	res := r.result(it)
	if res.Fault != "" || res.Upload == nil || res.Object == nil || len(res.Outcomes) != 0 {
		r.t.Fatalf("begin: %+v, want an upload", res)
	}
	if n := res.Upload.Parts(res.Object.Size); n < 2 {
		r.t.Fatalf("the object has %d parts", n)
	}
	return uploading{object: *res.Object, upload: *res.Upload}
}

// fill has agents move all parts. The items are numbered from id on.
func (r *rig) fill(id work.ItemID, u *uploading) {
	r.t.Helper()
	n := u.upload.Parts(u.object.Size)
	u.parts = make([]work.StoredPart, n)
	for i := range n {
		r.publish(u.part(id+work.ItemID(i), i+1))
	}
	for _, res := range r.results(func(rs []work.Result) bool { return len(rs) >= n }) {
		if res.Fault != "" || res.Part == nil || res.Part.N != int(res.Item-id)+1 {
			r.t.Fatalf("part: %+v, want it stored", res)
		}
		if _, size := u.upload.Extent(res.Part.N, u.object.Size); res.Moved != size {
			r.t.Errorf("part %d: %d bytes moved, want %d", res.Part.N, res.Moved, size)
		}
		u.parts[res.Part.N-1] = *res.Part
	}
}

// outcome returns the only outcome of a begin or a finish.
func outcome(t testing.TB, res work.Result) work.ObjectOutcome {
	t.Helper()
	if res.Fault != "" || len(res.Outcomes) != 1 || res.Upload != nil {
		t.Fatalf("%s: %+v, want an outcome", res.Kind, res)
	}
	return res.Outcomes[0]
}

// failed checks that an item failed as it must.
func failed(t testing.TB, res work.Result, fault work.Fault, gone bool) {
	t.Helper()
	if res.Fault != fault || res.Gone != gone || res.Error == "" || len(res.Outcomes) != 0 || res.Part != nil {
		t.Errorf("%s: %+v, want fault %s, gone %v", res.Kind, res, fault, gone)
	}
}

// A targetOf parts does what its functions say, and else what the store behind
// does. It names no checksum if it is quiet.
type targetOf struct {
	*memstore.Store
	quiet     bool
	limits    *storage.Limits
	onBegin   func()                    // after it was done
	onPart    func(ctx context.Context) // before it is done
	spoil     bool                      // stores other bytes than it is sent
	committed func()                    // after it was done
}

func (s *targetOf) less(in storage.Info) storage.Info {
	if s.quiet {
		in.Sums = storage.Sums{}
	}
	return in
}

func (s *targetOf) Traits() storage.Traits {
	t := s.Store.Traits()
	t.ETagIsMD5 = !s.quiet
	return t
}

func (s *targetOf) Stat(ctx context.Context, key string) (storage.Info, error) {
	in, err := s.Store.Stat(ctx, key)
	return s.less(in), err
}

func (s *targetOf) Limits() storage.Limits {
	if s.limits != nil {
		return *s.limits
	}
	return s.Store.Limits()
}

func (s *targetOf) Begin(ctx context.Context, key string, size, part int64, opts storage.PutOptions) (storage.Upload, error) {
	u, err := s.Store.Begin(ctx, key, size, part, opts)
	if s.onBegin != nil {
		s.onBegin()
	}
	return u, err
}

func (s *targetOf) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	if s.onPart != nil {
		s.onPart(ctx)
	}
	if s.spoil {
		body = spoiler{body}
	}
	p, err := s.Store.PutPart(ctx, u, n, body, size, sums)
	if s.quiet {
		p.Sums = storage.Sums{}
	}
	return p, err
}

func (s *targetOf) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	opts.Sums = storage.Sums{} // it checks nothing
	in, err := s.Store.Commit(ctx, u, parts, opts)
	if s.committed != nil {
		s.committed()
	}
	return s.less(in), err
}

// CopyFrom hides that of the memory store.
func (s *targetOf) CopyFrom(context.Context, string, storage.Store, storage.Info, storage.PutOptions) (storage.Info, error) {
	return storage.Info{}, &storage.Error{Op: "copy", Fault: work.Unsupported}
}

// A spoiler turns one bit of each piece of a body.
type spoiler struct{ io.Reader }

func (s spoiler) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if n > 0 {
		p[0] ^= 1
	}
	return n, err
}

// exists reports whether the target still knows an upload.
func exists(t testing.TB, s storage.Store, u uploading) bool {
	t.Helper()
	_, err := s.(storage.Multipart).PutPart(t.Context(),
		storage.Upload{Key: u.object.Key, ID: u.upload.ID, Size: u.object.Size, Part: u.upload.Part}, 1,
		&io.LimitedReader{R: zeros{}, N: u.upload.Part}, u.upload.Part, storage.Sums{})
	if err != nil && !storage.Is(err, work.NotFound) {
		t.Fatal(err)
	}
	return err == nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
