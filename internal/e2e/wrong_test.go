package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// nobody is the user that tests of file permissions run the product as when
// they themselves run as root, whom no permission stops.
const nobody = 65534

// asUser runs one command as an ordinary user, in folders of that user's own.
func asUser(t *testing.T, dir string, args ...string) run {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(cleanEnv(), "HOME="+dir)
	cmd.Dir = dir
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("tranship %q: %v", args, err)
	}
	return run{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// userDir returns a folder that asUser's user owns and can reach.
func userDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tranship-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// wantError checks the exit status and that the talk names what it must.
func wantError(t *testing.T, r run, code int, texts ...string) {
	t.Helper()
	t.Logf("exit status %d:\n%s%s", r.code, r.stdout, r.stderr)
	if r.code != code {
		t.Errorf("exit status %d, want %d", r.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("the error does not say %q", text)
		}
	}
	if strings.Contains(r.stderr, "goroutine ") {
		t.Error("the error is a stack trace")
	}
}

func TestWrongFolders(t *testing.T) {
	t.Parallel()
	t.Run("source is not there", func(t *testing.T) {
		dir := t.TempDir()
		wantError(t, tranship(t, nil, "copy", "--data", dir+"/data", dir+"/nowhere", dir+"/to"), 1, "nowhere")
	})
	t.Run("an unreadable file is a failed object, the others arrive", func(t *testing.T) {
		dir := userDir(t)
		writeFile(t, dir+"/from/good", "good")
		writeFile(t, dir+"/from/secret", "secret")
		if err := os.Chmod(dir+"/from/secret", 0); err != nil {
			t.Fatal(err)
		}
		openUp(t, dir+"/from")
		r := asUser(t, dir, "copy", "--data", dir+"/data", dir+"/from", dir+"/to")
		wantError(t, r, 3, "secret", "denied")
		if b, err := os.ReadFile(dir + "/to/good"); err != nil || string(b) != "good" {
			t.Errorf("the good object did not arrive: %q, %v", b, err)
		}
	})
	t.Run("an unreadable folder is never an empty one", func(t *testing.T) {
		dir := userDir(t)
		writeFile(t, dir+"/from/good", "good")
		writeFile(t, dir+"/from/sub/hidden", "x")
		openUp(t, dir+"/from")
		if err := os.Chmod(dir+"/from/sub", 0); err != nil {
			t.Fatal(err)
		}
		wantError(t, asUser(t, dir, "copy", "--data", dir+"/data", dir+"/from", dir+"/to"), 1, "sub", "permission")
	})
	t.Run("target without write permission", func(t *testing.T) {
		dir := userDir(t)
		writeFile(t, dir+"/from/good", "good")
		openUp(t, dir+"/from")
		if err := os.Mkdir(dir+"/to", 0o555); err != nil {
			t.Fatal(err)
		}
		wantError(t, asUser(t, dir, "copy", "--data", dir+"/data", dir+"/from", dir+"/to"), 1, "permission", "write")
	})
}

// openUp makes files that this process wrote readable to asUser's user, but
// for those that nobody may read.
func openUp(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || os.Getuid() != 0 {
			return err
		}
		return os.Chown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWrongBuckets(t *testing.T) {
	t.Parallel()
	srv := servers.VersityGW(t)
	srv.CreateBucket(t, "wrong")
	env := profiles(t, srv)
	dir := t.TempDir()
	writeFile(t, dir+"/from/a", "a")

	t.Run("missing bucket", func(t *testing.T) {
		data := t.TempDir()
		wantError(t, tranship(t, env, "copy", "--data", data, srv.URL("no-such-bucket", ""), dir+"/to"), 1, "no-such-bucket", "not exist")
		wantError(t, tranship(t, env, "copy", "--data", data, dir+"/from", srv.URL("no-such-bucket", "")), 1, "no-such-bucket", "not exist")
	})
	t.Run("wrong credentials", func(t *testing.T) {
		forged := *srv
		forged.SecretKey = "wrong"
		env := profiles(t, &forged)
		wantError(t, tranship(t, env, "copy", "--data", t.TempDir(), srv.URL("wrong", ""), dir+"/to"), 1, "wrong", "credentials")
	})
	t.Run("no credentials", func(t *testing.T) {
		url := fmt.Sprintf("s3://wrong?endpoint=%s&use_path_style=true&region=us-east-1", srv.Endpoint)
		wantError(t, tranship(t, nil, "copy", "--data", t.TempDir(), url, dir+"/to"), 1, "credentials")
	})
	t.Run("nothing listens at the endpoint", func(t *testing.T) {
		url := fmt.Sprintf("s3://wrong?endpoint=http://%s&use_path_style=true&region=us-east-1&anonymous=true", freeAddress(t))
		wantError(t, tranship(t, env, "copy", "--data", t.TempDir(), "--max-attempts", "1", url, dir+"/to"), 1, "connection refused")
	})
	t.Run("unknown URL parameter", func(t *testing.T) {
		wantError(t, tranship(t, env, "copy", "--data", t.TempDir(), "s3://wrong?regoin=x", dir+"/to"), 2, "regoin", "region")
	})
}

func TestWrongWords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tests := []struct {
		name  string
		args  []string
		code  int
		texts []string
	}{
		{"unknown command", []string{"coppy"}, 2, []string{"coppy", "copy"}},
		{"unknown flag", []string{"copy", "--verfy", "size", "a", "b"}, 2, []string{"--verfy", "--verify"}},
		{"too few arguments", []string{"copy", "a"}, 2, []string{"SOURCE", "TARGET"}},
		{"unknown scheme", []string{"copy", "--data", dir, "ftps://x/y", dir + "/to"}, 2, []string{"ftps", "s3"}},
		{"secret in a URL", []string{"copy", "--data", dir, "s3://key:secret@b/", dir + "/to"}, 2, []string{"credentials"}},
		{"not a level", []string{"copy", "--verify", "hope", dir + "/from", dir + "/to"}, 2, []string{"hope", "checksum"}},
		{"source is target", []string{"copy", "--data", dir, dir, dir}, 2, []string{"same"}},
		{"server cannot be reached", []string{"job", "ls", "--server", "http://127.0.0.1:1"}, 5, []string{"127.0.0.1:1"}},
		{"no such job", []string{"job", "show", "seven"}, 2, []string{"seven"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantError(t, tranship(t, nil, tt.args...), tt.code, tt.texts...)
		})
	}
}

func TestWrongDaemons(t *testing.T) {
	t.Parallel()
	conf := func(t *testing.T, text string) string {
		path := filepath.Join(t.TempDir(), "tranship.yaml")
		writeFile(t, path, text)
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })

	t.Run("unknown config key", func(t *testing.T) {
		t.Parallel()
		wantError(t, tranship(t, nil, "agent", "--config", conf(t, "agent:\n  stream: 3\n")), 2, "stream", "streams", "2")
	})
	t.Run("config file is not there", func(t *testing.T) {
		t.Parallel()
		wantError(t, tranship(t, nil, "agent", "--config", "/no/such.yaml"), 2, "/no/such.yaml")
	})
	t.Run("page's port in use", func(t *testing.T) {
		t.Parallel()
		c := conf(t, fmt.Sprintf("data: %s\nnats: {listen: %s}\nhttp: {listen: %s}\n", t.TempDir(), freeAddress(t), taken.Addr()))
		wantError(t, tranship(t, nil, "coordinator", "--config", c), 1, taken.Addr().String(), "in use", "http.listen")
	})
	t.Run("queue's port in use", func(t *testing.T) {
		t.Parallel()
		c := conf(t, fmt.Sprintf("data: %s\nnats: {listen: %s}\nhttp: {listen: %s}\n", t.TempDir(), taken.Addr(), freeAddress(t)))
		wantError(t, tranship(t, nil, "coordinator", "--config", c), 1, taken.Addr().String(), "in use", "nats.listen")
	})
	t.Run("Postgres down", func(t *testing.T) {
		t.Parallel()
		url := fmt.Sprintf("postgres://someone@%s/x?sslmode=disable", freeAddress(t))
		c := conf(t, fmt.Sprintf("data: %s\nnats: {listen: %s}\nhttp: {listen: %s}\n", t.TempDir(), freeAddress(t), freeAddress(t)))
		wantError(t, tranship(t, []string{"TRANSHIP_DATABASE_URL=" + url}, "coordinator", "--config", c), 5, "Postgres", "refused")
	})
	t.Run("NATS down", func(t *testing.T) {
		t.Parallel()
		address := freeAddress(t)
		c := conf(t, fmt.Sprintf("nats: {url: %q}\n", "nats://"+address))
		wantError(t, tranship(t, nil, "agent", "--config", c), 5, "NATS", address)
	})
	t.Run("page on a public address", func(t *testing.T) {
		t.Parallel()
		c := conf(t, fmt.Sprintf("data: %s\nhttp: {listen: \"0.0.0.0:0\"}\n", t.TempDir()))
		wantError(t, tranship(t, nil, "coordinator", "--config", c), 2, "0.0.0.0", "127.0.0.1")
	})
}
