package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestTwoCoordinators freezes one of two coordinators for longer than every
// time after which it is given up, then the other, and at last kills one for
// good. The jobs go on and end each time, nothing is done twice, and whichever
// is alive serves the page and the API.
func TestTwoCoordinators(t *testing.T) {
	long(t)
	// Transactions are given up after 10 s, results that nobody acknowledged are
	// handed out again after half a lease. The lease is so long that no agent
	// loses an item on a busy machine: nothing but a coordinator is ill here.
	const frozen, lease = 20 * time.Second, 15 * time.Second
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	objects := newCorpus(2000, newSeed(t))
	src.CreateBucket(t, "two-src")
	objects.toBucket(t, src, "two-src")
	f := newLargeFleet(t, 2, append(profiles(t, src, dst), "TRANSHIP_STREAMS=2"), ofLease(lease))

	var jobs []int64
	var buckets []string
	begin := func() {
		t.Helper()
		bucket := fmt.Sprintf("two-%d", len(jobs))
		dst.CreateBucket(t, bucket)
		keepVersions(t, dst, bucket)
		id := f.order(t, src.URL("two-src", ""), dst.URL(bucket, ""))
		jobs, buckets = append(jobs, id), append(buckets, bucket)
		eventually(t, "the first objects", time.Minute, func() bool {
			j, ok := f.look(t, id)
			return ok && j.Copied > 0
		})
	}
	for _, c := range []struct {
		ill, well       *daemon
		illAPI, wellAPI string
	}{
		{f.second, f.coordinator, f.secondAPI, f.api},
		{f.coordinator, f.second, f.api, f.secondAPI},
	} {
		begin() // the job that it is frozen in
		c.ill.freeze()
		since := time.Now()
		f.awaitEnd(t, jobs[len(jobs)-1], 2*time.Minute)
		figures(t, "ended_with", c.well.name, "after", seconds(time.Since(since)))
		f.wantPage(t, c.wellAPI, jobs[len(jobs)-1])
		time.Sleep(frozen - time.Since(since))
		begin() // the job that it finds when it goes on
		c.ill.thaw()
		f.awaitEnd(t, jobs[len(jobs)-1], 2*time.Minute)
		f.awaitReady(t)
		f.wantPage(t, c.illAPI, jobs[len(jobs)-1])
		f.wantPage(t, c.wellAPI, jobs[len(jobs)-1])
	}
	begin()
	f.coordinator.kill()
	since := time.Now()
	f.awaitEnd(t, jobs[len(jobs)-1], 2*time.Minute)
	figures(t, "ended_alone_after", seconds(time.Since(since)))
	f.wantPage(t, f.secondAPI, jobs[len(jobs)-1])

	f.handOuts(t)
	if n := needless(t, dst, len(objects)*len(jobs), buckets...); n != 0 {
		t.Errorf("%d objects were copied again, and no agent had died", n)
	}
	for i, id := range jobs {
		j, _ := f.look(t, id)
		if j.State != "succeeded" || j.Copied != int64(len(objects)) || j.Retries != 0 {
			t.Errorf("job %d ended %s with %d copied and %d retries, want succeeded with %d and none: %s",
				id, j.State, j.Copied, j.Retries, len(objects), j.Error)
		}
		f.wantInvariant(t, j)
		wantEqual(t, bucketInventory(t, dst, buckets[i]), objects.inventory())
	}
}

// wantPage checks that a coordinator shows a job on its page.
func (f *fleet) wantPage(t testing.TB, api string, id int64) {
	t.Helper()
	eventually(t, "the page of "+api, time.Minute, func() bool {
		resp, err := impatient.Get(fmt.Sprintf("%s/jobs/%d", api, id))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK && strings.Contains(string(body), "succeeded")
	})
}
