package servers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// packages are the programs that can be built, by name.
var packages = map[string]string{
	"versitygw": "github.com/versity/versitygw/cmd/versitygw",
	"minio":     "github.com/minio/minio",
	"rclone":    "github.com/rclone/rclone",
	"gofakes3":  "github.com/johannesboyne/gofakes3/cmd/gofakes3",

	"fake-gcs-server": "github.com/fsouza/fake-gcs-server",
}

// Binary returns the path of a pinned program (versitygw, minio, gofakes3,
// rclone or fake-gcs-server). It builds the program if this user has not built
// this version yet, which takes a minute or two, and ends the test if that
// fails.
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	path, err := binary(tb, name)
	if err != nil {
		tb.Fatalf("build %s: %v", name, err)
	}
	return path
}

func binary(tb testing.TB, name string) (string, error) {
	pkg, ok := packages[name]
	if !ok {
		return "", errors.New("not one of the pinned programs")
	}
	module, err := moduleDir()
	if err != nil {
		return "", err
	}
	dir, err := cacheDir(module)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	unlock, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	tb.Logf("building %s once into %s", pkg, dir)
	return path, build(module, pkg, path)
}

// build compiles pkg to path, which appears only when it is complete.
func build(module, pkg, path string) error {
	temp := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer os.Remove(temp)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", temp, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s in %s: %w\n%s", pkg, module, err, out)
	}
	return os.Rename(temp, path)
}

// moduleDir finds the emulators' module from the folder of the package under
// test, where go test runs every test binary.
func moduleDir() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the main module: %w", err)
	}
	dir := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "internal", "e2e", "emulators")
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return "", fmt.Errorf("run the test inside this module: %w", err)
	}
	return dir, nil
}

// cacheDir returns the folder of the binaries built from the module as it is.
func cacheDir(module string) (string, error) {
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		sum.Write(b)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		// No home, as in some containers.
		base = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Getuid()))
	}
	dir := filepath.Join(base, "tranship-emulators", hex.EncodeToString(sum.Sum(nil)[:8]))
	return dir, os.MkdirAll(dir, 0o755)
}

// lock takes the file's lock, waiting for whoever holds it. The kernel frees
// it when the holder dies.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
