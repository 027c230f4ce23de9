package web

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// The checker of accessibility that the pages are held to. It is fetched once
// and never kept with the source.
const (
	axeVersion = "4.14.1"
	axeSum     = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745" // SHA-256 of its npm package
)

// axe returns the text of axe-core, or skips the test where it cannot be had.
func axe(t *testing.T) string {
	t.Helper()
	text, err := axeText()
	if err != nil {
		t.Skipf("axe-core %s cannot be had: %v", axeVersion, err)
	}
	return text
}

var axeText = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "tranship-tests")
	name := "axe-core-" + axeVersion + ".tgz"
	path := filepath.Join(dir, name)
	if text, err := readAxe(path); err == nil {
		return text, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("%w: install npm, which fetches it once", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(dir, "axe") // another test binary may be doing the same
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	cmd := exec.Command(npm, "pack", "--silent", "axe-core@"+axeVersion)
	cmd.Dir = temp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm pack: %w\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(temp, name), path); err != nil {
		return "", err
	}
	return readAxe(path)
})

// readAxe reads the program out of its package, if that is the right one.
func readAxe(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != axeSum {
		return "", fmt.Errorf("%s has the SHA-256 %s, not %s", path, got, axeSum)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return "", err
	}
	for files := tar.NewReader(unzipped); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("%s holds no axe.min.js", path)
		}
		if err != nil {
			return "", err
		}
		if h.Name == "package/axe.min.js" {
			text, err := io.ReadAll(files)
			return string(text), err
		}
	}
}
