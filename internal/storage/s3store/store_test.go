package s3store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestMain(m *testing.M) {
	for _, e := range os.Environ() { // what the user has set up is not for tests
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(servers.Main(m))
}

// openURL opens a store that is closed when the test ends.
func openURL(t testing.TB, raw string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), u, storage.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.(*Store)
}

// newStore returns an empty store in a bucket of its own.
func newStore(t testing.TB, on *servers.S3, prefix string) *Store {
	t.Helper()
	bucket := "test-" + strings.ToLower(rand.Text())
	on.CreateBucket(t, bucket)
	return openURL(t, on.URL(bucket, prefix))
}

const allSums = storage.CRC32C | storage.CRC64NVME | storage.CRC32 | storage.MD5 | storage.SHA256

// keptKeys are the odd keys that a server must keep: all that S3 allows but
// those that it is known not to.
func keptKeys(refused func(key string) bool) []string {
	return slices.DeleteFunc(storagetest.OddKeys(), func(key string) bool {
		return !utf8.ValidString(key) || strings.Contains(key, "\x00") || len("pre/fix/"+key) > maxKey ||
			strings.Contains("/"+key, "//") || hasDots(key) || longPart(key) || refused(key)
	})
}

// longPart reports whether a part is too long for a file's name.
func longPart(key string) bool {
	for part := range strings.SplitSeq(key, "/") {
		if len(part) >= 255 { // versitygw stores one of 255, but only once
			return true
		}
	}
	return false
}

func TestConformanceVersityGW(t *testing.T) {
	t.Parallel()
	gw := servers.VersityGW(t)
	storagetest.Run(t, storagetest.Harness{
		New: func(t *testing.T) storage.Store { return newStore(t, gw, "pre/fix") },
		Keys: keptKeys(func(key string) bool { // it ignores encoding-type=url
			return strings.ContainsFunc(key, isControl)
		}),
		Checks:        allSums,
		Vouches:       storage.MD5,
		Missing:       func(t *testing.T) storage.Store { return openURL(t, gw.URL("no-such-bucket", "pre/fix")) },
		Unconditional: map[string]string{"CopyFrom": "versitygw ignores conditions of a copy that it makes by itself"},
		Skip: map[string]string{
			"Concurrent": "versitygw refuses an object while another is deleted beside it (ExistingObjectIsDirectory); see TestOverwrites",
		},
	})
}

func TestConformanceMinIO(t *testing.T) {
	t.Parallel()
	minio := servers.MinIO(t)
	storagetest.Run(t, storagetest.Harness{
		New: func(t *testing.T) storage.Store {
			s := newStore(t, minio, "pre/fix")
			s.plainTags.Store(true) // as after it refused one; see TestTagsMinIO
			return s
		},
		Keys:          keptKeys(func(string) bool { return false }),
		Checks:        allSums,
		Vouches:       storage.MD5,
		Class:         "REDUCED_REDUNDANCY",
		Missing:       func(t *testing.T) storage.Store { return openURL(t, minio.URL("no-such-bucket", "pre/fix")) },
		Unconditional: map[string]string{"CopyFrom": "MinIO ignores conditions of a copy that it makes by itself"},
		Skip: map[string]string{
			"Nested": "MinIO stores an object beneath another's key, and leaves it out of listings",
		},
	})
}

