package s3store

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// maker answers that an object was made, and counts who looks at it then.
func maker(t *testing.T, answer, encrypted string, looks *atomic.Int32) *Store {
	return liar(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			looks.Add(1)
			w.Header().Set("Content-Length", "3")
			w.Header().Set("ETag", `"what is there"`)
			return
		}
		if encrypted != "" {
			w.Header().Set("X-Amz-Server-Side-Encryption", encrypted)
		}
		fmt.Fprintf(w, "<Result>%s</Result>", answer)
	})
}

// TestCommitLooks sees that Commit tells what is there and not what was meant
// to be, wherever the server's answer leaves that open.
func TestCommitLooks(t *testing.T) {
	t.Parallel()
	const other = "00000000000000000000000000000000"
	parts := []storage.Part{{N: 1, Size: 4, Tag: "81dc9bdb52d04dc20036dbd8313ed055"}}
	right := etagOf(parts)
	for name, tt := range map[string]struct {
		answer, encrypted string
		size              int64
		etag              string
		looks             int32
		want              work.Fault
	}{
		"the right ETag":       {answer: right, size: 3, etag: "what is there", looks: 1},
		"of another form":      {answer: "whatever", size: 3, etag: "what is there", looks: 1},
		"of other chunks":      {answer: other + "-2", size: 3, etag: "what is there", looks: 1},
		"encrypted":            {answer: other + "-1", encrypted: "aws:kms", size: 3, etag: "what is there", looks: 1},
		"the ETag of others":   {answer: other + "-1", want: work.Corrupt},
		"a checksum":           {answer: right + "</ETag><ChecksumCRC32C>AAAAAA==</ChecksumCRC32C><ETag>" + right, size: 4, etag: right},
		"a composite checksum": {answer: right + "</ETag><ChecksumCRC32C>AAAAAA==-1</ChecksumCRC32C><ETag>" + right, size: 3, etag: "what is there", looks: 1},
	} {
		var looks atomic.Int32
		s := maker(t, "<ETag>"+tt.answer+"</ETag>", tt.encrypted, &looks)
		in, err := s.Commit(t.Context(), storage.Upload{Key: "key", ID: "/1", Size: 4, Part: 5 << 20}, parts, storage.PutOptions{})
		if storage.FaultOf(err) != tt.want || in.Size != tt.size || in.ETag != tt.etag || looks.Load() != tt.looks {
			t.Errorf("%s: Commit = %d bytes, ETag %q, %v, having looked %d times; want %d, %q, %q, %d",
				name, in.Size, in.ETag, err, looks.Load(), tt.size, tt.etag, tt.want, tt.looks)
		}
	}
}

// TestCopyLooks is the same for a copy that the server makes.
func TestCopyLooks(t *testing.T) {
	t.Parallel()
	const sum = "81dc9bdb52d04dc20036dbd8313ed055"
	for name, tt := range map[string]struct {
		answer string
		source storage.Sums
		size   int64
		looks  int32
	}{
		"no checksum":        {answer: "whatever", source: storage.Sums{MD5: md5Of(sum)}, size: 3, looks: 1},
		"one to compare":     {answer: sum, source: storage.Sums{MD5: md5Of(sum)}, size: 4},
		"one that is no use": {answer: sum, source: storage.Sums{CRC32C: []byte("1234")}, size: 3, looks: 1},
	} {
		var looks atomic.Int32
		s := maker(t, "<ETag>"+tt.answer+"</ETag>", "", &looks)
		in, err := s.CopyFrom(t.Context(), "key", s, storage.Info{Key: "from", Size: 4, Sums: tt.source}, storage.PutOptions{})
		if err != nil || in.Size != tt.size || looks.Load() != tt.looks {
			t.Errorf("%s: CopyFrom = %d bytes, %v, having looked %d times; want %d bytes, %d times",
				name, in.Size, err, looks.Load(), tt.size, tt.looks)
		}
	}
}
