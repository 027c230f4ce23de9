package agent

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// sums returns checksums under the named algorithms, all with one value.
func sums(value byte, algos storage.Algos) storage.Sums {
	v := []byte{value}
	return only(storage.Sums{MD5: v, SHA256: v, CRC32: v, CRC32C: v, CRC64NVME: v}, algos)
}

func TestProve(t *testing.T) {
	t.Parallel()
	const md5, c32c, c64, c32 = storage.MD5, storage.CRC32C, storage.CRC64NVME, storage.CRC32
	tests := []struct {
		name           string
		level          work.Verify
		src, seen, dst storage.Sums
		size           int64 // at the target
		want           string
	}{
		{"ends agree", work.VerifyChecksum, sums(1, md5|c64), sums(2, c32c), sums(1, md5|c64), 5, "crc64nvme"},
		{"ends agree on one of two", work.VerifyChecksum, sums(1, md5), sums(1, c32c), sums(1, md5|c32c), 5, "md5"},
		{"by way of the bytes: the weaker link", work.VerifyChecksum, sums(1, c64), sums(1, c64|md5), sums(1, md5), 5, "md5"},
		{"target alone", work.VerifyChecksum, storage.Sums{}, sums(1, c32c), sums(1, c32c), 5, "crc32c/target"},
		{"source alone", work.VerifyChecksum, sums(1, c32c), sums(1, c32c), storage.Sums{}, 5, "crc32c/source"},
		{"nobody", work.VerifyChecksum, storage.Sums{}, sums(1, c32c), storage.Sums{}, 5, "size"},
		{"source's own checksum alone", work.VerifyReadback, sums(1, md5), sums(1, c32c|md5), storage.Sums{}, 5, "md5/source"},
		{"read back", work.VerifyReadback, sums(1, md5), sums(1, c32c), sums(1, md5|c32c), 5, "md5"},
		{"read back and wrong", work.VerifyReadback, storage.Sums{}, sums(1, c32c), sums(2, c32c), 5, ""},
		{"nothing passed by", work.VerifyChecksum, sums(1, c32), storage.Sums{}, sums(1, c32), 5, "crc32"},
		{"size differs", work.VerifySize, storage.Sums{}, storage.Sums{}, storage.Sums{}, 4, ""},
		{"target differs from the source", work.VerifyChecksum, sums(1, md5), sums(1, c32c), sums(2, md5), 5, ""},
		{"target differs from the bytes", work.VerifyChecksum, sums(1, md5), sums(1, c32c), sums(2, c32c), 5, ""},
		{"bytes differ from the source", work.VerifyChecksum, sums(1, c32c), sums(2, c32c), storage.Sums{}, 5, ""},
		{"one of two differs", work.VerifyChecksum, sums(1, md5|c32c), storage.Sums{}, storage.Sums{MD5: []byte{1}, CRC32C: []byte{2}}, 5, ""},
		{"checksums differ and only the size is asked", work.VerifySize, sums(1, md5), sums(1, c32c), sums(2, md5|c32c), 5, "size"},
		{"ETags agree", work.VerifyETag, sums(1, md5), sums(3, c32c), sums(1, md5), 5, "md5"},
		{"ETags differ", work.VerifyETag, sums(1, md5), storage.Sums{}, sums(2, md5), 5, ""},
		{"ETags cannot be compared", work.VerifyETag, sums(1, md5), sums(1, c32c), sums(2, c32c), 5, "size"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := prove(tt.level, evidence{size: 5, src: tt.src, seen: tt.seen, dst: storage.Info{Size: tt.size, Sums: tt.dst}})
			if got != tt.want || storage.Is(err, work.Corrupt) != (tt.want == "") {
				t.Errorf("prove = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestToHash(t *testing.T) {
	t.Parallel()
	const md5, c32c, c64 = storage.MD5, storage.CRC32C, storage.CRC64NVME
	tests := []struct {
		name  string
		level work.Verify
		src   storage.Algos
		will  storage.Algos
		kept  bool
		want  storage.Algos
	}{
		{"both ends' ETags are MD5s", work.VerifyChecksum, md5, md5, false, c32c},
		{"source has CRC32C", work.VerifyChecksum, c32c | md5, 0, false, c32c},
		{"source has only an MD5", work.VerifyChecksum, md5, 0, false, c32c | md5},
		{"source has only CRC64NVME", work.VerifyChecksum, c64, 0, false, c32c | c64},
		{"nothing to compare the target's MD5 with", work.VerifyChecksum, 0, md5, false, c32c | md5},
		{"target counts CRC32C by itself", work.VerifyChecksum, 0, md5 | c32c, false, c32c},
		{"the same, of bytes that are kept", work.VerifyChecksum, 0, md5, true, c32c},
		{"size", work.VerifySize, md5, 0, false, c32c},
	}
	for _, tt := range tests {
		if got := toHash(tt.level, sums(1, tt.src), tt.will, tt.kept); got != tt.want {
			t.Errorf("%s: toHash = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestTap(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	tests := []struct {
		name  string
		body  io.Reader
		left  int64
		want  storage.Sums
		fault work.Fault
	}{
		{"whole", strings.NewReader("12345"), 5, storage.Sums{}, ""},
		{"byte by byte", iotest.OneByteReader(strings.NewReader("12345")), 5, storage.Sums{}, ""},
		{"end comes with the data", iotest.DataErrReader(strings.NewReader("12345")), 5, storage.Sums{}, ""},
		{"nothing", strings.NewReader(""), 0, storage.Sums{}, ""},
		{"short", strings.NewReader("1234"), 5, storage.Sums{}, work.Transient},
		{"long", strings.NewReader("123456"), 5, storage.Sums{}, work.Corrupt},
		{"long, byte by byte", iotest.OneByteReader(strings.NewReader("123456")), 5, storage.Sums{}, work.Corrupt},
		{"something for nothing", strings.NewReader("1"), 0, storage.Sums{}, work.Corrupt},
		{"breaks off", io.MultiReader(strings.NewReader("123"), iotest.ErrReader(lost)), 5, storage.Sums{}, work.Transient},
		{"breaks off at the end", io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(lost)), 5, storage.Sums{}, work.Transient},
		{"wrong", strings.NewReader("12345"), 5, sums(1, storage.CRC32C), work.Corrupt},
		{"not hashed", strings.NewReader("12345"), 5, sums(1, storage.MD5), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tp := &tap{body: tt.body, flight: &flight{total: new(atomic.Int64)}, left: tt.left, want: tt.want, digest: storage.NewDigest(storage.CRC32C)}
			var got strings.Builder
			_, err := io.Copy(&got, tp)
			if storage.FaultOf(err) != tt.fault || !errors.Is(tp.broke(), err) {
				t.Errorf("copy = %v (%v), want fault %q", err, tp.broke(), tt.fault)
			}
			if whole := int64(got.Len()) == tt.left; err == nil && !whole || err != nil && whole && tt.left > 0 {
				t.Errorf("%d bytes were handed on, and %v", got.Len(), err)
			}
			if n, err := tp.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("after its end Read = %d, %v", n, err)
			}
		})
	}
}
