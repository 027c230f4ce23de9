package web

import (
	"context"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// named reports whether a list of jobs filtered by a text shows the job.
func named(j work.Job, text string) bool {
	for _, t := range []string{j.Name, j.Source, j.Target} {
		if strings.Contains(strings.ToLower(t), strings.ToLower(text)) {
			return true
		}
	}
	return j.ID.String() == text
}

func (f *fake) Series(ctx context.Context, id work.JobID, since time.Time, points int) ([]work.Sample, error) {
	all, err := f.Samples(ctx, id, since)
	if len(all) <= points || err != nil {
		return all, err
	}
	some := make([]work.Sample, points)
	for i := range some {
		some[i] = all[i*(len(all)-1)/(points-1)]
	}
	return some, nil
}

func (f *fake) Breakdown(_ context.Context, q work.BreakdownQuery) (work.Breakdown, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parts[q], nil
}

// fillParts breaks the busiest job down.
func (f *fake) fillParts() {
	const gib = 1 << 30
	counted := func(objects, bytes, copied, skipped, failed int64) work.Counted {
		return work.Counted{Objects: objects, Bytes: bytes, Copied: copied, Skipped: skipped, Failed: failed}
	}
	f.parts = map[work.BreakdownQuery]work.Breakdown{
		{Job: 7}: {Rows: []work.BreakdownRow{
			{Prefix: "eu/", Counted: counted(180000, 300*gib, 121210, 12400, 30)},
			{Prefix: "us/", Counted: counted(69000, 101*gib, 29900, 0, 0)},
			{Prefix: "bad\x00\xff/", Counted: counted(990, gib/2, 100, 0, 5)},
			{Prefix: "", Leaf: true, Counted: counted(10, gib/2, 0, 0, 2)},
		}},
		{Job: 7, Prefix: "eu/2025/"}: {Rows: []work.BreakdownRow{
			{Prefix: "eu/2025/<script>alert(1)</script>/", Counted: counted(70000, 120*gib, 70000, 0, 0)},
			{Prefix: "eu/2025/", Leaf: true, Counted: counted(51000, 80*gib, 10, 0, 30)},
		}, More: counted(1300, gib, 0, 0, 0), MoreParts: 212, Mixed: counted(512, gib, 0, 0, 0), Partial: true},
	}
}

func (f *fake) fillAgents() {
	agent := func(name, site, state string, streams int, rate float64, seen time.Duration) *work.AgentRow {
		f.agents = append(f.agents, work.AgentRow{LastSeen: noon.Add(-seen), Presence: work.Presence{
			Agent: name, Site: site, Version: "1.4.0", Host: "ip-10-0-3-17", PID: 4121, Started: noon.Add(-9 * time.Hour), State: state,
			Items: streams / 12, Streams: streams, Limit: 64, Objects: 812044, Bytes: 901 << 30, Rate: rate}})
		return &f.agents[len(f.agents)-1]
	}
	images := work.Tuning{Source: "s3://shop-images", Target: "gs://shop-images-eu", Streams: 48, Rate: 50.2e6, Why: "more streams brought no more bytes"}
	a := agent("hub-2", "aws-eu-west-1", "running", 64, 61.5e6, 2*time.Second)
	a.Moving, a.Tuning = []work.JobID{7}, []work.Tuning{images}
	a = agent("hub-1", "aws-eu-west-1", "running", 61, 58.1e6, time.Second)
	a.Moving, a.Labels, a.Stores = []work.JobID{7, 5}, map[string]string{"rack": "b7", "owner": "media"}, []string{"shop", "masters"}
	a.Tuning = []work.Tuning{images, {Source: "s3://masters", Target: "gs://masters-eu", Streams: 13, Rate: 7.9e6, Why: "the target throttles"},
		{Source: "s3://logs", Target: "s3://logs-eu", Streams: 16, Why: "as its configuration says", Fixed: true}}
	agent("hub-3", "aws-eu-west-1", "draining", 3, 2.2e6, 3*time.Second).Moving = []work.JobID{}
	agent("hub-4", "aws-eu-west-1", "running", 0, 0, 2*time.Second).Trouble = "s3://shop-images: the credentials have expired"
	agent("west-1", "gcp-europe-west4", "running", 0, 0, 11*time.Minute)
}

// fillRemarks says how the objects were proven, what they left behind and why
// they were skipped, and what an agent found out about the stores.
func (f *fake) fillRemarks() {
	skips, dropped, proofs := f.remarks[work.AboutSkipped], f.remarks[work.AboutDropped], f.remarks[work.AboutProof]
	skips[4] = []work.Tally{{Name: "etag", Count: 200, Key: "2025/00020.pdf"}}
	skips[7] = []work.Tally{{Name: "etag", Count: 12001, Key: "eu/0100.jpg"}, {Name: "archived", Count: 399, Key: "us/9.jpg"}}
	dropped[7] = []work.Tally{{Name: "tags", Count: 41007, Key: "eu/0007.jpg"}, {Name: "metadata:photographer", Count: 3, Key: "日本/写真 1.jpg"}}
	proofs[1] = []work.Tally{{Name: "crc32c", Count: 1204411, Key: "2019/01.tar"}}
	proofs[4] = []work.Tally{{Name: "crc32c/target", Count: 90990, Key: "2025/00001.pdf"}, {Name: work.ProofOfSize, Count: 10, Key: "2025/00002.pdf"}}
	proofs[7] = []work.Tally{{Name: "crc32c", Count: 150000, Key: "eu/0001.jpg"}, {Name: "md5/target", Count: 1200, Key: "eu/0002.jpg"},
		{Name: "md5/source", Count: 7, Key: "eu/0003.jpg"}, {Name: work.ProofOfSize, Count: 3, Key: "eu/0004.jpg"}}
	f.change(7, func(j *work.Job) {
		j.Options.Verify, j.Options.Split, j.Options.Class, j.Options.Carry = work.VerifyReadback, 1<<30, "keep", "archived=skip"
		j.Report = &work.Report{Agent: "hub-1",
			Source: work.StoreReport{Driver: "s3", Facts: []work.Fact{{Name: "checksums", Text: "CRC64NVME of whole objects"},
				{Name: "versions", Text: "reads are pinned by ETag"}}},
			Target: work.StoreReport{Driver: "gs", Facts: []work.Fact{{Name: "checksums", Text: "CRC32C, checked by the server"}}},
			Losses: []work.Loss{{Field: work.FieldTags, Policy: work.PolicyDrop, Why: "a store of kind gs has no place for it"}}}
	})
}
