package e2e

import (
	"math/rand/v2"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestKilledAtRandom kills agents, the coordinator (and the queue inside it)
// and Postgres at random moments of a job. Everything must arrive, the
// counters must hold, and what was moved more than once is printed.
func TestKilledAtRandom(t *testing.T) {
	long(t)
	seed := newSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 1))
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	src.CreateBucket(t, "crash-src")
	dst.CreateBucket(t, "crash-dst")
	keepVersions(t, dst, "crash-dst")
	objects := newCorpus(5000, seed)
	objects.toBucket(t, src, "crash-src")

	// Few streams, so that the job lives long enough to be hit often.
	f := newFleet(t, 3, append(profiles(t, src, dst), "TRANSHIP_STREAMS=2"))
	id := f.submit(t, src.URL("crash-src", ""), dst.URL("crash-dst", ""), "--max-attempts", "50")

	kills := map[string]int{}
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); {
		time.Sleep(time.Duration(200+rnd.IntN(1300)) * time.Millisecond)
		switch v := rnd.IntN(10); {
		case v < 6:
			a := f.agents[rnd.IntN(len(f.agents))]
			a.kill()
			a.start(t)
			kills["agent"]++
		case v < 8:
			f.coordinator.kill()
			f.coordinator.start(t)
			kills["coordinator"]++
		default:
			if err := syscall.Kill(f.postgres.PID(), syscall.SIGKILL); err != nil {
				t.Fatalf("kill Postgres: %v", err)
			}
			<-f.postgres.Done()
			_ = f.postgres.Stop() // gives up the folder; that it was killed is what it says
			f.startPostgres(t)
			kills["postgres"]++
		}
		if kills["agent"] > 2 && kills["coordinator"] > 0 && kills["postgres"] > 0 && f.over(t, id) {
			break
		}
	}
	f.awaitReady(t)
	j := f.awaitEnd(t, id, 5*time.Minute)
	t.Logf("killed: %v", kills)
	t.Logf("job %d: %s: %d planned, %d copied, %d skipped, %d failed, %d retries", j.ID, j.State, j.Planned, j.Copied, j.Skipped, j.Failed, j.Retries)
	written := countVersions(t, dst, "crash-dst")
	t.Logf("needless copies: %d objects were written %d times: %.2f %% more than needed",
		len(objects), written, 100*float64(written-len(objects))/float64(len(objects)))
	if j.State != "succeeded" || j.Planned != int64(len(objects)) {
		t.Errorf("job ended %s with %d planned, want succeeded with %d: %s", j.State, j.Planned, len(objects), j.Error)
		t.Log(f.cli(t, "job", "failures", strconv.FormatInt(id, 10)).stdout)
	}
	f.wantInvariant(t, j)
	wantEqual(t, bucketInventory(t, dst, "crash-dst"), objects.inventory())
}

// keepVersions makes the server keep every version that is written, so that
// copies made twice can be counted.
func keepVersions(t *testing.T, srv *servers.S3, bucket string) {
	t.Helper()
	_, err := client(srv).PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		t.Fatal(err)
	}
}

func countVersions(t *testing.T, srv *servers.S3, bucket string) int {
	t.Helper()
	n := 0
	pages := s3.NewListObjectVersionsPaginator(client(srv), &s3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Versions)
	}
	return n
}

// over reports whether the job has ended, false also if nobody answers.
func (f *fleet) over(t *testing.T, id int64) bool {
	r := f.cli(t, "job", "show", strconv.FormatInt(id, 10), "-o", "json")
	if r.code != 0 {
		return false
	}
	s := decode[jobView](t, r.stdout).State
	return s != "running" && s != "paused"
}
