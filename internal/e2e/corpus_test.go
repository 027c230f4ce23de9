package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// oddKeys can stand in a folder and in every S3 server that keeps objects as
// files; slashes that such servers would fold are in TestKeysOfAnySort.
func oddKeys() []string {
	long := strings.Repeat("d", 200) + "/"
	return []string{
		"odd/a b", "odd/a+b", "odd/100%", "odd/%2F", "odd/%41", "odd/a&b=c?d#e", "odd/日本語/ключ", "odd/😀",
		"odd/e\u0301", "odd/\u00e9", // the same letter twice, composed and not
		"odd/a-b", "odd/a.txt", "odd/a/x", "odd/quote\"'`", "odd/semi;colon", "odd/star*", "odd/tilde~", "odd/(x)[y]{z}",
		"odd/__0x41__", "odd/.hidden", "odd/CON", "odd/=cmd|' /C calc'!A0", "odd/<script>alert(1)</script>",
		strings.Repeat(long, 5) + strings.Repeat("e", 1024-5*201), // 1,024 bytes
	}
}

// A corpus is the objects of a test: content by key, made from a seed.
type corpus map[string][]byte

// newCorpus makes n objects: the odd keys, some empty, most small, one of
// each of a few larger sizes.
func newCorpus(n int, seed uint64) corpus {
	rnd := rand.New(rand.NewPCG(seed, seed))
	c := corpus{}
	for _, k := range oddKeys() {
		c[k] = randomBytes(rnd, 100)
	}
	for i, size := range []int{1, 1 << 20, 5<<20 + 1, 16 << 20, 16<<20 + 1, 20 << 20} {
		c[fmt.Sprintf("large/%d", i)] = randomBytes(rnd, size)
	}
	for i := len(c); i < n; i++ {
		size := rnd.IntN(4096)
		if i%20 == 0 {
			size = 0
		}
		c[fmt.Sprintf("data/%02d/%d.bin", i%37, i)] = randomBytes(rnd, size)
	}
	return c
}

func randomBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		v := rnd.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b
}

// inventory returns what the oracle must find once the corpus has arrived.
func (c corpus) inventory() inventory {
	inv := make(inventory, len(c))
	for key, b := range c {
		inv[key] = hash(b)
	}
	return inv
}

// toFolder writes the corpus below dir.
func (c corpus) toFolder(t testing.TB, dir string) {
	t.Helper()
	for key, b := range c {
		path := filepath.Join(dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// toBucket writes the corpus into a bucket, with metadata on some objects.
func (c corpus) toBucket(t testing.TB, srv *servers.S3, bucket string) {
	t.Helper()
	cl := client(srv)
	var g errgroup.Group
	g.SetLimit(8)
	for key, b := range c {
		g.Go(func() error {
			in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(b)}
			if strings.HasPrefix(key, "odd/") {
				in.Metadata = metadata
				in.ContentType, in.CacheControl, in.ContentLanguage = &contentType, &cacheControl, &contentLanguage
			}
			_, err := cl.PutObject(context.Background(), in)
			if err != nil {
				return fmt.Errorf("put %q: %w", key, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// Metadata that objects under odd/ carry.
var (
	metadata        = map[string]string{"owner": "a b 100%25", "x-y": "z"}
	contentType     = "text/x-odd; charset=utf-8"
	cacheControl    = "max-age=60"
	contentLanguage = "de"
)
