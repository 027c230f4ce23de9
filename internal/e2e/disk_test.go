package e2e

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/pgserver"
	"github.com/tranship/tranship/internal/smalldisk"
)

// TestPostgresDiskFull fills the disk of the ledger in the middle of a job.
// Nothing is lost, the operator is told why nothing moves, and it goes on when
// there is room again. Postgres itself may end meanwhile; it is then started
// again, as systemd does.
func TestPostgresDiskFull(t *testing.T) {
	long(t)
	f := newFleet(t, 2, []string{"TRANSHIP_STREAMS=2"})
	f.coordinator.stop(t)
	_ = f.postgres.Stop() // nothing was asked for yet: it begins anew on the small disk
	disk := filepath.Join(f.dir, "postgres")
	smalldisk.Mount(t, disk, "160m")
	f.startPostgres(t)
	f.coordinator.start(t)
	f.awaitReady(t)

	dir, objects := t.TempDir(), newCorpus(3000, newSeed(t))
	objects.toFolder(t, dir+"/src")
	id := f.submit(t, "file://"+dir+"/src", "file://"+dir+"/dst")
	f.awaitCopied(t, id, 300)
	free := smalldisk.Fill(t, disk)
	filled := time.Now()
	deaths := 0
	revive := func() {
		select {
		case <-f.postgres.Done():
			deaths++
			_ = f.postgres.Stop()
			if pg, err := pgserver.Start(context.Background(), pgserver.Options{Dir: disk}); err == nil {
				f.postgres = pg
			}
		default:
		}
	}
	eventually(t, "the operator to be told", 2*time.Minute, func() bool {
		revive()
		return strings.Contains(f.reasons(t)["postgres"], "no disk space left")
	})
	t.Logf("told after %v: postgres %s", time.Since(filled).Round(time.Millisecond), f.reasons(t)["postgres"])
	// It lived on what room was left in its log. Without that it ends.
	_ = exec.Command("psql", "-qX", f.postgres.URL("tranship"), "-c", "SELECT pg_switch_wal()", "-c", "CREATE TABLE more ()").Run()
	eventually(t, "Postgres to end", 2*time.Minute, func() bool { revive(); return deaths > 0 })
	t.Logf("after its end: postgres %s", f.reasons(t)["postgres"])

	free()
	freed := time.Now()
	eventually(t, "the ledger to work again", 2*time.Minute, func() bool { revive(); return f.reasons(t) == nil })
	t.Logf("well %v after there was room; Postgres ended %d times meanwhile", time.Since(freed).Round(time.Millisecond), deaths)
	f.wantCopied(t, id, dir+"/dst", objects)
}

// TestQueueDiskFull fills the disk of the queue inside the coordinator. Its
// server then takes nothing more until it is restarted, which happens by
// itself once there is room.
func TestQueueDiskFull(t *testing.T) {
	long(t)
	f := newFleet(t, 2, []string{"TRANSHIP_STREAMS=2"})
	f.coordinator.stop(t)
	disk := filepath.Join(f.dir, "small")
	smalldisk.Mount(t, disk, "64m")
	f.coordinator.env = append(f.coordinator.env, "TRANSHIP_DATA="+disk)
	f.coordinator.start(t)
	f.awaitReady(t)

	dir, objects := t.TempDir(), newCorpus(3000, newSeed(t))
	objects.toFolder(t, dir+"/src")
	id := f.submit(t, "file://"+dir+"/src", "file://"+dir+"/dst")
	f.awaitCopied(t, id, 300)
	free := smalldisk.Fill(t, disk)
	filled := time.Now()
	eventually(t, "the operator to be told", 2*time.Minute, func() bool {
		return strings.Contains(f.reasons(t)["nats"], "no space left")
	})
	t.Logf("told after %v: nats %s", time.Since(filled).Round(time.Millisecond), f.reasons(t)["nats"])
	if page := f.page(t); !strings.Contains(page, "nats has no space left") {
		t.Errorf("the page does not say why nothing moves:\n%s", page)
	}
	time.Sleep(5 * time.Second) // in which the server would be restarted if it were restarted too early

	free()
	freed := time.Now()
	f.awaitReady(t)
	t.Logf("well %v after there was room", time.Since(freed).Round(time.Millisecond))
	f.wantCopied(t, id, dir+"/dst", objects)
	if said := f.coordinator.log.tail(1 << 20); !strings.Contains(said, "queue server restarted") {
		t.Error("the queue's server was never restarted: its disk was not full long enough to prove anything")
	}
}

// TestExternalQueueDiskFull fills the disk of a queue that is not ours to heal.
// Such a server takes nothing more even when there is room again, until
// somebody restarts it.
func TestExternalQueueDiskFull(t *testing.T) {
	long(t)
	f := newLargeFleet(t, 2, []string{"TRANSHIP_STREAMS=2"}, func(f *fleet) { smalldisk.Mount(t, filepath.Join(f.dir, "queue"), "64m") })
	dir, objects := t.TempDir(), newCorpus(3000, newSeed(t))
	objects.toFolder(t, dir+"/src")
	id := f.submit(t, "file://"+dir+"/src", "file://"+dir+"/dst")
	f.awaitCopied(t, id, 300)
	free := smalldisk.Fill(t, f.queue.dir)
	filled := time.Now()
	told := func() bool { return strings.Contains(f.reasons(t)["nats"], "does not confirm what it is given") }
	eventually(t, "the operator to be told", 2*time.Minute, told)
	t.Logf("told after %v: nats %s", time.Since(filled).Round(time.Millisecond), f.reasons(t)["nats"])
	if page := f.page(t); !strings.Contains(page, "look at its log") {
		t.Errorf("the page does not say what to do:\n%s", page)
	}
	free()
	time.Sleep(12 * time.Second)
	if !told() {
		t.Errorf("nats %s after there was room, but it takes nothing yet", f.reasons(t)["nats"])
	}
	f.queue.kill()
	f.queue.start(t)
	restarted := time.Now()
	f.awaitReady(t)
	t.Logf("well %v after the restart", time.Since(restarted).Round(time.Millisecond))
	f.wantCopied(t, id, dir+"/dst", objects)
}

// wantCopied waits for the end of a job and fails unless it copied all objects,
// by its own books and by the oracle.
func (f *fleet) wantCopied(t testing.TB, id int64, folder string, objects corpus) {
	t.Helper()
	j := f.awaitEnd(t, id, 3*time.Minute)
	if j.State != "succeeded" || j.Copied != int64(len(objects)) {
		t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, len(objects), j.Error)
	}
	f.wantInvariant(t, j)
	wantEqual(t, folderInventory(t, folder), objects.inventory())
}

// reasons returns why the coordinator is not ready, by what it depends on; nil
// if it is.
func (f *fleet) reasons(t testing.TB) map[string]string {
	t.Helper()
	_, body := f.get(t, "/readyz", "application/json")
	return decode[struct{ Reasons map[string]string }](t, body).Reasons
}

// page returns the overview as a browser gets it.
func (f *fleet) page(t testing.TB) string {
	t.Helper()
	_, body := f.get(t, "/", "text/html")
	return body
}

func (f *fleet) get(t testing.TB, path, accept string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.api+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	return answerOf(t, req)
}

// answerOf makes a request that must be answered, however late.
func answerOf(t testing.TB, req *http.Request) (status int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
