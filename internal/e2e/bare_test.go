package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// bareVariable makes the test binary a bare copier instead: the least work
// that moves a bucket, as a process of its own so that it can be measured.
const bareVariable = "TRANSHIP_BARE_COPY"

// bare runs the bare copier from one bucket to another.
func bare(b *testing.B, src, dst *servers.S3, from, to string) usage {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(cleanEnv(), bareVariable+"="+strings.Join([]string{
		src.Endpoint, src.AccessKey, src.SecretKey, from, dst.Endpoint, dst.AccessKey, dst.SecretKey, to}, " "))
	return ofProcess(b, cmd)
}

// bareMain is the bare copier: list, then GET streamed into PUT, 64 at once.
func bareMain(words string) error {
	w := strings.Fields(words)
	src := &servers.S3{Endpoint: w[0], AccessKey: w[1], SecretKey: w[2]}
	dst := &servers.S3{Endpoint: w[4], AccessKey: w[5], SecretKey: w[6]}
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.MaxIdleConnsPerHost, tr.MaxIdleConns, tr.DisableCompression = 128, 256, true
	tr.ReadBufferSize, tr.WriteBufferSize = 128<<10, 128<<10
	hc := &http.Client{Transport: tr}

	var g errgroup.Group
	g.SetLimit(64)
	pages := s3.NewListObjectsV2Paginator(client(src), &s3.ListObjectsV2Input{Bucket: &w[3]})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			g.Go(func() error { return bareCopy(hc, src, dst, w[3], w[7], *o.Key) })
		}
	}
	return g.Wait()
}

func bareCopy(hc *http.Client, src, dst *servers.S3, from, to, key string) error {
	get, err := bareRequest(src, http.MethodGet, from, key, nil, 0)
	if err != nil {
		return err
	}
	in, err := hc.Do(get)
	if err != nil {
		return err
	}
	defer in.Body.Close()
	if in.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", key, in.Status)
	}
	put, err := bareRequest(dst, http.MethodPut, to, key, in.Body, in.ContentLength)
	if err != nil {
		return err
	}
	out, err := hc.Do(put)
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if _, err := io.Copy(io.Discard, out.Body); err != nil {
		return err
	}
	if out.StatusCode != http.StatusOK {
		return fmt.Errorf("put %s: %s", key, out.Status)
	}
	return nil
}

func bareRequest(srv *servers.S3, method, bucket, key string, body io.Reader, size int64) (*http.Request, error) {
	req, err := http.NewRequest(method, srv.Endpoint+"/"+bucket+"/"+key, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	const unsigned = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", unsigned)
	cred := aws.Credentials{AccessKeyID: srv.AccessKey, SecretAccessKey: srv.SecretKey}
	err = v4.NewSigner().SignHTTP(context.Background(), cred, req, unsigned, "s3", "us-east-1", time.Now())
	return req, err
}
