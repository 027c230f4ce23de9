package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A kind is a sort of server and the one process of it that runs, if any.
type kind struct {
	name    string
	command func(address, data, access, secret string) (args, env []string)

	mu    sync.Mutex
	users int // tests, and Main, that rely on it
	run   *process
}

var versitygw = &kind{
	name: "versitygw",
	command: func(address, data, access, secret string) (args, env []string) {
		// Without --keep-alive it closes the connection after every answer.
		return []string{"--port", address, "--quiet", "--keep-alive", "posix", data},
			[]string{"ROOT_ACCESS_KEY=" + access, "ROOT_SECRET_KEY=" + secret}
	},
}

var minio = &kind{
	name: "minio",
	command: func(address, data, access, secret string) (args, env []string) {
		return []string{"server", "--quiet", "--address", address, data},
			[]string{"MINIO_ROOT_USER=" + access, "MINIO_ROOT_PASSWORD=" + secret,
				"MINIO_BROWSER=off", "MINIO_UPDATE=off"}
	},
}

var gofakes3 = &kind{
	name: "gofakes3",
	command: func(address, _, _, _ string) (args, env []string) {
		return []string{"-host", address, "-backend", "memory", "-quiet"}, nil // it takes any credentials
	},
}

// keep is set by Main: servers then live until the test binary ends.
var keep bool

// Main runs the tests and stops the servers afterwards. A package whose tests
// use servers calls it from TestMain, and passes its result to os.Exit:
//
//	func TestMain(m *testing.M) { os.Exit(servers.Main(m)) }
func Main(m *testing.M) int {
	keep = true
	defer stopGCS()
	defer func() {
		for _, k := range []*kind{versitygw, minio, gofakes3} {
			k.mu.Lock()
			k.stop()
			k.mu.Unlock()
		}
	}()
	return m.Run()
}

// use returns the running server of the kind, starting it if need be, and
// keeps it running until the test ends.
func (k *kind) use(tb testing.TB) *S3 {
	tb.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run == nil {
		program := Binary(tb, k.name)
		var err error
		// The port that was free may be taken by the time the server
		// listens: then it ends at once, and another port is tried.
		for range 5 {
			if k.run, err = k.start(tb.Context(), program); err == nil {
				break
			}
		}
		if err != nil {
			tb.Fatalf("start %s: %v", k.name, err)
		}
		if err := shareProfile(k.run.s3); err != nil {
			k.stop()
			tb.Fatalf("start %s: %v", k.name, err)
		}
	}
	k.users++
	tb.Cleanup(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.users--; k.users == 0 && !keep {
			k.stop()
		}
	})
	return k.run.s3
}

// stop kills the server and removes its data; the caller holds the mutex.
func (k *kind) stop() {
	if k.run == nil {
		return
	}
	k.run.kill()
	forgetProfile(k.run.s3)
	k.run = nil
}

// A process is a server that runs.
type process struct {
	s3     *S3
	folder string
	cmd    *exec.Cmd
	output bytes.Buffer  // owned by the process until ended is closed
	ended  chan struct{} // closed when the process is gone
}

func (k *kind) start(ctx context.Context, program string) (*process, error) {
	folder, err := os.MkdirTemp("", "tranship-"+k.name+"-")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(folder, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &S3{Profile: k.name, Endpoint: "http://" + address, Region: "us-east-1",
		AccessKey: "test" + rand.Text(), SecretKey: rand.Text() + rand.Text()}
	s.client = newClient(s)

	args, env := k.command(address, data, s.AccessKey, s.SecretKey)
	p := &process{s3: s, folder: folder, cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Dir = folder
	p.cmd.Env = append([]string{"HOME=" + folder, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.launch(); err != nil {
		_ = os.RemoveAll(folder)
		return nil, err
	}
	if err := p.ready(ctx); err != nil {
		p.kill()
		return nil, fmt.Errorf("%w\n%s", err, tail(p.output.String()))
	}
	return p, nil
}

// launch starts the process from a thread that lives as long as it does: the
// kernel sends Pdeathsig when the thread that started the process ends, not
// the whole program.
func (p *process) launch() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // it is killed in the end
			close(p.ended)
		}
	}()
	return <-started
}

// ready waits until the server answers to its own credentials.
func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := p.s3.ping(ctx)
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

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	_ = os.RemoveAll(p.folder) // it is in the temporary folder
}

// freeAddress returns a loopback address that nobody listens on right now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// tail returns the end of a server's output.
func tail(out string) string {
	if len(out) > 4000 {
		out = "…" + out[len(out)-4000:]
	}
	return strings.TrimSpace(out)
}
