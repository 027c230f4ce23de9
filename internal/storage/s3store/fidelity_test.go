package s3store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// TestTags carries tags with a Put, an upload in parts, and both sorts of
// copies that the server makes.
func TestTags(t *testing.T) {
	t.Parallel()
	src := private(newStore(t, servers.VersityGW(t), "from"))
	src.client.copyPart = 5 << 20
	dst := private(newStore(t, servers.VersityGW(t), "to"))
	dst.client = src.client
	tags := map[string]string{"Kind": "a b", "empty": "", "sum": "1+1=2", "größe": "x/y:z@_.-"}
	opts := storage.PutOptions{Meta: storage.Meta{Tags: tags}}
	content := string(storagetest.Bytes(1, 6<<20))
	put(t, src, "put", content, opts)
	u, err := src.Begin(t.Context(), "parts", 1000, 5<<20, opts)
	if err != nil {
		t.Fatal(err)
	}
	p, err := src.PutPart(t.Context(), u, 1, strings.NewReader(content[:1000]), 1000, storage.Sums{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Commit(t.Context(), u, []storage.Part{p}, opts); err != nil {
		t.Fatal(err)
	}
	in, err := src.Stat(t.Context(), "put")
	if err != nil || in.TagCount != len(tags) {
		t.Fatalf("Stat counts %d tags, %v, want %d", in.TagCount, err, len(tags))
	}
	if _, err := dst.CopyFrom(t.Context(), "copy", src, in, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	src.client.maxCopy = 5 << 20
	if _, err := dst.CopyFrom(t.Context(), "copy in parts", src, in, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, at := range []struct {
		s   *Store
		key string
	}{{src, "put"}, {src, "parts"}, {dst, "copy"}, {dst, "copy in parts"}} {
		if got, err := at.s.Tags(t.Context(), at.key); err != nil || !maps.Equal(got, tags) {
			t.Errorf("Tags(%s) = %q, %v; want %q", at.key, got, err, tags)
		}
	}
	put(t, src, "put", "x", storage.PutOptions{})
	if got, err := src.Tags(t.Context(), "put"); err != nil || got != nil {
		t.Errorf("Tags of an object without = %q, %v", got, err)
	}
	_, err = src.Tags(t.Context(), "absent")
	wantFault(t, "Tags of nothing", err, work.NotFound)
}

// TestTagsMinIO sees that the store learns which tags MinIO refuses.
func TestTagsMinIO(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.MinIO(t), "")
	meta := storage.Meta{Tags: map[string]string{"größe": "x", "plain": "a b"}}
	_, err := s.Put(t.Context(), "key", strings.NewReader("x"), 1, storage.PutOptions{Meta: meta})
	wantField(t, "Put with a tag that is not ASCII", err, work.FieldTags)
	fit, lost := storage.Fit(s, meta)
	if len(lost) != 1 || lost[0].Field != work.FieldTags || lost[0].Name != "größe" {
		t.Errorf("Fit leaves out %+v, want the tag größe", lost)
	}
	put(t, s, "key", "x", storage.PutOptions{Meta: fit})
	if got, err := s.Tags(t.Context(), "key"); err != nil || !maps.Equal(got, map[string]string{"plain": "a b"}) {
		t.Errorf("Tags = %q, %v", got, err)
	}
}

// TestNoTags reads tags on servers that know none.
func TestNoTags(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]work.Fault{
		"NotImplemented": "", "NoSuchTagSet": "", "MethodNotAllowed": "",
		"NoSuchKey": work.NotFound, "AccessDenied": work.Denied,
	} {
		s := liar(t, func(w http.ResponseWriter, r *http.Request) { refuseWith(w, http.StatusBadRequest, code) })
		tags, err := s.Tags(t.Context(), "key")
		if storage.FaultOf(err) != want || tags != nil {
			t.Errorf("Tags after %s = %v, %v; want the fault %q", code, tags, err, want)
		}
	}
}

// TestMetaServerRefuses sees that the server's refusal of a tag or a class is
// told as what it is, and that a class is not tried twice.
func TestMetaServerRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code, message string
		meta          storage.Meta
		want          work.Field
	}{
		{"InvalidStorageClass", "", storage.Meta{Class: "COLD"}, work.FieldClass},
		{"InvalidTag", "", storage.Meta{Tags: map[string]string{"a": "b"}}, work.FieldTags},
		{"NotImplemented", "", storage.Meta{Tags: map[string]string{"a": "b"}}, work.FieldTags},
		{"NotImplemented", "", storage.Meta{Class: "COLD"}, work.FieldClass},
		{"NotImplemented", "Header 'x-amz-tagging' with value 'a=b' not implemented", storage.Meta{Class: "COLD", Tags: map[string]string{"a": "b"}}, work.FieldTags},
		{"InvalidArgument", "Unknown storage class", storage.Meta{Class: "COLD", Tags: map[string]string{"a": "b"}}, work.FieldClass},
		{"NotImplemented", "Server side encryption is not configured", storage.Meta{Class: "COLD"}, ""},
		{"MetadataTooLarge", "", storage.Meta{}, work.FieldMetadata},
		{"KeyTooLongError", "", storage.Meta{}, work.FieldKeys},
	} {
		var calls int
		s := liar(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", tt.code, tt.message)
		})
		opts := storage.PutOptions{Meta: tt.meta}
		_, err := s.Put(t.Context(), "key", http.NoBody, 0, opts)
		wantField(t, "Put refused with "+tt.code, err, tt.want)
		_, err = s.Begin(t.Context(), "key", 10, 5<<20, opts)
		wantField(t, "Begin refused with "+tt.code, err, tt.want)
		if tt.want != work.FieldClass {
			continue
		}
		fit, lost := storage.Fit(s, tt.meta)
		if fit.Class != "" || len(lost) != 1 || lost[0].Field != work.FieldClass || calls != 1 {
			t.Errorf("Fit of a class that was refused = %+v, %+v after %d requests; want it left out after one", fit, lost, calls)
		}
	}
}

