package gcsstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// partsWay is how a store takes an object in parts.
type partsWay struct {
	mu  sync.Mutex // held while the server is asked
	xml *bool      // nil: not known yet
}

// Ways of uploads in parts, as their IDs begin.
const (
	xmlID     = "xml/"     // followed by the service's own ID
	composeID = "compose/" // followed by the last part of a folder's name
)

// Limits are those of the XML API, which hold for the other way as well.
func (s *Store) Limits() storage.Limits {
	return storage.Limits{MinPart: 5 << 20, MaxPart: 5 << 30, MaxObject: maxObject, MaxParts: 10_000}
}

// hasXML reports whether the server knows uploads of the XML API. It is asked
// once, by beginning one under a made-up name.
func (s *Store) hasXML(ctx context.Context) (bool, error) {
	s.parts.mu.Lock()
	defer s.parts.mu.Unlock()
	if s.parts.xml != nil {
		return *s.parts.xml, nil
	}
	name := s.probeName()
	id, err := s.beginXML(ctx, name, storage.Meta{})
	known := err == nil
	if known {
		err = s.abortXML(ctx, name, id)
	} else if e := told(err); e != nil && !e.noBucket() {
		switch e.status {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			err = nil // it takes the request for another
		}
	}
	if err != nil {
		return false, err
	}
	s.parts.xml = &known
	return known, nil
}

// Begin opens an upload. What the XML API cannot carry, which are header
// values beyond ASCII, goes the other way.
func (s *Store) Begin(ctx context.Context, key string, size, part int64, opts storage.PutOptions) (storage.Upload, error) {
	id, err := s.begin(ctx, key, size, part, opts.Meta)
	if err != nil {
		return storage.Upload{}, s.fail("begin upload of", key, err)
	}
	return storage.Upload{Key: key, ID: id, Size: size, Part: part}, nil
}

func (s *Store) begin(ctx context.Context, key string, size, part int64, m storage.Meta) (string, error) {
	name, err := s.check(key)
	if err != nil {
		return "", err
	}
	if err := s.checkMeta(m); err != nil {
		return "", err
	}
	if size < 1 || size > maxObject || part < 1 || (size+part-1)/part > int64(s.Limits().MaxParts) {
		return "", refuse(work.Invalid, "%d bytes in parts of %d", size, part)
	}
	with, err := s.hasXML(ctx)
	if err != nil {
		return "", err
	}
	if with && inHeaders(m) {
		id, err := s.beginXML(ctx, name, m)
		return xmlID + id, err
	}
	id := rand.Text()
	return composeID + id, s.beginCompose(ctx, s.folder(key, id))
}

// PutPart stores a part. The service checks it against sums as far as they
// hold what it knows.
func (s *Store) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	p, err := func() (storage.Part, error) {
		name, way, id, err := s.upload(u)
		switch {
		case err != nil:
			return storage.Part{}, err
		case n < 1 || n > s.Limits().MaxParts || size < 1:
			return storage.Part{}, refuse(work.Invalid, "part %d of %d bytes", n, size)
		case way == xmlID:
			return s.putPartXML(ctx, name, id, n, body, size, sums)
		}
		return s.putPiece(ctx, s.folder(u.Key, id), n, body, size, sums)
	}()
	return p, s.fail(fmt.Sprintf("put part %d of", n), u.Key, err)
}

// Commit puts the parts together. It may be repeated: what was done already is
// known by its size and CRC32C, if the parts come with theirs.
func (s *Store) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	in, err := s.commit(ctx, u, parts, opts)
	return in, s.fail("commit upload of", u.Key, err)
}

func (s *Store) commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	name, way, id, err := s.upload(u)
	if err != nil {
		return storage.Info{}, err
	}
	var size int64
	for i, p := range parts {
		if p.N != i+1 || p.Tag == "" {
			return storage.Info{}, refuse(work.Invalid, "part %d stands where part %d must be", p.N, i+1)
		}
		size += p.Size
	}
	if size != u.Size || len(parts) == 0 {
		return storage.Info{}, refuse(work.Invalid, "the parts have %d bytes together, the object %d", size, u.Size)
	}
	want := whole(parts)
	if _, differ := opts.Sums.Compare(storage.Sums{CRC32C: want}); differ != 0 {
		return storage.Info{}, refuse(work.Corrupt, "the parts together do not have the object's CRC32C")
	}
	if way == xmlID {
		return s.commitXML(ctx, u, name, id, parts, want, opts.If)
	}
	if err := s.checkMeta(opts.Meta); err != nil {
		return storage.Info{}, err
	}
	return s.commitCompose(ctx, u, name, s.folder(u.Key, id), parts, opts)
}

// whole returns the CRC32C of parts together, nil if one is not known.
func whole(parts []storage.Part) (sum []byte) {
	for _, p := range parts {
		if len(p.Sums.CRC32C) != 4 {
			return nil
		}
		sum = storage.CombineCRC32C(sum, p.Sums.CRC32C, p.Size)
	}
	return sum
}

// committed returns the object that a commit has made whose answer was lost,
// if that is what stands there, and otherwise err.
func (s *Store) committed(ctx context.Context, u storage.Upload, want []byte, err error) (storage.Info, error) {
	if want == nil {
		return storage.Info{}, err
	}
	in, missing := s.stat(ctx, u.Key)
	if missing != nil || in.Size != u.Size || string(in.Sums.CRC32C) != string(want) {
		return storage.Info{}, err
	}
	return in, nil
}

// Abort gives an upload up.
func (s *Store) Abort(ctx context.Context, u storage.Upload) error {
	name, way, id, err := s.upload(u)
	switch {
	case err != nil:
	case way == xmlID:
		if err = s.abortXML(ctx, name, id); gone(err) {
			err = nil
		}
	default:
		err = s.sweep(ctx, s.folder(u.Key, id))
	}
	return s.fail("abort upload of", u.Key, err)
}

// Pending returns the uploads of the key that hold no part, of both ways.
func (s *Store) Pending(ctx context.Context, key string) ([]storage.Upload, error) {
	found, err := func() ([]storage.Upload, error) {
		name, err := s.check(key)
		if err != nil {
			return nil, err
		}
		ids, err := s.emptyFolders(ctx, key)
		if err != nil {
			return nil, err
		}
		with, err := s.hasXML(ctx)
		if err != nil {
			return nil, err
		}
		if with {
			more, err := s.emptyXML(ctx, name)
			if err != nil {
				return nil, err
			}
			ids = append(ids, more...)
		}
		var found []storage.Upload
		for _, id := range ids {
			found = append(found, storage.Upload{Key: key, ID: id})
		}
		return found, nil
	}()
	return found, s.fail("look for uploads of", key, err)
}

// upload takes an upload's ID apart.
func (s *Store) upload(u storage.Upload) (name, way, id string, err error) {
	if name, err = s.check(u.Key); err != nil {
		return "", "", "", err
	}
	if id, ok := strings.CutPrefix(u.ID, xmlID); ok && id != "" {
		return name, xmlID, id, nil
	}
	if id, ok := strings.CutPrefix(u.ID, composeID); ok && hidden(s.folder(u.Key, id)+"x") {
		return name, composeID, id, nil
	}
	return "", "", "", refuse(work.Invalid, "%q is not the id of an upload", u.ID)
}
