package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	if words := os.Getenv(queueVariable); words != "" {
		if err := queueMain(words); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if path := os.Getenv(natsVariable); path != "" {
		if err := natsMain(path); err != nil {
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
	// Most tests are about something else than access.
	env = append(env, "TRANSHIP_HTTP_OPEN=true", "TRANSHIP_NATS_AUTH=open")
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
