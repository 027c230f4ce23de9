package blobstore

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
)

// newGCS returns a function that makes an empty bucket of a fake-gcs-server.
func newGCS(t *testing.T) func(*testing.T) storage.Store {
	host := os.Getenv("STORAGE_EMULATOR_HOST")
	if host == "" {
		t.Skip("set STORAGE_EMULATOR_HOST to the host:port of a fake-gcs-server")
	}
	return func(t *testing.T) storage.Store {
		bucket := fmt.Sprintf("b%d", time.Now().UnixNano())
		r, err := http.Post("http://"+host+"/storage/v1/b?project=p", "application/json", strings.NewReader(`{"name":"`+bucket+`"}`))
		must(t, err)
		must(t, r.Body.Close())
		return openURL(t, "gs://"+bucket+"/pre/fix")
	}
}

// newAzure returns a function that makes an empty container of an Azurite.
func newAzure(t *testing.T) func(*testing.T) storage.Store {
	account := os.Getenv("AZURE_STORAGE_CONNECTION_STRING")
	if account == "" {
		t.Skip("set AZURE_STORAGE_CONNECTION_STRING to that of an Azurite")
	}
	return func(t *testing.T) storage.Store {
		c, err := azblob.NewClientFromConnectionString(account, nil)
		must(t, err)
		container := fmt.Sprintf("c%d", time.Now().UnixNano())
		_, err = c.CreateContainer(t.Context(), container, nil)
		must(t, err)
		return openURL(t, "azblob://"+container+"/pre/fix")
	}
}

func openURL(t *testing.T, raw string) storage.Store {
	t.Helper()
	s, err := storage.Drivers{"gs": Open, "azblob": Open}.Open(t.Context(), raw)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func TestConformanceGCS(t *testing.T) {
	storagetest.Run(t, storagetest.Harness{
		New:     newGCS(t),
		Keys:    []string{"a b", "100%", "日本語/キー", "a//b", "dir/"},
		Checks:  checks,
		Vouches: storage.MD5 | storage.CRC32C,
	})
}

func TestConformanceAzure(t *testing.T) {
	storagetest.Run(t, storagetest.Harness{
		New:    newAzure(t),
		Checks: checks,
		Skip:   map[string]string{"Keys": "Azurite lists in the order of UTF-16, which we refuse"},
	})
}

// TestGzip stores what HTTP clients like to decompress.
func TestGzip(t *testing.T) {
	for name, cloud := range map[string]func(*testing.T) func(*testing.T) storage.Store{"GCS": newGCS, "Azure": newAzure} {
		t.Run(name, func(t *testing.T) {
			s := cloud(t)(t)
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			_, err := w.Write(make([]byte, 60_000))
			must(t, err)
			must(t, w.Close())
			opts := storage.PutOptions{Meta: storage.Meta{ContentEncoding: "gzip", ContentType: "text/plain"}}
			in, err := s.Put(t.Context(), "a", bytes.NewReader(packed.Bytes()), int64(packed.Len()), opts)
			must(t, err)
			for _, off := range []int64{0, 10} {
				body, _, err := s.Get(t.Context(), "a", in.ETag, off, -1)
				must(t, err)
				got, err := io.ReadAll(body)
				if err != nil || !bytes.Equal(got, packed.Bytes()[off:]) {
					t.Errorf("from %d: read %d bytes, %v, want the %d that were stored", off, len(got), err, packed.Len())
				}
				must(t, body.Close())
			}
		})
	}
}
