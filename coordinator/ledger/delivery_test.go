package ledger_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// toldOf makes deliveries of canceled jobs, one for each receiver.
func (b *bench) toldOf(jobs int, receivers ...string) {
	b.t.Helper()
	b.alone()
	for range jobs {
		_, err := b.Cancel(b.ctx(), b.create(), "me")
		b.must(err)
	}
	told, err := b.Notices(b.ctx(), noticeRule, func(n work.Notice) (list []work.Delivery, err error) {
		for _, r := range receivers {
			list = append(list, work.Delivery{Receiver: r, Body: "{}"})
		}
		return list, nil
	})
	b.must(err)
	if len(told) != jobs {
		b.t.Fatalf("told of %d jobs, want %d", len(told), jobs)
	}
}

func (b *bench) claimed(want int, lease time.Duration, room map[string]int) []work.Delivery {
	b.t.Helper()
	got, err := b.ClaimDeliveries(b.ctx(), room, lease)
	b.must(err)
	if len(got) != want {
		b.t.Fatalf("claimed %d deliveries, want %d: %+v", len(got), want, got)
	}
	return got
}

func (b *bench) delivery(id work.DeliveryID) work.Delivery {
	b.t.Helper()
	list, _, err := b.Deliveries(b.ctx(), work.DeliveryQuery{})
	b.must(err)
	for _, d := range list {
		if d.ID == id {
			return d
		}
	}
	b.t.Fatalf("there is no delivery %d", id)
	return work.Delivery{}
}

func TestClaimDeliveries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.toldOf(3, "ops", "night", "gone")
	got := b.claimed(3, time.Hour, map[string]int{"ops": 2, "night": 1, "nobody": 5})
	for _, d := range got {
		if d.Tries != 1 || d.State != work.DeliveryWaiting || d.Body != "{}" || d.Kind != work.NoticeCanceled || d.Job == 0 || d.NextAt.IsZero() {
			t.Errorf("claimed %+v", d)
		}
	}
	b.claimed(3, time.Hour, map[string]int{"ops": 9, "night": 9}) // the rest of them
	b.claimed(0, time.Hour, map[string]int{"ops": 9, "night": 9})
	b.claimed(0, time.Hour, nil)
	b.must(ledgertest.Advance(b.ctx(), b.sql, 2*time.Hour)) // whoever had them died
	again := b.claimed(6, time.Hour, map[string]int{"ops": 9, "night": 9})
	if again[0].Tries != 2 {
		t.Errorf("claimed a second time: %+v", again[0])
	}
}

func TestSettleDelivery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.toldOf(1, "ops")
	room := map[string]int{"ops": 9}
	first := b.claimed(1, time.Hour, room)[0]
	b.must(b.SettleDelivery(b.ctx(), first, work.DeliveryResult{State: work.DeliveryWaiting, After: time.Hour, Status: 500, Error: "bad\x00"}))
	if d := b.delivery(first.ID); d.State != work.DeliveryWaiting || d.Status != 500 || d.Error != "bad\ufffd" || time.Until(d.NextAt) < 50*time.Minute {
		t.Errorf("after the first try: %+v", d)
	}
	b.claimed(0, time.Hour, room)
	b.must(ledgertest.Advance(b.ctx(), b.sql, 2*time.Hour))
	second := b.claimed(1, time.Hour, room)[0]
	b.must(b.SettleDelivery(b.ctx(), first, work.DeliveryResult{State: work.DeliveryGivenUp})) // late
	if d := b.delivery(first.ID); d.State != work.DeliveryWaiting {
		t.Errorf("a late result changed %+v", d)
	}
	b.must(b.SettleDelivery(b.ctx(), second, work.DeliveryResult{State: work.DeliverySent, Status: 204}))
	if d := b.delivery(first.ID); d.State != work.DeliverySent || d.SentAt.IsZero() || d.Error != "" || !d.NextAt.IsZero() {
		t.Errorf("after the second try: %+v", d)
	}
	b.must(ledgertest.Advance(b.ctx(), b.sql, 2*time.Hour))
	b.claimed(0, time.Hour, room)

	d, err := b.Resend(b.ctx(), first.ID, "grace")
	if err != nil || d.State != work.DeliveryWaiting || d.Tries != 0 || d.Notice != first.Notice {
		t.Errorf("Resend = %+v, %v", d, err)
	}
	b.claimed(1, time.Hour, room)
	if who := b.text(`SELECT who FROM tranship.events WHERE what = 'notice resent' AND job_id = 1`); who != "grace" {
		t.Errorf("the audit log says that %q sent it again", who)
	}
	if _, err := b.Resend(b.ctx(), 99, "grace"); !errors.Is(err, work.ErrNotThere) {
		t.Errorf("Resend of none = %v, want %v", err, work.ErrNotThere)
	}
}

