package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	stdhash "hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/tranship/tranship/internal/e2e/servers"
)

const (
	bigSize   = 2 << 30
	bigPart   = 32 << 20 // of objects that several agents move
	bigKilled = 2 * time.Second
)

// TestBigObjectUnderKills copies an object of 2 GiB with three agents of two
// streams while one of them is killed every few seconds. What is sent again
// must stay under the parts that were in flight, the checksum that the ledger
// put together from the parts must be that of the bytes, and no upload may be
// left behind.
func TestBigObjectUnderKills(t *testing.T) {
	long(t)
	seed := newSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 7))
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	src.CreateBucket(t, "big-src")
	dst.CreateBucket(t, "big-dst")
	sums := putBig(t, src, "big-src", "one", bigSize, seed)

	// The target is reached through a wire that counts and is slow enough for
	// the copy to be hit often.
	wire := newWire(t, dst.Endpoint, 64<<20)
	counted := *dst
	counted.Endpoint = wire.endpoint
	f := newFleet(t, 3, append(profiles(t, src, &counted), "TRANSHIP_STREAMS=2"))
	id := f.submit(t, src.URL("big-src", ""), counted.URL("big-dst", ""), "--max-attempts", "50")

	kills := 0
	for !f.over(t, id) {
		time.Sleep(bigKilled/2 + rand.N(bigKilled))
		a := f.agents[rnd.IntN(len(f.agents))]
		a.kill()
		a.start(t)
		if kills++; kills == 200 {
			break
		}
	}
	j := f.awaitEnd(t, id, 5*time.Minute)
	if j.State != "succeeded" || j.Copied != 1 {
		t.Fatalf("job ended %s with %d copied: %s\n%s", j.State, j.Copied, j.Error, f.sql(t, "SELECT kind, state, attempt, fault, error FROM tranship.items WHERE state <> 'done' LIMIT 20"))
	}
	f.wantInvariant(t, j)

	again, inFlight := wire.sent.Load()-bigSize, int64(kills)*2*bigPart
	t.Logf("%d agents killed; %d MiB sent again, %.1f %% of the object; at most %d MiB were in flight at the kills",
		kills, again>>20, 100*float64(again)/bigSize, inFlight>>20)
	if limit := inFlight + bigSize/100; again > limit {
		t.Errorf("%d bytes were sent again, more than the %d in flight at %d kills and the headers", again, limit, kills)
	}
	if kills < 5 {
		t.Errorf("only %d kills: the copy was over too soon to prove anything", kills)
	}

	proof := f.sql(t, fmt.Sprintf("SELECT proof, checksum FROM tranship.objects WHERE job_id = %d", id))
	if algo, sum, _ := strings.Cut(proof[strings.IndexByte(proof, '\t')+1:], ":"); sums[algo] != sum {
		t.Errorf("the ledger says %q, the bytes have %v", proof, sums)
	}
	t.Logf("proof: %s", proof)
	if got := hashOf(t, dst, "big-dst", "one"); got["crc32c"] != sums["crc32c"] || got["crc64nvme"] != sums["crc64nvme"] {
		t.Errorf("the target has %v, want %v", got, sums)
	}
	eventually(t, "no upload to be left behind", time.Minute, func() bool {
		return len(uploadsOf(t, dst, "big-dst", "one")) == 0
	})
}

// TestCanceledUploads cancels a job in the middle of a big object: the parts
// at the target must be given up.
func TestCanceledUploads(t *testing.T) {
	t.Parallel()
	dst := servers.VersityGW(t)
	dst.CreateBucket(t, "canceled")
	wire := newWire(t, dst.Endpoint, 16<<20)
	slow := *dst
	slow.Endpoint = wire.endpoint
	dir := t.TempDir()
	sparse(t, filepath.Join(dir, "src", "big"), 512<<20)
	f := newFleet(t, 1, profiles(t, &slow))
	id := f.submit(t, "file://"+dir+"/src", slow.URL("canceled", ""))
	eventually(t, "parts to be on their way", time.Minute, func() bool {
		return len(uploadsOf(t, dst, "canceled", "big")) == 1 && wire.sent.Load() > 8<<20
	})
	must(t, []string{"TRANSHIP_SERVER=" + f.api}, "job", "cancel", fmt.Sprint(id))
	j := f.awaitEnd(t, id, time.Minute)
	if j.State != "canceled" {
		t.Fatalf("job ended %s, want canceled", j.State)
	}
	eventually(t, "the upload to be aborted", time.Minute, func() bool {
		return len(uploadsOf(t, dst, "canceled", "big")) == 0
	})
	eventually(t, "the ledger to say so", time.Minute, func() bool {
		return f.sql(t, "SELECT DISTINCT state FROM tranship.uploads") == "aborted"
	})
	f.wantInvariant(t, f.job(t, id))
}

