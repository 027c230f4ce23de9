package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// A usage is what a copy took: the wall time, and the CPU time and peak
// memory of the processes that moved the bytes and of those that kept books.
type usage struct {
	wall       time.Duration
	cpu        time.Duration // of what moves bytes
	rss        int64         // peak, of what moves bytes
	control    time.Duration // coordinator with the queue inside it
	postgres   time.Duration
	controlled bool
}

// A contender copies one bucket to another.
type contender struct {
	name string
	copy func(b *testing.B, src, dst string) usage
}

// BenchmarkAgainstRclone copies many small and a few large objects from one
// S3 server to another: with the product, with rclone, and with the bare
// limit (a signed GET streamed into a signed PUT, no checks, no books), in
// turn, and prints the medians and the ratios to the bare limit of the same
// round. TRANSHIP_BENCH_SMALL, _LARGE, _LARGE_MIB and _ROUNDS size it.
func BenchmarkAgainstRclone(b *testing.B) {
	small, large := setting(b, "TRANSHIP_BENCH_SMALL", 20000), setting(b, "TRANSHIP_BENCH_LARGE", 2)
	mib, rounds := setting(b, "TRANSHIP_BENCH_LARGE_MIB", 1024), setting(b, "TRANSHIP_BENCH_ROUNDS", 3)
	src, dst := servers.VersityGW(b), servers.MinIO(b)
	env := profiles(b, src, dst)
	fill(b, src, "small", small, 16<<10)
	fill(b, src, "large", large, mib<<20)

	f := newFleet(b, 1, env)
	contenders := []contender{
		{"bare limit", func(b *testing.B, from, to string) usage { return bare(b, src, dst, from, to) }},
		{"tranship", func(b *testing.B, from, to string) usage { return f.measure(b, src.URL(from, ""), dst.URL(to, "")) }},
		{"rclone", func(b *testing.B, from, to string) usage { return rclone(b, src, dst, from, to) }},
	}
	for _, load := range []struct {
		bucket  string
		objects int
		bytes   int64
		what    string
	}{
		{"small", small, int64(small) * 16 << 10, fmt.Sprintf("%d objects of 16 KiB", small)},
		{"large", large, int64(large) * int64(mib) << 20, fmt.Sprintf("%d objects of %d MiB", large, mib)},
	} {
		b.Run(load.bucket, func(b *testing.B) {
			results := map[string][]usage{}
			for range b.N {
				for round := range rounds {
					for i, c := range contenders {
						to := fmt.Sprintf("%s-%d-%d-%d", load.bucket, b.N, round, i)
						dst.CreateBucket(b, to)
						u := c.copy(b, load.bucket, to)
						results[c.name] = append(results[c.name], u)
						wantObjects(b, dst, to, load.objects)
					}
				}
			}
			b.Logf("%s, %d rounds, %d cores\n%s", load.what, rounds, runtime.NumCPU(), table(contenders, results, load.objects, load.bytes))
		})
	}
}