// TestClass reads and writes storage classes.
func TestClass(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := make(map[string]string)
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		class := r.Header.Get(storageClass)
		switch {
		case r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "key"): // what was copied
			w.Header().Set("Content-Length", "0")
		case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
			got["begin"] = class
			_, _ = io.WriteString(w, "<R><UploadId>1</UploadId></R>")
		case r.Header.Get("X-Amz-Copy-Source") != "":
			got["copy"] = class
			_, _ = io.WriteString(w, "<R><ETag>t</ETag></R>")
		case r.Method == http.MethodPut:
			got["put"] = class
		case strings.HasSuffix(r.URL.Path, "cold"):
			w.Header().Set(storageClass, "GLACIER_IR")
		}
	})
	for _, class := range []string{"GLACIER_IR", ""} {
		opts := storage.PutOptions{Meta: storage.Meta{Class: class}}
		if _, err := s.Put(t.Context(), "key", http.NoBody, 0, opts); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(t.Context(), "key", 1, 1, opts); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CopyFrom(t.Context(), "key", s, storage.Info{Key: "src", Meta: storage.Meta{Class: "OTHER"}}, opts); err != nil {
			t.Fatal(err)
		}
		// A copy says the default, too: the source has another.
		if want := map[string]string{"put": class, "begin": class, "copy": cmp.Or(class, standard)}; !maps.Equal(got, want) {
			t.Errorf("the server got classes %q, want %q", got, want)
		}
	}
	for key, want := range map[string]string{"cold": "GLACIER_IR", "usual": "STANDARD"} {
		body, in, err := s.Get(t.Context(), key, "", 0, -1)
		if err != nil || in.Meta.Class != want {
			t.Fatalf("Get(%s) says class %q, %v; want %q", key, in.Meta.Class, err, want)
		}
		body.Close()
	}
}

