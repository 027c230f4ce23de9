package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// An S3 is a server that speaks S3.
type S3 struct {
	Profile   string // name of its profile in the AWS configuration: versitygw, minio or gofakes3
	Endpoint  string // http://127.0.0.1:port
	Region    string
	AccessKey string
	SecretKey string

	client *s3.Client
}

var versitygw = s3Kind("versitygw", versitygwCommand)

func versitygwCommand(address, data string, s *S3) (args, env []string) {
	// Without --keep-alive it closes the connection after every answer.
	return []string{"--port", address, "--quiet", "--keep-alive", "posix", data},
		[]string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey}
}

// twin is a second versitygw, with other credentials.
var twin = func() *kind {
	k := s3Kind("versitygw-twin", versitygwCommand)
	k.program = built("versitygw")
	return k
}()

var minio = s3Kind("minio", func(address, data string, s *S3) (args, env []string) {
	return []string{"server", "--quiet", "--address", address, data},
		[]string{"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off"}
})

var gofakes3 = s3Kind("gofakes3", func(address, _ string, _ *S3) (args, env []string) {
	return []string{"-host", address, "-backend", "memory", "-quiet"}, nil // it takes any credentials
})

// s3Kind returns a kind of servers that speak S3, with credentials made up for
// the occasion.
func s3Kind(name string, command func(address, data string, s *S3) (args, env []string)) *kind {
	return &kind{name: name, program: built(name), plan: func(address, data string) (server, []string, []string, error) {
		s := &S3{Profile: name, Endpoint: "http://" + address, Region: "us-east-1",
			AccessKey: "test" + rand.Text(), SecretKey: rand.Text() + rand.Text()}
		s.client = newClient(s)
		args, env := command(address, data, s)
		return s, args, env, nil
	}}
}

// VersityGW returns the test binary's versitygw: small, quick to start, a
// plain folder behind it. Its folder cannot hold every key that S3 allows.
func VersityGW(tb testing.TB) *S3 {
	tb.Helper()
	return versitygw.use(tb).(*S3)
}

// VersityGWTwin returns a second versitygw of the test binary's, which knows
// nothing of the first one's credentials.
func VersityGWTwin(tb testing.TB) *S3 {
	tb.Helper()
	return twin.use(tb).(*S3)
}

// MinIO returns the test binary's MinIO, or skips the test unless
// TRANSHIP_LONG is 1, because building it takes minutes.
func MinIO(tb testing.TB) *S3 {
	tb.Helper()
	if os.Getenv("TRANSHIP_LONG") != "1" {
		tb.Skip("needs MinIO: set TRANSHIP_LONG=1; .ci/run does")
	}
	return minio.use(tb).(*S3)
}

// GoFakeS3 returns the test binary's gofakes3: it keeps everything in memory,
// under any key at all, and asks for no credentials.
func GoFakeS3(tb testing.TB) *S3 {
	tb.Helper()
	return gofakes3.use(tb).(*S3)
}

// Client returns a plain SDK client of the server, to look behind the
// product's back.
func (s *S3) Client() *s3.Client { return s.client }

// CreateBucket creates a bucket; one that is there already is no error.
func (s *S3) CreateBucket(tb testing.TB, name string) {
	tb.Helper()
	_, err := s.client.CreateBucket(tb.Context(), &s3.CreateBucketInput{Bucket: &name})
	var owned *types.BucketAlreadyOwnedByYou
	if err != nil && !errors.As(err, &owned) {
		tb.Fatalf("create bucket %s on %s: %v", name, s.Profile, err)
	}
}

// URL returns the store URL of a prefix in a bucket.
func (s *S3) URL(bucket, prefix string) string {
	u := url.URL{Scheme: "s3", Host: bucket, Path: "/" + prefix, RawQuery: url.Values{
		"endpoint":       {s.Endpoint},
		"profile":        {s.Profile},
		"region":         {s.Region},
		"use_path_style": {"true"},
	}.Encode()}
	return u.String()
}

// WriteProfiles writes an AWS configuration and a credentials file with one
// profile per server to dir, and returns the environment variables, as
// NAME=value, that make a program use them.
func WriteProfiles(dir string, profiles map[string]*S3) ([]string, error) {
	var conf, creds strings.Builder
	for name, s := range profiles {
		fmt.Fprintf(&conf, "[profile %s]\nregion = %s\nendpoint_url = %s\ns3 =\n  addressing_style = path\n\n", name, s.Region, s.Endpoint)
		fmt.Fprintf(&creds, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n\n", name, s.AccessKey, s.SecretKey)
	}
	env := make([]string, 0, 2)
	for _, f := range []struct{ variable, file, text string }{
		{"AWS_CONFIG_FILE", "aws-config", conf.String()},
		{"AWS_SHARED_CREDENTIALS_FILE", "aws-credentials", creds.String()},
	} {
		path := filepath.Join(dir, f.file)
		// Replaced as a whole: a store may be reading it.
		if err := os.WriteFile(path+".new", []byte(f.text), 0o600); err != nil {
			return nil, err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return nil, err
		}
		env = append(env, f.variable+"="+path)
	}
	return env, nil
}

// shared are the profiles that this process and its children can use: those of
// the servers that run.
var shared struct {
	sync.Mutex
	dir     string // empty while there are none
	servers map[string]*S3
}

// share makes the server's profile known to this process.
func (s *S3) share() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.dir == "" {
		dir, err := os.MkdirTemp("", "tranship-profiles-")
		if err != nil {
			return err
		}
		shared.dir, shared.servers = dir, make(map[string]*S3)
	}
	shared.servers[s.Profile] = s
	env, err := WriteProfiles(shared.dir, shared.servers)
	if err != nil {
		return err
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// forget takes the profile of a server that has stopped away.
func (s *S3) forget() {
	shared.Lock()
	defer shared.Unlock()
	delete(shared.servers, s.Profile)
	if len(shared.servers) == 0 {
		_ = os.RemoveAll(shared.dir) // it is in the temporary folder
		shared.dir = ""
	}
}

func newClient(s *S3) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint:     &s.Endpoint,
		Region:           s.Region,
		UsePathStyle:     true,
		HTTPClient:       &http.Client{Transport: &http.Transport{}},
		RetryMaxAttempts: 1,
		Credentials: aws.NewCredentialsCache(
			credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, "")),
	})
}

// ping waits for an answer to the server's own credentials.
func (s *S3) ping(ctx context.Context) error {
	_, err := s.client.ListBuckets(ctx, &s3.ListBucketsInput{})
	return err
}