// put stores a small object.
func put(t testing.TB, s *Store, key, content string, opts storage.PutOptions) storage.Info {
	t.Helper()
	in, err := s.Put(t.Context(), key, strings.NewReader(content), int64(len(content)), opts)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// get reads an object whole.
func get(s *Store, ctx context.Context, key string) (string, error) {
	body, _, err := s.Get(ctx, key, "", 0, -1)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return string(b), err
}

// private returns the store with a client of its own, for a test to change. Its
// signer is new, too: a signer remembers keys by the name of their owner.
func private(s *Store) *Store {
	c := s.client
	return &Store{place: s.place, bucket: s.bucket, prefix: s.prefix, name: s.name, encrypt: s.encrypt, client: &client{
		aws: c.aws, transport: c.transport, signer: newSigner(), stall: c.stall, maxCopy: c.maxCopy, copyPart: c.copyPart,
		amazon: c.amazon,
	}}
}

func wantContent(t testing.TB, s *Store, key, want string) {
	t.Helper()
	got, err := get(s, t.Context(), key)
	if err != nil || got != want {
		t.Errorf("Get(%q) = %.40q, %v; want %.40q", key, got, err, want)
	}
}

func wantFault(t testing.TB, what string, err error, want work.Fault) {
	t.Helper()
	var e *storage.Error
	if !errors.As(err, &e) || e.Fault != want {
		t.Errorf("%s = %v with fault %q, want %q", what, err, storage.FaultOf(err), want)
	}
}

// TestOverwrites reads an object while it is replaced: whoever reads must get
// one version whole.
func TestOverwrites(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	version := func(v int) string { return strings.Repeat(string(rune('a'+v)), 100_000) }
	put(t, s, "hot", version(0), storage.PutOptions{})
	group, ctx := errgroup.WithContext(t.Context())
	for v := range 4 {
		group.Go(func() error {
			for range 8 {
				if _, err := s.Put(ctx, "hot", strings.NewReader(version(v)), 100_000, storage.PutOptions{}); err != nil {
					return err
				}
				got, err := get(s, ctx, "hot")
				if err != nil {
					return err
				}
				if len(got) != 100_000 || strings.Count(got, got[:1]) != len(got) {
					return fmt.Errorf("read %d bytes that nobody put", len(got))
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenBodyKeepsObject is named for versitygw, which takes what arrived
// before a connection broke for the whole, unless a checksum tells it.
func TestBrokenBodyKeepsObject(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	put(t, s, "there", "the old object", storage.PutOptions{})
	half := strings.Repeat("x", 1<<20)
	for range 20 {
		body := io.MultiReader(strings.NewReader(half), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := s.Put(t.Context(), "there", body, 2<<20, storage.PutOptions{}); err == nil {
			t.Fatal("Put of half a body succeeded")
		}
	}
	wantContent(t, s, "there", "the old object")
}

func TestOddKeysLeaveNeighboursAlone(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	put(t, s, "a/b", "neighbour", storage.PutOptions{})
	for _, key := range []string{"a//b", "/a/b", "a/./b", "a/x/../b"} {
		_, err := s.Put(t.Context(), key, strings.NewReader("other"), 5, storage.PutOptions{})
		wantFault(t, "Put("+key+")", err, work.Unsupported)
		_, err = s.Stat(t.Context(), key)
		wantFault(t, "Stat("+key+")", err, work.NotFound)
		_, _, err = s.Get(t.Context(), key, "", 0, -1)
		wantFault(t, "Get("+key+")", err, work.NotFound)
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q) = %v", key, err)
		}
	}
	wantContent(t, s, "a/b", "neighbour")
	var keys []string
	err := s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		for _, in := range page {
			keys = append(keys, in.Key)
		}
		return nil
	})
	if err != nil || !slices.Equal(keys, []string{"a/b"}) {
		t.Errorf("List = %q, %v; want a/b alone, no probe left behind", keys, err)
	}
}

func TestDenied(t *testing.T) {
	t.Parallel()
	gw := servers.VersityGW(t)
	owner := newStore(t, gw, "")
	put(t, owner, "key", "content", storage.PutOptions{})
	for name, creds := range map[string]aws.CredentialsProvider{
		"anonymous":    nil,
		"unknown key":  credentials.NewStaticCredentialsProvider("nobody", "secret", ""),
		"wrong secret": credentials.NewStaticCredentialsProvider(gw.AccessKey, "wrong", ""),
		"none": aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("no EC2 IMDS role found")
		}),
	} {
		s := private(owner)
		s.client.aws.Credentials = creds
		err := s.List(t.Context(), work.Range{}, nil)
		wantFault(t, name+": List", err, work.Denied)
		var e *storage.Error
		if errors.As(err, &e) && e.Hint == "" {
			t.Errorf("%s: List = %v, want a hint", name, err)
		}
		_, _, err = s.Get(t.Context(), "key", "", 0, -1)
		wantFault(t, name+": Get", err, work.Denied)
		_, err = s.Put(t.Context(), "key", strings.NewReader("x"), 1, storage.PutOptions{Sums: storage.Sums{CRC32C: make([]byte, 4)}})
		wantFault(t, name+": Put", err, work.Denied)
	}
	wantContent(t, owner, "key", "content")
}

func TestNoBucket(t *testing.T) {
	t.Parallel()
	s := openURL(t, servers.VersityGW(t).URL("no-such-bucket", ""))
	_, err := s.Stat(t.Context(), "key")
	wantFault(t, "Stat", err, work.NotFound)
	wantFault(t, "List", s.List(t.Context(), work.Range{}, nil), work.NotFound)
	wantFault(t, "Delete", s.Delete(t.Context(), "key"), work.NotFound)
	_, err = s.Put(t.Context(), "key", http.NoBody, 0, storage.PutOptions{})
	wantFault(t, "Put", err, work.NotFound)
}

func TestModTime(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	at := time.Date(2001, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	put(t, s, "known", "x", storage.PutOptions{Meta: storage.Meta{ModTime: at, User: map[string]string{"a": "b"}}})
	put(t, s, "rclone", "x", storage.PutOptions{Meta: storage.Meta{User: map[string]string{"mtime": "981173106.789"}}})
	put(t, s, "other", "x", storage.PutOptions{Meta: storage.Meta{ModTime: at, User: map[string]string{"mtime": "yesterday"}}})
	for key, want := range map[string]storage.Meta{
		"known":  {ModTime: at, User: map[string]string{"a": "b"}},
		"rclone": {ModTime: at},
		"other":  {User: map[string]string{"mtime": "yesterday"}},
	} {
		in, err := s.Stat(t.Context(), key)
		if err != nil || !in.Meta.ModTime.Equal(want.ModTime) || !maps.Equal(in.Meta.User, want.User) {
			t.Errorf("Stat(%s) = %v %v, %v; want %v %v", key, in.Meta.ModTime, in.Meta.User, err, want.ModTime, want.User)
		}
	}
	head, err := servers.VersityGW(t).Client().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &s.bucket, Key: aws.String("known")})
	if err != nil || head.Metadata["mtime"] != "981173106.789" {
		t.Errorf("the server has metadata %v, %v; want mtime 981173106.789", head.Metadata, err)
	}
}

func TestCopyParts(t *testing.T) {
	t.Parallel()
	gw := servers.VersityGW(t)
	src, dst := private(newStore(t, gw, "from")), private(newStore(t, gw, "to"))
	dst.client.maxCopy, dst.client.copyPart = 5<<20, 5<<20
	src.client = dst.client
	content := string(storagetest.Bytes(1, 12<<20))
	meta := storage.Meta{ContentType: "video/mp4", User: map[string]string{"a": "b"}}
	put(t, src, "big", content, storage.PutOptions{Meta: meta})
	in, err := src.Stat(t.Context(), "big")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dst.CopyFrom(t.Context(), "copy", src, in, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	wantContent(t, dst, "copy", content)
	out, err := dst.Stat(t.Context(), "copy")
	if err != nil || !strings.HasSuffix(out.ETag, "-3") || out.Meta.ContentType != "video/mp4" || out.Meta.User["a"] != "b" {
		t.Errorf("Stat of the copy = %+v, %v; want three parts and the source's metadata", out, err)
	}
	in.ETag = "another"
	_, err = dst.CopyFrom(t.Context(), "copy", src, in, storage.PutOptions{})
	wantFault(t, "CopyFrom of another version", err, work.SrcChanged)
	_, err = dst.CopyFrom(t.Context(), "copy", private(src), in, storage.PutOptions{})
	wantFault(t, "CopyFrom a store of another identity", err, work.Unsupported)
}