// TestClassMinIO stores classes that MinIO knows and one that it does not.
func TestClassMinIO(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.MinIO(t), "")
	for class, want := range map[string]string{"": "STANDARD", "STANDARD": "STANDARD", "REDUCED_REDUNDANCY": "REDUCED_REDUNDANCY"} {
		put(t, s, "key", "x", storage.PutOptions{Meta: storage.Meta{Class: class}})
		if in, err := s.Stat(t.Context(), "key"); err != nil || in.Meta.Class != want {
			t.Errorf("Stat says class %q, %v; want %q", in.Meta.Class, err, want)
		}
	}
	cold := storage.PutOptions{Meta: storage.Meta{Class: "STANDARD_IA"}}
	_, err := s.Put(t.Context(), "key", strings.NewReader("x"), 1, cold)
	wantField(t, "Put in an unknown class", err, work.FieldClass)
	in, err := s.Stat(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	other := storage.PutOptions{Meta: storage.Meta{Class: "ONEZONE_IA"}}
	_, err = s.CopyFrom(t.Context(), "copy", s, in, other)
	wantField(t, "CopyFrom into an unknown class", err, work.FieldClass)
}

func TestIsArchived(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		class, tier, restore string
		want                 bool
	}{
		"standard":     {},
		"instant":      {class: "GLACIER_IR"},
		"glacier":      {class: "GLACIER", want: true},
		"deep":         {class: "DEEP_ARCHIVE", want: true},
		"restoring":    {class: "GLACIER", restore: `ongoing-request="true"`, want: true},
		"restored":     {class: "GLACIER", restore: `ongoing-request="false", expiry-date="Sat, 03 Jan 2026 00:00:00 GMT"`},
		"no longer":    {class: "GLACIER", restore: `ongoing-request="false", expiry-date="Thu, 01 Jan 2026 00:00:00 GMT"`, want: true},
		"no date":      {class: "GLACIER", restore: `ongoing-request="false"`, want: true},
		"frequent":     {class: "INTELLIGENT_TIERING"},
		"archive tier": {class: "INTELLIGENT_TIERING", tier: "ARCHIVE_ACCESS", want: true},
		"deep tier":    {class: "INTELLIGENT_TIERING", tier: "DEEP_ARCHIVE_ACCESS", want: true},
	} {
		h := make(http.Header)
		for header, v := range map[string]string{storageClass: tt.class, "X-Amz-Archive-Status": tt.tier, "X-Amz-Restore": tt.restore} {
			if v != "" {
				h.Set(header, v)
			}
		}
		if got := isArchived(h, now); got != tt.want {
			t.Errorf("%s: isArchived = %v, want %v", name, got, tt.want)
		}
	}
}

// TestArchived lists, asks for, reads and copies what lies in an archive.
func TestArchived(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	answer := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Has("list-type"):
			if r.URL.Query().Has("start-after") {
				_, _ = io.WriteString(w, emptyPage)
				return
			}
			_, _ = io.WriteString(w, "<ListBucketResult><IsTruncated>false</IsTruncated>")
			for _, x := range []string{"a<C>GLACIER", "b<C>STANDARD", "c<C>DEEP_ARCHIVE</StorageClass><RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>",
				"d<C>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>" + soon + "</RestoreExpiryDate></RestoreStatus>",
				"e<C>GLACIER</StorageClass><RestoreStatus><RestoreExpiryDate>2020-01-01T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>",
			} {
				key, class, _ := strings.Cut(x, "<C>")
				if !strings.Contains(class, "</StorageClass>") {
					class += "</StorageClass>"
				}
				fmt.Fprintf(w, "<Contents><Key>pre/%s</Key><Size>1</Size><StorageClass>%s</Contents>", key, class)
			}
			_, _ = io.WriteString(w, "</ListBucketResult>")
		case r.Method == http.MethodHead:
			w.Header().Set(storageClass, "GLACIER")
			w.Header().Set("Content-Length", "1")
		default:
			refuseWith(w, http.StatusForbidden, "InvalidObjectState")
		}
	}
	for want, s := range map[string]*Store{"ace": amazon(t, answer), "": liar(t, answer)} {
		archived := ""
		err := s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
			for _, in := range page {
				if in.Archived {
					archived += in.Key
				}
			}
			return nil
		})
		if err != nil || archived != want {
			t.Errorf("List says that %q are archived, %v; want %q", archived, err, want)
		}
		in, err := s.Stat(t.Context(), "a")
		if err != nil || !in.Archived || in.Meta.Class != "GLACIER" {
			t.Errorf("Stat = %+v, %v; want it archived", in, err)
		}
		_, _, err = s.Get(t.Context(), "a", "", 0, -1)
		wantField(t, "Get", err, work.FieldArchived)
		_, err = s.CopyFrom(t.Context(), "b", s, in, storage.PutOptions{})
		wantField(t, "CopyFrom", err, work.FieldArchived)
		var e *storage.Error
		if !errors.As(err, &e) || !strings.Contains(e.Hint, "restore") {
			t.Errorf("%v does not say what to do", err)
		}
	}
}

