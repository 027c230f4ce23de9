package blobstore

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"

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
	for _, raw := range []string{"other://bucket", "gs://bucket/a%0Ab", "gs://bucket/a?prefix=b", "gs://bucket"} {
		if _, err := d.Open(t.Context(), raw); !storage.Is(err, work.Invalid) {
			t.Errorf("Open(%s) = %v, want it refused: no driver for gs is linked into this test", raw, err)
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
