package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// jobOf reads the job that a command wrote as JSON, and forgets what it wrote.
func jobOf(t *testing.T, w *world) api.Job {
	t.Helper()
	var j api.Job
	if err := json.Unmarshal([]byte(w.stdout.String()), &j); err != nil {
		t.Fatalf("stdout is no job: %v\n%s\n%s", err, w.stdout.String(), w.stderr.String())
	}
	w.stdout = safeBuffer{}
	return j
}

// wantTree checks that the files below dir are exactly these.
func wantTree(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		got[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%q holds %d bytes, want %d equal ones", name, len(got[name]), len(want[name]))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}

// some returns n files of all sorts.
func some(n int) map[string]string {
	files := map[string]string{"": "", "a": "", "sub/b": "b", "sub/é ": "x", "sub/new\nline": "y", "sub/%41": "z"}
	delete(files, "")
	for i := len(files); i < n; i++ {
		files["many/"+strconv.Itoa(i)] = strings.Repeat(strconv.Itoa(i), i%2000)
	}
	return files
}

func TestCopyHere(t *testing.T) {
	t.Parallel()
	files := some(300)
	src, dst := tree(t, files), filepath.Join(t.TempDir(), "new", "folder")
	w := newWorld(t)
	w.wantStatus(t, ExitOK, "copy", "-o", "json", src, dst)
	if j := jobOf(t, w); j.State != work.Succeeded || j.Copied != 300 || j.Planned != 300 || !j.Balanced() {
		t.Errorf("the first copy's job is %+v", j)
	}
	wantTree(t, dst, files)
	for _, want := range []string{"status page: http://127.0.0.1:", "job 1 succeeded: 300 copied"} {
		if !strings.Contains(w.stderr.String(), want) {
			t.Errorf("nobody said %q:\n%s", want, w.stderr.String())
		}
	}

	// Another run finds everything there; one that meets something new copies it.
	if err := os.WriteFile(filepath.Join(src, "a"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	files["a"] = "changed"
	w.wantStatus(t, ExitOK, "copy", "-o", "json", src, dst)
	if j := jobOf(t, w); j.ID != 2 || j.Copied != 1 || j.Skipped != 299 {
		t.Errorf("the second copy's job is %+v, want job 2 with one copied", j)
	}
	wantTree(t, dst, files)
}

// What cannot be stored is a failed object, and the others arrive.
func TestCopyHereIncomplete(t *testing.T) {
	t.Parallel()
	src := tree(t, map[string]string{"good": "good", "in/the/way": "x"})
	dst := tree(t, map[string]string{"in": "a file where a folder is needed"})
	w := newWorld(t).withDatabase(t)
	w.wantStatus(t, ExitIncomplete, "copy", "-o", "json", "--max-attempts", "1", src, dst)
	if j := jobOf(t, w); j.State != work.Incomplete || j.Failed != 1 || j.Copied != 1 {
		t.Errorf("the job is %+v", j)
	}
	for _, want := range []string{"in/the/way", "finished with 1 failed objects", "the same command tries them again"} {
		if !strings.Contains(w.stderr.String(), want) {
			t.Errorf("nobody said %q:\n%s", want, w.stderr.String())
		}
	}
}

func TestCopyHereWithoutSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(t)
	src := filepath.Join(t.TempDir(), "nowhere")
	w.wantStatus(t, ExitFailed, "copy", src, t.TempDir())
	if !strings.Contains(w.stderr.String(), "nowhere") {
		t.Errorf("nobody said what is missing:\n%s", w.stderr.String())
	}
}

// A copy that is stopped says how to go on, and the same command does.
func TestCopyHereInterrupted(t *testing.T) {
	t.Parallel()
	files := some(900)
	src, dst := tree(t, files), t.TempDir()
	w := newWorld(t).withDatabase(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for ctx.Err() == nil { // as soon as something has arrived
			if found, _ := filepath.Glob(filepath.Join(dst, "many", "*")); len(found) > 10 {
				stop()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	args := []string{"copy", "-o", "json", "--streams", "2", src, dst}
	if got := w.run(ctx, args...); got != ExitCanceled {
		t.Fatalf("exit status %d, want %d\n%s", got, ExitCanceled, w.stderr.String())
	}
	if !strings.Contains(w.stderr.String(), "the same command continues it") {
		t.Errorf("nobody said how to go on:\n%s", w.stderr.String())
	}
	if w.stdout.String() != "" {
		t.Errorf("an interrupted copy wrote %q", w.stdout.String())
	}

	w.wantStatus(t, ExitOK, args...)
	if j := jobOf(t, w); j.ID != 1 || j.Copied+j.Skipped != 900 {
		t.Errorf("the job is %+v, want the first one to have gone on", j)
	}
	if !strings.Contains(w.stderr.String(), "continuing job 1") {
		t.Errorf("nobody said that it continues:\n%s", w.stderr.String())
	}
	wantTree(t, dst, files)
}

// A copy that is killed is continued by the same command, and by no other.
func TestCopyHereKilled(t *testing.T) {
	t.Parallel()
	files := some(900)
	src, dst, other := tree(t, files), t.TempDir(), t.TempDir()
	w := newWorld(t)
	c, err := startChild(io.Discard, []string{"XDG_STATE_HOME=" + w.env["XDG_STATE_HOME"]}, "copy", "--streams", "2", src, dst)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	await(t, "something to arrive", w, func() bool {
		found, _ := filepath.Glob(filepath.Join(dst, "many", "*"))
		return len(found) > 10
	})
	c.kill()
	before, err := os.ReadDir(filepath.Join(dst, "many"))
	if err != nil {
		t.Fatal(err)
	}

	w.wantStatus(t, ExitOK, "copy", "-o", "json", src, other)
	if j := jobOf(t, w); j.ID != 2 || j.Copied != 900 {
		t.Errorf("another copy's job is %+v", j)
	}
	if !strings.Contains(w.stderr.String(), "job 1, file://"+src+" to file://"+dst+", was interrupted and waits") {
		t.Errorf("nobody spoke of the first job:\n%s", w.stderr.String())
	}
	after, err := os.ReadDir(filepath.Join(dst, "many"))
	if err != nil || len(after) != len(before) {
		t.Errorf("another copy made %d objects of the first job into %d, %v", len(before), len(after), err)
	}

	w.wantStatus(t, ExitOK, "copy", "-o", "json", "--streams", "2", src, dst)
	if j := jobOf(t, w); j.ID != 1 || j.Copied+j.Skipped != 900 {
		t.Errorf("the first command's job is %+v, want job 1", j)
	}
	wantTree(t, dst, files)
	wantTree(t, other, files)
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	src := tree(t, map[string]string{"same size": "1234", "other size": "12345", "absent": "12", "zzz": ""})
	dst := tree(t, map[string]string{"same size": "abcd", "other size": "1", "more": "x"})
	for compare, want := range map[string]string{
		"content": plan("copy", 2, 2, "not at the target") + plan("copy", 1, 5, "another size at the target") + plan("compare", 1, 4, "same size; the content decides"),
		"size":    plan("copy", 2, 2, "not at the target") + plan("copy", 1, 5, "another size at the target") + plan("skip", 1, 4, "the same at the target"),
		"none":    plan("copy", 2, 2, "not at the target") + plan("copy", 2, 9, "everything is copied anew"),
	} {
		w := newWorld(t)
		w.wantStatus(t, ExitOK, "copy", "--dry-run", "--compare", compare, src, dst)
		if got, want := w.stdout.String(), dryHeader+want; !strings.HasPrefix(got, want) || strings.Contains(got, "does not fit") {
			t.Errorf("--compare %s:\n%swant\n%s", compare, got, want)
		}
	}
	wantTree(t, dst, map[string]string{"same size": "abcd", "other size": "1", "more": "x"})

	w := newWorld(t)
	w.wantStatus(t, ExitOK, "copy", "--dry-run", src, filepath.Join(t.TempDir(), "not there yet"))
	if got, want := w.stdout.String(), dryHeader+plan("copy", 4, 11, "not at the target"); !strings.HasPrefix(got, want) ||
		!strings.Contains(got, "target\tstate\t-\t-\t-\tnot there yet\t-\n") {
		t.Errorf("a target that is not there yet:\n%swant\n%s", got, want)
	}
	w.wantStatus(t, ExitFailed, "copy", "--dry-run", filepath.Join(t.TempDir(), "nowhere"), dst)
}

const dryHeader = "ABOUT\tNAME\tPOLICY\tOBJECTS\tBYTES\tWHY\tEXAMPLES\n"

// plan is a line of a dry run.
func plan(action string, objects, bytes int, why string) string {
	return fmt.Sprintf("plan\t%s\t-\t%d\t%d\t%s\t-\n", action, objects, bytes, why)
}

// A key that cannot be written beside what stands at the target is found
// beforehand, and nothing is written.
func TestDryRunCollides(t *testing.T) {
	t.Parallel()
	src := tree(t, map[string]string{"in/the/way": "x", "good": "good", "more": "1234567"})
	dst := tree(t, map[string]string{"in": "a file where a folder is needed", "more/a": ""})
	w := newWorld(t)
	w.wantStatus(t, ExitFailed, "copy", "--dry-run", "-o", "json", src, dst)
	var got preflight
	if err := json.Unmarshal([]byte(w.stdout.String()), &got); err != nil {
		t.Fatalf("%v\n%s", err, w.stdout.String())
	}
	if len(got.Findings) != 1 || got.Findings[0].Field != work.FieldKeys || got.Findings[0].Objects != 2 || got.Findings[0].Bytes != 8 {
		t.Errorf("found\n%s", w.stdout.String())
	}
	if !strings.Contains(w.stderr.String(), "objects would fail: 2 because of keys") || !strings.Contains(w.stderr.String(), "--carry") {
		t.Errorf("the verdict is\n%s", w.stderr.String())
	}
	w = newWorld(t)
	w.wantStatus(t, ExitOK, "copy", "--dry-run", "--carry", "keys=skip", src, dst)
	if !strings.Contains(w.stdout.String(), "does not fit\tkeys\tskip\t2\t8\t") {
		t.Errorf("with keys=skip:\n%s", w.stdout.String())
	}
	wantTree(t, dst, map[string]string{"in": "a file where a folder is needed", "more/a": ""})
}
