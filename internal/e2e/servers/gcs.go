package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A GCS is a fake-gcs-server: it speaks the JSON API of Google Cloud Storage
// and some of the XML API, keeps everything in memory and asks for no
// credentials.
type GCS struct {
	Endpoint string // host:port, as STORAGE_EMULATOR_HOST wants it
}

// emulatorVariable is what makes Google's clients, and ours, use an emulator.
const emulatorVariable = "STORAGE_EMULATOR_HOST"

// gcs is the one fake-gcs-server that runs, if any.
var gcs struct {
	sync.Mutex
	users int // tests that rely on it
	gcs   *GCS
	run   *process
}

// FakeGCS returns the test binary's fake-gcs-server. While it runs,
// STORAGE_EMULATOR_HOST is set for this process and its children, so that URLs
// such as gs://bucket work as they are.
func FakeGCS(tb testing.TB) *GCS {
	tb.Helper()
	gcs.Lock()
	defer gcs.Unlock()
	if gcs.run == nil {
		program := Binary(tb, "fake-gcs-server")
		var err error
		// The port that was free may be taken by the time it listens.
		for range 5 {
			if gcs.gcs, gcs.run, err = startGCS(tb.Context(), program); err == nil {
				break
			}
		}
		if err != nil {
			tb.Fatalf("start fake-gcs-server: %v", err)
		}
		if err := os.Setenv(emulatorVariable, gcs.gcs.Endpoint); err != nil {
			tb.Fatal(err)
		}
	}
	gcs.users++
	tb.Cleanup(func() {
		gcs.Lock()
		gcs.users--
		last := gcs.users == 0 && !keep
		gcs.Unlock()
		if last {
			stopGCS()
		}
	})
	return gcs.gcs
}

// stopGCS kills the server, if it runs and nobody relies on it.
func stopGCS() {
	gcs.Lock()
	defer gcs.Unlock()
	if gcs.run == nil || gcs.users > 0 {
		return
	}
	gcs.run.kill()
	gcs.run, gcs.gcs = nil, nil
	_ = os.Unsetenv(emulatorVariable) // fails for impossible names alone
}

func startGCS(ctx context.Context, program string) (*GCS, *process, error) {
	folder, err := os.MkdirTemp("", "tranship-fake-gcs-server-")
	if err != nil {
		return nil, nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	p := &process{folder: folder, ended: make(chan struct{}), cmd: exec.Command(program,
		"-backend", "memory", "-scheme", "http", "-host", host, "-port", port,
		"-public-host", address, "-external-url", "http://"+address, "-log-level", "error")}
	p.cmd.Dir = folder
	p.cmd.Env = []string{"HOME=" + folder, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.launch(); err != nil {
		_ = os.RemoveAll(folder) // it is in the temporary folder
		return nil, nil, err
	}
	g := &GCS{Endpoint: address}
	if err := p.await(ctx, g.ping); err != nil {
		p.kill()
		return nil, nil, fmt.Errorf("%w\n%s", err, tail(p.output.String()))
	}
	return g, p, nil
}

// await waits until a server answers.
func (p *process) await(ctx context.Context, ping func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (g *GCS) ping(ctx context.Context) error {
	return g.send(ctx, http.MethodGet, "/storage/v1/b?project=test", nil)
}

// CreateBucket creates a bucket; one that is there already is no error.
func (g *GCS) CreateBucket(tb testing.TB, name string) {
	tb.Helper()
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		tb.Fatal(err)
	}
	if err := g.send(tb.Context(), http.MethodPost, "/storage/v1/b?project=test", body); err != nil {
		tb.Fatalf("create bucket %s: %v", name, err)
	}
}

// URL returns the store URL of a prefix in a bucket.
func (g *GCS) URL(bucket, prefix string) string {
	u := url.URL{Scheme: "gs", Host: bucket, Path: "/" + prefix}
	return u.String()
}

func (g *GCS) send(ctx context.Context, method, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+g.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusConflict {
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil
}
