package blobstore

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	_ "gocloud.dev/blob/gcsblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
)

func TestGCSScratch(t *testing.T) {
	var n atomic.Int64
	d := storage.Drivers{"gs": Open}
	storagetest.Run(t, storagetest.Harness{
		New: func(t *testing.T) storage.Store {
			name := fmt.Sprintf("b%d", n.Add(1))
			r, err := http.Post("http://127.0.0.1:4443/storage/v1/b?project=p", "application/json", strings.NewReader(`{"name":"`+name+`"}`))
			must(t, err)
			r.Body.Close()
			s, err := d.Open(t.Context(), "gs://"+name+"/pre/fix")
			must(t, err)
			t.Cleanup(func() { s.Close() })
			return s
		},
		Keys:    []string{"a b", "100%", "日本語/キー", "a//b", "dir/"},
		Checks:  checks,
		Vouches: storage.MD5,
	})
}

func TestGCSGzipScratch(t *testing.T) {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(bytes.Repeat([]byte("hello "), 10000))
	w.Close()
	http.Post("http://127.0.0.1:4443/storage/v1/b?project=p", "application/json", strings.NewReader(`{"name":"gz"}`))
	s, err := storage.Drivers{"gs": Open}.Open(t.Context(), "gs://gz")
	must(t, err)
	in, err := s.Put(t.Context(), "a", bytes.NewReader(buf.Bytes()), int64(buf.Len()), storage.PutOptions{Meta: storage.Meta{ContentEncoding: "gzip", ContentType: "text/plain"}})
	t.Log(in, err)
	b, _, err := s.Get(t.Context(), "a", in.ETag, 0, -1)
	if err != nil { t.Log(err); return }
	all, err := io.ReadAll(b)
	t.Log(len(all), buf.Len(), bytes.Equal(all, buf.Bytes()), err)
	b, _, err = s.Get(t.Context(), "a", in.ETag, 10, 20)
	if err != nil { t.Log(err); return }
	all, err = io.ReadAll(b)
	t.Log(len(all), bytes.Equal(all, buf.Bytes()[10:30]), err)
}
