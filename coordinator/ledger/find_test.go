package ledger_test

import (
	"slices"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// TestObjectsByWholeKey finds an object by its key, and none that only begins so.
func TestObjectsByWholeKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, _ := b.scanned("a", "a\x00", "a/b", "ab")
	for key, want := range map[string]int{"a": 1, "a\x00": 1, "a/": 0, "ab": 1, "b": 0, "": 0} {
		if got := b.objects(work.ObjectQuery{Job: id, Prefix: key, Whole: true}); len(got) != want || want == 1 && got[0].Key != key {
			t.Errorf("%q: %+v, want %d", key, got, want)
		}
	}
}

// TestJobsByText filters the list of jobs.
func TestJobsByText(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	first := b.create(func(n *work.NewJob) { n.Name = "Product Images 100%" })
	second := b.create(func(n *work.NewJob) { n.Source = "s3://SHOP_x/" })
	b.exec(`UPDATE tranship.jobs SET planned = 1, failed = 1 WHERE id = $1`, second)
	for _, tt := range []struct {
		q    work.JobQuery
		want []work.JobID
	}{
		{work.JobQuery{}, []work.JobID{second, first}},
		{work.JobQuery{Text: "images 100%"}, []work.JobID{first}},
		{work.JobQuery{Text: "shop_"}, []work.JobID{second}},
		{work.JobQuery{Text: "shop%"}, nil},
		{work.JobQuery{Text: "MEM://B"}, []work.JobID{second, first}},
		{work.JobQuery{Text: first.String()}, []work.JobID{first}},
		{work.JobQuery{Text: "\x00\xff"}, nil},
		{work.JobQuery{Failed: true}, []work.JobID{second}},
		{work.JobQuery{Failed: true, State: work.Paused}, nil},
	} {
		jobs, _, err := b.Jobs(b.ctx(), tt.q)
		b.must(err)
		var got []work.JobID
		for _, j := range jobs {
			got = append(got, j.ID)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.q, got, tt.want)
		}
	}
}
