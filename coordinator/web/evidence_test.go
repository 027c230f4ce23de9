package web

import (
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// TestTalliesOfAnEndedJob reads a job's tallies just before and just after its
// end: what is remembered of a running job would make objects that were
// verified look as if they were not.
func TestTalliesOfAnEndedJob(t *testing.T) {
	t.Parallel()
	f := atWork()
	b := serve(t, f)
	if _, err := b.client.Tallies(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	f.change(7, func(j *work.Job) {
		j.State, j.FinishedAt, j.Copied, j.Open = work.Succeeded, noon, j.Copied+j.Open, 0
		f.remarks[work.AboutProof][7] = []work.Tally{{Name: "crc32c", Count: j.Copied}}
	})
	got, err := b.client.Tallies(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	if j, _ := f.Job(t.Context(), 7); len(got.Proofs) != 1 || got.Proofs[0].Count != j.Copied {
		t.Errorf("%d were copied, their proofs are %+v", j.Copied, got.Proofs)
	}
}
