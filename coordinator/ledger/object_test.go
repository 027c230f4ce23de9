package ledger_test

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

func keysOf(rows []work.ObjectRow) []string {
	var keys []string
	for _, o := range rows {
		keys = append(keys, o.Key)
	}
	return keys
}

// TestObjects: each object once, whatever became of it and however it is read.
func TestObjects(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	b.record(page(scan, false, "a", "b", "c", "dir/d", "dir/e\x00", "\xff\xff"))
	it := b.claimOne()
	more := scan
	more.Range = &work.Range{After: "\xff\xff"}
	b.record(page(more, false, "\xff\xff\x01"))
	b.record(outcomes(it, "copied", "retry transient", "failed denied", "skipped", "changed changed", "copied"))

	tests := []struct {
		name string
		q    work.ObjectQuery
		want []string
	}{
		{"all", work.ObjectQuery{}, []string{"a", "c", "dir/d", "\xff\xff", "\xff\xff\x01", "b", "dir/e\x00"}},
		{"copied", work.ObjectQuery{Outcome: work.Copied}, []string{"a", "\xff\xff"}},
		{"failed", work.ObjectQuery{Outcome: work.Failed}, []string{"c"}},
		{"skipped", work.ObjectQuery{Outcome: work.Skipped}, []string{"dir/d"}},
		{"handed on", work.ObjectQuery{Outcome: work.Retry}, nil},
		{"open", work.ObjectQuery{Open: true}, []string{"\xff\xff\x01", "b", "dir/e\x00"}},
		{"prefix", work.ObjectQuery{Prefix: "dir/"}, []string{"dir/d", "dir/e\x00"}},
		{"prefix with NUL", work.ObjectQuery{Prefix: "dir/e\x00"}, []string{"dir/e\x00"}},
		{"prefix at the end of keys", work.ObjectQuery{Prefix: "\xff\xff"}, []string{"\xff\xff", "\xff\xff\x01"}},
		{"prefix of none", work.ObjectQuery{Prefix: "zzz"}, nil},
		{"prefix and outcome", work.ObjectQuery{Prefix: "dir/", Open: true}, []string{"dir/e\x00"}},
	}
	for _, tt := range tests {
		for _, limit := range []int{1, 2, 100} {
			tt.q.Job, tt.q.Limit = id, limit
			got := keysOf(b.objects(tt.q))
			slices.Sort(got) // the order among children is the planner's
			want := slices.Sorted(slices.Values(tt.want))
			if !slices.Equal(got, want) {
				t.Errorf("%s by %d: %q, want %q", tt.name, limit, got, want)
			}
		}
	}
	rows := b.objects(work.ObjectQuery{Job: id, Prefix: "a"})
	rows[0].At = rows[0].At.Truncate(0)
	want := work.ObjectRow{Job: id, Item: it.ID, Key: "a", Size: 1, ETag: "e-0", Outcome: work.Copied, Proof: "crc32c",
		Checksum: "crc32c:00000000", Attempt: 1, Agent: "one", At: rows[0].At}
	if !reflect.DeepEqual(rows[0], want) || want.At.IsZero() {
		t.Errorf("row = %+v, want %+v", rows[0], want)
	}
}

// TestObjectsInPSQL: what the view shows to people.
func TestObjectsInPSQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned(odd...)
	b.record(all(it, "failed denied"))
	shown := b.text(`SELECT key FROM tranship.objects WHERE job_id = $1 AND outcome = 'failed' AND key_bytes = $2`, id, []byte("a\x00b"))
	if want := `a\000b`; shown != want {
		t.Errorf("a key with NUL is shown as %s, want %s", shown, want)
	}
	rows, err := b.sql.QueryContext(b.ctx(), `SELECT key_bytes FROM tranship.objects WHERE job_id = $1 ORDER BY position`, id)
	b.must(err)
	defer rows.Close()
	for i := 0; rows.Next(); i++ {
		var key []byte
		b.must(rows.Scan(&key))
		if !bytes.Equal(key, []byte(odd[i])) {
			t.Errorf("key_bytes = %q, want %q", key, odd[i])
		}
	}
	b.must(rows.Err())
}

func TestFailurePages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a", "b", "dir/c", "dir/d", "e\x00")
	b.record(outcomes(it, "failed denied", "failed not_found", "failed denied", "copied", "failed denied"))
	list := func(q work.FailureQuery) (keys []string) {
		q.Job, q.Limit = id, 1
		for {
			rows, next, err := b.Failures(b.ctx(), q)
			b.must(err)
			for _, f := range rows {
				keys = append(keys, f.Key)
			}
			if q.Cursor = next; next == "" {
				return keys
			}
		}
	}
	tests := []struct {
		q    work.FailureQuery
		want []string
	}{
		{work.FailureQuery{}, []string{"a", "b", "dir/c", "e\x00"}},
		{work.FailureQuery{Fault: work.Denied}, []string{"a", "dir/c", "e\x00"}},
		{work.FailureQuery{Prefix: "dir/"}, []string{"dir/c"}},
		{work.FailureQuery{Prefix: "e\x00", Fault: work.Denied}, []string{"e\x00"}},
		{work.FailureQuery{Fault: work.Corrupt}, nil},
	}
	for _, tt := range tests {
		if got := list(tt.q); !slices.Equal(got, tt.want) {
			t.Errorf("Failures(%+v) = %q, want %q", tt.q, got, tt.want)
		}
	}
	tally, err := b.FailureTally(b.ctx(), id)
	b.must(err)
	want := []work.Tally{
		{Name: "denied", Count: 3, Key: "a", Text: "because of denied"},
		{Name: "not_found", Count: 1, Key: "b", Text: "because of not_found"},
	}
	if !reflect.DeepEqual(tally, want) {
		t.Errorf("FailureTally = %+v, want %+v", tally, want)
	}
}
