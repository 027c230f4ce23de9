package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A kind is a sort of server and the one process of it that runs, if any.
type kind struct {
	name string
	// program returns the beginning of the command line. It may skip the test.
	program func(tb testing.TB) []string
	// plan makes up a server at an address, with a folder for its data, and says
	// how it is started.
	plan func(address, data string) (s server, args, env []string, err error)

	mu    sync.Mutex
	users int // tests that rely on it
	run   *process
}

// kinds are all there are.
var kinds = []*kind{versitygw, twin, minio, gofakes3, fakeGCS, azurite}

// A server is what tests know of a process.
type server interface {
	// ping returns an error as long as the server does not answer.
	ping(ctx context.Context) error
	// share makes the server known to this process and its children, and forget
	// takes that back.
	share() error
	forget()
}

// built returns the program of a kind that is one of the pinned ones.
func built(name string) func(tb testing.TB) []string {
	return func(tb testing.TB) []string {
		tb.Helper()
		return []string{Binary(tb, name)}
	}
}

// keep is set by Main: servers then live until the test binary ends.
var keep bool

// Main runs the tests and stops the servers afterwards. A package whose tests
// use servers calls it from TestMain, and passes its result to os.Exit:
//
//	func TestMain(m *testing.M) { os.Exit(servers.Main(m)) }
func Main(m *testing.M) int {
	keep = true
	defer func() {
		for _, k := range kinds {
			k.mu.Lock()
			k.stop()
			k.mu.Unlock()
		}
	}()
	return m.Run()
}

// use returns the running server of the kind, starting it if need be, and
// keeps it running until the test ends.
func (k *kind) use(tb testing.TB) server {
	tb.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run == nil {
		program := k.program(tb)
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
		if err := k.run.server.share(); err != nil {
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
	return k.run.server
}

// stop kills the server and removes its data; the caller holds the mutex.
func (k *kind) stop() {
	if k.run == nil {
		return
	}
	k.run.kill()
	k.run.server.forget()
	k.run = nil
}

// A process is a server that runs.
type process struct {
	server server
	folder string
	cmd    *exec.Cmd
	output bytes.Buffer  // owned by the process until ended is closed
	ended  chan struct{} // closed when the process is gone
}

func (k *kind) start(ctx context.Context, program []string) (*process, error) {
	folder, err := os.MkdirTemp("", "tranship-"+k.name+"-")
	if err != nil {
		return nil, err
	}
	p, err := k.spawn(folder, program)
	if err != nil {
		_ = os.RemoveAll(folder) // it is in the temporary folder
		return nil, err
	}
	if err := p.ready(ctx); err != nil {
		p.kill()
		return nil, fmt.Errorf("%w\n%s", err, tail(p.output.String()))
	}
	return p, nil
}

// spawn starts a server in a folder of its own, on a port that was free.
func (k *kind) spawn(folder string, program []string) (*process, error) {
	data := filepath.Join(folder, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s, args, env, err := k.plan(address, data)
	if err != nil {
		return nil, err
	}
	p := &process{server: s, folder: folder, ended: make(chan struct{}),
		cmd: exec.Command(program[0], slices.Concat(program[1:], args)...)}
	p.cmd.Dir = folder
	p.cmd.Env = append([]string{"HOME=" + folder, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p, p.launch()
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

// ready waits until the server answers.
func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := p.server.ping(ctx)
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
