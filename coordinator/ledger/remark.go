package ledger

import (
	"context"
	"fmt"
	"strings"

	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// A remark is what objects are counted by besides their outcome and fault.
type remark struct {
	job   work.JobID
	about work.About
	name  string
}

type remarkCount struct {
	objects int64
	example string // a key, if one is known
}

// remark counts what is to be said of an object that is there.
func (b *batch) remark(job work.JobID, o work.ObjectOutcome, key string) {
	if o.Outcome == work.Skipped {
		b.count1(remark{job, work.AboutSkipped, o.Reason}, key)
		return
	}
	proof := o.Proof
	if proof == "" {
		proof = work.ProofOfSize
	}
	b.count1(remark{job, work.AboutProof, proof}, key)
	if o.Dropped == "" {
		return
	}
	for name := range strings.SplitSeq(o.Dropped, ",") {
		if name != "" {
			b.count1(remark{job, work.AboutDropped, name}, key)
		}
	}
}

func (b *batch) count1(at remark, key string) {
	at.name = work.Clip(plain(at.name))
	c := b.remarks[at]
	if c == nil {
		c = new(remarkCount)
		b.remarks[at] = c
	}
	c.objects++
	if c.example == "" {
		c.example = key
	}
}

// addRemarks is the part of a statement that counts the remarks $1 to $5.
const addRemarks = `
	INSERT INTO remarks AS r (job_id, about, name, objects, example)
	SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bytea[])
	ON CONFLICT (job_id, about, name) DO UPDATE SET
		objects = r.objects + excluded.objects,
		example = CASE WHEN r.example = '' THEN excluded.example ELSE r.example END`

// remarkArgs returns the arguments of addRemarks.
func (b *batch) remarkArgs() []any {
	n := len(b.remarks)
	jobs, objects := make([]int64, 0, n), make([]int64, 0, n)
	abouts, names := make([]string, 0, n), make([]string, 0, n)
	examples := make([][]byte, 0, n)
	for at, c := range b.remarks {
		jobs, objects = append(jobs, int64(at.job)), append(objects, c.objects)
		abouts, names = append(abouts, string(at.about)), append(names, at.name)
		examples = append(examples, []byte(c.example))
	}
	return []any{pq.Array(jobs), pq.Array(abouts), pq.Array(names), pq.Array(objects), pq.Array(examples)}
}

// mostRemarks bounds what Remarks returns: users may give their metadata as
// many names as they like.
const mostRemarks = 1000

// Remarks counts the objects of a job by why they were skipped, what they had
// to leave behind, or how they are proved; the most frequent first.
func (l *Ledger) Remarks(ctx context.Context, id work.JobID, about work.About) ([]work.Tally, error) {
	const query = `
		SELECT name, objects AS count, example AS keybytes, '' AS text
		FROM remarks
		WHERE job_id = $1 AND about = $2
		ORDER BY objects DESC, name
		LIMIT $3`

	tallies, err := l.tally(ctx, query, id, string(about), mostRemarks)
	if err != nil {
		return nil, fmt.Errorf("count objects of job %d: %w", id, err)
	}
	return tallies, nil
}