// TestListAsksForRestores sees that Amazon's server is asked for what a listing
// says of restores only if it is asked.
func TestListAsksForRestores(t *testing.T) {
	t.Parallel()
	for _, isAmazon := range []bool{true, false} {
		s := liar(t, func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("X-Amz-Optional-Object-Attributes"); (got == "RestoreStatus") != isAmazon {
				t.Errorf("Amazon's: %v; the listing asks for %q", isAmazon, got)
			}
			_, _ = io.WriteString(w, emptyPage)
		})
		s.client.amazon = isAmazon
		if err := s.List(t.Context(), work.Range{}, nil); err != nil {
			t.Error(err)
		}
	}
}

// TestEncryption sees that what is stored is encrypted as the URL says.
func TestEncryption(t *testing.T) {
	t.Parallel()
	const etag = `"5d41402abc4b2a76b9719d911017c592"`
	for query, want := range map[string][2]string{
		"":                                   {"", ""},
		"&ssetype=aes256":                    {"AES256", ""},
		"&ssetype=aws:kms":                   {"aws:kms", ""},
		"&kmskeyid=k1":                       {"aws:kms", "k1"},
		"&ssetype=aws:kms:dsse&kmskeyid=arn": {"aws:kms:dsse", "arn"},
	} {
		requests := 0
		srv := liar(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead { // what was copied
				w.Header().Set("X-Amz-Server-Side-Encryption", want[0])
				w.Header().Set("Etag", etag)
				w.Header().Set("Content-Length", "0")
				return
			}
			requests++
			sort, key := r.Header.Get("X-Amz-Server-Side-Encryption"), r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")
			if sort != want[0] || key != want[1] {
				t.Errorf("%s: %s %s is encrypted by %q with %q, want %q", query, r.Method, r.URL, sort, key, want)
			}
			w.Header().Set("X-Amz-Server-Side-Encryption", sort)
			w.Header().Set("Etag", etag)
			fmt.Fprintf(w, "<R><UploadId>1</UploadId><ETag>%s</ETag></R>", etag)
		})
		s := private(openURL(t, "s3://bucket/pre?use_path_style=true&anonymous=true&region=r&endpoint="+*srv.client.aws.BaseEndpoint+query))
		t.Cleanup(s.client.transport.CloseIdleConnections)
		in := put(t, s, "key", "", storage.PutOptions{})
		if _, err := s.Begin(t.Context(), "key", 1, 1, storage.PutOptions{}); err != nil {
			t.Error(err)
		}
		copied, err := s.CopyFrom(t.Context(), "key", s, storage.Info{Key: "src"}, storage.PutOptions{})
		kms := strings.HasPrefix(want[0], "aws:kms")
		if err != nil || (in.Sums.MD5 == nil) != kms || (copied.Sums.MD5 == nil) != kms || s.Traits().ETagIsMD5 == kms || requests != 3 {
			t.Errorf("%s: Put = %+v, CopyFrom = %+v, %v after %d requests; want an MD5 only where the ETag is one", query, in, copied, err, requests)
		}
	}
}
