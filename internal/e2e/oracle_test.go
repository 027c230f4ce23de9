package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// An inventory is what the oracle found in a store: content hash by key.
type inventory map[string]string

// folderInventory hashes every regular file below dir. A key is the slashed
// path below dir; an empty folder is the key with a slash at its end.
func folderInventory(t testing.TB, dir string) inventory {
	t.Helper()
	inv := inventory{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		if d.IsDir() {
			if below, err := os.ReadDir(path); err != nil || len(below) > 0 {
				return err
			}
			inv[rel+"/"] = hash(nil)
			return nil
		}
		b, err := os.ReadFile(path)
		inv[rel] = hash(b)
		return err
	})
	if err != nil {
		t.Fatalf("oracle: walk %s: %v", dir, err)
	}
	return inv
}

// client returns a plain AWS client for a test server.
func client(srv *servers.S3) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(srv.Endpoint),
		Region:       "us-east-1",
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(srv.AccessKey, srv.SecretKey, ""),
	})
}

// bucketInventory lists and reads a whole bucket.
func bucketInventory(t testing.TB, srv *servers.S3, bucket string) inventory {
	t.Helper()
	c := client(srv)
	var keys []string
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			t.Fatalf("oracle: list %s: %v", bucket, err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	sums := make([]string, len(keys))
	var g errgroup.Group
	g.SetLimit(8)
	for i, key := range keys {
		g.Go(func() error {
			out, err := c.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
			if err != nil {
				return fmt.Errorf("oracle: get %q: %w", key, err)
			}
			defer out.Body.Close()
			h := sha256.New()
			if _, err := io.Copy(h, out.Body); err != nil {
				return fmt.Errorf("oracle: read %q: %w", key, err)
			}
			sums[i] = hex.EncodeToString(h.Sum(nil))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	inv := make(inventory, len(keys))
	for i, key := range keys {
		inv[key] = sums[i]
	}
	return inv
}

func hash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// wantEqual fails the test unless got holds exactly what want does.
func wantEqual(t testing.TB, got, want inventory) {
	t.Helper()
	var missing, different, extra []string
	for key, sum := range want {
		switch have, ok := got[key]; {
		case !ok:
			missing = append(missing, key)
		case have != sum:
			different = append(different, key)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			extra = append(extra, key)
		}
	}
	t.Logf("oracle: %d objects expected, %d found: %d missing, %d different, %d extra",
		len(want), len(got), len(missing), len(different), len(extra))
	if len(want) == 0 {
		t.Error("oracle: nothing was expected; the test proves nothing")
	}
	for what, keys := range map[string][]string{"missing": missing, "different": different, "extra": extra} {
		if len(keys) > 0 {
			slices.Sort(keys)
			t.Errorf("oracle: %s: %.20q", what, keys)
		}
	}
}

// keepVersions makes the server keep every version that is written, so that
// copies made twice can be counted.
func keepVersions(t testing.TB, srv *servers.S3, bucket string) {
	t.Helper()
	_, err := client(srv).PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		t.Fatal(err)
	}
}

func countVersions(t testing.TB, srv *servers.S3, bucket string) int {
	t.Helper()
	n := 0
	pages := s3.NewListObjectVersionsPaginator(client(srv), &s3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Versions)
	}
	return n
}
