package api

import (
	"testing"

	"github.com/tranship/tranship/internal/work"
)

func TestProven(t *testing.T) {
	t.Parallel()
	copied := func(n int64, state work.JobState) work.Job {
		return work.Job{State: state, Counts: work.Counts{Copied: n}}
	}
	tests := []struct {
		name   string
		job    work.Job
		proofs []work.Tally
		want   string
	}{
		{"nothing copied", copied(0, work.Succeeded), nil, ""},
		{"nothing known yet", copied(10, work.Running), nil, ""},
		{"all", copied(5000, work.Succeeded), []work.Tally{{Name: "crc32c", Count: 5000}}, "5,000 copied: 5,000 verified (crc32c both ends)"},
		{"some by size", copied(5000, work.Succeeded), []work.Tally{{Name: "crc32c", Count: 4990}, {Name: "size", Count: 10}},
			"5,000 copied: 4,990 verified (crc32c both ends), 10 by size only: not verified"},
		{"every sort", copied(1111, work.Incomplete), []work.Tally{{Name: "crc32c", Count: 1000}, {Name: "md5/target", Count: 100},
			{Name: "md5/source", Count: 10}, {Name: "", Count: 1}},
			"1,111 copied: 1,100 verified (1,000 crc32c both ends, 100 md5 at the target), 10 by md5 at the source only, 1 by size only: not verified"},
		{"none", copied(3, work.Succeeded), []work.Tally{{Name: "size", Count: 3}}, "3 copied: 3 by size only: not verified"},
		{"of an older version", copied(3, work.Succeeded), nil, "3 copied: 3 without a proof on record: not verified"},
		{"counts that are older", copied(3, work.Running), []work.Tally{{Name: "crc32c", Count: 5}}, "5 copied: 5 verified (crc32c both ends)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Proven(tt.job, tt.proofs); got != tt.want {
				t.Errorf("Proven = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestFieldsHaveWords keeps a reason from being taken for a comparison.
func TestFieldsHaveWords(t *testing.T) {
	t.Parallel()
	for _, f := range work.Fields() {
		if StoodThere(string(f)) || Because(string(f)) == "of the same "+string(f) {
			t.Errorf("objects without %s are said to be skipped because %s", f, Because(string(f)))
		}
	}
	if !StoodThere("etag") || Because("etag") != "of the same etag" {
		t.Errorf("objects that stood there are said to be skipped because %s", Because("etag"))
	}
	for _, p := range []work.Policy{work.PolicyFail, work.PolicySkip, work.PolicyDrop} {
		if PolicyWords(p) == string(p) {
			t.Errorf("policy %s has no words", p)
		}
	}
}