// uploadsOf returns the unfinished uploads of a key.
func uploadsOf(t testing.TB, srv *servers.S3, bucket, key string) []types.MultipartUpload {
	t.Helper()
	out, err := client(srv).ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: &key})
	if err != nil {
		t.Fatal(err)
	}
	return out.Uploads
}

// putBig writes an object of random bytes that the server vouches for by the
// checksum which Amazon's makes for every object, and returns its checksums.
func putBig(t testing.TB, srv *servers.S3, bucket, key string, size int64, seed uint64) map[string]string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	d := newDigest()
	rnd := rand.New(rand.NewPCG(seed, seed))
	for left := size; left > 0; {
		block := randomBytes(rnd, 1<<20)[:min(left, 1<<20)]
		_, _ = d.Write(block) // hashes never fail
		n, err := f.Write(block)
		if err != nil {
			t.Fatal(err)
		}
		left -= int64(n)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(d.sums()["crc64nvme"])
	if err != nil {
		t.Fatal(err)
	}
	_, err = client(srv).PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: f,
		ChecksumCRC64NVME: aws.String(base64.StdEncoding.EncodeToString(raw))})
	if err != nil {
		t.Fatal(err)
	}
	return d.sums()
}

// hashOf reads an object and returns its checksums.
func hashOf(t testing.TB, srv *servers.S3, bucket, key string) map[string]string {
	t.Helper()
	out, err := client(srv).GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	d := newDigest()
	if _, err := io.Copy(d, out.Body); err != nil {
		t.Fatal(err)
	}
	return d.sums()
}

// A digest knows the checksums that the product puts together from parts,
// computed by the standard library alone.
type digest struct {
	crc32c    stdhash.Hash32
	crc64nvme stdhash.Hash64
	io.Writer
}

func newDigest() *digest {
	d := &digest{crc32c: crc32.New(crc32.MakeTable(crc32.Castagnoli)), crc64nvme: crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5))}
	d.Writer = io.MultiWriter(d.crc32c, d.crc64nvme)
	return d
}

func (d *digest) sums() map[string]string {
	return map[string]string{"crc32c": hex.EncodeToString(d.crc32c.Sum(nil)), "crc64nvme": hex.EncodeToString(d.crc64nvme.Sum(nil))}
}

// sparse makes a file of zeros that takes no room.
func sparse(t testing.TB, path string, size int64) {
	t.Helper()
	writeFile(t, path, "")
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// A wire passes connections on to a server. It counts what clients send and
// lets no more than so many bytes a second through.
type wire struct {
	endpoint string
	sent     atomic.Int64

	mu      sync.Mutex
	perByte time.Duration
	free    time.Time // when the next bytes may pass
}

func newWire(t testing.TB, endpoint string, bytesPerSecond int) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &wire{endpoint: "http://" + l.Addr().String(), perByte: time.Second / time.Duration(bytesPerSecond)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.pass(conn, strings.TrimPrefix(endpoint, "http://"))
		}
	}()
	return w
}

func (w *wire) pass(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return // the client sees a closed connection
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(client, server) // whichever end closes first ends both
		client.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		if n > 0 {
			w.wait(n)
			m, _ := server.Write(buf[:n])
			w.sent.Add(int64(m))
		}
		if err != nil {
			return
		}
	}
}

// unlimited lets everything through at once from now on.
func (w *wire) unlimited() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.perByte = 0
}

// wait lets n bytes have their turn.
func (w *wire) wait(n int) {
	w.mu.Lock()
	if now := time.Now(); w.free.Before(now) {
		w.free = now
	}
	turn := w.free
	w.free = w.free.Add(time.Duration(n) * w.perByte)
	w.mu.Unlock()
	time.Sleep(time.Until(turn))
}
