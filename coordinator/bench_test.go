package coordinator

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// BenchmarkControlPlane moves objects that cost nothing to read or write
// through everything else: scan, plan, dispatch, agent, result, ledger. Give
// it a number of objects: go test -bench ControlPlane -benchtime 200000x.
//
// CPU is that of this process (coordinator, queue, agent) and, where /proc
// tells, of Postgres.
func BenchmarkControlPlane(b *testing.B) {
	bench := setup(b)
	c, _ := bench.coordinator("c1")
	bench.agent("a1")
	options := work.Options{Verify: work.VerifySize, Compare: work.CompareNone, MaxAttempts: 1}
	warm := bench.job(c, "null://source?objects=1", "null://target", options)
	bench.ended(warm.ID, work.Succeeded)

	own, postgres := ownCPU(b), postgresCPU(b)
	b.ResetTimer()
	j := bench.job(c, "null://source?objects="+strconv.Itoa(b.N), "null://target", options)
	j = bench.await(j.ID, "ended", func(j work.Job) bool { return !j.State.Open() })
	b.StopTimer()

	bench.counts(j, int64(b.N), 0, 0)
	perObject := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) }
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
	b.ReportMetric(perObject(ownCPU(b)-own), "cpu-µs/object")
	b.ReportMetric(perObject(postgresCPU(b)-postgres), "postgres-cpu-µs/object")
	b.ReportMetric(0, "ns/op")
}

func ownCPU(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// postgresCPU returns what this process's Postgres used, its children
// included, or 0 where that cannot be told.
func postgresCPU(tb testing.TB) time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Linux runs
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		tb.Fatal(err)
	}
	parent, ticks := make(map[int]int), make(map[int]int64)
	for _, path := range stats {
		body, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended
		}
		_, after, _ := strings.Cut(string(body), ") ")
		fields := strings.Fields(after)
		if !strings.Contains(string(body), "(postgres)") || len(fields) < 15 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent[pid], _ = strconv.Atoi(fields[1])
		for _, f := range fields[11:15] { // user, system, and both of children that have ended
			n, _ := strconv.ParseInt(f, 10, 64)
			ticks[pid] += n
		}
	}
	var all int64
	for pid, ppid := range parent {
		if ppid == os.Getpid() || parent[ppid] == os.Getpid() {
			all += ticks[pid]
		}
	}
	return time.Duration(all) * tick
}

// A nullStore invents the objects that its URL asks for and swallows what is
// written to it.
type nullStore struct{ objects int }

func openNull(_ context.Context, u *url.URL, _ storage.Credentials) (storage.Store, error) {
	n := 0
	if s := u.Query().Get("objects"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			return nil, fmt.Errorf("open %s: %w", u, err)
		}
	}
	return nullStore{n}, nil
}

const nullETag = "d41d8cd98f00b204e9800998ecf8427e"

func nullKey(i int) string { return fmt.Sprintf("images/2026/%010d.jpeg", i) }

func (s nullStore) List(_ context.Context, r work.Range, fn func([]storage.Info) error) error {
	from := 0
	if r.After != "" {
		// Keys are made of their number: find where it would stand.
		lo, hi := 0, s.objects
		for lo < hi {
			if mid := (lo + hi) / 2; nullKey(mid) <= r.After {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		from = lo
	}
	for from < s.objects {
		page := make([]storage.Info, 0, 1000)
		for ; from < s.objects && len(page) < 1000; from++ {
			key := nullKey(from)
			if !r.Contains(key) {
				from = s.objects
				break
			}
			page = append(page, storage.Info{Key: key, Size: 1, ETag: nullETag})
		}
		if len(page) == 0 {
			break
		}
		if err := fn(page); err != nil {
			return err
		}
	}
	return nil
}

func (s nullStore) Stat(_ context.Context, key string) (storage.Info, error) {
	if s.objects == 0 {
		return storage.Info{}, &storage.Error{Op: "stat", Store: "null:", Key: key, Fault: work.NotFound, Err: os.ErrNotExist}
	}
	return storage.Info{Key: key, Size: 1, ETag: nullETag}, nil
}

func (s nullStore) Get(_ context.Context, key, _ string, _, _ int64) (io.ReadCloser, storage.Info, error) {
	return io.NopCloser(strings.NewReader("x")), storage.Info{Key: key, Size: 1, ETag: nullETag}, nil
}

func (s nullStore) Put(_ context.Context, key string, body io.Reader, size int64, _ storage.PutOptions) (storage.Info, error) {
	n, err := io.Copy(io.Discard, body)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return storage.Info{Key: key, Size: n}, err
}

func (s nullStore) Delete(context.Context, string) error { return nil }
func (s nullStore) Traits() storage.Traits               { return storage.Traits{Name: "null"} }
func (s nullStore) Close() error                         { return nil }