func TestTestDelivery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	d, err := b.TestDelivery(b.ctx(), "ops", "grace", time.Hour, func(n work.Notice) (string, error) { return string(n.Kind), nil })
	if err != nil || d.Kind != work.NoticeTest || d.Body != "test" || d.Tries != 1 || d.Job != 0 || d.Notice == "" {
		t.Errorf("TestDelivery = %+v, %v", d, err)
	}
	b.claimed(0, time.Hour, map[string]int{"ops": 9}) // whoever asked has it
	if who := b.text(`SELECT who FROM tranship.events WHERE what = 'receiver tested' AND job_id IS NULL`); who != "grace" {
		t.Errorf("the audit log says that %q tested it", who)
	}
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.toldOf(5, "ops", "night")
	d := b.claimed(1, time.Hour, map[string]int{"ops": 1})[0]
	b.must(b.SettleDelivery(b.ctx(), d, work.DeliveryResult{State: work.DeliverySent}))
	var ids []work.DeliveryID
	q := work.DeliveryQuery{Receiver: "ops", Limit: 2}
	for {
		list, next, err := b.Deliveries(b.ctx(), q)
		b.must(err)
		for _, d := range list {
			if d.Receiver != "ops" || len(ids) > 0 && d.ID >= ids[len(ids)-1] {
				t.Errorf("a listing of ops from the newest has %+v", d)
			}
			ids = append(ids, d.ID)
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	if len(ids) != 5 {
		t.Errorf("listed %d deliveries, want 5", len(ids))
	}
	if list, _, err := b.Deliveries(b.ctx(), work.DeliveryQuery{State: work.DeliverySent}); err != nil || len(list) != 1 || list[0].ID != d.ID {
		t.Errorf("those sent: %+v, %v", list, err)
	}
	if _, _, err := b.Deliveries(b.ctx(), work.DeliveryQuery{Cursor: "x"}); !errors.Is(err, work.ErrCursor) {
		t.Errorf("a cursor of somebody else: %v", err)
	}
	standings, err := b.DeliveryStandings(b.ctx(), []string{"ops", "nobody"})
	if s := standings["ops"]; err != nil || s.Waiting != 4 || s.GivenUp != 0 || s.SentAt.IsZero() || standings["nobody"] != (work.DeliveryStanding{}) {
		t.Errorf("DeliveryStandings = %+v, %v", standings, err)
	}
}

// Old deliveries are forgotten in bounded steps, and those to a receiver that no
// coordinator knows any more do not wait for ever.
func TestTidyDeliveries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.toldOf(1, "ops", "gone")
	tidy := func(want int64, known ...string) {
		t.Helper()
		n, err := b.TidyDeliveries(b.ctx(), 30*24*time.Hour, 24*time.Hour, known)
		b.must(err)
		if n != want {
			t.Errorf("forgot %d deliveries, want %d", n, want)
		}
	}
	states := func() string {
		return b.text(`SELECT string_agg(receiver || ' ' || state, ', ' ORDER BY receiver) FROM tranship.deliveries`)
	}
	tidy(0, "ops")
	if got := states(); got != "gone waiting, ops waiting" {
		t.Errorf("at first: %s", got)
	}
	b.must(ledgertest.Advance(b.ctx(), b.sql, 25*time.Hour))
	tidy(0, "ops")
	if got := states(); got != "gone given_up, ops waiting" {
		t.Errorf("after a day: %s", got)
	}
	tidy(0) // nobody is told any more
	if got := states(); got != "gone given_up, ops given_up" {
		t.Errorf("without receivers: %s", got)
	}
	b.exec(`INSERT INTO tranship.deliveries (notice, receiver, kind, body) SELECT 'n', 'ops', 'test', '' FROM generate_series(1, 1500)`)
	b.must(ledgertest.Advance(b.ctx(), b.sql, 31*24*time.Hour))
	b.toldOf(1, "ops")
	tidy(1000, "ops")
	tidy(502, "ops")
	tidy(0, "ops")
	if got := states(); got != "ops waiting" {
		t.Errorf("in the end: %s", got)
	}
}
