package ledger_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

func storeLimit(bytes int64) work.Limit {
	return work.Limit{Scope: work.LimitStore, Name: "s3://bucket", Rate: work.Rate{Bytes: bytes}}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	first := storeLimit(1 << 20)
	first.Name += "/"
	if _, before, err := b.SetLimit(b.ctx(), first, "ada", true); err != nil || before != nil {
		t.Fatalf("SetLimit, dry = %+v, %v", before, err)
	}
	if all, err := b.Limits(b.ctx()); err != nil || len(all) != 0 {
		t.Fatalf("a dry run has set %+v, %v", all, err)
	}
	set, _, err := b.SetLimit(b.ctx(), first, "ada", false)
	b.must(err)
	second := storeLimit(2 << 20)
	second.Requests = 7.5
	second.Windows = []work.Window{{Days: []time.Weekday{1, 5}, From: "22:00", Until: "06:00", Zone: "Europe/Berlin", Stop: true}}
	now, before, err := b.SetLimit(b.ctx(), second, "grace", false)
	b.must(err)
	if before == nil || before.ID != set.ID || before.Bytes != 1<<20 || now.ID != set.ID || now.ChangedBy != "grace" || now.ChangedAt.IsZero() ||
		now.Requests != 7.5 || len(now.Windows) != 1 || !now.Windows[0].Stop || now.Windows[0].Days[1] != time.Friday {
		t.Errorf("SetLimit = %+v, before %+v", now, before)
	}
	if _, _, err := b.SetLimit(b.ctx(), work.Limit{Scope: work.LimitJob, Name: "99", Rate: work.Rate{Bytes: 1 << 20}}, "", false); !errors.Is(err, work.ErrNoJob) {
		t.Errorf("the limit of no job: %v", err)
	}
	id := b.create()
	_, _, err = b.SetLimit(b.ctx(), work.Limit{Scope: work.LimitJob, Name: id.String(), Rate: work.Rate{Requests: 3}}, "", false)
	b.must(err)
	if all, err := b.Limits(b.ctx()); err != nil || len(all) != 2 {
		t.Errorf("Limits = %+v, %v", all, err)
	}
	if _, err := b.RemoveLimit(b.ctx(), work.LimitStore, "s3://none", "ada", false); !errors.Is(err, work.ErrNotThere) {
		t.Errorf("RemoveLimit of none = %v", err)
	}
	for _, dry := range []bool{true, false} {
		gone, err := b.RemoveLimit(b.ctx(), work.LimitStore, "s3://bucket", "ada", dry)
		if err != nil || gone.ID != set.ID {
			t.Errorf("RemoveLimit, dry %v = %+v, %v", dry, gone, err)
		}
	}
	events, err := b.Ledger.Events(b.ctx(), 0, 0, 100)
	b.must(err)
	var told []string
	for _, e := range events {
		if strings.HasPrefix(e.What, "limit") {
			told = append(told, e.Who+" "+e.What+" "+e.Note)
		}
	}
	want := []string{
		`ada limit set store "s3://bucket": none, now 1048576 bytes/s`,
		`grace limit set store "s3://bucket": 1048576 bytes/s, now 2097152 bytes/s and 7.5 requests/s, [mon,fri 22:00-06:00 Europe/Berlin] stop`,
		`tranship limit set job "1": none, now 3 requests/s`,
		`ada limit removed store "s3://bucket": 2097152 bytes/s and 7.5 requests/s, [mon,fri 22:00-06:00 Europe/Berlin] stop, now none`,
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], `"`, "")
	}
	for i := range told {
		told[i] = strings.ReplaceAll(told[i], `"`, "")
	}
	if !slices.Equal(told, want) {
		t.Errorf("the audit log says\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
}

// A sharing is a ledger whose limit is divided.
type sharing struct {
	*bench
	limit work.LimitID
}

func share(t *testing.T) *sharing {
	b := setup(t)
	b.alone()
	l, _, err := b.SetLimit(b.ctx(), storeLimit(1<<20), "", false)
	b.must(err)
	b.must(b.Beat(b.ctx(), []work.Presence{{Agent: "a", Site: "s", Started: time.Now()}}))
	return &sharing{bench: b, limit: l.ID}
}

// grant divides so that the agent is told it may use so much.
func (s *sharing) grant(bytes int64) work.Grant {
	s.t.Helper()
	grants, err := s.Allot(s.ctx(), time.Minute, time.Minute, func(d work.Division) []work.Grant {
		sh := d.Sharers[0]
		g := work.Grant{Site: sh.Site, Agent: sh.Agent, Allotment: work.Allotment{Since: sh.Stamp, For: 10 * time.Second}}
		if bytes >= 0 {
			g.Shares = []work.Share{{Limit: s.limit, Rate: work.Rate{Bytes: bytes}, Stop: bytes == 0}}
		}
		return []work.Grant{g}
	})
	s.must(err)
	if len(grants) != 1 || grants[0].Seq == 0 {
		s.t.Fatalf("Allot = %+v", grants)
	}
	return grants[0]
}

// answer has the agent answer that seq counts for it.
func (s *sharing) answer(g work.Grant, seq int64, stamp string) {
	s.t.Helper()
	uses := []work.Use{{Limit: s.limit, Bytes: 5, MoreBytes: true}}
	s.must(s.Answered(s.ctx(), []work.Answer{{Grant: g, Taken: work.Taken{Seq: seq, Stamp: stamp, Uses: uses}}}))
}

// holds fails the test unless this is what the agent may use and was told, by
// agent.
func (s *sharing) holds(want map[string][2]int64) {
	s.t.Helper()
	rows, err := s.Shares(s.ctx())
	s.must(err)
	got := map[string][2]int64{}
	for _, r := range rows {
		got[r.Agent] = [2]int64{r.Bytes, r.Told.Bytes}
		if r.Site != "s" || r.Limit != s.limit || r.Until.IsZero() {
			s.t.Errorf("share %+v", r)
		}
	}
	if len(got) != len(want) {
		s.t.Fatalf("agents hold %v, want %v", got, want)
	}
	for agent, w := range want {
		if got[agent] != w {
			s.t.Fatalf("agents hold %v, want %v", got, want)
		}
	}
}

func TestShareCountsUntilItIsConfirmed(t *testing.T) {
	t.Parallel()
	s := share(t)
	hello := s.grant(100)
	if hello.Since != "" {
		t.Fatalf("an agent that never answered is granted %+v", hello)
	}
	s.holds(nil)
	s.answer(hello, 0, "life.1")

	big := s.grant(100)
	if big.Since != "life.1" || big.Seq <= hello.Seq {
		t.Fatalf("after its answer it is granted %+v", big)
	}
	s.holds(map[string][2]int64{"a": {100, 100}})
	s.answer(big, big.Seq, "life.2")
	small := s.grant(40)
	s.holds(map[string][2]int64{"a": {100, 40}})
	s.answer(small, big.Seq, "life.3") // it has not heard of it
	s.holds(map[string][2]int64{"a": {100, 40}})
	s.answer(small, small.Seq, "life.4")
	s.holds(map[string][2]int64{"a": {40, 40}})

	stop := s.grant(0)
	s.holds(map[string][2]int64{"a": {40, 0}})
	more := s.grant(60)
	s.answer(stop, stop.Seq, "life.5") // late: it was granted more since
	s.holds(map[string][2]int64{"a": {60, 60}})
	s.answer(more, more.Seq, "life.6")
	s.holds(map[string][2]int64{"a": {60, 60}})
}

// A restarted agent does not take over what the process before it may be using.
func TestShareOfFormerProcess(t *testing.T) {
	t.Parallel()
	s := share(t)
	s.answer(s.grant(100), 0, "one.1")
	g := s.grant(100)
	s.answer(g, g.Seq, "one.2")
	s.answer(s.grant(50), 0, "two.1")
	s.holds(map[string][2]int64{"a#one": {100, 50}})
	s.grant(30)
	s.holds(map[string][2]int64{"a#one": {100, 50}, "a": {30, 30}})
}

// The time of a share begins with the answer, whenever it is granted; then it is
// nobody's.
func TestShareExpires(t *testing.T) {
	t.Parallel()
	s := share(t)
	s.answer(s.grant(100), 0, "one.1")
	s.exec(`UPDATE tranship.sharers SET answered_at = now() - interval '10 seconds'`)
	s.grant(100)
	s.holds(map[string][2]int64{"a": {100, 100}})
	s.exec(`UPDATE tranship.sharers SET answered_at = now() - interval '12 seconds'`)
	s.exec(`UPDATE tranship.shares SET until = until - interval '2 seconds'`)
	s.holds(nil)
	s.grant(100)
	s.holds(nil)
}

// An agent that may be bounded is told when nothing is any more; then no more.
func TestUnboundAgent(t *testing.T) {
	t.Parallel()
	s := share(t)
	bound := func() (is bool) {
		_, err := s.Allot(s.ctx(), time.Minute, time.Minute, func(d work.Division) []work.Grant {
			is = d.Sharers[0].Bound
			return nil
		})
		s.must(err)
		return is
	}
	s.answer(s.grant(100), 0, "one.1")
	if bound() {
		t.Error("an agent that was told nothing is bound")
	}
	g := s.grant(100)
	s.answer(g, g.Seq, "one.2")
	if !bound() {
		t.Error("an agent with a share is not bound")
	}
	none := s.grant(-1)
	if !bound() {
		t.Error("an agent is not bound before it has heard that")
	}
	s.answer(none, none.Seq, "one.3")
	s.holds(nil)
	if bound() {
		t.Error("an agent is bound by nothing")
	}
}

func TestUnboundedAgents(t *testing.T) {
	t.Parallel()
	s := share(t)
	s.must(s.Beat(s.ctx(), []work.Presence{{Agent: "old", Site: "s", Started: time.Now()}, {Agent: "gone", Site: "s", Started: time.Now()}}))
	s.exec(`UPDATE tranship.agents SET last_seen = now() - interval '1 hour' WHERE agent = 'gone'`)
	s.answer(work.Grant{Site: "s", Agent: "a"}, 0, "one.1")
	if got, err := s.Unbounded(s.ctx(), time.Minute); err != nil || !slices.Equal(got, []string{"s/old"}) {
		t.Errorf("Unbounded = %v, %v", got, err)
	}
}

// What matters to a division: limits of jobs that are over do not.
func TestDivision(t *testing.T) {
	t.Parallel()
	s := share(t)
	for range 2 {
		id := s.create()
		_, _, err := s.SetLimit(s.ctx(), work.Limit{Scope: work.LimitJob, Name: id.String(), Rate: work.Rate{Bytes: 1 << 20}}, "", false)
		s.must(err)
	}
	_, err := s.Cancel(s.ctx(), 1, "")
	s.must(err)
	s.answer(work.Grant{Site: "s", Agent: "a"}, 0, "one.1")
	_, err = s.Allot(s.ctx(), time.Minute, time.Minute, func(d work.Division) []work.Grant {
		if len(d.Limits) != 2 || d.Limits[1].Name != "2" || len(d.Jobs) != 1 || d.Jobs[0] != (work.LimitedJob{ID: 2, Site: "default", Source: "mem://a", Target: "mem://b"}) ||
			len(d.Sharers) != 1 || len(d.Sharers[0].Uses) != 1 || !d.Sharers[0].Uses[0].MoreBytes || d.Now.IsZero() {
			t.Errorf("divided: %+v", d)
		}
		return nil
	})
	s.must(err)
}
