package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sync/errgroup"
)

// oddNames are keys that careless programs change or lose.
var oddNames = []string{
	"odd/two words", "odd/a+b", "odd/100%", "odd/%2F", "odd/a&b=c?d#e", "odd/日本語", "odd/e\u0301", "odd/\u00e9",
	"odd/.hidden", "odd/back\\slash", "odd/quote\"'", "odd/new\nline", "odd/=1+1", "odd/CON", "odd/UPPER", "odd/upper",
}

// makeObjects writes n files below dir, always the same ones, and returns how
// many bytes they hold.
func makeObjects(ctx context.Context, dir string, n int) (int64, error) {
	names := oddNames
	if runtime.GOOS == "linux" {
		names = append(names[:len(names):len(names)], "odd/not-utf8-\xff\xfe") // elsewhere no file can have this name
	}
	rnd := rand.New(rand.NewPCG(2026, 11))
	var total int64
	for i := range n {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		name := "data/" + strconv.Itoa(i%50) + "/" + strconv.Itoa(i) + ".bin"
		if i < len(names) {
			name = names[i]
		}
		content := randomBytes(rnd, demoSize(rnd, i))
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return total, fmt.Errorf("generate objects: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return total, fmt.Errorf("generate objects: %w", err)
		}
		total += int64(len(content))
	}
	return total, nil
}

// demoSize returns the size of object i: mostly small, some empty, a few large.
func demoSize(rnd *rand.Rand, i int) int {
	switch {
	case i%50 == 7:
		return 0
	case i%1000 == 500:
		return 4<<20 + i
	case i%100 == 42:
		return 256 << 10
	}
	return rnd.IntN(16 << 10)
}

func randomBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, (n+7)/8*8)
	for i := 0; i < len(b); i += 8 {
		v := rnd.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b[:n]
}

// compareFolders walks both folders and compares every file byte by byte by
// its hash. It uses the standard library alone and nothing of the product, so
// that it can judge the product.
func compareFolders(ctx context.Context, a, b string) (same int, differences []string, err error) {
	var inA, inB map[string][]byte
	var g errgroup.Group
	g.Go(func() (err error) { inA, err = hashFolder(ctx, a); return err })
	g.Go(func() (err error) { inB, err = hashFolder(ctx, b); return err })
	if err := g.Wait(); err != nil {
		return 0, nil, fmt.Errorf("compare the folders: %w", err)
	}
	for name, sum := range inA {
		switch other, ok := inB[name]; {
		case !ok:
			differences = append(differences, "missing at the target: "+strconv.QuoteToASCII(name))
		case !bytes.Equal(sum, other):
			differences = append(differences, "different: "+strconv.QuoteToASCII(name))
		default:
			same++
		}
	}
	for name := range inB {
		if _, ok := inA[name]; !ok {
			differences = append(differences, "only at the target: "+strconv.QuoteToASCII(name))
		}
	}
	return same, differences, nil
}

// hashFolder returns the SHA-256 of every file below dir by its path.
func hashFolder(ctx context.Context, dir string) (map[string][]byte, error) {
	sums := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		sums[name] = h.Sum(nil)
		return err
	})
	return sums, err
}
