package blobstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func TestSafe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		key        string
		gcs, azure bool
	}{
		{"plain/key.txt", true, true},
		{"a b+c&d=e", true, true},
		{"日本語/😀", true, true},
		{"100%", true, false},
		{`a\b`, true, false},
		{`a"b`, true, false},
		{"a#b", true, false},
		{"a?b", true, false},
		{"a\tb", true, false},
		{"a\x7fb", true, false},
		{"folder/", true, false},
		{"ünïcode/", true, false},
		{"a//b", true, true},
		{"end.", true, false},
		{"a./b", true, false},
		{"a\nb", false, false},
		{"a\rb", false, false},
		{"a/../b", false, false},
		{"../a", false, false},
		{"..", false, false},
		{"weird__0x41__", false, false},
		{"a\xffb", false, false},
		{strings.Repeat("é", 513), false, true},
		{strings.Repeat("x", 1025), false, false},
	} {
		if err := GCS.Safe(tt.key); (err == nil) != tt.gcs {
			t.Errorf("GCS.Safe(%q) = %v, want safe %v", tt.key, err, tt.gcs)
		}
		if err := Azure.Safe(tt.key); (err == nil) != tt.azure {
			t.Errorf("Azure.Safe(%q) = %v, want safe %v", tt.key, err, tt.azure)
		}
	}
}

func TestFault(t *testing.T) {
	t.Parallel()
	b := memblob.OpenBucket(nil)
	_, notFound := b.Attributes(t.Context(), "absent")
	badKey := b.Upload(t.Context(), "\xff", strings.NewReader(""), &blob.WriterOptions{ContentType: "a/b"})
	must(t, b.Close())
	for _, tt := range []struct {
		err  error
		want work.Fault
	}{
		{notFound, work.NotFound},
		{badKey, work.Invalid},
		{context.Canceled, work.Transient},
		{errors.Join(context.DeadlineExceeded), work.Transient},
		{errors.New("x"), work.Transient},
		{&storage.Error{Fault: work.SrcChanged, Err: errors.New("x")}, work.SrcChanged},
	} {
		if got := fault(tt.err); got != tt.want {
			t.Errorf("fault(%v) = %q, want %q (code %v)", tt.err, got, tt.want, gcerrors.Code(tt.err))
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOpenerSplitsURL looks at what the driver is given.
func TestOpenerSplitsURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"gs://bucket/a/b?access_id=-":     "gs://bucket?access_id=-",
		"gs://bucket?prefix=a%2F&grpc=1":  "gs://bucket?grpc=1",
		"azblob://container/":             "azblob://container",
		"azblob://container?protocol=htp": "azblob://container?protocol=htp",
	} {
		u, err := url.Parse(raw)
		must(t, err)
		var got string
		s, err := Opener(Azure, func(_ context.Context, u *url.URL) (*blob.Bucket, error) {
			got = u.String()
			return memblob.OpenBucket(nil), nil
		})(t.Context(), u)
		must(t, err)
		must(t, s.Close())
		if got != want {
			t.Errorf("the driver is given %q of %q, want %q", got, raw, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	d := storage.Drivers{"gs": Open, "other": Open}
	for _, raw := range []string{"other://bucket", "gs://bucket/a%0Ab", "gs://bucket/a?prefix=b", "gs://bucket?unknown=1"} {
		if _, err := d.Open(t.Context(), raw); !storage.Is(err, work.Invalid) {
			t.Errorf("Open(%s) = %v, want it refused", raw, err)
		}
	}
}

// TestUnreadableContentType stores what gocloud would not pass on.
func TestUnreadableContentType(t *testing.T) {
	t.Parallel()
	s := open(t, Memory, "blob://bucket", memblob.OpenBucket(nil))
	opts := storage.PutOptions{Meta: storage.Meta{ContentType: "text/html; charset"}}
	_, err := s.Put(t.Context(), "a", strings.NewReader("x"), 1, opts)
	if !storage.Is(err, work.Unsupported) || !strings.Contains(err.Error(), "content type") {
		t.Errorf("Put = %v, want it refused", err)
	}
}

func TestStatusFaults(t *testing.T) {
	t.Parallel()
	limited := &googleapi.Error{Code: 403, Errors: []googleapi.ErrorItem{{Reason: "userRateLimitExceeded"}}}
	for _, tt := range []struct {
		err  error
		want work.Fault
	}{
		{&googleapi.Error{Code: 403}, work.Denied},
		{limited, work.Throttled},
		{&googleapi.Error{Code: 404}, work.NotFound},
		{&googleapi.Error{Code: 412}, work.SrcChanged},
		{&googleapi.Error{Code: 429}, work.Throttled},
		{&googleapi.Error{Code: 500}, work.Transient},
		{errors.New("x"), ""},
	} {
		if got := GCS.Fault(fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
			t.Errorf("GCS.Fault(%v) = %q, want %q", tt.err, got, tt.want)
		}
	}
	for status, want := range map[int]work.Fault{401: work.Denied, 403: work.Denied, 404: work.NotFound, 412: work.SrcChanged, 503: work.Throttled, 500: work.Transient, 400: work.Invalid} {
		if got := Azure.Fault(fmt.Errorf("wrapped: %w", &azcore.ResponseError{StatusCode: status})); got != want {
			t.Errorf("Azure.Fault of status %d = %q, want %q", status, got, want)
		}
	}
	if got := Azure.Fault(errors.New("x")); got != "" {
		t.Errorf("Azure.Fault of another error = %q", got)
	}
}

// TestRawNames lists a bucket with a name that gocloud would unescape.
func TestRawNames(t *testing.T) {
	t.Parallel()
	b := memblob.OpenBucket(nil)
	must(t, b.Upload(t.Context(), "weird", strings.NewReader("x"), &blob.WriterOptions{ContentType: "a/b"}))
	d := Memory
	d.Safe = plain
	d.Native = func(func(any) bool) (Native, error) { return Native{Name: "weird__0x41__", Version: "7"}, nil }
	s := open(t, d, "blob://bucket", b)
	var listed []storage.Info
	must(t, s.List(t.Context(), work.Range{}, func(page []storage.Info) error { listed = page; return nil }))
	if len(listed) != 1 || listed[0].Key != "weird__0x41__" || listed[0].ETag != "7" {
		t.Fatalf("List gave %+v, want the native name and version", listed)
	}
	_, _, err := s.Get(t.Context(), listed[0].Key, "", 0, -1)
	if !storage.Is(err, work.Unsupported) {
		t.Errorf("Get = %v, want it refused", err)
	}
}
