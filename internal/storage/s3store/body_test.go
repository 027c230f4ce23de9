package s3store

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/internal/storage"
)

// slowly gives one byte after each pause.
type slowly struct {
	pause time.Duration
	left  int
}

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	p[0] = 'x'
	return 1, nil
}

func (s *slowly) Close() error { return nil }

// TestWatchdogDownload reads bodies of which the network gives a byte now and
// then, for far longer than the limit.
func TestWatchdogDownload(t *testing.T) {
	for name, tt := range map[string]struct {
		network, consumer time.Duration
		cut               bool
	}{
		"slow network":   {59 * time.Second, 0, false},
		"slow consumer":  {0, time.Hour, false},
		"stalled":        {61 * time.Second, 0, true},
		"both just slow": {59 * time.Second, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, w := watch(t.Context(), time.Minute)
				d := &download{src: &slowly{tt.network, 10}, w: w, left: 10}
				defer d.Close()
				for range 10 {
					time.Sleep(tt.consumer)
					if _, err := d.Read(make([]byte, 1)); err != nil {
						t.Fatal(err)
					}
				}
				if cut := context.Cause(ctx) == errStalled; cut != tt.cut {
					t.Errorf("cut = %v, want %v", cut, tt.cut)
				}
			})
		})
	}
}

// TestWatchdogUpload sees that the time a source takes is not the network's.
func TestWatchdogUpload(t *testing.T) {
	for name, tt := range map[string]struct {
		source, network, answer, wait time.Duration
		cut                           bool
	}{
		"slow source":    {source: time.Hour},
		"slow network":   {network: 59 * time.Second},
		"stalled":        {network: 61 * time.Second, cut: true},
		"slow answer":    {answer: 61 * time.Second, cut: true},
		"patient":        {answer: 20 * time.Minute, wait: thinking},
		"beyond patient": {answer: 22 * time.Minute, wait: thinking, cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, w := watch(t.Context(), time.Minute)
				defer w.stop()
				u := &upload{src: &slowly{tt.source, 3}, left: 3, w: w, wait: tt.wait}
				w.begin(tt.wait)
				for range 3 {
					if _, err := u.Read(make([]byte, 1)); err != nil && err != io.EOF {
						break
					}
					time.Sleep(tt.network)
				}
				time.Sleep(tt.answer)
				if cut := context.Cause(ctx) == errStalled; cut != tt.cut {
					t.Errorf("cut = %v, want %v", cut, tt.cut)
				}
			})
		})
	}
}

// TestUpload sees that the last byte is not handed out before the body is
// known to be right, and nothing after the request is over.
func TestUpload(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, tt := range map[string]struct {
		body io.Reader
		want error
	}{
		"right":              {strings.NewReader("12345"), nil},
		"bytewise":           {iotest.OneByteReader(strings.NewReader("12345")), nil},
		"end with data":      {iotest.DataErrReader(strings.NewReader("12345")), nil},
		"short":              {strings.NewReader("1234"), errLength},
		"long":               {strings.NewReader("123456"), errLength},
		"failing":            {io.MultiReader(strings.NewReader("123"), iotest.ErrReader(boom)), boom},
		"failing at the end": {io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(boom)), boom},
	} {
		_, w := watch(t.Context(), time.Minute)
		u := &upload{src: tt.body, left: 5, w: w}
		got, err := io.ReadAll(u)
		if !errors.Is(err, tt.want) || tt.want == nil && string(got) != "12345" || tt.want != nil && len(got) >= 5 {
			t.Errorf("%s: %q, %v; want %v before the last byte", name, got, err, tt.want)
		}
		if cause := u.finish(); !errors.Is(cause, tt.want) {
			t.Errorf("%s: finish = %v, want %v", name, cause, tt.want)
		}
		if n, err := u.Read(make([]byte, 1)); n != 0 || err != errFinished {
			t.Errorf("%s: Read after finish = %d, %v", name, n, err)
		}
		w.stop()
	}
}

// TestUploadStopsWhenCanceled hands nothing out that is read after the request
// was given up: the transport may still be there to send it.
func TestUploadStopsWhenCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	_, w := watch(ctx, time.Minute)
	defer w.stop()
	u := &upload{src: canceling{cancel}, left: 5, w: w}
	if n, err := u.Read(make([]byte, 5)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %d, %v; want no byte and %v", n, err, context.Canceled)
	}
}

// A canceling source gives the request up while it is read.
type canceling struct{ cancel func() }

func (c canceling) Read(p []byte) (int, error) {
	c.cancel()
	return len(p), nil
}

