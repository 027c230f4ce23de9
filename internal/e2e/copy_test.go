package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestCopyAlone is the newcomer's first command: one process, no server.
func TestCopyAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	objects := newCorpus(300, newSeed(t))
	objects.toFolder(t, src)

	must(t, nil, "copy", "--data", filepath.Join(dir, "data"), src, dst)
	wantEqual(t, folderInventory(t, dst), objects.inventory())

	t.Run("again", func(t *testing.T) {
		r := must(t, nil, "copy", "--data", filepath.Join(dir, "data"), "-o", "json", src, dst)
		if j := decode[jobView](t, r.stdout); j.State != "succeeded" || j.Copied != 0 || j.Skipped != int64(len(objects)) {
			t.Errorf("second run: %+v, want everything skipped", j)
		}
	})
	t.Run("one more and one changed", func(t *testing.T) {
		objects["new"] = []byte("new")
		objects["odd/a b"] = []byte("changed")
		objects.toFolder(t, src)
		r := must(t, nil, "copy", "--data", filepath.Join(dir, "data"), "-o", "json", src, dst)
		if j := decode[jobView](t, r.stdout); j.Copied != 2 {
			t.Errorf("third run copied %d, want 2: %+v", j.Copied, j)
		}
		wantEqual(t, folderInventory(t, dst), objects.inventory())
	})
}

// TestCopyInterrupted kills the lone process; the same command goes on.
func TestCopyInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src, dst, data := filepath.Join(dir, "from"), filepath.Join(dir, "to"), filepath.Join(dir, "data")
	objects := newCorpus(1500, newSeed(t))
	objects.toFolder(t, src)

	d := start(t, "copy", nil, "copy", "--data", data, src, dst)
	eventually(t, "some objects to arrive", time.Minute, func() bool {
		some, err := filepath.Glob(filepath.Join(dst, "data", "*", "*.bin"))
		return err == nil && len(some) > 20
	})
	d.kill()
	r := must(t, nil, "copy", "--data", data, "-o", "json", src, dst)
	j := decode[jobView](t, r.stdout)
	if j.ID != 1 || j.State != "succeeded" {
		t.Errorf("after the kill: %+v, want job 1 to succeed", j)
	}
	wantEqual(t, folderInventory(t, dst), objects.inventory())
}

// TestDemo runs what the README's first command does, smaller.
func TestDemo(t *testing.T) {
	t.Parallel()
	r := must(t, nil, "demo", "--objects", "600")
	t.Log(r.stdout)
}

// TestFleet copies 5,000 objects between each pair of ends through a whole
// fleet and compares both ends.
func TestFleet(t *testing.T) {
	long(t)
	vgw, minio := servers.VersityGW(t), servers.MinIO(t)
	f := newFleet(t, 2, profiles(t, vgw, minio))
	seed := newSeed(t)
	objects := newCorpus(5000, seed)
	dir := t.TempDir()
	objects.toFolder(t, filepath.Join(dir, "src"))
	for _, b := range []string{"five", "six"} {
		vgw.CreateBucket(t, b)
		minio.CreateBucket(t, b)
	}
	objects.toBucket(t, vgw, "five")

	tests := []struct {
		name, source, target string
		arrived              func(testing.TB) inventory
	}{
		{"file to file", "file://" + dir + "/src", "file://" + dir + "/dst",
			func(t testing.TB) inventory { return folderInventory(t, dir+"/dst") }},
		{"file to S3", "file://" + dir + "/src", vgw.URL("six", ""),
			func(t testing.TB) inventory { return bucketInventory(t, vgw, "six") }},
		{"S3 to another S3", vgw.URL("five", ""), minio.URL("five", ""),
			func(t testing.TB) inventory { return bucketInventory(t, minio, "five") }},
		{"S3 to the same S3", minio.URL("five", ""), minio.URL("six", ""),
			func(t testing.TB) inventory { return bucketInventory(t, minio, "six") }},
		{"S3 to file", minio.URL("six", ""), "file://" + dir + "/back",
			func(t testing.TB) inventory { return folderInventory(t, dir+"/back") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, again := range []bool{false, true} {
				id := f.submit(t, tt.source, tt.target)
				j := f.awaitEnd(t, id, 3*time.Minute)
				if j.State != "succeeded" {
					t.Fatalf("job ended %s: %s\n%s", j.State, j.Error, f.cli(t, "job", "failures", strconv.FormatInt(id, 10)).stdout)
				}
				copied, skipped := int64(len(objects)), int64(0)
				if again {
					copied, skipped = 0, int64(len(objects))
				}
				if j.Copied != copied || j.Skipped != skipped {
					t.Errorf("again %v: copied %d, skipped %d, want %d and %d", again, j.Copied, j.Skipped, copied, skipped)
				}
				f.wantInvariant(t, j)
			}
			wantEqual(t, tt.arrived(t), objects.inventory())
		})
	}
	t.Run("metadata", func(t *testing.T) { wantMetadata(t, minio, "six") })
}

