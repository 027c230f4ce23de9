package gcsstore

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestConformanceXML(t *testing.T) {
	t.Parallel()
	x := newXMLServer(t)
	storagetest.Run(t, storagetest.Harness{
		New:    func(t *testing.T) storage.Store { return x.store(t) },
		Checks: allSums,
		// All else does not go by the XML API.
		Only:          []string{"Multipart", "MultipartErrors", "Pending", "ModTime", "Gzip", "Prober", "Conditions"},
		Unconditional: map[string]string{"CopyFrom": emulated["CopyFrom"]},
	})
}

// uncopied hides that a store is a Copier: fake-gcs-server forgets the class
// when it copies. See TestRewrite.
type uncopied struct {
	storage.Store
	storage.Multipart
}

func TestConformanceClass(t *testing.T) {
	t.Parallel()
	x := newXMLServer(t)
	storagetest.Run(t, storagetest.Harness{
		New: func(t *testing.T) storage.Store {
			s := x.store(t)
			return uncopied{s, s}
		},
		Class: "NEARLINE",
		Only:  []string{"Class"},
	})
}

// begin opens an upload of content and stores its parts.
func begin(t *testing.T, s *Store, key string, content []byte, part int, m storage.Meta) (storage.Upload, []storage.Part) {
	t.Helper()
	u, err := s.Begin(t.Context(), key, int64(len(content)), int64(part), storage.PutOptions{Meta: m})
	must(t, err)
	chunks := slices.Collect(slices.Chunk(content, part))
	parts := make([]storage.Part, len(chunks))
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i, c := range chunks {
		group.Go(func() (err error) {
			parts[i], err = s.PutPart(ctx, u, i+1, bytes.NewReader(c), int64(len(c)), storage.Sums{})
			return err
		})
	}
	must(t, group.Wait())
	return u, parts
}

// names are the names of all objects of the store's bucket.
func names(t *testing.T, s *Store) []string {
	t.Helper()
	all, err := s.inFolder(t.Context(), "")
	must(t, err)
	return slices.Sorted(maps.Keys(all))
}

func TestXMLCommitAnswerLost(t *testing.T) {
	t.Parallel()
	x := newXMLServer(t)
	lost := 0
	x.lose = func(*http.Request) bool { lost++; return lost == 1 }
	s := x.store(t)
	content := storagetest.Bytes(1, 6<<20)
	u, parts := begin(t, s, "big", content, 5<<20, storage.Meta{})
	in, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
	if err != nil || in.Size != int64(len(content)) || lost != 1 {
		t.Errorf("Commit = %+v, %v, after %d lost answers; want the object that is there", in, err, lost)
	}
	again, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
	if err != nil || again.ETag != in.ETag {
		t.Errorf("Commit again = %+v, %v; want version %s", again, err, in.ETag)
	}
	wantContent(t, s, "big", string(content))
}

func TestXMLCommitOfOtherContent(t *testing.T) {
	t.Parallel()
	s := newXMLServer(t).store(t)
	content := storagetest.Bytes(1, 1000)
	u, parts := begin(t, s, "big", content, 5<<20, storage.Meta{})
	must(t, s.Abort(t.Context(), u))
	put(t, s, "big", string(storagetest.Bytes(2, 1000)), storage.PutOptions{})
	_, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
	wantFault(t, "Commit of an upload that is gone over another object of its size", err, work.NotFound)
}

// TestXMLWay looks which way uploads go, and how often the server is asked.
func TestXMLWay(t *testing.T) {
	t.Parallel()
	x := newXMLServer(t)
	s := x.store(t)
	for _, tt := range []struct {
		meta storage.Meta
		way  string
	}{
		{storage.Meta{ContentType: "video/mp4", CacheControl: "no-cache", Class: "NEARLINE", ModTime: time.Unix(5, 0), User: map[string]string{"a": "b"}}, xmlID},
		{storage.Meta{ContentDisposition: `attachment; filename="ü"`}, composeID},
		{storage.Meta{User: map[string]string{"a": "日本"}}, composeID},
		{storage.Meta{User: map[string]string{"a": " b"}}, composeID},
		{storage.Meta{User: map[string]string{"a": ""}}, composeID},
	} {
		u, parts := begin(t, s, "big", []byte("content"), 5<<20, tt.meta)
		if !strings.HasPrefix(u.ID, tt.way) {
			t.Errorf("Begin with %+v goes %q, want %q", tt.meta, u.ID, tt.way)
		}
		_, err := s.Commit(t.Context(), u, parts, storage.PutOptions{Meta: tt.meta})
		must(t, err)
		in, err := s.Stat(t.Context(), "big")
		must(t, err)
		m := in.Meta
		if m.ContentType != tt.meta.ContentType || m.ContentDisposition != tt.meta.ContentDisposition || m.CacheControl != tt.meta.CacheControl ||
			!maps.Equal(m.User, tt.meta.User) || !m.ModTime.Equal(tt.meta.ModTime) || tt.way == xmlID && m.Class != tt.meta.Class {
			t.Errorf("%s: Stat says %+v, want %+v", tt.way, m, tt.meta)
		}
	}
	if x.begun != 2 {
		t.Errorf("%d uploads were begun, want one to find out and one of an object", x.begun)
	}
}