// setting returns a number from the environment.
func setting(t testing.TB, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// fill makes a bucket of n random objects.
func fill(b *testing.B, srv *servers.S3, bucket string, n, size int) {
	b.Helper()
	srv.CreateBucket(b, bucket)
	c := client(srv)
	rnd := rand.New(rand.NewPCG(1, 2))
	body := randomBytes(rnd, size)
	var g errgroup.Group
	g.SetLimit(8)
	for i := range n {
		key := fmt.Sprintf("%03d/object-%06d", i%100, i)
		g.Go(func() error {
			_, err := c.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

// wantObjects checks that a copy did its work, by counting, and makes room.
func wantObjects(b *testing.B, srv *servers.S3, bucket string, n int) {
	b.Helper()
	got := 0
	pages := s3.NewListObjectsV2Paginator(client(srv), &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		got += len(page.Contents)
		ids := make([]types.ObjectIdentifier, len(page.Contents))
		for i, o := range page.Contents {
			ids[i].Key = o.Key
		}
		if len(ids) == 0 {
			continue
		}
		if _, err := client(srv).DeleteObjects(context.Background(), &s3.DeleteObjectsInput{Bucket: &bucket,
			Delete: &types.Delete{Objects: ids}}); err != nil {
			b.Fatal(err)
		}
	}
	if got != n {
		b.Fatalf("%s holds %d objects, want %d", bucket, got, n)
	}
}

// measure runs one job on the fleet.
func (f *fleet) measure(b *testing.B, source, target string) usage {
	b.Helper()
	agent, control, pg := f.agents[0].cmd.Process.Pid, f.coordinator.cmd.Process.Pid, f.postgres.PID()
	a0, c0, p0 := treeCPU(b, agent), treeCPU(b, control), treeCPU(b, pg)
	begin := time.Now()
	id := f.submit(b, source, target)
	for {
		resp, err := http.Get(fmt.Sprintf("%s/v1/jobs/%d", f.api, id))
		if err != nil {
			b.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(resp.Body)
		resp.Body.Close()
		j := decode[jobView](b, body.String())
		if j.State == "succeeded" {
			break
		}
		if j.State != "running" {
			b.Fatalf("job ended %s: %s", j.State, j.Error)
		}
		time.Sleep(100 * time.Millisecond)
	}
	u := usage{wall: time.Since(begin), controlled: true}
	u.cpu, u.control, u.postgres = treeCPU(b, agent)-a0, treeCPU(b, control)-c0, treeCPU(b, pg)-p0
	u.rss = peakRSS(agent)
	return u
}

// rclone runs a copy with the flags that make it fast.
func rclone(b *testing.B, src, dst *servers.S3, from, to string) usage {
	b.Helper()
	cmd := exec.Command(servers.Binary(b, "rclone"), "copy", "src:"+from, "dst:"+to,
		"--config", filepath.Join(b.TempDir(), "none"), "--transfers", "64", "--checkers", "64", "--fast-list",
		"--multi-thread-streams", "4", "--multi-thread-chunk-size", "16M")
	cmd.Env = cleanEnv()
	for name, srv := range map[string]*servers.S3{"SRC": src, "DST": dst} {
		p := "RCLONE_CONFIG_" + name + "_"
		cmd.Env = append(cmd.Env, p+"TYPE=s3", p+"PROVIDER=Other", p+"ENDPOINT="+srv.Endpoint,
			p+"ACCESS_KEY_ID="+srv.AccessKey, p+"SECRET_ACCESS_KEY="+srv.SecretKey, p+"REGION=us-east-1",
			p+"NO_CHECK_BUCKET=true", p+"USE_SERVER_MODTIME=true", p+"UPLOAD_CONCURRENCY=4", p+"CHUNK_SIZE=16M")
	}
	return ofProcess(b, cmd)
}

// ofProcess runs a command to its end and measures it.
func ofProcess(b *testing.B, cmd *exec.Cmd) usage {
	b.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	// The peak that the kernel reports at the end counts what this process had
	// resident before the command was executed; so it is watched instead.
	u := usage{}
	for {
		select {
		case err := <-done:
			if err != nil {
				b.Fatalf("%s: %v\n%s", cmd.Path, err, out.String())
			}
			u.wall = time.Since(begin)
			u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			return u
		case <-time.After(50 * time.Millisecond):
			u.rss = max(u.rss, peakRSS(cmd.Process.Pid))
		}
	}
}

// treeCPU returns the CPU time of a process, its living children and those it
// has waited for.
func treeCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	total := time.Duration(0)
	procs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range procs {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		// The command's name may hold anything; fields count from its end.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		self := path == fmt.Sprintf("/proc/%d/stat", pid)
		if !self && fields[1] != strconv.Itoa(pid) {
			continue
		}
		ticks := fields[11:13]
		if self {
			ticks = fields[11:15]
		}
		for _, s := range ticks {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			total += time.Duration(n) * 10 * time.Millisecond // USER_HZ is 100 on Linux
		}
	}
	return total
}

// peakRSS returns the most memory a living process has had resident, 0 if it
// is gone.
func peakRSS(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64) // the kernel wrote it
			return kib << 10
		}
	}
	return 0
}

// table prints the median of each figure and the wall ratio round by round.
func table(contenders []contender, results map[string][]usage, objects int, bytes int64) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "tool\twall s\t× bare\tCPU s\tCPU s/GiB\tpeak MB\tcoordinator+NATS µs/object\tPostgres µs/object")
	base := results[contenders[0].name]
	for _, c := range contenders {
		us := results[c.name]
		ratios := make([]float64, len(us))
		for i := range us {
			ratios[i] = us[i].wall.Seconds() / base[i].wall.Seconds()
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.2f\t%.1f\t%.2f\t%.0f", c.name, median(us, func(u usage) float64 { return u.wall.Seconds() }),
			middle(ratios), median(us, func(u usage) float64 { return u.cpu.Seconds() }),
			median(us, func(u usage) float64 { return u.cpu.Seconds() * (1 << 30) / float64(bytes) }),
			median(us, func(u usage) float64 { return float64(u.rss) / 1e6 }))
		if us[0].controlled {
			fmt.Fprintf(w, "\t%.0f\t%.0f",
				median(us, func(u usage) float64 { return float64(u.control.Microseconds()) / float64(objects) }),
				median(us, func(u usage) float64 { return float64(u.postgres.Microseconds()) / float64(objects) }))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return out.String()
}

func median(us []usage, of func(usage) float64) float64 {
	v := make([]float64, len(us))
	for i, u := range us {
		v[i] = of(u)
	}
	return middle(v)
}

func middle(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
