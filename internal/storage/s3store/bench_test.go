package s3store

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// BenchmarkCopy measures what a copy from one bucket to another costs: the
// bare limit (a signed GET streamed into a signed PUT, nothing checked), and
// the store's Get into its Put. CPU is that of this process; the server's
// share of the machine is in the time alone. TRANSHIP_BENCH_BIG sets the big
// object's size in MiB.
func BenchmarkCopy(b *testing.B) {
	gw := servers.VersityGW(b)
	gw.CreateBucket(b, "bench-from")
	gw.CreateBucket(b, "bench-to")
	src, dst := openURL(b, gw.URL("bench-from", "")), openURL(b, gw.URL("bench-to", ""))
	big := int64(64)
	if n, err := strconv.ParseInt(os.Getenv("TRANSHIP_BENCH_BIG"), 10, 64); err == nil {
		big = n
	}
	for _, size := range []struct {
		name    string
		bytes   int64
		objects int
		streams int
	}{{"16KiB", 16 << 10, 500, 16}, {"big", big << 20, 1, 1}} {
		objects := make([]storage.Info, size.objects)
		for i := range objects {
			key := fmt.Sprintf("%s/%04d", size.name, i)
			in, err := src.Put(b.Context(), key, io.LimitReader(rand.Reader, size.bytes), size.bytes, storage.PutOptions{})
			if err != nil {
				b.Fatal(err)
			}
			objects[i] = in
		}
		bare := newBare(gw)
		b.Run(size.name+"/bare", func(b *testing.B) {
			run(b, size.streams, objects, bare.copy)
		})
		b.Run(size.name+"/store", func(b *testing.B) {
			run(b, size.streams, objects, func(ctx context.Context, in storage.Info) error {
				body, got, err := src.Get(ctx, in.Key, in.ETag, 0, -1)
				if err != nil {
					return err
				}
				defer body.Close()
				_, err = dst.Put(ctx, in.Key, body, got.Size, storage.PutOptions{Meta: got.Meta, Sums: got.Sums})
				return err
			})
		})
	}
}

// run copies b.N objects, round and round, in so many streams.
func run(b *testing.B, streams int, objects []storage.Info, one func(context.Context, storage.Info) error) {
	b.SetBytes(objects[0].Size)
	b.ReportAllocs()
	var next atomic.Int64
	var group sync.WaitGroup
	before := cpu()
	b.ResetTimer()
	for range streams {
		group.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= b.N {
					return
				}
				if err := one(b.Context(), objects[n%len(objects)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is the time this process has spent on processors.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A bare copies with as little as can be done.
type bare struct {
	server    *servers.S3
	transport *http.Transport
	signer    *v4.Signer
}

func newBare(s *servers.S3) *bare {
	return &bare{s, &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })}
}

func (c *bare) copy(ctx context.Context, in storage.Info) error {
	got, err := c.send(ctx, http.MethodGet, "bench-from/"+in.Key, nil, 0)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	put, err := c.send(ctx, http.MethodPut, "bench-to/"+in.Key, got.Body, in.Size)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, put.Body)
	put.Body.Close()
	return err
}

func (c *bare) send(ctx context.Context, method, path string, body io.Reader, size int64) (*http.Response, error) {
	u, err := url.Parse(c.server.Endpoint + "/" + path)
	if err != nil {
		return nil, err
	}
	req := (&http.Request{Method: method, URL: u, Header: make(http.Header), ContentLength: size}).WithContext(ctx)
	if body != nil {
		req.Body = io.NopCloser(body)
	}
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	creds := aws.Credentials{AccessKeyID: c.server.AccessKey, SecretAccessKey: c.server.SecretKey}
	if err := c.signer.SignHTTP(ctx, creds, req, "UNSIGNED-PAYLOAD", "s3", c.server.Region, time.Now()); err != nil {
		return nil, err
	}
	resp, err := c.transport.RoundTrip(req)
	if err == nil && resp.StatusCode/100 != 2 {
		resp.Body.Close()
		err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return resp, err
}

// BenchmarkPage measures what reading a page of a listing costs.
func BenchmarkPage(b *testing.B) {
	gw := servers.VersityGW(b)
	gw.CreateBucket(b, "page")
	s := openURL(b, gw.URL("page", ""))
	for i := range 1000 {
		if _, err := s.Put(b.Context(), fmt.Sprintf("folder/%06d.jpg", i), http.NoBody, 0, storage.PutOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		err := s.List(b.Context(), work.Range{}, func([]storage.Info) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}