func TestXMLDenied(t *testing.T) {
	t.Parallel()
	x := newXMLServer(t)
	x.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("uploads") {
			refuseXML(w, http.StatusForbidden, "AccessDenied")
			return true
		}
		return false
	}
	s := x.store(t)
	for range 2 {
		_, err := s.Begin(t.Context(), "big", 1000, 5<<20, storage.PutOptions{})
		wantFault(t, "Begin", err, work.Denied)
	}
	if left := names(t, s); len(left) > 0 {
		t.Errorf("it went another way: %q", left)
	}
}

func TestPending(t *testing.T) {
	t.Parallel()
	for way, open := range map[string]func(*testing.T) *Store{
		xmlID:     func(t *testing.T) *Store { return newXMLServer(t).store(t) },
		composeID: func(t *testing.T) *Store { return newStore(t, "pre/fix") },
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			pending := func(key string) []storage.Upload {
				t.Helper()
				found, err := s.Pending(t.Context(), key)
				must(t, err)
				return found
			}
			if got := pending("big"); len(got) != 0 {
				t.Errorf("Pending = %v before there was any upload", got)
			}
			begin(t, s, "bigger", []byte("another key's"), 5<<20, storage.Meta{})
			begin(t, s, "big", []byte("one that has a part"), 5<<20, storage.Meta{})
			_, err := s.Begin(t.Context(), "big2", 100, 5<<20, storage.PutOptions{})
			must(t, err)
			u, err := s.Begin(t.Context(), "big", 100, 5<<20, storage.PutOptions{})
			must(t, err)
			got := pending("big")
			if len(got) != 1 || got[0] != (storage.Upload{Key: "big", ID: u.ID}) {
				t.Fatalf("Pending = %+v, want upload %s alone", got, u.ID)
			}
			must(t, s.Abort(t.Context(), got[0]))
			if got := pending("big"); len(got) != 0 {
				t.Errorf("Pending = %v after it was aborted", got)
			}
		})
	}
}

// TestComposeTree puts more pieces together than one request can.
func TestComposeTree(t *testing.T) {
	t.Parallel()
	s := newStore(t, "pre/fix")
	content := storagetest.Bytes(3, 70)
	u, parts := begin(t, s, "big", content, 1, storage.Meta{})
	sum := storage.NewDigest(storage.CRC32C)
	_, _ = sum.Write(content) // never fails
	in, err := s.Commit(t.Context(), u, parts, storage.PutOptions{Sums: sum.Sums()})
	must(t, err)
	if !bytes.Equal(in.Sums.CRC32C, sum.Sums().CRC32C) {
		t.Errorf("Commit says CRC32C %x, want %x", in.Sums.CRC32C, sum.Sums().CRC32C)
	}
	wantContent(t, s, "big", string(content))
	if left := names(t, s); !slices.Equal(left, []string{"pre/fix/big"}) {
		t.Errorf("the bucket holds %q, want the object alone", left)
	}
	again, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
	if err != nil || again.ETag != in.ETag {
		t.Errorf("Commit again = %+v, %v; want version %s", again, err, in.ETag)
	}
	lies := storage.PutOptions{Sums: storage.Sums{CRC32C: []byte("lies")}}
	_, err = s.Commit(t.Context(), u, parts, lies)
	wantFault(t, "Commit with a wrong CRC32C", err, work.Corrupt)
}

// TestAbortOfPartInFlight aborts an upload while a part is on its way.
func TestAbortOfPartInFlight(t *testing.T) {
	t.Parallel()
	s := newStore(t, "pre/fix")
	u, _ := begin(t, s, "big", storagetest.Bytes(1, 2000), 1000, storage.Meta{})
	body, feed := io.Pipe()
	failed := make(chan error)
	go func() {
		_, err := s.PutPart(t.Context(), u, 2, body, 1000, storage.Sums{})
		failed <- err
	}()
	_, err := feed.Write(make([]byte, 500))
	must(t, err)
	must(t, s.Abort(t.Context(), u))
	_, err = feed.Write(make([]byte, 500))
	must(t, err)
	must(t, feed.Close())
	wantFault(t, "PutPart", <-failed, work.NotFound)
	if left := names(t, s); len(left) > 0 {
		t.Errorf("the bucket still holds %q", left)
	}
}

