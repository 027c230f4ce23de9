package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// A mute messenger says what it would do.
type mute struct{}

var undelivered = []work.Delivery{
	{ID: 3, Notice: "msg_C", Receiver: "ops", Kind: work.NoticeStalled, Job: 7, Body: "{}", State: work.DeliveryWaiting, Tries: 2, NextAt: noon, CreatedAt: noon, Status: 500, Error: "the receiver answered 500"},
	{ID: 2, Notice: "msg_B", Receiver: "night-shift", Kind: work.NoticeFinished, Job: 1, Body: "{}", State: work.DeliverySent, Tries: 1, CreatedAt: noon, SentAt: noon},
	{ID: 1, Notice: "msg_A", Receiver: "ops", Kind: work.NoticeTest, Body: "{}", State: work.DeliveryGivenUp, Tries: 1, CreatedAt: noon, Error: "refused"},
}

func (*mute) Deliveries(_ context.Context, q work.DeliveryQuery) ([]work.Delivery, string, error) {
	some := slices.DeleteFunc(slices.Clone(undelivered), func(d work.Delivery) bool {
		return q.Receiver != "" && d.Receiver != q.Receiver || q.State != "" && d.State != q.State
	})
	return paged(some, q.Cursor, q.Limit)
}

func (*mute) Resend(_ context.Context, id work.DeliveryID, _ string) (work.Delivery, error) {
	for _, d := range undelivered {
		if d.ID == id {
			d.State, d.Tries, d.NextAt = work.DeliveryWaiting, 0, noon
			return d, nil
		}
	}
	return work.Delivery{}, work.ErrNotThere
}

func (*mute) Receivers(context.Context) ([]work.Receiver, error) {
	return []work.Receiver{
		{Name: "ops", Type: work.ReceiverWebhook, Host: "hooks.example.org", Kinds: work.NoticeKinds(), Disabled: "it answered 410",
			DeliveryStanding: work.DeliveryStanding{Waiting: 1, GivenUp: 1}},
		{Name: "night-shift", Type: work.ReceiverMail, Host: "mail.example.org:587", Kinds: []work.NoticeKind{work.NoticeFinished},
			DeliveryStanding: work.DeliveryStanding{SentAt: noon}},
	}, nil
}

func (*mute) Test(_ context.Context, receiver, who string) (work.Delivery, error) {
	if receiver != "ops" {
		return work.Delivery{}, work.ErrNotThere
	}
	return work.Delivery{ID: 4, Notice: "msg_D", Receiver: receiver, Kind: work.NoticeTest, Body: who, State: work.DeliverySent, Tries: 1, CreatedAt: noon, SentAt: noon, Status: 204}, nil
}

// useNotices uses every operation about notices.
func useNotices(t *testing.T, b *bench) {
	t.Helper()
	ctx, c := t.Context(), b.client
	list, err := c.Deliveries(ctx, work.DeliveryQuery{Receiver: "ops", Limit: 1})
	if err != nil || len(list.Deliveries) != 1 || list.Next == "" || list.Deliveries[0].ID != 3 || !list.Deliveries[0].NextAt.Equal(noon) {
		t.Errorf("first page of deliveries: %+v, %v", list, err)
	}
	rest, err := c.Deliveries(ctx, work.DeliveryQuery{Receiver: "ops", Limit: 1, Cursor: list.Next})
	if err != nil || len(rest.Deliveries) != 1 || rest.Next != "" || rest.Deliveries[0].ID != 1 {
		t.Errorf("second page of deliveries: %+v, %v", rest, err)
	}
	if sent, err := c.Deliveries(ctx, work.DeliveryQuery{State: work.DeliverySent}); err != nil || len(sent.Deliveries) != 1 {
		t.Errorf("deliveries that were sent: %+v, %v", sent, err)
	}
	if d, err := c.Resend(ctx, 2); err != nil || d.State != work.DeliveryWaiting {
		t.Errorf("resent: %+v, %v", d, err)
	}
	receivers, err := c.Receivers(ctx)
	if err != nil || len(receivers) != 2 || receivers[0].Disabled == "" || !receivers[1].SentAt.Equal(noon) {
		t.Errorf("receivers: %+v, %v", receivers, err)
	}
	if d, err := c.TestReceiver(ctx, "ops"); err != nil || d.State != work.DeliverySent || d.Body != "ada@workstation" {
		t.Errorf("tested: %+v, %v", d, err)
	}
}

func TestNoticesRefuse(t *testing.T) {
	t.Parallel()
	b := serve(t, newFake())
	tests := []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/v1/deliveries?state=lost", "", http.StatusUnprocessableEntity, "waiting, sent, given_up"},
		{"GET", "/v1/deliveries?who=me", "", http.StatusUnprocessableEntity, "who"},
		{"GET", "/v1/deliveries?cursor=x", "", http.StatusBadRequest, string(api.BadCursor)},
		{"POST", "/v1/deliveries/99/resend", "", http.StatusNotFound, "no delivery 99"},
		{"POST", "/v1/deliveries/x/resend", "", http.StatusNotFound, "not the number"},
		{"POST", "/v1/deliveries/2/resend", `{"receiver":"x"}`, http.StatusUnprocessableEntity, "unknown field"},
		{"POST", "/v1/receivers/nobody/test", "", http.StatusNotFound, "nobody"},
		{"POST", "/v1/receivers/ops/test", `{"url":"http://169.254.169.254"}`, http.StatusUnprocessableEntity, "unknown field"},
	}
	for _, tt := range tests {
		resp, text := b.do(t, tt.method, tt.path, tt.body, "Content-Type", jsonType)
		if resp.StatusCode != tt.status || !strings.Contains(text, tt.says) {
			t.Errorf("%s %s answered %s: %s, want %d with %q", tt.method, tt.path, resp.Status, text, tt.status, tt.says)
		}
	}
}
