package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// TestAnySite moves a job that any agent may move: one at one site begins it and
// hangs, one at another goes on with it, and both end it.
func TestAnySite(t *testing.T) {
	t.Parallel()
	const n = 1500
	f := newFleet(t, 0, []string{"TRANSHIP_STREAMS=2"})
	source, target := filepath.Join(f.dir, "source"), filepath.Join(f.dir, "target")
	for i := range n {
		writeFile(t, filepath.Join(source, fmt.Sprintf("%02d/%05d", i%37, i)), fmt.Sprint("object ", i))
	}
	moved := func(agent string) int64 {
		return f.number("SELECT coalesce(sum(copied), 0) FROM tranship.items WHERE kind = 'copy' AND state = 'done' AND agent = '" + agent + "'")
	}

	id := f.submit(t, "--at", "any", "file://"+source, "file://"+target)
	// An agent that finds no queue of that site looks again only after a while.
	eventually(t, "the job to be on the queue", time.Minute, func() bool {
		return f.number("SELECT count(*) FROM tranship.items WHERE state = 'queued'") > 0
	})
	time.Sleep(100 * time.Millisecond) // between the ledger and the queue
	earth := f.startAgent(t, "TRANSHIP_SITE=earth")
	eventually(t, "the agent at earth to move objects", time.Minute, func() bool { return moved(earth.name) > 0 })
	earth.freeze()
	if f.number("SELECT open FROM tranship.jobs") < 1 {
		t.Fatal("the job was over too soon")
	}
	mars := f.startAgent(t, "TRANSHIP_SITE=mars")
	eventually(t, "the agent at mars to move objects", time.Minute, func() bool { return moved(mars.name) > 0 })
	earth.thaw()
	j := f.awaitEnd(t, id, 2*time.Minute)
	if j.State != "succeeded" || j.Copied != n {
		t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, n, j.Error)
	}
	f.wantInvariant(t, j)
	wantEqual(t, folderInventory(t, target), folderInventory(t, source))
	figures(t, "earth", moved(earth.name), "mars", moved(mars.name))
}
