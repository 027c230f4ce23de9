package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// binary is the product, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	if words := os.Getenv(bareVariable); words != "" {
		if err := bareMain(words); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "tranship-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "tranship")
	if err := os.Chmod(dir, 0o755); err != nil { // other users run the binary too
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	build := exec.Command("go", "build", "-o", binary, "github.com/tranship/tranship")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the product: %v\n%s", err, out)
		os.Exit(1)
	}
	code := servers.Main(m)
	os.RemoveAll(dir)
	os.Exit(code)
}

// long skips a test that takes minutes unless it was asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("TRANSHIP_LONG") == "" {
		t.Skip("takes minutes: set TRANSHIP_LONG=1, as .ci/run does")
	}
}

// newSeed returns the seed of this run and prints it.
func newSeed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("TRANSHIP_SEED"); s != "" {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("TRANSHIP_SEED: %v", err)
		}
		seed = v
	}
	t.Logf("TRANSHIP_SEED=%d", seed)
	return seed
}

// A run is how one command ended.
type run struct {
	code           int
	stdout, stderr string
}

// tranship runs one command to its end.
func tranship(t testing.TB, env []string, args ...string) run {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(cleanEnv(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("tranship %q: %v", args, err)
	}
	return run{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs one command that has to succeed.
func must(t testing.TB, env []string, args ...string) run {
	t.Helper()
	r := tranship(t, env, args...)
	if r.code != 0 {
		t.Fatalf("tranship %q: exit status %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r
}

// cleanEnv is the environment without anything that would steer the product.
func cleanEnv() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir()}
	return append(env, "AWS_EC2_METADATA_DISABLED=true", "NO_COLOR=1")
}

// profiles returns the environment that lets the product use the servers, by
// the profiles that their URLs name.
func profiles(t testing.TB, all ...*servers.S3) []string {
	t.Helper()
	named := map[string]*servers.S3{}
	for _, s := range all {
		named[s.Profile] = s
	}
	env, err := servers.WriteProfiles(t.TempDir(), named)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// A daemon is a long-running process of the product under test.
type daemon struct {
	name    string
	program string // its binary
	args    []string
	env     []string
	log     *logFile

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
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

// start runs a daemon until the test ends.
func start(t testing.TB, name string, env []string, args ...string) *daemon {
	t.Helper()
	return startOf(t, binary, name, env, args...)
}

// startOf runs a daemon of another version until the test ends.
func startOf(t testing.TB, program, name string, env []string, args ...string) *daemon {
	t.Helper()
	d := &daemon{name: name, program: program, args: args, env: env, log: &logFile{}}
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
	cmd := exec.Command(d.program, d.args...)
	cmd.Env = append(cleanEnv(), d.env...)
	cmd.Stdout, cmd.Stderr = io.Discard, d.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", d.name, err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	d.mu.Lock()
	d.cmd, d.done = cmd, done
	d.mu.Unlock()
}

// kill ends the daemon at once, as a power cut would.
func (d *daemon) kill() {
	d.mu.Lock()
	cmd, done := d.cmd, d.done
	d.mu.Unlock()
	_ = cmd.Process.Kill()
	<-done
}

// stop asks the daemon to end, as systemd does, and returns its exit status.
func (d *daemon) stop(t testing.TB) int {
	t.Helper()
	d.signal(t, syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(time.Minute):
		t.Fatalf("%s did not end within a minute of SIGTERM:\n%s", d.name, d.log.tail(4000))
	}
	return d.cmd.ProcessState.ExitCode()
}

func (d *daemon) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %s: %v", d.name, err)
	}
}

// eventually polls until ok holds; the deadline is generous because it is
// only there to end a broken test.
func eventually(t testing.TB, what string, deadline time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited %v for %s", deadline, what)
}

// decode reads a command's JSON output.
func decode[T any](t testing.TB, s string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, s)
	}
	return v
}