func TestTrailed(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"123456789": "9\r\n123456789\r\n0\r\nx-amz-checksum-crc32c:4waSgw==\r\n\r\n",
		"":          "0\r\nx-amz-checksum-crc32c:AAAAAA==\r\n\r\n",

		strings.Repeat("\x00", chunk): "100000\r\n" + strings.Repeat("\x00", chunk) +
			"\r\n0\r\nx-amz-checksum-crc32c:" + sumOf(strings.Repeat("\x00", chunk)) + "\r\n\r\n",
		strings.Repeat("\x00", 2*chunk) + "123456789": strings.Repeat("100000\r\n"+strings.Repeat("\x00", chunk)+"\r\n", 2) +
			"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32c:" + sumOf(strings.Repeat("\x00", 2*chunk)+"123456789") + "\r\n\r\n",
	} {
		src := strings.NewReader("head" + content)
		if _, err := src.Seek(4, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		r := &request{header: map[string][]string{}, body: src, size: int64(len(content))}
		setTrailer(r, crc32c)
		again := rewinder(r.body)
		for range 2 {
			body := r.body
			if len(content) < 100 {
				body = iotest.OneByteReader(body)
			}
			got, err := io.ReadAll(body)
			if err != nil || string(got) != want || r.size != int64(len(want)) {
				t.Errorf("%.20q in its frame = %q of %d bytes, %v; want %q", content, shorten(got), r.size, err, shorten([]byte(want)))
			}
			if !again() {
				t.Fatal("the body cannot be read again")
			}
		}
	}
	r := &request{header: map[string][]string{}, body: iotest.OneByteReader(strings.NewReader("x")), size: 1}
	setTrailer(r, crc32c)
	if rewinder(r.body)() {
		t.Error("a body that can be read only once claims to be read again")
	}
	for _, content := range []string{"1234", "123456"} {
		r := &request{header: map[string][]string{}, body: strings.NewReader(content), size: 5}
		setTrailer(r, crc32c)
		if _, err := io.ReadAll(r.body); !errors.Is(err, errLength) {
			t.Errorf("a frame for 5 bytes around %q ends in %v", content, err)
		}
	}
}

// sumOf is the CRC32C of a text as headers have it.
func sumOf(s string) string {
	sum := crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// shorten cuts the middle out of a long text.
func shorten(b []byte) string {
	if len(b) < 200 {
		return string(b)
	}
	return fmt.Sprintf("%s … %s (%d bytes)", b[:20], b[len(b)-60:], len(b))
}

// TestFramedLength sees that what is announced is what is sent, for sizes that
// are too big to send in a test as well.
func TestFramedLength(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]int64{
		0: 0, 1: 6, 15: 20, 16: 22,
		chunk - 1: chunk - 1 + 9, chunk: chunk + 10, chunk + 1: chunk + 10 + 6,
		5 << 30: 5<<30 + 5<<10*10,
	} {
		if got := framed(size); got != want {
			t.Errorf("framed(%d) = %d, want %d", size, got, want)
		}
	}
}

func TestReadSums(t *testing.T) {
	t.Parallel()
	const etag = "5d41402abc4b2a76b9719d911017c592"
	md5 := storage.MD5
	for name, tt := range map[string]struct {
		header map[string][]string
		want   storage.Algos
	}{
		"ETag":        {map[string][]string{"Etag": {`"` + etag + `"`}}, md5},
		"of parts":    {map[string][]string{"Etag": {`"` + etag + `-2"`}}, 0},
		"KMS":         {map[string][]string{"Etag": {`"` + etag + `"`}, "X-Amz-Server-Side-Encryption": {"aws:kms:dsse"}}, 0},
		"own key":     {map[string][]string{"Etag": {`"` + etag + `"`}, "X-Amz-Server-Side-Encryption-Customer-Algorithm": {"AES256"}}, 0},
		"AES":         {map[string][]string{"Etag": {`"` + etag + `"`}, "X-Amz-Server-Side-Encryption": {"AES256"}}, md5},
		"full":        {map[string][]string{"X-Amz-Checksum-Crc32c": {"4waSgw=="}, "X-Amz-Checksum-Type": {"FULL_OBJECT"}}, storage.CRC32C},
		"no type":     {map[string][]string{"X-Amz-Checksum-Crc32c": {"4waSgw=="}}, storage.CRC32C},
		"composite":   {map[string][]string{"X-Amz-Checksum-Crc32c": {"4waSgw=="}, "X-Amz-Checksum-Type": {"COMPOSITE"}}, 0},
		"of parts, 2": {map[string][]string{"X-Amz-Checksum-Crc32c": {"4waSgw==-2"}}, 0},
		"garbage":     {map[string][]string{"X-Amz-Checksum-Crc32c": {"4waSgwAA"}, "Etag": {`"zz41402abc4b2a76b9719d911017c592"`}}, 0},
	} {
		s := readSums(tt.header)
		if got := s.Algos(); got != tt.want {
			t.Errorf("%s: readSums knows %v, want %v", name, got, tt.want)
		}
		if tt.want == storage.CRC32C && !bytes.Equal(s.CRC32C, []byte{0xe3, 0x06, 0x92, 0x83}) {
			t.Errorf("%s: CRC32C = %x", name, s.CRC32C)
		}
	}
}