// wantMetadata checks that what the corpus put on odd/ objects arrived.
func wantMetadata(t *testing.T, srv *servers.S3, bucket string) {
	key := "odd/a+b"
	out, err := client(srv).HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range metadata {
		if out.Metadata[name] != want {
			t.Errorf("user metadata %s = %q, want %q", name, out.Metadata[name], want)
		}
	}
	for what, pair := range map[string][2]*string{
		"content type":     {out.ContentType, &contentType},
		"cache control":    {out.CacheControl, &cacheControl},
		"content language": {out.ContentLanguage, &contentLanguage},
	} {
		if pair[0] == nil || *pair[0] != *pair[1] {
			t.Errorf("%s did not arrive as %q", what, *pair[1])
		}
	}
}

// TestKeysOfAnySort copies keys that no folder could hold between two buckets
// that can, by way of the agent and by the server's own copy, and then to a
// server that keeps objects as files: what that one cannot hold must be refused
// object by object, never changed in silence.
func TestKeysOfAnySort(t *testing.T) {
	t.Parallel()
	fake, vgw := servers.GoFakeS3(t), servers.VersityGW(t)
	elsewhere := *fake // the same server to the oracle, another to the product
	elsewhere.Endpoint = strings.Replace(fake.Endpoint, "127.0.0.1", "localhost", 1)
	for _, bucket := range []string{"any", "streamed", "served"} {
		fake.CreateBucket(t, bucket)
	}
	vgw.CreateBucket(t, "refused")
	objects := corpus{"plain": []byte("plain")}
	hard := []string{"a//b", "a//", "a/./b", "a/../c", "tail/", "..", "a\\b", "tab\there", "two  spaces ", " lead", "a?b#c", "+", "%", "&<>\"'", "\u202ertl"}
	for _, key := range append(hard, oddKeys()...) {
		objects[key] = []byte("at " + key)
	}
	objects["marker/"] = nil
	objects.toBucket(t, fake, "any")
	env := profiles(t, fake, vgw)

	for _, to := range []struct{ bucket, url string }{
		{"streamed", elsewhere.URL("streamed", "")},
		{"served", fake.URL("served", "")},
	} {
		must(t, env, "copy", "--data", t.TempDir(), fake.URL("any", ""), to.url)
		wantEqual(t, bucketInventory(t, fake, to.bucket), objects.inventory())
	}
	r := tranship(t, env, "copy", "--data", t.TempDir(), "-o", "json", fake.URL("any", ""), vgw.URL("refused", ""))
	j := decode[jobView](t, r.stdout)
	arrived := bucketInventory(t, vgw, "refused")
	t.Logf("exit status %d, %d of %d keys arrived at a server that keeps files:\n%s", r.code, len(arrived), len(objects), r.stderr)
	if r.code != 3 || j.Failed == 0 || j.Copied != int64(len(arrived)) || j.Copied+j.Failed != int64(len(objects)) {
		t.Errorf("exit status %d, %d copied, %d failed; want 3 and every key either there or refused", r.code, j.Copied, j.Failed)
	}
	for key, sum := range arrived {
		if objects.inventory()[key] != sum {
			t.Errorf("key %q holds what it should not", key)
		}
	}
}

// TestPauseAndCancel steers a running job of a fleet.
func TestPauseAndCancel(t *testing.T) {
	long(t)
	f := newFleet(t, 1, nil)
	dir := t.TempDir()
	objects := newCorpus(5000, newSeed(t))
	objects.toFolder(t, dir+"/src")
	id := f.submit(t, "file://"+dir+"/src", "file://"+dir+"/dst")
	arg := strconv.FormatInt(id, 10)
	eventually(t, "the first objects", time.Minute, func() bool { return f.job(t, id).Copied > 0 })
	must(t, []string{"TRANSHIP_SERVER=" + f.api}, "job", "pause", arg)
	if j := f.job(t, id); j.State != "paused" {
		t.Fatalf("state %s, want paused", j.State)
	}
	var held int64
	eventually(t, "the paused job to stand still", time.Minute, func() bool {
		before := f.job(t, id).Copied
		time.Sleep(2 * time.Second)
		held = f.job(t, id).Copied
		return held == before
	})
	must(t, []string{"TRANSHIP_SERVER=" + f.api}, "job", "resume", arg)
	if j := f.awaitEnd(t, id, 3*time.Minute); j.State != "succeeded" {
		t.Fatalf("state %s, want succeeded", j.State)
	}
	t.Logf("held at %d of %d objects", held, len(objects))
	wantEqual(t, folderInventory(t, dir+"/dst"), objects.inventory())

	second := f.submit(t, "file://"+dir+"/src", "file://"+dir+"/other")
	must(t, []string{"TRANSHIP_SERVER=" + f.api}, "job", "cancel", strconv.FormatInt(second, 10))
	if j := f.awaitEnd(t, second, time.Minute); j.State != "canceled" {
		t.Fatalf("state %s, want canceled", j.State)
	}
	f.wantInvariant(t, f.job(t, second))
	if err := os.RemoveAll(dir + "/other"); err != nil {
		t.Fatal(err)
	}
}
