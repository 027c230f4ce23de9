package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tranship/tranship/agent"
)

// TestMemoryIsBounded copies a huge sparse file and 100,000 tiny ones in one
// job and reads off the agent's peak memory, which must not depend on either.
// TRANSHIP_HUGE_GIB sizes the huge one.
func TestMemoryIsBounded(t *testing.T) {
	long(t)
	const tiny, memory = 100_000, 32 << 20
	huge := int64(setting(t, "TRANSHIP_HUGE_GIB", 8)) << 30
	dir := t.TempDir()
	if free := freeSpace(t, dir); free < 2*huge {
		huge = free / 4 >> 30 << 30
		t.Logf("only %d GiB are free: the huge file has %d GiB", free>>30, huge>>30)
	}
	sparse(t, filepath.Join(dir, "src", "huge"), huge)
	for i := range tiny {
		writeFile(t, filepath.Join(dir, "src", fmt.Sprintf("%03d", i%500), fmt.Sprint(i)), fmt.Sprintf("tiny %d", i))
	}

	f := newFleet(t, 1, []string{fmt.Sprintf("TRANSHIP_MEMORY=%d", memory)})
	pid := f.agents[0].cmd.Process.Pid
	idle := peakRSS(pid)
	id := f.submit(t, "file://"+dir+"/src", "file://"+dir+"/dst")
	j := f.awaitEnd(t, id, 15*time.Minute)
	peak := peakRSS(pid)
	t.Logf("%d objects, the largest of %d GiB: %s; agent.memory %d MiB, VmHWM %d MiB (%d MiB when idle)",
		j.Planned, huge>>30, j.State, memory>>20, peak>>20, idle>>20)
	if j.State != "succeeded" || j.Copied != tiny+1 {
		t.Fatalf("job ended %s with %d copied: %s", j.State, j.Copied, j.Error)
	}
	f.wantInvariant(t, j)
	if limit := int64(memory + agent.OwnMemory); peak == 0 || peak > limit {
		t.Errorf("the agent used %d MiB, the limit is %d", peak>>20, limit>>20)
	}
	st, err := os.Stat(filepath.Join(dir, "dst", "huge"))
	if err != nil || st.Size() != huge {
		t.Errorf("the huge file arrived as %v, %v", st, err)
	}
	if proofs := f.sql(t, fmt.Sprintf("SELECT DISTINCT proof FROM tranship.objects WHERE job_id = %d", id)); strings.Contains(proofs, "size") {
		t.Errorf("proofs: %q", proofs)
	}
}

func freeSpace(t testing.TB, dir string) int64 {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	return int64(fs.Bavail) * fs.Bsize
}