// TestHidden looks for the pieces of an upload through other prefixes.
func TestHidden(t *testing.T) {
	t.Parallel()
	s := newStore(t, "pre/fix")
	u, parts := begin(t, s, "big", storagetest.Bytes(1, 2000), 1000, storage.Meta{})
	all := names(t, s)
	if len(all) != 3 {
		t.Fatalf("the bucket holds %q, want a mark and two pieces", all)
	}
	for _, prefix := range []string{"", "pre/", "pre/fix"} {
		other := openURL(t, "gs://"+s.bucket+"/"+prefix, s.client.base)
		must(t, other.List(t.Context(), work.Range{}, func(page []storage.Info) error {
			t.Errorf("from %q, List gave %+v, want nothing", prefix, page)
			return nil
		}))
	}
	root := openURL(t, "gs://"+s.bucket, s.client.base)
	for _, name := range all {
		_, err := root.Put(t.Context(), name, strings.NewReader("x"), 1, storage.PutOptions{})
		if e := wantFault(t, "Put("+name+")", err, work.Unsupported); e.Field != work.FieldKeys {
			t.Errorf("the error names field %q, want %q", e.Field, work.FieldKeys)
		}
	}
	for _, key := range []string{".tranship-upload-", ".tranship-upload-x/y", "a.tranship-upload-" + strings.TrimPrefix(all[0], "pre/fix/.tranship-upload-")} {
		put(t, root, key, "an object like others", storage.PutOptions{})
		wantContent(t, root, key, "an object like others")
	}
	_, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
	must(t, err)
}

// TestCommitConflicts replaces the object while a commit copies to its name.
func TestCommitConflicts(t *testing.T) {
	t.Parallel()
	for name, done := range map[string]bool{ // whether the first copy is made, though it does not look so
		"an answer was lost": true,
		"another came first": false,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newXMLServer(t)
			copies := 0
			x.before = func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Query().Has("uploads"):
					refuseXML(w, http.StatusBadRequest, "InvalidArgument")
					return true
				case !strings.Contains(r.URL.Path, "/rewriteTo/"):
					return false
				}
				copies++
				if r.URL.Query().Get("ifGenerationMatch") == "" {
					t.Errorf("the copy is made over any version: %s", r.URL)
				}
				switch {
				case copies == 1 && done:
					x.proxy.ServeHTTP(httptest.NewRecorder(), r)
					w.WriteHeader(http.StatusBadGateway)
				case copies == 1 || done:
					w.WriteHeader(http.StatusPreconditionFailed)
				default:
					return false
				}
				return true
			}
			s := x.store(t)
			put(t, s, "big", "another", storage.PutOptions{})
			content := storagetest.Bytes(4, 3000)
			u, parts := begin(t, s, "big", content, 1000, storage.Meta{})
			in, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
			if err != nil || in.Size != 3000 || copies != 2 {
				t.Errorf("Commit = %+v, %v after %d copies; want the object after 2", in, err, copies)
			}
			wantContent(t, s, "big", string(content))
			if left := names(t, s); !slices.Equal(left, []string{"pre/fix/big"}) {
				t.Errorf("the bucket holds %q, want the object alone", left)
			}
		})
	}
}

// TestCommitGoesOnAfterCrash repeats a commit that died while it was removing
// the parts.
func TestCommitGoesOnAfterCrash(t *testing.T) {
	t.Parallel()
	s := newStore(t, "pre/fix")
	content := storagetest.Bytes(5, 3000)
	u, parts := begin(t, s, "big", content, 1000, storage.Meta{})
	in := put(t, s, "big", string(content), storage.PutOptions{})
	must(t, s.remove(t.Context(), s.folder("big", strings.TrimPrefix(u.ID, composeID))+mark))
	again, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
	if err != nil || again.ETag != in.ETag {
		t.Errorf("Commit = %+v, %v; want version %s, which is there", again, err, in.ETag)
	}
	if left := names(t, s); !slices.Equal(left, []string{"pre/fix/big"}) {
		t.Errorf("the bucket holds %q, want the object alone", left)
	}
}

// TestXMLCommitOfForeignParts names parts otherwise than the service holds them:
// the upload is of no use any more, but the object is.
func TestXMLCommitOfForeignParts(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]work.Fault{
		"<Code>InvalidPart</Code>":                                           work.NotFound,
		"<Code>InvalidPartOrder</Code>":                                      work.NotFound,
		"<Code>InvalidArgument</Code><Message>No such part: 1</Message>":     work.NotFound,
		"<Code>InvalidArgument</Code><Message>Invalid argument.</Message>":   work.Invalid,
		"<Code>EntityTooSmall</Code><Message>A part is too small.</Message>": work.Invalid,
	} {
		x := newXMLServer(t)
		s := x.store(t)
		u, parts := begin(t, s, "big", storagetest.Bytes(1, 1000), 5<<20, storage.Meta{})
		x.before = func(w http.ResponseWriter, r *http.Request) bool {
			if !r.URL.Query().Has("uploadId") {
				return false
			}
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "<Error>"+answer+"</Error>")
			return true
		}
		_, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
		wantFault(t, "Commit after "+answer, err, want)
		_, err = s.PutPart(t.Context(), u, 1, strings.NewReader("x"), 1, storage.Sums{})
		wantFault(t, "PutPart after "+answer, err, work.Invalid)
	}
}
