package ledger_test

import (
	"testing"
	"time"
)

// TestSeries thins samples evenly and keeps the first and the last.
func TestSeries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	id := b.create()
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	b.exec(`INSERT INTO tranship.samples (job_id, at, objects, failed, bytes)
		SELECT $1, $2::timestamptz + n * interval '5 seconds', n, 0, n * 10 FROM generate_series(0, 20000) AS n`, id, at)
	for _, tt := range []struct {
		since  time.Time
		points int
		want   int
		first  int64
	}{{time.Time{}, 600, 600, 0}, {time.Time{}, 1, 2, 0}, {at.Add(99_900 * time.Second), 600, 20, 19981}, {at.Add(99_950 * time.Second), 5, 5, 19991}, {at.Add(200_000 * time.Second), 9, 0, 0}} {
		got, err := b.Series(b.ctx(), id, tt.since, tt.points)
		b.must(err)
		if len(got) != tt.want {
			t.Errorf("since %s, %d points: got %d, want %d", tt.since, tt.points, len(got), tt.want)
			continue
		}
		if tt.want == 0 {
			continue
		}
		if got[0].Objects != tt.first || got[len(got)-1].Objects != 20000 {
			t.Errorf("since %s, %d points: from %d to %d", tt.since, tt.points, got[0].Objects, got[len(got)-1].Objects)
		}
		for i := 1; i < len(got); i++ {
			if !got[i].At.After(got[i-1].At) {
				t.Errorf("sample %d is not after the one before", i)
			}
		}
	}
}
