package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/cli"
)

// An end is a kind of store as the matrix of pairs uses it: how to fill and to
// read it without the product.
type end interface {
	name() string
	// place makes an empty store of a name and returns its URL.
	place(t testing.TB, name string) string
	fill(t testing.TB, name string, objects corpus)
	inventory(t testing.TB, name string) inventory
	// headers returns the content type and the user metadata of an object, nil
	// if the store keeps none.
	headers(t testing.TB, name, key string) map[string]string
}

// matrixKeys are keys that every kind of store can hold.
var matrixKeys = []string{
	"odd/a b", "odd/a+b", "odd/100%", "odd/%41", "odd/a&b=c;d", "odd/日本語/ключ", "odd/a-b", "odd/a.txt", "odd/a/x",
	"odd/(x)[y]{z}", "odd/__0x41__", "odd/.hidden", "odd/~tilde",
}

// TestMatrix copies the same objects between every two kinds of stores, both
// ways, and compares what arrived with what was sent, byte by byte and header
// by header, by other means than the product's. One process does it all, so
// that the memory store can take part.
func TestMatrix(t *testing.T) {
	long(t)
	ends := matrixEnds(t)
	hub := upHere(t)
	seed := newSeed(t)
	objects := newCorpus(60, seed)
	for _, key := range oddKeys() {
		delete(objects, key)
	}
	for i, key := range matrixKeys {
		objects[key] = []byte(fmt.Sprint("at odd place ", i))
	}
	objects["zero"] = nil
	for _, from := range ends {
		from.place(t, "matrix-src")
		from.fill(t, "matrix-src", objects)
		for _, to := range ends {
			t.Run(from.name()+" to "+to.name(), func(t *testing.T) {
				place := "matrix-" + from.name()
				// Objects above 8 MiB travel in parts, by the items that several agents
				// would share.
				r := must(t, []string{"TRANSHIP_SERVER=" + hub}, "copy", "--wait", "-o", "json", "--split-size", "8MiB",
					from.place(t, "matrix-src"), to.place(t, place))
				j := decode[jobView](t, r.stdout)
				if j.State != "succeeded" || j.Copied != int64(len(objects)) {
					t.Errorf("job ended %s with %d of %d copied: %s", j.State, j.Copied, len(objects), j.Error)
				}
				wantEqual(t, to.inventory(t, place), objects.inventory())
				want, got := from.headers(t, "matrix-src", "odd/a+b"), to.headers(t, place, "odd/a+b")
				for name, value := range want {
					if got != nil && got[name] != value && !(to.name() == "azblob" && name == "metadata x-y") { // no name for Azure
						t.Errorf("%s arrived as %q, want %q", name, got[name], value)
					}
				}
				t.Log(provenAs(r.stderr))
			})
		}
	}
}

// provenAs returns what the summary of a copy says of its proofs.
func provenAs(summary string) string {
	for line := range strings.Lines(summary) {
		if strings.Contains(line, " copied: ") {
			return strings.TrimSpace(line)
		}
	}
	return "no word of proofs"
}

// upHere runs everything in this process until the test ends, and returns the
// API's address.
func upHere(t testing.TB) string {
	t.Helper()
	dir, page := t.TempDir(), freeAddress(t)
	conf := filepath.Join(dir, "tranship.yaml")
	writeFile(t, conf, fmt.Sprintf("data: %s\nnats:\n  listen: %s\nhttp:\n  listen: %s\n  open: true\nagent:\n  name: here\n",
		filepath.Join(dir, "data"), freeAddress(t), page))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(ctx, []string{"up", "--config", conf}, strings.NewReader(""), io.Discard, &testLog{t})
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("up ended with status %d", code)
		}
	})
	api := "http://" + page
	eventually(t, "everything to be ready", time.Minute, func() bool {
		resp, err := http.Get(api + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return api
}

// A testLog shows what a program says when its test fails.
type testLog struct{ t testing.TB }

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}
