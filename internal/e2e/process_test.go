package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A daemon is a long-running process under test, over all its lives.
type daemon struct {
	name string
	argv []string
	env  []string
	log  *logFile

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	rest time.Duration // see supervise
}

// A logFile collects what a daemon says, over all its lives.
type logFile struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// tail returns the last n bytes.
func (l *logFile) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buf.Bytes()
	return string(b[max(0, len(b)-n):])
}

// start runs the product as a daemon until the test ends.
func start(t testing.TB, name string, env []string, args ...string) *daemon {
	t.Helper()
	return startProgram(t, name, env, append([]string{binary}, args...)...)
}

// startProgram runs any program as a daemon until the test ends.
func startProgram(t testing.TB, name string, env []string, argv ...string) *daemon {
	t.Helper()
	d := &daemon{name: name, argv: argv, env: env, log: &logFile{}}
	d.start(t)
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("%s said at last:\n%s", name, d.log.tail(4000))
		}
	})
	return d
}

func (d *daemon) start(t testing.TB) {
	t.Helper()
	if err := d.launch(); err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) launch() error {
	cmd := exec.Command(d.argv[0], d.argv[1:]...)
	cmd.Env = append(cleanEnv(), d.env...)
	cmd.Stdout, cmd.Stderr = io.Discard, d.log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cmd, d.done = cmd, done
	return nil
}

// life returns the process as it is now and what is closed when it has ended.
func (d *daemon) life() (*exec.Cmd, chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cmd, d.done
}

// kill ends the daemon at once, as a power cut would.
func (d *daemon) kill() {
	cmd, done := d.life()
	_ = cmd.Process.Kill() // it may have ended
	<-done
}

// stop asks the daemon to end, as systemd does, and returns its exit status.
func (d *daemon) stop(t testing.TB) int {
	t.Helper()
	d.signal(t, syscall.SIGTERM)
	cmd, done := d.life()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s did not end within a minute of SIGTERM:\n%s", d.name, d.log.tail(4000))
	}
	return cmd.ProcessState.ExitCode()
}

func (d *daemon) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	cmd, _ := d.life()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %s: %v", d.name, err)
	}
}

// freeze stops the daemon where it stands, as a machine that hangs, or is
// suspended, does. The others see a peer that is there and says nothing.
func (d *daemon) freeze() {
	cmd, _ := d.life()
	_ = cmd.Process.Signal(syscall.SIGSTOP) // it may have ended
}

// thaw lets the daemon go on. It does not know that time has passed.
func (d *daemon) thaw() {
	cmd, _ := d.life()
	_ = cmd.Process.Signal(syscall.SIGCONT)
}

// supervise starts the daemon again whenever it has ended, as systemd's
// Restart=always does, until the test ends: after half a second, or after what
// killFor asked for.
func (d *daemon) supervise(t testing.TB) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			_, done := d.life()
			select {
			case <-over:
				return
			case <-done:
			}
			d.mu.Lock()
			rest := max(d.rest, 500*time.Millisecond)
			d.rest = 0
			d.mu.Unlock()
			select {
			case <-over:
				return
			case <-time.After(rest):
			}
			if err := d.launch(); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	t.Cleanup(func() { close(over); <-ended })
}

// killFor kills a daemon that is supervised and keeps it down for so long.
func (d *daemon) killFor(rest time.Duration) {
	d.mu.Lock()
	d.rest = rest
	d.mu.Unlock()
	d.kill()
}

// family lists a process and its children, children of children aside.
func family(pid int) []int {
	pids := []int{pid}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name, which may hold anything, stands in brackets; behind it the
		// state and the parent.
		words := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && len(words) > 1 && words[1] == strconv.Itoa(pid) {
			pids = append(pids, child)
		}
	}
	return pids
}
