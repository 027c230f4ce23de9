package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// testPutAtomic breaks the body in every way and looks that the key still
// holds what it held, or nothing.
func testPutAtomic(t *testing.T, h Harness) {
	cause := &storage.Error{Op: "read", Store: "source", Fault: work.SrcChanged, Err: errors.New("changed under the copy")}
	for _, size := range []int{4000, 3 << 20} {
		content := Bytes(2, size)
		breaks := []struct {
			name   string
			body   func(cancel func()) io.Reader
			faults []work.Fault
		}{
			{"failing at once", func(func()) io.Reader { return iotest.ErrReader(cause) }, []work.Fault{work.SrcChanged}},
			{"failing half-way", func(func()) io.Reader {
				return io.MultiReader(bytes.NewReader(content[:size/2]), iotest.ErrReader(cause))
			}, []work.Fault{work.SrcChanged}},
			{"failing at the end", func(func()) io.Reader {
				return io.MultiReader(bytes.NewReader(content), iotest.ErrReader(cause))
			}, []work.Fault{work.SrcChanged, ""}},
			{"failing with the last bytes", func(func()) io.Reader {
				return &lastGasp{bytes.NewReader(content), cause}
			}, []work.Fault{work.SrcChanged, ""}},
			{"short", func(func()) io.Reader { return stream{bytes.NewReader(content[:size-1])} }, []work.Fault{work.Corrupt, work.Transient}},
			{"empty", func(func()) io.Reader { return stream{strings.NewReader("")} }, []work.Fault{work.Corrupt, work.Transient}},
			{"long", func(func()) io.Reader {
				return stream{io.MultiReader(bytes.NewReader(content), strings.NewReader("x"))}
			}, []work.Fault{work.Corrupt, work.Transient, work.Invalid}},
			{"canceled", func(cancel func()) io.Reader {
				return io.MultiReader(bytes.NewReader(content[:size/2]), &canceler{cancel, bytes.NewReader(content[size/2:])})
			}, []work.Fault{work.Transient}},
		}
		for _, b := range breaks {
			t.Run(fmt.Sprintf("%s/%d", b.name, size), func(t *testing.T) {
				s := h.New(t)
				old := put(t, s, "there", []byte("the old object"), storage.PutOptions{})
				for _, key := range []string{"there", "absent"} {
					ctx, cancel := context.WithCancel(t.Context())
					_, err := s.Put(ctx, key, b.body(cancel), int64(size), storage.PutOptions{})
					cancel()
					if err == nil && b.faults[len(b.faults)-1] == "" {
						// All bytes had arrived: the store need not ask for more.
						wantContent(t, s, key, content)
						put(t, s, "there", []byte("the old object"), storage.PutOptions{})
						continue
					}
					wantFault(t, "Put of a "+b.name+" body", err, b.faults...)
				}
				wantContent(t, s, "there", []byte("the old object"))
				if st, err := s.Stat(t.Context(), "there"); err == nil && st.Size != old.Size {
					t.Errorf("Stat says %d bytes, want %d", st.Size, old.Size)
				}
			})
		}
	}
}

// lastGasp gives its error together with the last bytes.
type lastGasp struct {
	r   *bytes.Reader
	err error
}

func (l *lastGasp) Read(p []byte) (int, error) {
	n, _ := l.r.Read(p)
	if l.r.Len() == 0 {
		return n, l.err
	}
	return n, nil
}

// A canceler ends the context at its first Read and then goes on.
type canceler struct {
	cancel func()
	r      io.Reader
}

func (c *canceler) Read(p []byte) (int, error) {
	c.cancel()
	return c.r.Read(p)
}

func testPutChecks(t *testing.T, h Harness) {
	s := h.New(t)
	content := Bytes(3, 200_000)
	right := truth(content)
	wrong := truth(Bytes(4, 200_000))
	for _, x := range []struct {
		algo        storage.Algos
		right, lies storage.Sums
	}{
		{storage.CRC32C, storage.Sums{CRC32C: right.CRC32C}, storage.Sums{CRC32C: wrong.CRC32C}},
		{storage.CRC64NVME, storage.Sums{CRC64NVME: right.CRC64NVME}, storage.Sums{CRC64NVME: wrong.CRC64NVME}},
		{storage.CRC32, storage.Sums{CRC32: right.CRC32}, storage.Sums{CRC32: wrong.CRC32}},
		{storage.MD5, storage.Sums{MD5: right.MD5}, storage.Sums{MD5: wrong.MD5}},
		{storage.SHA256, storage.Sums{SHA256: right.SHA256}, storage.Sums{SHA256: wrong.SHA256}},
	} {
		key := "checked/" + x.algo.String()
		put(t, s, key, []byte("the old object"), storage.PutOptions{})
		in, err := s.Put(t.Context(), key, stream{bytes.NewReader(content)}, int64(len(content)), storage.PutOptions{Sums: x.lies})
		switch {
		case err != nil:
			wantFault(t, "Put with a wrong "+x.algo.String(), err, work.Corrupt)
			wantContent(t, s, key, []byte("the old object"))
		case h.Checks&x.algo != 0:
			t.Errorf("Put with a wrong %v succeeded, want a fault", x.algo)
		default:
			wantTrueSums(t, s, in, content) // it could not check, so it must not echo either
		}
		in = put(t, s, key, content, storage.PutOptions{Sums: x.right})
		wantTrueSums(t, s, in, content)
		wantContent(t, s, key, content)
		if st, err := s.Stat(t.Context(), key); err != nil {
			t.Errorf("Stat(%q) = %v", key, err)
		} else {
			wantTrueSums(t, s, st, content)
		}
	}
}

// testPutSeeker stores a body that can be read again, from its middle.
func testPutSeeker(t *testing.T, h Harness) {
	s := h.New(t)
	content := Bytes(5, 100_000)
	r := bytes.NewReader(append([]byte("head"), content...))
	if _, err := r.Seek(4, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "seeker", r, int64(len(content)), storage.PutOptions{}); err != nil {
		t.Fatalf("Put of a seeker = %v", err)
	}
	wantContent(t, s, "seeker", content)
}
