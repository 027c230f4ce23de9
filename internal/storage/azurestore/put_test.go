package azurestore

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
)

// counted counts the bytes that are read of a body.
type counted struct {
	io.ReadSeeker
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.n += n
	return n, err
}

// TestSeekerIsNotCopied stores bodies that are in memory already: they are read
// for their checksum and once more for the request.
func TestSeekerIsNotCopied(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	content := storagetest.Bytes(1, maxWhole)
	body := &counted{ReadSeeker: bytes.NewReader(append([]byte("before"), content...))}
	_, err := body.Seek(6, io.SeekStart)
	if err == nil {
		_, err = s.Put(t.Context(), "key", body, maxWhole, storage.PutOptions{Sums: truth(content)})
	}
	if err != nil || body.n != 2*maxWhole {
		t.Errorf("Put = %v, having read %d bytes; want %d", err, body.n, 2*maxWhole)
	}
	wantContent(t, s, "key", string(content))
}

// waiting goes on only when somebody has heard of its beginning.
type waiting struct {
	io.Reader
	left  int // bytes until it waits
	heard <-chan struct{}
	t     *testing.T
}

func (w *waiting) Read(p []byte) (int, error) {
	if w.left -= len(p); w.left <= 0 {
		select {
		case <-w.heard:
		case <-time.After(10 * time.Second):
			w.t.Error("the body is read on and nothing was sent yet")
		}
	}
	return w.Reader.Read(p)
}

// TestStreamIsNotHeld sees that a stream beyond what the agent sets memory aside
// for goes out while it is read.
func TestStreamIsNotHeld(t *testing.T) {
	heard := make(chan struct{})
	var once sync.Once
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(heard) })
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(srv.Close)
	t.Setenv("AZURE_STORAGE_KEY_FAKE", someKey)
	s := openURL(t, "azblob://box?storage_account=fake&protocol=http&localemu=true&domain="+strings.TrimPrefix(srv.URL, "http://"))
	const size = 2 << 20
	body := &waiting{bytes.NewReader(make([]byte, size)), 1 << 20, heard, t}
	if _, err := s.Put(t.Context(), "key", body, size, storage.PutOptions{}); err == nil {
		t.Error("Put to a server that refuses everything succeeded")
	}
}
