package e2e

import (
	"bytes"
	"io"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/work"
)

// matrixEnds are the kinds of stores that can run here.
func matrixEnds(t testing.TB) []end {
	return []end{
		s3End{"versitygw", servers.VersityGW(t)},
		s3End{"minio", servers.MinIO(t)},
		gcsEnd{servers.FakeGCS(t)},
		newAzureEnd(t),
		fileEnd{t.TempDir()},
		memEnd{},
	}
}

// An s3End is a server that speaks S3.
type s3End struct {
	kind string
	srv  *servers.S3
}

func (e s3End) name() string { return e.kind }

func (e s3End) place(t testing.TB, name string) string {
	e.srv.CreateBucket(t, name)
	return e.srv.URL(name, "")
}

func (e s3End) fill(t testing.TB, name string, objects corpus) { objects.toBucket(t, e.srv, name) }

func (e s3End) inventory(t testing.TB, name string) inventory { return bucketInventory(t, e.srv, name) }

func (e s3End) headers(t testing.TB, name, key string) map[string]string {
	t.Helper()
	out, err := client(e.srv).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &name, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	h := map[string]string{"content type": text(out.ContentType)}
	for k, v := range out.Metadata {
		h["metadata "+k] = v
	}
	delete(h, "metadata mtime") // a store's way to keep the time
	return h
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// A fileEnd is a folder for each place.
type fileEnd struct{ dir string }

func (e fileEnd) name() string { return "file" }

func (e fileEnd) place(_ testing.TB, name string) string {
	return (&url.URL{Scheme: "file", Path: filepath.Join(e.dir, name)}).String()
}

func (e fileEnd) fill(t testing.TB, name string, objects corpus) {
	objects.toFolder(t, filepath.Join(e.dir, name))
}

func (e fileEnd) inventory(t testing.TB, name string) inventory {
	return folderInventory(t, filepath.Join(e.dir, name))
}

func (e fileEnd) headers(testing.TB, string, string) map[string]string { return nil }

// A memEnd is a store in this process's memory. It has no other way in than
// its driver, which here is used without an agent.
type memEnd struct{}

func (memEnd) name() string { return "mem" }

func (memEnd) place(_ testing.TB, name string) string { return "mem://" + name }

func (e memEnd) open(t testing.TB, name string) storage.Store {
	t.Helper()
	u, err := url.Parse(e.place(t, name))
	if err != nil {
		t.Fatal(err)
	}
	s, err := memstore.Open(t.Context(), u, storage.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (e memEnd) fill(t testing.TB, name string, objects corpus) {
	t.Helper()
	s := e.open(t, name)
	for key, b := range objects {
		opts := storage.PutOptions{Meta: storage.Meta{ContentType: contentType, User: metadata}}
		if _, err := s.Put(t.Context(), key, bytes.NewReader(b), int64(len(b)), opts); err != nil {
			t.Fatal(err)
		}
	}
}

func (e memEnd) inventory(t testing.TB, name string) inventory {
	t.Helper()
	s, inv := e.open(t, name), inventory{}
	err := s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		for _, in := range page {
			body, _, err := s.Get(t.Context(), in.Key, "", 0, -1)
			if err != nil {
				return err
			}
			b, err := io.ReadAll(body)
			body.Close()
			if err != nil {
				return err
			}
			inv[in.Key] = hash(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func (e memEnd) headers(t testing.TB, name, key string) map[string]string {
	t.Helper()
	in, err := e.open(t, name).Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	h := map[string]string{"content type": in.Meta.ContentType}
	for k, v := range in.Meta.User {
		h["metadata "+k] = v
	}
	return h
}
